"""ILSVRC 2013 DET Animal-Part, the data set of the paper: object crops with head and leg boxes.

The compact layout: `images.jsonl` with one object per picture, `images/`, and `background/` with pictures
that show none of the animals. A crop is the whole picture of a sample; the object box lies inside it.
"""

import json
from pathlib import Path
from typing import Any

from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category
from partcnn.datasets.paths import check_folder
from partcnn.datasets.samples import Box, Sample, Shape
from partcnn.errors import DataError

_INDEX = "images.jsonl"
_BACKGROUND_SUFFIXES = {".jpg", ".jpeg", ".png"}


def read_animalpart(location: str, category: str | None) -> Catalogue:
    """Read the compact layout.

    Args:
        location: the folder that holds `images.jsonl`.
        category: a name ("bird"), an identifier ("n01503061") or a word that only one name has ("cat").
            With it: the category against the background pictures. None: all categories, no background.

    Raises:
        DataError: the folder or its index is missing or malformed, it has no background pictures, or the
            category is unknown or ambiguous.
    """
    root = check_folder(location)
    records = _read_records(root / _INDEX)
    names = {record["wnid"]: record["category"] for record in records}
    if category is None:
        classes = sorted(set(names.values()))
        samples = [_read_sample(root, record, classes.index(record["category"])) for record in records]
        return Catalogue(samples, classes, _part_names(samples))
    wnid = find_category(category, names, is_word_enough=True)
    objects = [_read_sample(root, record, 1) for record in records if record["wnid"] == wnid]
    return Catalogue(
        samples=_background_samples(root) + objects,
        classes=[BACKGROUND, names[wnid]],
        parts=_part_names(objects),
        background=0,
        category=names[wnid],
    )


def _read_records(index: Path) -> list[dict[str, Any]]:
    if not index.is_file():
        raise DataError(f"{index.parent}: expected the Animal-Part file {_INDEX} in this folder, found none")
    records = []
    for number, line in enumerate(index.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            for key in ("image", "wnid", "category", "imagenet_id", "parts"):
                record[key]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{index}, line {number}: expected an object with image, wnid, category, imagenet_id and "
                f"parts, got {type(error).__name__}: {error}"
            ) from error
        records.append(record)
    if not records:
        raise DataError(f"{index}: expected one line per picture, got an empty file")
    return records


def _read_sample(root: Path, record: dict[str, Any], label: int) -> Sample:
    try:
        parts: dict[str, list[Shape]] = {}
        for entry in record["parts"]:
            parts.setdefault(entry["part"], []).append(_read_box(entry["box"]))
        box = record.get("object_box")
        return Sample(
            image_path=root / record["image"],
            label=label,
            object_box=None if box is None else _read_box(box),
            parts=parts,
            image_id=record["imagenet_id"],  # the photograph: several crops may come from one
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{root / _INDEX}, {record['image']}: expected boxes [x0, y0, x1, y1], got {type(error).__name__}: {error}"
        ) from error


def _read_box(values: list[float]) -> Box:
    x0, y0, x1, y1 = (float(value) for value in values)
    return Box(x0, y0, x1, y1)


def _background_samples(root: Path) -> list[Sample]:
    folder = root / "background"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    pictures = [file for file in files if file.suffix.lower() in _BACKGROUND_SUFFIXES]
    if not pictures:
        raise DataError(f"{folder}: expected background pictures (a category is trained against them), found none")
    return [Sample(file, 0, None, {}, image_id=f"background/{file.name}") for file in pictures]


def _part_names(samples: list[Sample]) -> list[str]:
    return sorted({part for sample in samples for part in sample.parts})
