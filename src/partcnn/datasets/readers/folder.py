"""One's own pictures: one subfolder per class, as torchvision's ImageFolder reads them, and a table of parts."""

from dataclasses import replace
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from partcnn.datasets.annotations import Skips
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.paths import check_folder
from partcnn.datasets.picture_files import is_of_programs, pictures_below
from partcnn.datasets.readers.folder_splits import FoundPicture, found_pictures
from partcnn.datasets.readers.parts_csv import PARTS_FILE, Annotation, read_parts_csv
from partcnn.datasets.samples import Sample
from partcnn.foundation.errors import DataError


def read_folder(location: str, category: str | None) -> Catalogue:
    """Read a folder of class folders; a class's pictures may lie deeper in it.

    Parts and objects are annotated in `parts.csv` in the folder, where there is one; see `parts_csv`.

    Pictures and folders whose names begin with a dot, folders of other programs, and thumbnails are left out and
    counted, and so are pictures in no class folder. Splits of the folder's own, PATH/train/CLASS and PATH/test/CLASS or
    PATH/CLASS/train and PATH/CLASS/test, are taken; see `folder_splits`.

    Args:
        location: the folder.
        category: the name of a subfolder. With it: its pictures against those of all other subfolders, as
            background. None: every subfolder is a class, in alphabetical order.

    Raises:
        DataError: the folder is missing, has fewer than two classes or one without pictures, holds splits that
            cannot be taken, the category is unknown, or parts.csv is malformed.
    """
    root = check_folder(location)
    skips = Skips()
    samples, classes = _read_samples(root, skips)
    if category is None:
        return Catalogue(samples, classes, part_names(samples), skips=skips)
    category = find_category(category, {name: name for name in classes})
    if category == BACKGROUND:
        raise DataError(f"category: {BACKGROUND!r} is the name of everything else; give another class")
    positive = classes.index(category)
    samples = [replace(one, label=1) if one.label == positive else replace(one, label=0, parts={}) for one in samples]
    return Catalogue(samples, [BACKGROUND, category], part_names(samples), background=0, category=category, skips=skips)


def _class_names(root: Path) -> list[str]:
    """The folders that may be classes, also those without pictures."""
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise DataError(f"{root}: expected a folder that can be read, got {type(error).__name__}: {error}") from error
    classes = [entry.name for entry in entries if entry.is_dir() and not is_of_programs(entry.name)]
    if len(classes) < 2:
        found = f"only the folder {classes[0]!r}" if classes else "no folder"
        inner = [f"'folder:{root / name}'" for name in classes if _holds_folders(root / name)]
        way_out = f"; it holds folders itself: give {inner[0]}" if inner else ""
        raise DataError(f"{root}: expected at least two folders of pictures, one per class; found {found}{way_out}")
    return classes


def _holds_folders(folder: Path) -> bool:
    return sum(entry.is_dir() and not is_of_programs(entry.name) for entry in folder.iterdir()) > 1


def _find_pictures(root: Path, skips: Skips) -> list[FoundPicture]:
    """Every picture of a class, class by class."""
    names = _class_names(root)
    files = pictures_below(root, skips, has_classes=True)
    found = found_pictures(root, files, skips)
    is_split = any(picture.split for picture in found)
    empty = sorted(set(names) - {picture.class_name for picture in found})
    if empty and not is_split:
        raise DataError(
            f"{root}: expected pictures ({', '.join(IMG_EXTENSIONS)}) in every class; found none in {', '.join(empty)}"
        )
    if len({picture.class_name for picture in found}) < 2:
        raise DataError(f"{root}: expected at least two folders of pictures, one per class, in its splits; found one")
    return sorted(found, key=lambda picture: picture.class_name)


def _read_samples(root: Path, skips: Skips) -> tuple[list[Sample], list[str]]:
    pictures = {one.path.relative_to(root).as_posix(): one for one in _find_pictures(root, skips)}
    classes = sorted({one.class_name for one in pictures.values()})
    file = root / PARTS_FILE
    found = read_parts_csv(file, pictures.keys(), skips) if file.exists() else {}
    annotations = {name: found.get(name, Annotation()) for name in pictures}
    samples = [
        Sample(
            one.path,
            classes.index(one.class_name),
            annotations[name].object_box,
            annotations[name].parts,
            image_id=name,
            split=one.split,
        )
        for name, one in pictures.items()
    ]
    return samples, classes
