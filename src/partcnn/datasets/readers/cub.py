"""Caltech-UCSD Birds 200-2011: whole frames of 200 species with up to 15 part points, in either layout.

Archive: the folder CUB_200_2011 of the archive, with `images.txt`, `bounding_boxes.txt`, `image_class_labels.txt`,
`classes.txt`, `train_test_split.txt`, `parts/parts.txt`, `parts/part_locs.txt` and `images/`. Compact: one
`images.jsonl`, and `images/`. Coordinates are taken as they stand; parts that are not visible are absent. The
official split is kept.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from partcnn.datasets.annotations import Skips, add_shape, box, check_new, point, text, whole_number
from partcnn.datasets.backgrounds import background_folder
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.paths import check_folder, inner_path, split_places
from partcnn.datasets.readers.cub_archive import read_archive, split_of
from partcnn.datasets.readers.json_files import read_json_lines
from partcnn.datasets.samples import Sample, Shape
from partcnn.foundation.errors import DataError

ALL_BIRDS = "bird"
_INDEX = "images.jsonl"
_KEYS = ("image", "cub_image_id", "class_id", "class_name", "is_train", "parts")


def read_cub(location: str, category: str | None) -> Catalogue:
    """Read whichever layout the folder holds.

    Args:
        location: PATH, or PATH,BACKGROUND with a folder of pictures that show no bird: the data set has none.
        category: "bird": all species as one class against BACKGROUND; without that folder the background has no
            picture, which serves to look and to measure, not to train. A species, "Laysan Albatross" or
            "002.Laysan_Albatross": against BACKGROUND, or without it against the other species. None: the
            species are the classes.

    Raises:
        DataError: a folder or file is missing or malformed, the category is unknown, or BACKGROUND is given
            without a category.
    """
    place, background = split_places(location)
    root = check_folder(place)
    skips = Skips()
    birds = _read_birds(root, skips)
    names = {identifier: _spoken(identifier) for _, identifier in birds}
    if category is None:
        if background:
            raise DataError("spec: a background folder is for one category; give --category bird, or leave it out")
        classes = sorted(names)
        samples = [replace(sample, label=classes.index(name)) for sample, name in birds]
        return Catalogue(samples, classes, part_names(samples), skips=skips)
    wanted = ALL_BIRDS if category == ALL_BIRDS else find_category(category, names)
    objects = [replace(sample, label=1) for sample, name in birds if wanted in (ALL_BIRDS, name)]
    others = [replace(sample, label=0, parts={}) for sample, name in birds if wanted not in (ALL_BIRDS, name)]
    return Catalogue(
        samples=(background_folder(background, skips) if background else others) + objects,
        classes=[BACKGROUND, wanted],
        parts=part_names(objects),
        background=0,
        category=wanted,
        skips=skips,
    )


def _spoken(identifier: str) -> str:
    """ "Laysan Albatross" of "002.Laysan_Albatross"."""
    return identifier.partition(".")[2].replace("_", " ") or identifier


def _read_birds(root: Path, skips: Skips) -> list[tuple[Sample, str]]:
    """Every picture with the identifier of its species."""
    if (root / "images.txt").is_file():
        return read_archive(root, skips)
    if (root / _INDEX).is_file():
        return _read_compact(root, skips)
    raise DataError(f"{root}: expected images.txt (the folder CUB_200_2011 of the archive) or {_INDEX}, found neither")


def _read_compact(root: Path, skips: Skips) -> list[tuple[Sample, str]]:
    birds, known, files = [], dict[Any, str](), dict[Any, str]()
    for place, record in read_json_lines(root / _INDEX, _KEYS):
        image_id = whole_number(record["cub_image_id"], "cub_image_id", place)
        check_new(image_id, known, "cub_image_id", place)
        picture = inner_path(root, record["image"], place)
        check_new(str(picture), files, "image", place)
        corners = record.get("object_box")
        sample = Sample(
            image_path=picture,
            label=0,
            object_box=None if corners is None else box(corners, "object_box", place, skips),
            parts=_points(record["parts"], place, skips),
            image_id=f"cub/{image_id}",
            split=split_of(record["is_train"], place),
        )
        birds.append((sample, text(record["class_name"], "class_name", place)))
    return birds


def _points(values: Any, place: str, skips: Skips) -> dict[str, list[Shape]]:
    """A bird has every part once."""
    if not isinstance(values, list):
        raise DataError(f"{place}: expected parts as a list of objects with part and xy, got {values!r:.80}")
    parts: dict[str, list[Shape]] = {}
    for entry in values:
        xy = entry.get("xy") if isinstance(entry, dict) else None
        if not isinstance(xy, list) or len(xy) != 2:
            raise DataError(f"{place}: expected each part with part and xy, got {entry!r:.80}")
        name = text(entry.get("part"), "part", place)
        add_shape(parts, name, point(xy[0], xy[1], "xy", place), place, skips)
        if len(parts[name]) > 1:
            raise DataError(f"{place}: expected every part once, got {name!r} at two places")
    return parts
