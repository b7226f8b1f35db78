"""What every reader does with a box, a number or an identifier that cannot be right.

A value that no annotation can have (no number, nan, a negative size, an identifier given twice) is an error: the
file is damaged or is not what it is taken for. What real data sets have here and there (a box without area, a
part outside its picture) is left out and counted.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from partcnn.datasets.samples import Box, MaskShape, Point, Shape
from partcnn.foundation.errors import DataError

NO_AREA = "boxes without area"
DOUBLED = "annotations that stand twice"
_MOST_DIGITS = 40  # of an identifier; Python refuses to read thousands of them
_FLAGS = {None: False, "": False, "0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


class Skips:
    """What was left out: reason → the places."""

    def __init__(self) -> None:
        self.places: dict[str, list[str]] = {}

    def add(self, reason: str, place: str) -> None:
        self.places.setdefault(reason, []).append(place)

    def counts(self) -> dict[str, int]:
        return {reason: len(places) for reason, places in self.places.items()}

    def sentences(self) -> list[str]:
        """One line for each reason, with its first place."""
        return [f"{len(places)} {reason}, the first: {places[0]}" for reason, places in self.places.items()]


def number(value: Any, what: str, place: str) -> float:
    """A finite number, also written as text.

    Raises:
        DataError: it is none; the message names `what` and `place`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{place}: expected a finite number for {what}, got {_shown(value)}")
    return found


def whole_number(value: Any, what: str, place: str) -> int:
    """An integer, also written as text.

    Raises:
        DataError: it is none.
    """
    if (isinstance(value, int) and not isinstance(value, bool)) or _is_digits(value):
        return int(value)  # identifiers may have more digits than a float
    found = number(value, what, place)
    if found != int(found):
        raise DataError(f"{place}: expected a whole number for {what}, got {_shown(value)}")
    return int(found)


def flag(value: Any, what: str, place: str) -> bool:
    """Yes or no, also as a number or as text; nothing is no.

    Raises:
        DataError: it is neither.
    """
    key = value if value is None else str(value).strip().lower()
    if key not in _FLAGS:
        raise DataError(f"{place}: expected 0 or 1 for {what}, got {_shown(value)}")
    return _FLAGS[key]


def box(corners: Iterable[Any], what: str, place: str, skips: Skips) -> Box | None:
    """A box of x0, y0, x1, y1; None, and counted, where it has no area.

    Raises:
        DataError: a corner is no finite number, or x1 < x0 or y1 < y0.
    """
    x0, y0, x1, y1 = (number(value, f"{what}, {name}", place) for value, name in _named(corners, what, place))
    if x1 < x0 or y1 < y0:
        raise DataError(f"{place}: expected x1 ≥ x0 and y1 ≥ y0 for {what}, got [{x0:g}, {y0:g}, {x1:g}, {y1:g}]")
    if x1 == x0 or y1 == y0:
        skips.add(NO_AREA, f"{place}, {what}")
        return None
    return Box(x0, y0, x1, y1)


def sized_box(values: Iterable[Any], what: str, place: str, skips: Skips) -> Box | None:
    """A box of x, y, width, height; None, and counted, where it has no area.

    Raises:
        DataError: a value is no finite number, or a size is negative.
    """
    x, y, width, height = (number(value, what, place) for value, _ in _named(values, what, place))
    if width < 0 or height < 0:
        raise DataError(f"{place}: expected a width and height of at least 0 for {what}, got {width:g} × {height:g}")
    return box((x, y, x + width, y + height), what, place, skips)


def point(x: Any, y: Any, what: str, place: str) -> Point:
    """A point.

    Raises:
        DataError: a coordinate is no finite number.
    """
    return Point(number(x, f"{what}, x", place), number(y, f"{what}, y", place))


def add_shape(parts: dict[str, list[Shape]], name: str, shape: Shape, place: str, skips: Skips) -> None:
    """Give a part one shape more; the same one again is counted: of a part with two shapes no landmark is known."""
    shapes = parts.setdefault(name, [])
    if any(_is_same(shape, other) for other in shapes):
        skips.add(DOUBLED, f"{place}, {name}")
    else:
        shapes.append(shape)


def text(value: Any, what: str, place: str) -> str:
    """Text that is not empty and could name a file: no zero bytes, no half of a surrogate pair.

    Raises:
        DataError: it is none.
    """
    if not isinstance(value, str) or not value or not _is_utf8(value):
        raise DataError(f"{place}: expected text for {what}, got {_shown(value)}")
    return value


def check_new(key: Any, known: dict[Any, str], what: str, place: str) -> None:
    """Note where an identifier was given.

    Raises:
        DataError: it was given before.
    """
    if key in known:
        raise DataError(f"{place}: expected every {what} once, got {_shown(key)} again, first in {known[key]}")
    known[key] = place


def _is_same(shape: Shape, other: Shape) -> bool:
    if isinstance(shape, MaskShape) and isinstance(other, MaskShape):
        return np.array_equal(shape.mask, other.mask)
    return type(shape) is type(other) and shape == other


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.strip().isdecimal() and len(value) <= _MOST_DIGITS


def _named(values: Iterable[Any], what: str, place: str) -> list[tuple[Any, str]]:
    names = ("x0", "y0", "x1", "y1")
    try:
        found = list(values)
    except TypeError:
        found = []
    if isinstance(values, (str, dict)) or len(found) != len(names):
        raise DataError(f"{place}: expected four numbers for {what}, got {_shown(values)}")
    return list(zip(found, names, strict=True))


def _is_utf8(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _shown(value: Any, most: int = 60) -> str:
    shown = repr(value)
    return shown if len(shown) <= most else shown[:most] + "…"
