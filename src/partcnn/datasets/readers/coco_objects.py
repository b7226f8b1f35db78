"""Annotations of a COCO file put on their pictures: objects with key points, and parts of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partcnn.datasets.annotations import DOUBLED, Skips, add_shape, number, point, sized_box, whole_number
from partcnn.datasets.readers.coco_categories import CocoCategory, is_within
from partcnn.datasets.readers.coco_masks import is_empty_segmentation, segmentation_mask
from partcnn.datasets.samples import Box, Point, Shape
from partcnn.foundation.errors import DataError

NO_OBJECT = "parts that belong to no object"
NO_BOX = "annotations without a box"
NO_NAME = "objects whose key points have no names in their category"
HIDDEN = "objects whose key points are all marked as hidden (v = 1), as in the whole file"
_LABELLED, _VISIBLE = 1, 2


@dataclass
class CocoObject:
    """An annotated object; `annotation_ids` are several where it was annotated twice."""

    annotation_ids: set[int]
    category: int
    box: Box
    parts: dict[str, list[Shape]]
    place: str

    @property
    def area(self) -> float:
        return (self.box.x1 - self.box.x0) * (self.box.y1 - self.box.y0)


@dataclass
class CocoImage:
    """A picture, and the objects on it."""

    path: Path
    image_id: str
    size: tuple[int, int]  # (height, width)
    objects: list[CocoObject] = field(default_factory=list)


@dataclass(frozen=True)
class CocoAnnotation:
    """An entry, read as far as every annotation has it."""

    identifier: int
    image: int
    category: int
    entry: dict[str, Any]
    place: str


def annotated_box(one: CocoAnnotation, skips: Skips) -> Box | None:
    if one.entry.get("bbox") in (None, []):
        skips.add(NO_BOX, one.place)
        return None
    return sized_box(one.entry["bbox"], "bbox", one.place, skips)


def add_objects(
    annotations: Sequence[CocoAnnotation],
    images: Mapping[int, CocoImage],
    categories: Mapping[int, CocoCategory],
    skips: Skips,
) -> None:
    hidden, is_any_visible = [], False
    for one in annotations:
        box = annotated_box(one, skips)
        if box is None:
            continue
        points, has_hidden = _visible_points(one, categories[one.category].keypoints, skips)
        _add_object(CocoObject({one.identifier}, one.category, box, points, one.place), images[one.image], skips)
        is_any_visible = is_any_visible or bool(points)
        hidden += [one.place] if has_hidden else []
    for place in [] if is_any_visible else hidden:
        skips.add(HIDDEN, place)


def _visible_points(one: CocoAnnotation, names: list[str], skips: Skips) -> tuple[dict[str, list[Shape]], bool]:
    """The key points that are seen, and whether others are labelled that are not."""
    values = one.entry.get("keypoints")
    if values is None or values == []:
        return {}, False
    if not names:
        if isinstance(values, list) and any(values):
            skips.add(NO_NAME, one.place)
        return {}, False
    if not isinstance(values, list) or len(values) != 3 * len(names):
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise DataError(f"{one.place}: expected keypoints as {3 * len(names)} numbers, x, y and v of each, got {got}")
    triples = list(zip(names, values[0::3], values[1::3], values[2::3], strict=True))
    marks = [number(v, f"{name}, v", one.place) for name, _, _, v in triples]
    seen = [triple for triple, mark in zip(triples, marks, strict=True) if mark == _VISIBLE]
    return {name: [point(x, y, name, one.place)] for name, x, y, _ in seen}, _LABELLED in marks


def _add_object(added: CocoObject, image: CocoImage, skips: Skips) -> None:
    """The same object annotated again is one, with the key points of either."""
    for one in image.objects:
        is_same = (one.category, one.box) == (added.category, added.box)
        if is_same and (one.parts == added.parts or not one.parts or not added.parts):
            one.annotation_ids |= added.annotation_ids
            one.parts = one.parts or added.parts
            skips.add(DOUBLED, added.place)
            return
    image.objects.append(added)


def add_part(one: CocoAnnotation, image: CocoImage, name: str, whole: int, skips: Skips) -> None:
    shape = _part_shape(one, image.size, skips)
    if shape is None:
        return
    if one.entry.get("part_of") is not None:
        wanted = whole_number(one.entry["part_of"], "part_of", one.place)
        owners = [owner for owner in image.objects if wanted in owner.annotation_ids]
    else:
        center = shape.center
        owners = [owner for owner in image.objects if owner.category == whole and is_within(center, owner.box)]
    if not owners:
        skips.add(NO_OBJECT, one.place)
        return
    parts = min(owners, key=lambda owner: owner.area).parts
    if any(isinstance(known, Point) for known in parts.get(name, [])):  # a key point of the same name
        skips.add(DOUBLED, f"{one.place}, {name}")
        parts[name] = []
    add_shape(parts, name, shape, one.place, skips)


def _part_shape(one: CocoAnnotation, size: tuple[int, int], skips: Skips) -> Shape | None:
    segmentation = one.entry.get("segmentation")
    if is_empty_segmentation(segmentation):
        return annotated_box(one, skips)
    return segmentation_mask(segmentation, size, one.place, skips)
