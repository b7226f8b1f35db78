"""One's own pictures with any number of classes each: a table of labels beside them.

image,labels,split             image,cat,dog,person
a.jpg,cat;person,train         a.jpg,1,0,1
sub/b.jpg,,test                sub/b.jpg,0,0,0

`image` is the path below the table's folder. In a column `labels` names are separated by ";"; without it every other
column is a class, 1 where the picture shows it. A column `split`, "train" or "test", may be left out or empty: the
split is then hashed. A picture without a class shows no object. Parts may stand in `parts.csv` beside the table
(`parts_csv`).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from partcnn.datasets.annotations import Skips, check_new, flag, text
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.paths import expanded, inner_path
from partcnn.datasets.readers.csv_files import read_csv
from partcnn.datasets.readers.parts_csv import PARTS_FILE, Annotation, canonical, read_parts_csv
from partcnn.datasets.samples import Sample
from partcnn.foundation.errors import DataError

LABELS_FILE = "labels.csv"
_IMAGE, _LABELS, _SPLIT = "image", "labels", "split"
_SIDES = ("train", "test", "")


def read_multilabel(location: str, category: str | None) -> Catalogue:
    """Read a table of labels.

    Args:
        location: the CSV file, or a folder with a `labels.csv`.
        category: the name of a class. With it: the pictures that show it against all others, as background, one class
            a picture. None: all classes, any number of them a picture.

    Raises:
        DataError: the file is missing or malformed, names a picture twice or none, or has no class; the category is
            unknown; or parts.csv is malformed. The message names file and line.
    """
    file = expanded(location)
    if file.is_dir():
        file /= LABELS_FILE
    skips = Skips()
    samples, classes = _read_samples(file, skips)
    return of_classes(samples, classes, category, skips)


def of_classes(samples: list[Sample], classes: list[str], category: str | None, skips: Skips) -> Catalogue:
    """The task of all classes, or of one against pictures without it, which keep their object boxes: they are cropped
    alike."""
    if category is None:
        return Catalogue(samples, classes, part_names(samples), is_multilabel=True, skips=skips)
    category = find_category(category, {name: name for name in classes})
    wanted = classes.index(category)
    samples = [replace(one, label=1) if wanted in one.labels else replace(one, label=0, parts={}) for one in samples]
    return Catalogue(samples, [BACKGROUND, category], part_names(samples), background=0, category=category, skips=skips)


def _read_samples(file: Path, skips: Skips) -> tuple[list[Sample], list[str]]:
    header, rows = read_csv(file, lambda names: _check_header(names, file))
    columns = [name for name in header if name not in (_IMAGE, _SPLIT, _LABELS)]  # that are classes
    shown = [(place, dict(zip(header, values, strict=True))) for place, values in rows]
    names = {id(row): _shown_classes(row, columns, place) for place, row in shown}
    classes = sorted({name for of_row in names.values() for name in of_row} | {*columns})
    if not classes or not rows:
        raise DataError(f"{file}: expected pictures, and classes that they show; found none")
    parts = file.parent / PARTS_FILE
    images = [canonical(text(row[_IMAGE], "the picture's file name", place)) for place, row in shown]
    found = read_parts_csv(parts, set(images), skips) if parts.exists() else {}
    known: dict[Any, str] = {}
    samples = []
    for image, (place, row) in zip(images, shown, strict=True):
        check_new(image, known, "picture", place)
        if row.get(_SPLIT, "") not in _SIDES:
            raise DataError(f"{place}: expected train or test for split, or nothing, got {row[_SPLIT]!r:.60}")
        annotation = found.get(image, Annotation())
        label = frozenset(classes.index(name) for name in names[id(row)])
        path, split = inner_path(file.parent, image, place), row.get(_SPLIT) or None
        samples.append(Sample(path, label, annotation.object_box, annotation.parts, image, split))
    return samples, classes


def _check_header(header: list[str], file: Path) -> None:
    others = [name for name in header if name not in (_IMAGE, _SPLIT)]
    is_known = header.count(_IMAGE) == 1 and len({*header}) == len(header) and all(header)
    if not is_known or not others or (_LABELS in others and len(others) > 1):
        raise DataError(
            f"{file}, line 1: expected the header image,labels or image and a column for each class, each once, got "
            f"{','.join(header)[:80]!r}"
        )


def _shown_classes(row: dict[str, str], columns: list[str], place: str) -> list[str]:
    if columns:
        return [name for name in columns if flag(row[name], name, place)]
    return [name.strip() for name in row[_LABELS].split(";") if name.strip()]
