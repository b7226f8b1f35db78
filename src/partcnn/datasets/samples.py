"""One picture of a data set: where it lies, what it shows, and where its parts are.

Points and boxes are (x, y) and xyxy in continuous pixels of the picture as `load_image` returns it: the left
edge is x = 0, the right edge x = width, the middle of the first pixel 0.5.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from partcnn.datasets.pictures import CheckedPicture, check_picture, file_digest, read_picture, read_reduced
from partcnn.foundation.errors import DataError
from partcnn.foundation.files import file_state


class Point(NamedTuple):
    """A place in a picture, in continuous pixels."""

    x: float
    y: float

    @property
    def center(self) -> "Point":
        return self


class Box(NamedTuple):
    """A rectangle in continuous pixels; x1 and y1 are edges, not the last pixel."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def center(self) -> Point:
        return Point((self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2)


@dataclass(frozen=True, eq=False)
class MaskShape:
    """The pixels of a part.

    Args:
        mask: bool array [row, col] of the size of the picture, true in at least one pixel.

    Raises:
        DataError: the mask is not two-dimensional and bool, or is empty.
    """

    mask: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise DataError(f"mask: expected a bool array [row, col], got {self.mask.dtype} of shape {self.mask.shape}")
        if not self.mask.any():
            raise DataError("mask: expected at least one true pixel; leave a part that is not visible out")

    @property
    def box(self) -> Box:
        """The smallest box around the mask's pixels."""
        rows = np.flatnonzero(self.mask.any(axis=1))
        cols = np.flatnonzero(self.mask.any(axis=0))
        return Box(float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1))

    @property
    def center(self) -> Point:
        """The centre of `box`, not the centroid: the paper's landmark is the centre of the part box."""
        return self.box.center


Shape: TypeAlias = Box | Point | MaskShape
Label: TypeAlias = int | frozenset[int]  # of a multi-label task: the classes that a picture shows


@dataclass(frozen=True)
class Sample:
    """One picture with its label and annotations.

    Args:
        image_path: the picture's file. A drawn picture has none; its path is only its name.
        label: index in the classes of the data set; in a multi-label task the set of them, which may be empty.
        object_box: around the object; None where it is not annotated or the picture is background.
        parts: the shapes of each part, by the part's name. A part may have several; one that is not visible
            has no entry.
        image_id: the source photograph, shared by its crops. The split is hashed from it.
        split: "train" or "test" where the data set has a split of its own; None: hashed from `image_id`.
        size: (height, width) of the picture that the annotations were made on, where the data set says it.
        checked: what `check_image` found, where the data set was checked: its file is then not hashed again.
        pinned_digest: see `pinned`.
    """

    image_path: Path
    label: Label
    object_box: Box | None
    parts: Mapping[str, list[Shape]] = field(hash=False)
    image_id: str
    split: str | None = None
    size: tuple[int, int] | None = None
    checked: CheckedPicture | None = field(default=None, compare=False, repr=False)
    pinned_digest: bytes | None = field(default=None, compare=False, repr=False, kw_only=True)

    def pinned(self) -> "Sample":
        """The same picture, held to the bytes that its file has now: of others loading it is a `PictureChangedError`.

        What is kept under the name of a digest is then made of the bytes that have it.

        Raises:
            DataError: the file cannot be read.
        """
        other = copy.copy(self)
        object.__setattr__(other, "pinned_digest", self.picture_digest())
        return other

    @property
    def labels(self) -> tuple[int, ...]:
        """Of all classes that the picture shows, ascending: one, or in a multi-label task any number."""
        return tuple(sorted(self.label)) if isinstance(self.label, frozenset) else (self.label,)

    def with_label(self, label: Label) -> "Sample":
        """The same picture under another number."""
        other = copy.copy(self)
        object.__setattr__(other, "label", label)  # not `replace`: a subclass may be made of other fields
        return other

    def load_image(self) -> Image.Image:
        """The picture in RGB, turned as its EXIF tag asks.

        Raises:
            DataError: the file cannot be read.
        """
        return read_picture(self.image_path, self.pinned_digest)

    def load_reduced(
        self, resized_to: tuple[int, int], window: tuple[int, int, int, int] | None = None
    ) -> tuple[Image.Image, tuple[int, int]]:
        """The picture, or a window of it, to be resized to (height, width): perhaps smaller, see `read_reduced`.

        Returns:
            The picture, and its (height, width) in the frame of the annotations.

        Raises:
            DataError: the file cannot be read.
        """
        return read_reduced(self.image_path, resized_to, window, self.pinned_digest)

    def picture_digest(self) -> bytes:
        """A hash of what is in the picture's file, whatever its name and date.

        That of the check, where the file did not change since.

        Raises:
            DataError: the file cannot be read.
        """
        if self.pinned_digest is not None:
            return self.pinned_digest
        if self.checked is not None and self.checked.state == file_state(self.image_path):
            return self.checked.digest
        return file_digest(self.image_path)

    def check_image(self) -> CheckedPicture | None:
        """Decode the picture and throw the pixels away, faster than `load_image`.

        Returns:
            Its size and digest; None where there is no file to check.

        Raises:
            DataError: the file cannot be read.
        """
        return check_picture(self.image_path)

    def landmark(self, part: str) -> Point | None:
        """The centre of the part's shape; None where the part is absent or has more than one shape.

        The authors' protocol leaves out pictures with several boxes of one part: which of them a filter
        should follow is undefined.
        """
        shapes = self.parts.get(part, [])
        return shapes[0].center if len(shapes) == 1 else None
