"""The demo set: animals drawn by the package itself, with exact part masks, and no files."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from PIL import Image

from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category
from partcnn.datasets.drawn.drawing import KINDS, draw_animal, draw_background
from partcnn.datasets.drawn.figures import PARTS
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.pictures import CheckedPicture
from partcnn.datasets.samples import Box, MaskShape, Sample, Shape
from partcnn.foundation.errors import DataError

NUM_PICTURES = 200  # of each kind, and of background
_MOST_DIGITS = 6


class DrawnSample(Sample):
    """A sample whose picture is drawn when it is first looked at (some 40 ms), and then kept (some 150 kB).

    Its `image_path` is a name like demo/cat/0007.png; no such file exists.

    Args:
        kind: one of `drawing.KINDS`, or "background".
        index: number of the picture, which is also the seed of its drawing.
        label: index in the classes of the data set.
    """

    def __init__(self, kind: str, index: int, label: int) -> None:
        name = f"{kind}/{index:04d}"
        # object_box and parts, fields of Sample, are properties here
        for field, value in {
            "kind": kind,
            "index": index,
            "label": label,
            "image_path": Path("demo", f"{name}.png"),
            "image_id": name,
        }.items():
            object.__setattr__(self, field, value)

    kind: str
    index: int

    @property
    def object_box(self) -> Box | None:
        return self._drawn[1]

    @property
    def parts(self) -> Mapping[str, list[Shape]]:
        return self._drawn[2]

    def pinned(self) -> "DrawnSample":
        """Itself: there is no file that could change."""
        return self

    def load_image(self) -> Image.Image:
        return self._drawn[0].copy()

    def load_reduced(
        self, resized_to: tuple[int, int], window: tuple[int, int, int, int] | None = None
    ) -> tuple[Image.Image, tuple[int, int]]:
        """As it was drawn: nothing is spared by less."""
        picture = self.load_image() if window is None else self.load_image().crop(window)
        return picture, (picture.height, picture.width)

    def picture_digest(self) -> bytes:
        """Of its pixels: another version of the package may draw otherwise."""
        return hashlib.sha256(self._drawn[0].tobytes()).digest()

    def check_image(self) -> CheckedPicture | None:
        """Nothing to check: there is no file."""

    def __repr__(self) -> str:  # the inherited one would draw the picture
        return f"DrawnSample(kind={self.kind!r}, index={self.index}, label={self.label})"

    @cached_property
    def _drawn(self) -> tuple[Image.Image, Box | None, PackedShapes]:
        """Picture, object box and masks."""
        if self.kind == BACKGROUND:
            return draw_background(self.index), None, PackedShapes({})
        drawing = draw_animal(self.kind, self.index)
        masks = PackedShapes({part: [MaskShape(mask)] for part, mask in drawing.masks.items()})
        return drawing.image, Box(*drawing.object_box), masks


def read_demo(location: str, category: str | None) -> Catalogue:
    """List the pictures of the demo set; each is drawn when it is first looked at.

    Args:
        location: how many pictures of each kind, at least 1; "" takes 200. Picture i is the same in sets of
            any size, and on the same side of the split.
        category: one of `drawing.KINDS`. With it: this animal against as many pictures of the scenery without
            animals. None: all kinds, no background.

    Raises:
        DataError: the location is no count, or the category is unknown.
    """
    indices = range(_count(location))
    if category is None:
        kinds = sorted(KINDS)
        samples: list[Sample] = [DrawnSample(kind, i, kinds.index(kind)) for kind in kinds for i in indices]
        return Catalogue(samples, kinds, sorted(PARTS))
    category = find_category(category, {kind: kind for kind in KINDS})
    samples = [DrawnSample(kind, i, label) for label, kind in enumerate((BACKGROUND, category)) for i in indices]
    return Catalogue(samples, [BACKGROUND, category], sorted(PARTS), background=0, category=category)


def _count(location: str) -> int:
    is_count = location.isdecimal() and len(location) <= _MOST_DIGITS
    count = int(location) if is_count else 0
    if location and count < 1:
        raise DataError(
            f"spec: expected 'demo:' or 'demo:COUNT', COUNT pictures of each kind, at least 1 and below a "
            f"million; got 'demo:{location[:40]}'"
        )
    return count or NUM_PICTURES
