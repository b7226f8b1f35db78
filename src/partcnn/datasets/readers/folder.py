"""One's own pictures: one subfolder per class, as torchvision's ImageFolder reads them, and a table of parts."""

from dataclasses import replace
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

from partcnn.datasets.annotations import Skips
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.paths import check_folder
from partcnn.datasets.readers.parts_csv import PARTS_FILE, Annotation, read_parts_csv
from partcnn.datasets.samples import Sample
from partcnn.foundation.errors import DataError


def read_folder(location: str, category: str | None) -> Catalogue:
    """Read a folder of class folders; a class's pictures may lie deeper in it.

    Parts and objects are annotated in `parts.csv` in the folder, where there is one; see `parts_csv`.

    Files and class folders whose names begin with a dot are left out: they are other programs' leavings.

    Args:
        location: the folder.
        category: the name of a subfolder. With it: its pictures against those of all other subfolders, as
            background. None: every subfolder is a class, in alphabetical order.

    Raises:
        DataError: the folder is missing, has fewer than two classes or one without pictures, the category is
            unknown, or parts.csv is malformed.
    """
    root = check_folder(location)
    classes = _class_names(root)
    skips = Skips()
    samples = _read_samples(root, classes, skips)
    if category is None:
        return Catalogue(samples, classes, part_names(samples), skips=skips)
    category = find_category(category, {name: name for name in classes})
    if category == BACKGROUND:
        raise DataError(f"category: {BACKGROUND!r} is the name of everything else; give another class")
    positive = classes.index(category)
    samples = [replace(one, label=1) if one.label == positive else replace(one, label=0, parts={}) for one in samples]
    return Catalogue(samples, [BACKGROUND, category], part_names(samples), background=0, category=category, skips=skips)


def _class_names(root: Path) -> list[str]:
    try:
        classes = [name for name in find_classes(root)[0] if not name.startswith(".")]
    except FileNotFoundError:
        classes = []
    if len(classes) < 2:
        found = f"only the folder {classes[0]!r}" if classes else "no folder"
        raise DataError(f"{root}: expected at least two folders of pictures, one per class; found {found}")
    return classes


def _find_pictures(root: Path, classes: list[str]) -> list[tuple[Path, int]]:
    indices = {name: index for index, name in enumerate(classes)}
    found = make_dataset(root, indices, extensions=IMG_EXTENSIONS, allow_empty=True)
    pictures = [(Path(path), label) for path, label in found if not Path(path).name.startswith(".")]
    empty = sorted(set(classes) - {classes[label] for _, label in pictures})
    if empty:
        raise DataError(
            f"{root}: expected pictures ({', '.join(IMG_EXTENSIONS)}) in every class; found none in {', '.join(empty)}"
        )
    return pictures


def _read_samples(root: Path, classes: list[str], skips: Skips) -> list[Sample]:
    pictures = {path.relative_to(root).as_posix(): (path, label) for path, label in _find_pictures(root, classes)}
    file = root / PARTS_FILE
    found = read_parts_csv(file, pictures.keys(), skips) if file.exists() else {}
    annotations = {name: found.get(name, Annotation()) for name in pictures}
    return [
        Sample(path, label, annotations[name].object_box, annotations[name].parts, image_id=name)
        for name, (path, label) in pictures.items()
    ]
