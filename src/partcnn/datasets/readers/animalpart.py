"""ILSVRC 2013 DET Animal-Part, the data set of the paper: animals with head and leg boxes, in either layout.

Compact: `images.jsonl` with one object per picture, `images/`, and `background/` with pictures that show none of
the animals. A picture is a crop already; the object box lies inside it. Original: see `animalpart_original`.
"""

from pathlib import Path
from typing import Any

from partcnn.datasets.annotations import Skips, add_shape, box, check_new, text
from partcnn.datasets.backgrounds import background_folder
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.paths import check_folder, inner_path
from partcnn.datasets.readers.animalpart_original import FOLDERS, read_original
from partcnn.datasets.readers.json_files import read_json_lines
from partcnn.datasets.samples import Sample, Shape
from partcnn.foundation.errors import DataError

_INDEX = "images.jsonl"
_KEYS = ("image", "wnid", "category", "imagenet_id", "parts")


def read_animalpart(location: str, category: str | None) -> Catalogue:
    """Read whichever layout the folder holds.

    Args:
        location: the folder that holds `images.jsonl`, or `detanimalpart` and `interpretableCNN`.
        category: a name ("bird"), an identifier ("n01503061") or a word that only one name has ("cat").
            With it: the category against the background pictures. None: all categories, no background.

    Raises:
        DataError: the folder holds neither layout or a malformed one, it has no background pictures, or the
            category is unknown or ambiguous.
    """
    root = check_folder(location)
    if (root / _INDEX).is_file():
        return _read_compact(root, category)
    if all((root / folder).is_dir() for folder in FOLDERS):
        return read_original(root, category)
    raise DataError(
        f"{root}: expected the Animal-Part file {_INDEX} in this folder, found none; nor the folders "
        f"{' and '.join(FOLDERS)} of the authors' layout"
    )


def _read_compact(root: Path, category: str | None) -> Catalogue:
    records = read_json_lines(root / _INDEX, _KEYS)
    names: dict[str, str] = {}
    known: dict[Any, str] = {}
    for place, record in records:
        check_new(str(inner_path(root, record["image"], place)), known, "image", place)
        wnid, name = text(record["wnid"], "wnid", place), text(record["category"], "category", place)
        if names.setdefault(wnid, name) != name:
            raise DataError(f"{place}: expected {wnid} with one category, got {name!r} and before {names[wnid]!r}")
    skips = Skips()
    if category is None:
        classes = sorted(set(names.values()))
        samples = [
            _read_sample(root, record, classes.index(names[record["wnid"]]), place, skips) for place, record in records
        ]
        return Catalogue(samples, classes, part_names(samples), skips=skips)
    wnid = find_category(category, names, is_word_enough=True)
    objects = [_read_sample(root, record, 1, place, skips) for place, record in records if record["wnid"] == wnid]
    return Catalogue(
        samples=background_folder(root / "background", skips) + objects,
        classes=[BACKGROUND, names[wnid]],
        parts=part_names(objects),
        background=0,
        category=names[wnid],
        skips=skips,
    )


def _read_sample(root: Path, record: dict[str, Any], label: int, place: str, skips: Skips) -> Sample:
    image = inner_path(root, record["image"], place)
    place = f"{place} ({record['image']})"
    parts: dict[str, list[Shape]] = {}
    for entry in _entries(record["parts"], place):
        found = box(entry["box"], "boxes [x0, y0, x1, y1]", place, skips)
        if found is not None:
            add_shape(parts, text(entry["part"], "part", place), found, place, skips)
    corners = record.get("object_box")
    return Sample(
        image_path=image,
        label=label,
        object_box=None if corners is None else box(corners, "object_box", place, skips),
        parts=parts,
        image_id=text(record["imagenet_id"], "imagenet_id", place),  # the photograph: several crops may come from one
    )


def _entries(values: Any, place: str) -> list[dict[str, Any]]:
    is_right = isinstance(values, list) and all(
        isinstance(one, dict) and {"part", "box"} <= one.keys() for one in values
    )
    if not is_right:
        raise DataError(f"{place}: expected parts as a list of objects with part and box, got {values!r:.80}")
    return list(values)
