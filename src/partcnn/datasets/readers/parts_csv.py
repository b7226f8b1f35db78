"""A table of parts beside one's own pictures.

image,part,x0,y0,x1,y1
cat/felix.jpg,object,12,8,310,220
cat/felix.jpg,head,200,20,290,110
cat/felix.jpg,tail tip,14,33,,

`image` is the path below the folder; pixels count from the picture's upper left edge, x to the right, after the
turn that an EXIF tag asks for. Without x1 and y1 the part is a point. The part `object` is the box of the object.
A part may have several rows; a row that stands twice is an error, and so is a part in two spellings ("Tail", "tail").
"""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from partcnn.datasets.annotations import Skips, box, check_new, point, text
from partcnn.datasets.catalogue import spelling_key
from partcnn.datasets.readers.csv_files import read_csv
from partcnn.datasets.samples import Box, Shape
from partcnn.foundation.errors import DataError

PARTS_FILE = "parts.csv"
HEADER = ("image", "part", "x0", "y0", "x1", "y1")
OBJECT = "object"


@dataclass
class Annotation:
    """What the rows of one picture say."""

    object_box: Box | None = None
    parts: dict[str, list[Shape]] = field(default_factory=dict)


def read_parts_csv(file: Path, images: Collection[str], skips: Skips) -> dict[str, Annotation]:
    """The annotations of each picture, by its path below the folder, with "/".

    Args:
        file: in UTF-8, with the header `image,part,x0,y0,x1,y1`.
        images: the pictures there are.
        skips: boxes without area are counted here.

    Raises:
        DataError: the file cannot be read, its header is another, or a row is malformed, stands twice in whatever
            spelling, gives a second object box, a picture that is not there or a part that is spelt otherwise
            elsewhere; the message names file and line.
    """
    found: dict[str, Annotation] = {}
    known: dict[Any, str] = {}
    spellings: dict[str, tuple[str, str]] = {}
    known_images = {canonical(image): image for image in images}
    for place, (written, part, *corners) in _rows(file):
        image = written if written in images else known_images.get(canonical(written))
        if image is None:
            raise DataError(f"{place}: expected a picture below {file.parent}, found no {written!r} there")
        part = _one_spelling(text(part, "part", place), spellings, place)
        annotation = found.setdefault(image, Annotation())
        if part == OBJECT:
            check_new((image, OBJECT), known, "row", place)
            annotation.object_box = box(corners, "the object", place, skips)
            continue
        is_point = corners[2:] == ["", ""]
        shape = point(corners[0], corners[1], part, place) if is_point else box(corners, part, place, skips)
        if shape is not None:
            check_new((image, part, *shape), known, "row", place)
            annotation.parts.setdefault(part, []).append(shape)
    return found


def canonical(image: str) -> str:
    """A path however it is written: with "./", "//", backslashes, letters and accents apart."""
    return unicodedata.normalize("NFC", PurePosixPath(image.replace("\\", "/")).as_posix())


def _one_spelling(part: str, known: dict[str, tuple[str, str]], place: str) -> str:
    """The part's name, which must be spelt alike in all rows."""
    part = unicodedata.normalize("NFC", part)
    key = spelling_key(part)
    if key == OBJECT:
        return OBJECT
    first, where = known.setdefault(key, (part, place))
    if part != first:
        raise DataError(f"{place}: expected one spelling of a part, got {part!r}, and {first!r} in {where}")
    return part


def _rows(file: Path) -> list[tuple[str, list[str]]]:
    """Every row with its place, the header and empty lines left out."""

    def check(header: list[str]) -> None:
        if tuple(header) != HEADER:
            raise DataError(f"{file}, line 1: expected the header {','.join(HEADER)}, got {','.join(header)[:80]!r}")

    return read_csv(file, check)[1]
