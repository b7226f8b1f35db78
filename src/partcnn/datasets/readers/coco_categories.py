"""The categories of a COCO file: which are objects, which are parts of one, and which only group others.

A `supercategory` that names another category says "part of" in some files and "is a" in others: of a head, the cat;
of a cat, the root "animals" that an exporter added. What is annotated tells them apart.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from partcnn.datasets.annotations import check_new, text, whole_number
from partcnn.datasets.samples import Box, Point
from partcnn.foundation.errors import DataError


@dataclass(frozen=True)
class CocoCategory:
    """One entry of the list."""

    name: str
    keypoints: list[str]
    above: int | None  # the category that its `supercategory` names
    place: str


@dataclass(frozen=True)
class Roles:
    """What the categories with annotations are.

    Args:
        part_of: part category → the category of the objects that it is a part of.
        members: category → the object categories that are kinds of it.
    """

    part_of: dict[int, int] = field(default_factory=dict)
    members: dict[int, set[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Placed:
    """What decides whether an annotation is one of a part."""

    image: str
    box: Box | None  # None where it has none
    says_part_of: bool

    @property
    def center(self) -> Point | None:
        return self.box and self.box.center


def read_categories(entries: Sequence[dict[str, Any]], file: str) -> dict[int, CocoCategory]:
    """By identifier.

    Raises:
        DataError: an entry is malformed, repeats an identifier, or names a key point twice; the message names it.
    """
    known: dict[Any, str] = {}
    names: dict[int, str] = {}
    for index, entry in enumerate(entries):
        place = f"{file}, entry {index}"
        identifier = whole_number(entry.get("id"), "id", place)
        check_new(identifier, known, "id", place)
        names[identifier] = text(entry.get("name"), "name", place)
    above = {name: identifier for identifier, name in reversed(names.items())}  # the first of a name
    found = {}
    for (identifier, name), entry in zip(names.items(), entries, strict=True):
        whole = entry.get("supercategory")
        group = above.get(whole) if isinstance(whole, str) and whole != name else None
        keypoints = _keypoint_names(entry.get("keypoints"), known[identifier])
        found[identifier] = CocoCategory(name, keypoints, group, known[identifier])
    return found


def roles_of(categories: Mapping[int, CocoCategory], placed: Mapping[int, Sequence[Placed]]) -> Roles:
    """Which annotated categories are parts of the nearest annotated one above, and which are kinds of those above.

    Parts are those of which an annotation says `part_of`, or of which at least half lie with their centres in boxes of
    that category. A category without annotations has no parts: it only groups others.

    Args:
        categories: of the file.
        placed: the annotations of each category.
    """
    part_of = {}
    for identifier in placed:
        whole = next((one for one in _above(identifier, categories) if one in placed), None)
        if whole is not None and _are_parts(placed[identifier], placed[whole]):
            part_of[identifier] = whole
    members = defaultdict[int, set[int]](set)
    for identifier in placed.keys() - part_of.keys():
        for group in _above(identifier, categories):
            members[group].add(identifier)
    return Roles({part: _top(whole, part_of) for part, whole in part_of.items()}, dict(members))


def check_names(categories: Mapping[int, CocoCategory], objects: Sequence[int]) -> None:
    """Raises DataError where two categories of objects have one name."""
    known: dict[Any, str] = {}
    for identifier in objects:
        check_new(categories[identifier].name, known, "category with objects", categories[identifier].place)


def _keypoint_names(values: Any, place: str) -> list[str]:
    if not isinstance(values or [], list):
        raise DataError(f"{place}: expected keypoints as a list of names, got {type(values).__name__}")
    known: dict[Any, str] = {}
    for value in values or []:
        check_new(text(value, "the name of a key point", place), known, "key point", place)
    return list(values or [])


def _above(identifier: int, categories: Mapping[int, CocoCategory]) -> Iterator[int]:
    """The categories above, the nearest first; a damaged file may name them in circles."""
    seen = {identifier}
    above = categories[identifier].above
    while above is not None and above not in seen:
        yield above
        seen.add(above)
        above = categories[above].above


def _are_parts(parts: Sequence[Placed], wholes: Sequence[Placed]) -> bool:
    if any(one.says_part_of for one in parts):
        return True
    boxes = defaultdict[str, list[Box]](list)
    for whole in wholes:
        if whole.box is not None:
            boxes[whole.image].append(whole.box)
    counted = [one for one in parts if one.box is not None]
    inside = [one for one in counted if any(_holds(box, one) for box in boxes[one.image])]
    return bool(counted) and 2 * len(inside) >= len(counted)


def _holds(box: Box, part: Placed) -> bool:
    """Whether a part lies in the box; what has the very same box is a second name for the object."""
    center = part.center
    return center is not None and part.box != box and is_within(center, box)


def is_within(point: Point, box: Box) -> bool:
    return box.x0 <= point.x <= box.x1 and box.y0 <= point.y <= box.y1


def _top(whole: int, part_of: Mapping[int, int]) -> int:
    """The object above parts of parts."""
    seen = {whole}
    while (above := part_of.get(whole)) is not None and above not in seen:
        whole = above
        seen.add(whole)
    return whole
