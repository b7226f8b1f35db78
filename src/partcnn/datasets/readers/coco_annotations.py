"""A COCO file as pictures with objects and their parts; `coco` says what is a part."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partcnn.datasets.annotations import Skips, check_new, flag, whole_number
from partcnn.datasets.paths import inner_path
from partcnn.datasets.readers.coco_categories import (
    CocoCategory,
    Placed,
    Roles,
    check_names,
    read_categories,
    roles_of,
)
from partcnn.datasets.readers.coco_masks import is_empty_segmentation, segmentation_mask
from partcnn.datasets.readers.coco_objects import (
    CocoAnnotation,
    CocoImage,
    CocoObject,
    add_objects,
    add_part,
    annotated_box,
)
from partcnn.datasets.readers.json_files import read_json
from partcnn.foundation.errors import DataError

CROWD = "annotations of crowds"


@dataclass(frozen=True)
class CocoFile:
    """What a file holds.

    Args:
        images: with their objects.
        names: of every category, by identifier.
        roles: of those with annotations.
    """

    images: list[CocoImage]
    names: dict[int, str]
    roles: Roles

    @property
    def objects(self) -> list[tuple[CocoImage, CocoObject]]:
        return [(image, one) for image in self.images for one in image.objects]


def read_coco_file(file: Path, root: Path, skips: Skips) -> CocoFile:
    """All pictures and categories.

    Args:
        file: of annotations.
        root: the folder that `file_name` starts from.
        skips: what is left out is counted here.

    Raises:
        DataError: the file is missing or no COCO file, or an entry is malformed or repeats an identifier; the
            message names file and entry.
    """
    data = _read_lists(file)
    categories = read_categories(data["categories"], f"{file}, categories")
    images = _images(data["images"], root, f"{file}, images")
    annotations = list(_annotations(data["annotations"], f"{file}, annotations", images, categories, skips))
    placed = defaultdict[int, list[Placed]](list)
    for one in annotations:
        placed[one.category].append(_placed(one, images[one.image], categories[one.category]))
    roles = roles_of(categories, placed)
    check_names(categories, sorted(placed.keys() - roles.part_of.keys()))
    add_objects([one for one in annotations if one.category not in roles.part_of], images, categories, skips)
    for one in annotations:
        if one.category in roles.part_of:
            add_part(one, images[one.image], categories[one.category].name, roles.part_of[one.category], skips)
    listed = list({id(image): image for image in images.values()}.values())
    return CocoFile(listed, {key: category.name for key, category in categories.items()}, roles)


def _read_lists(file: Path) -> dict[str, list[dict[str, Any]]]:
    data = read_json(file)
    for key in ("images", "annotations", "categories"):
        entries = data.get(key) if isinstance(data, dict) else None
        if not isinstance(entries, list):
            raise DataError(f"{file}: expected a COCO file with a list of objects {key!r}, got none")
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise DataError(f"{file}, {key}, entry {index}: expected an object, got {entry!r:.60}")
    return dict(data)


def _images(entries: list[dict[str, Any]], root: Path, file: str) -> dict[int, CocoImage]:
    """By identifier; a picture that is listed twice is one picture."""
    images: dict[int, CocoImage] = {}
    by_path: dict[Path, CocoImage] = {}
    known: dict[Any, str] = {}
    for index, entry in enumerate(entries):
        place = f"{file}, entry {index}"
        identifier = whole_number(entry.get("id"), "id", place)
        check_new(identifier, known, "id", place)
        size = whole_number(entry.get("height"), "height", place), whole_number(entry.get("width"), "width", place)
        if min(size) < 1:
            raise DataError(f"{place}: expected a height and width of at least 1, got {size[0]} and {size[1]}")
        path = inner_path(root, entry.get("file_name"), place)
        image = by_path.setdefault(path, CocoImage(path, path.relative_to(root).as_posix(), size))
        if image.size != size:
            raise DataError(f"{place}: expected {path.name} in one size, got {size} and before {image.size}")
        images[identifier] = image
    if not images:
        raise DataError(f"{file}: expected at least one picture, got none")
    return images


def _annotations(
    entries: list[dict[str, Any]],
    file: str,
    images: Mapping[int, CocoImage],
    categories: Mapping[int, CocoCategory],
    skips: Skips,
) -> Iterator[CocoAnnotation]:
    known: dict[Any, str] = {}
    for index, entry in enumerate(entries):
        place = f"{file}, entry {index}"
        identifier = whole_number(entry.get("id"), "id", place)
        check_new(identifier, known, "id", place)
        image = whole_number(entry.get("image_id"), "image_id", place)
        category = whole_number(entry.get("category_id"), "category_id", place)
        if image not in images or category not in categories:
            missing = "category_id" if image in images else "image_id"
            raise DataError(f"{place}: expected a {missing} of the file, got {entry.get(missing)!r:.60}")
        if flag(entry.get("iscrowd"), "iscrowd", place):
            skips.add(CROWD, place)
        else:
            yield CocoAnnotation(identifier, image, category, entry, place)


def _placed(one: CocoAnnotation, image: CocoImage, category: CocoCategory) -> Placed:
    """Without a count of what is left out, which is counted later."""
    if one.entry.get("bbox") or category.above is None or is_empty_segmentation(one.entry.get("segmentation")):
        box = annotated_box(one, Skips())
    else:
        mask = segmentation_mask(one.entry["segmentation"], image.size, one.place, Skips())
        box = None if mask is None else mask.box
    return Placed(image.image_id, box, one.entry.get("part_of") is not None)
