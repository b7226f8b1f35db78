"""Drawn animals on drawn clutter: pictures with exact part masks, and no files to fetch.

`draw_animal("cat", 3)` is the same picture on every machine: all chance comes from a PCG64 generator seeded
with the kind and the seed. (Another release of Pillow may round single pixels along edges differently.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partcnn.datasets.drawn import ANIMALS
from partcnn.datasets.drawn.redrawing import PosedAnimal
from partcnn.datasets.drawn.stage import OCCLUSION_RATE, Corners, developed, generator, paint_back, paint_front
from partcnn.datasets.drawn.things import paint_thing

KINDS = tuple(ANIMALS)  # "bird", "cat", …


@dataclass(frozen=True)
class Drawing:
    """A drawn animal and where it is.

    Attributes:
        image: RGB.
        object_box: x0, y0, x1, y1 of the animal's visible pixels, in continuous pixels: the left edge of the
            picture is 0, x1 and y1 are edges, not the last pixel.
        masks: part name → bool [row, col], the pixels that show the part; disjoint. Hidden parts are absent.
    """

    image: Image.Image
    object_box: Corners
    masks: dict[str, NDArray[np.bool_]]

    @property
    def part_boxes(self) -> dict[str, Corners]:
        """Part name → bounding box of its mask, in the frame of `object_box`."""
        return {part: mask_box(mask) for part, mask in self.masks.items()}


def draw_animal(kind: str, seed: int, size: int = 192) -> Drawing:
    """An animal in a pose, place, colour and light of its own.

    The animal's longer side takes 45 % to 90 % of the picture's. In about a third of the pictures grass, a
    rock, a bush or a tree trunk stands in front of it.

    Args:
        kind: one of `KINDS`.
        seed: 0 or above; one seed, one picture, at any size.
        size: side of the square picture in pixels, at least 32.

    Raises:
        ConfigError: the kind is unknown, the seed negative, or the size too small.
    """
    drawn = PosedAnimal(kind, seed, size).drawn()
    object_box = mask_box(np.logical_or.reduce(list(drawn.masks.values())))
    return Drawing(drawn.image, object_box, {part: drawn.masks[part] for part in drawn.shown})


def draw_background(seed: int, size: int = 192) -> Image.Image:
    """The same clutter without an animal; RGB. Arguments and errors are those of `draw_animal`."""
    rng = generator("background", seed, size)
    width, height = rng.uniform(0.3, 0.8, 2).tolist()
    x0, foot = rng.uniform(0.03, 0.97 - width), rng.uniform(max(height + 0.03, 0.5), 0.97)
    canvas, scene = paint_back(rng, size, foot=foot)
    paint_thing(canvas, rng, scene, x0 + width / 2, foot, rng.uniform(0.25, 0.6))
    if rng.random() < OCCLUSION_RATE:
        paint_front(canvas, rng, scene, (x0, foot - height, x0 + width, foot))
    return developed(canvas, rng)


def mask_box(mask: NDArray[np.bool_]) -> Corners:
    """Bounding box x0, y0, x1, y1 of a mask's pixels, edges included; the mask is not empty."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1)
