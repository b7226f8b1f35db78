"""COCO annotations: one JSON file of images, categories and annotations, as most annotation tools write it.

What is a part:
- a key point: its name stands in the `keypoints` of the object's category; only visible ones (v = 2) count;
- an annotation whose category names another category of the file as its `supercategory`, such as
  {"id": 7, "name": "head", "supercategory": "cat"}: a part of a cat. It belongs to the object whose annotation
  identifier it gives in `part_of`; without that, to the smallest cat of the picture whose box holds its centre.
  Its `segmentation`, polygons or run lengths, becomes a mask; without one its `bbox` is the shape.

All other categories are objects, and a sample is one object in its whole picture. Crowds (`iscrowd`) are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partcnn.datasets.annotations import Skips, check_new, number, point, sized_box, text, whole_number
from partcnn.datasets.backgrounds import evenly_chosen
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.coco_masks import segmentation_mask
from partcnn.datasets.json_files import read_json
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.paths import check_folder, expanded, inner_path
from partcnn.datasets.samples import Box, Sample, Shape
from partcnn.errors import DataError

CROWD = "annotations of crowds"
NO_OBJECT = "parts that belong to no object"
NO_BOX = "annotations without a box"
_VISIBLE = 2


@dataclass
class _Image:
    """A picture, and what is annotated on it."""

    path: Path
    image_id: str
    size: tuple[int, int]  # (height, width)
    objects: list["_Object"] = field(default_factory=list)
    parts: list[tuple[dict[str, Any], str]] = field(default_factory=list)  # with their places


@dataclass
class _Object:
    """An annotated object."""

    annotation_id: int
    category: int
    box: Box
    parts: dict[str, list[Shape]] = field(default_factory=dict)

    @property
    def area(self) -> float:
        return (self.box.x1 - self.box.x0) * (self.box.y1 - self.box.y0)


def read_coco(location: str, category: str | None) -> Catalogue:
    """Read one annotation file.

    Args:
        location: IMAGES,ANNOTATIONS.json: the folder that `file_name` starts from, and the file.
        category: the name or identifier of an object category, against as many of the listed pictures as there
            are objects, none of which shows the category, chosen by hash; their object box is that of their
            largest object. None: the object categories that occur are the classes.

    Raises:
        DataError: the folder or the file is missing, the file is no COCO file, an entry is malformed or repeats an
            identifier, or the category is unknown; the message names file and entry.
    """
    folder, _, file_name = location.rpartition(",")
    if not folder or not file_name:
        raise DataError(f"spec: expected coco:IMAGES,ANNOTATIONS.json, got 'coco:{location}'")
    root, file = check_folder(folder), expanded(file_name)
    data, skips = _read_lists(file), Skips()
    names, keypoints, part_of = _categories(data["categories"], f"{file}, categories")
    images = _images(data["images"], root, f"{file}, images")
    _annotate(data["annotations"], f"{file}, annotations", images, keypoints, part_of, skips)
    for image in images.values():
        _hand_out_parts(image, names, part_of, skips)
    objects = {identifier: name for identifier, name in names.items() if identifier not in part_of}
    if category is None:
        return _all_categories(images, objects, skips)
    wanted = int(find_category(category, {str(identifier): name for identifier, name in objects.items()}))
    positive = [_sample(image, one, 1) for image in images.values() for one in image.objects if one.category == wanted]
    others = [_other(image) for image in images.values() if all(one.category != wanted for one in image.objects)]
    return Catalogue(
        samples=evenly_chosen(others, len(positive)) + positive,
        classes=[BACKGROUND, objects[wanted]],
        parts=part_names(positive),
        background=0,
        category=objects[wanted],
        skips=skips,
    )


def _all_categories(images: Mapping[int, _Image], names: Mapping[int, str], skips: Skips) -> Catalogue:
    present = sorted({one.category for image in images.values() for one in image.objects}, key=lambda key: names[key])
    samples = [_sample(image, one, present.index(one.category)) for image in images.values() for one in image.objects]
    return Catalogue(samples, [names[identifier] for identifier in present], part_names(samples), skips=skips)


def _sample(image: _Image, one: _Object, label: int) -> Sample:
    return Sample(image.path, label, one.box, PackedShapes(one.parts), image.image_id, size=image.size)


def _other(image: _Image) -> Sample:
    largest = max(image.objects, key=lambda one: one.area, default=None)
    return Sample(image.path, 0, None if largest is None else largest.box, {}, image.image_id, size=image.size)


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


def _images(entries: list[dict[str, Any]], root: Path, file: str) -> dict[int, _Image]:
    images: dict[int, _Image] = {}
    known: dict[Any, str] = {}
    for index, entry in enumerate(entries):
        place = f"{file}, entry {index}"
        identifier = whole_number(entry.get("id"), "id", place)
        check_new(identifier, known, "id", place)
        size = whole_number(entry.get("height"), "height", place), whole_number(entry.get("width"), "width", place)
        if min(size) < 1:
            raise DataError(f"{place}: expected a height and width of at least 1, got {size[0]} and {size[1]}")
        path = inner_path(root, entry.get("file_name"), place)
        images[identifier] = _Image(path, path.relative_to(root).as_posix(), size)
    if not images:
        raise DataError(f"{file}: expected at least one picture, got none")
    return images


def _annotate(
    entries: list[dict[str, Any]],
    file: str,
    images: Mapping[int, _Image],
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
                image.objects.append(_Object(identifier, category, box, points))


def _visible_points(values: Any, names: list[str], place: str) -> dict[str, list[Shape]]:
    if values is None or not names:
        return {}
    if not isinstance(values, list) or len(values) != 3 * len(names):
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise DataError(f"{place}: expected keypoints as {3 * len(names)} numbers, x, y and v of each, got {got}")
    triples = zip(names, values[0::3], values[1::3], values[2::3], strict=True)
    return {name: [point(x, y, name, place)] for name, x, y, v in triples if number(v, f"{name}, v", place) == _VISIBLE}


def _hand_out_parts(image: _Image, names: Mapping[int, str], part_of: Mapping[int, str], skips: Skips) -> None:
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
