"""A COCO file as pictures with objects and their parts; `coco` says what is a part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partcnn.datasets.annotations import Skips, check_new, number, point, sized_box, text, whole_number
from partcnn.datasets.paths import inner_path
from partcnn.datasets.readers.coco_masks import segmentation_mask
from partcnn.datasets.readers.json_files import read_json
from partcnn.datasets.samples import Box, Shape
from partcnn.foundation.errors import DataError

CROWD = "annotations of crowds"
NO_OBJECT = "parts that belong to no object"
NO_BOX = "annotations without a box"
_VISIBLE = 2


@dataclass
class CocoImage:
    """A picture, and what is annotated on it."""

    path: Path
    image_id: str
    size: tuple[int, int]  # (height, width)
    objects: list["CocoObject"] = field(default_factory=list)
    parts: list[tuple[dict[str, Any], str]] = field(default_factory=list)  # with their places


@dataclass
class CocoObject:
    """An annotated object."""

    annotation_id: int
    category: int
    box: Box
    parts: dict[str, list[Shape]] = field(default_factory=dict)

    @property
    def area(self) -> float:
        return (self.box.x1 - self.box.x0) * (self.box.y1 - self.box.y0)


def read_coco_file(file: Path, root: Path, skips: Skips) -> tuple[list[CocoImage], dict[int, str]]:
    """All pictures, and the names of the object categories by identifier.

    Args:
        file: of annotations.
        root: the folder that `file_name` starts from.
        skips: what is left out is counted here.

    Raises:
        DataError: the file is missing or no COCO file, or an entry is malformed or repeats an identifier; the
            message names file and entry.
    """
    data = _read_lists(file)
    names, keypoints, part_of = _categories(data["categories"], f"{file}, categories")
    images = _images(data["images"], root, f"{file}, images")
    _annotate(data["annotations"], f"{file}, annotations", images, keypoints, part_of, skips)
    for image in images.values():
        _hand_out_parts(image, names, part_of, skips)
    return list(images.values()), {key: name for key, name in names.items() if key not in part_of}


def _read_lists(file: Path) -> dict[str, list[dict[str, Any]]]:
    data = read_json(file)
    for key in ("images", "annotations", "categories"):
        entries = data.get(key) if isinstance(data, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{file}: expected a COCO file with a list of objects {key!r}, got none")
    return dict(data)


def _categories(
    entries: list[dict[str, Any]], file: str
) -> tuple[dict[int, str], dict[int, list[str]], dict[int, str]]:
    """Names, names of key points, and of each part category the category it is a part of."""
    names: dict[int, str] = {}
    keypoints: dict[int, list[str]] = {}
    known: dict[Any, str] = {}
    for index, entry in enumerate(entries):
        place = f"{file}, entry {index}"
        identifier = whole_number(entry.get("id"), "id", place)
        check_new(identifier, known, "id", place)
        names[identifier] = text(entry.get("name"), "name", place)
        points = entry.get("keypoints") or []
        if not isinstance(points, list):
            raise DataError(f"{place}: expected keypoints as a list of names, got {type(points).__name__}")
        keypoints[identifier] = [text(name, "the name of a key point", place) for name in points]
    supers = {whole_number(entry.get("id"), "id", file): entry.get("supercategory") for entry in entries}
    part_of = {
        identifier: whole
        for identifier, whole in supers.items()
        if isinstance(whole, str) and whole in names.values() and whole != names[identifier]
    }
    objects = {name: identifier for identifier, name in names.items() if identifier not in part_of}
    if len(objects) + len(part_of) < len(names):
        raise DataError(f"{file}: expected every object category to have a name of its own, got one twice")
    return names, keypoints, part_of


def _images(entries: list[dict[str, Any]], root: Path, file: str) -> dict[int, CocoImage]:
    images: dict[int, CocoImage] = {}
    known: dict[Any, str] = {}
    for index, entry in enumerate(entries):
        place = f"{file}, entry {index}"
        identifier = whole_number(entry.get("id"), "id", place)
        check_new(identifier, known, "id", place)
        size = whole_number(entry.get("height"), "height", place), whole_number(entry.get("width"), "width", place)
        if min(size) < 1:
            raise DataError(f"{place}: expected a height and width of at least 1, got {size[0]} and {size[1]}")
        path = inner_path(root, entry.get("file_name"), place)
        images[identifier] = CocoImage(path, path.relative_to(root).as_posix(), size)
    if not images:
        raise DataError(f"{file}: expected at least one picture, got none")
    return images


def _annotate(
    entries: list[dict[str, Any]],
    file: str,
    images: Mapping[int, CocoImage],
    keypoints: Mapping[int, list[str]],
    part_of: Mapping[int, str],
    skips: Skips,
) -> None:
    """Put objects, with their key points, and parts on their pictures."""
    known: dict[Any, str] = {}
    for index, entry in enumerate(entries):
        place = f"{file}, entry {index}"
        identifier = whole_number(entry.get("id"), "id", place)
        check_new(identifier, known, "id", place)
        image = images.get(whole_number(entry.get("image_id"), "image_id", place))
        category = whole_number(entry.get("category_id"), "category_id", place)
        if image is None or category not in keypoints:
            missing = "image_id" if image is None else "category_id"
            raise DataError(f"{place}: expected a {missing} of the file, got {entry.get(missing)!r:.60}")
        if entry.get("iscrowd"):
            skips.add(CROWD, place)
        elif category in part_of:
            image.parts.append((entry, place))
        elif entry.get("bbox") is None:
            skips.add(NO_BOX, place)
        else:
            box = sized_box(entry["bbox"], "bbox", place, skips)
            if box is not None:
                points = _visible_points(entry.get("keypoints"), keypoints[category], place)
                image.objects.append(CocoObject(identifier, category, box, points))


def _visible_points(values: Any, names: list[str], place: str) -> dict[str, list[Shape]]:
    if values is None or not names:
        return {}
    if not isinstance(values, list) or len(values) != 3 * len(names):
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise DataError(f"{place}: expected keypoints as {3 * len(names)} numbers, x, y and v of each, got {got}")
    triples = zip(names, values[0::3], values[1::3], values[2::3], strict=True)
    return {name: [point(x, y, name, place)] for name, x, y, v in triples if number(v, f"{name}, v", place) == _VISIBLE}


def _hand_out_parts(image: CocoImage, names: Mapping[int, str], part_of: Mapping[int, str], skips: Skips) -> None:
    for entry, place in image.parts:
        category = int(entry["category_id"])
        shape = _part_shape(entry, image.size, place, skips)
        if shape is None:
            continue
        center = shape.center
        if entry.get("part_of") is not None:
            wanted = whole_number(entry["part_of"], "part_of", place)
            owners = [one for one in image.objects if one.annotation_id == wanted]
        else:
            owners = [
                one
                for one in image.objects
                if names[one.category] == part_of[category]
                and one.box.x0 <= center.x <= one.box.x1
                and one.box.y0 <= center.y <= one.box.y1
            ]
        if not owners:
            skips.add(NO_OBJECT, place)
            continue
        owner = min(owners, key=lambda one: one.area)
        owner.parts.setdefault(names[category], []).append(shape)


def _part_shape(entry: dict[str, Any], size: tuple[int, int], place: str, skips: Skips) -> Shape | None:
    if entry.get("segmentation"):
        return segmentation_mask(entry["segmentation"], size, place, skips)
    if entry.get("bbox") is None:
        skips.add(NO_BOX, place)
        return None
    return sized_box(entry["bbox"], "bbox", place, skips)
