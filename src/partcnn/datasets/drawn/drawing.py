"""Drawn animals on drawn clutter: pictures with exact part masks, and no files to fetch.

`draw_animal("cat", 3)` is the same picture on every machine: all chance comes from a PCG64 generator seeded
with the kind and the seed. (Another release of Pillow may round single pixels along edges differently.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partcnn.datasets.drawn import ANIMALS
from partcnn.datasets.drawn.canvas import Canvas, noise
from partcnn.datasets.drawn.curves import Form, ellipse, moved
from partcnn.datasets.drawn.figures import PARTS, Piece, assembled, extent
from partcnn.datasets.drawn.scenery import Scene, paint_land
from partcnn.datasets.drawn.things import paint_bush, paint_grass, paint_rock, paint_thing, paint_trunk
from partcnn.foundation.errors import ConfigError

KINDS = tuple(ANIMALS)  # "bird", "cat", …
SMALLEST_SIZE = 32
MIN_VISIBLE = 0.15  # a part that shows less of its drawn area than this is absent
MAX_TURN = 0.3  # radians, either way
EXTENT = (0.45, 0.9)  # longer side of the animal, as a share of the picture's side
OCCLUSION_RATE = 0.36  # pictures with something in front

Corners = tuple[float, float, float, float]


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
    if kind not in KINDS:
        raise ConfigError(f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
    rng = _generator(kind, seed, size)
    pieces, shadow, box = _place(rng, ANIMALS[kind](rng))
    canvas, scene = _paint_back(rng, size, foot=box[3])
    canvas.shade(shadow, strength=0.5, blur=0.02)
    for piece in pieces:
        canvas.paint(piece.form, piece.paint, part=piece.part, hides=piece.part is not None)
    if rng.random() < OCCLUSION_RATE:
        _paint_front(canvas, rng, scene, box)
    masks = {part: canvas.visible[part] > 0.5 for part in PARTS}
    object_box = mask_box(np.logical_or.reduce(list(masks.values())))
    shown = {part: mask for part, mask in masks.items() if _is_shown(canvas, part) and mask.any()}
    return Drawing(_developed(canvas, rng), object_box, shown)


def draw_background(seed: int, size: int = 192) -> Image.Image:
    """The same clutter without an animal; RGB. Arguments and errors are those of `draw_animal`."""
    rng = _generator("background", seed, size)
    width, height = rng.uniform(0.3, 0.8, 2).tolist()
    x0, foot = rng.uniform(0.03, 0.97 - width), rng.uniform(max(height + 0.03, 0.5), 0.97)
    canvas, scene = _paint_back(rng, size, foot=foot)
    paint_thing(canvas, rng, scene, x0 + width / 2, foot, rng.uniform(0.25, 0.6))
    if rng.random() < OCCLUSION_RATE:
        _paint_front(canvas, rng, scene, (x0, foot - height, x0 + width, foot))
    return _developed(canvas, rng)


def mask_box(mask: NDArray[np.bool_]) -> Corners:
    """Bounding box x0, y0, x1, y1 of a mask's pixels, edges included; the mask is not empty."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1)


def _generator(kind: str, seed: int, size: int) -> np.random.Generator:
    if seed < 0:
        raise ConfigError(f"seed: expected an integer of at least 0, got {seed}")
    if size < SMALLEST_SIZE:
        raise ConfigError(f"size: expected at least {SMALLEST_SIZE} pixels, got {size}")
    return np.random.Generator(np.random.PCG64([seed, *kind.encode()]))  # hash() differs from run to run


def _place(rng: np.random.Generator, pieces: list[Piece]) -> tuple[list[Piece], Form, Corners]:
    """Turn the animal by up to 17°, mirror it or not, put it somewhere into the unit frame; with its shadow."""
    angle, mirrored = rng.uniform(-MAX_TURN, MAX_TURN), bool(rng.random() < 0.5)
    standing = extent(piece for piece in pieces if piece.part in ("body", "legs"))
    middle, reach = (standing[0] + standing[2]) / 2, (standing[2] - standing[0]) / 2
    shadow = moved(ellipse(middle, 0.0, reach, 0.05), angle=angle, mirrored=mirrored)
    pieces = assembled(pieces, angle=angle, mirrored=mirrored)
    x0, y0, x1, y1 = extent(pieces)
    scale = rng.uniform(*EXTENT) / max(x1 - x0, y1 - y0)
    width, height = scale * (x1 - x0), scale * (y1 - y0)
    left = rng.uniform(0.02, 0.98 - width)
    foot = rng.uniform(max(height + 0.02, 0.5), 0.98)
    to = (left - scale * x0, foot - scale * y1)
    return (
        assembled(pieces, scale=scale, to=to),
        moved(shadow, scale=scale, to=to),
        (left, foot - height, left + width, foot),
    )


def _paint_back(rng: np.random.Generator, size: int, *, foot: float) -> tuple[Canvas, Scene]:
    """Land and things behind; the horizon lies above the animal's feet."""
    light = rng.uniform(-1, 1)
    canvas = Canvas(size, PARTS, light=light, grain=noise(rng, size, cells=(12, 12), octaves=4, persistence=0.7))
    horizon = rng.uniform(0.2, min(foot - 0.06, 0.62))
    scene = paint_land(canvas, rng, horizon)
    depths = np.sort(rng.uniform(0.0, 1.0, rng.integers(3, 8)))
    for depth in depths.tolist():
        y = horizon + depth * (foot - horizon)  # what stands lower would be in front of the animal
        paint_thing(canvas, rng, scene, rng.uniform(-0.05, 1.05), y, rng.uniform(0.1, 0.2) + 0.25 * depth)
    return canvas, scene


def _paint_front(canvas: Canvas, rng: np.random.Generator, scene: Scene, box: Corners) -> None:
    """Something before the animal that hides a share of it."""
    x0, y0, x1, foot = box
    width, height = x1 - x0, foot - y0
    choice = rng.integers(4)
    x = rng.uniform(x0 + 0.1 * width, x1 - 0.1 * width)
    if choice == 0:
        paint_trunk(canvas, rng, x, rng.uniform(0.035, 0.035 + 0.06 * width))
    elif choice == 1:
        for place in np.linspace(x0, x1, 4).tolist():
            paint_grass(canvas, rng, scene, place, foot + 0.03, height * rng.uniform(0.45, 0.8))
    else:
        painter = paint_rock if choice == 2 else paint_bush
        painter(canvas, rng, scene, x, foot + 0.03, min(0.65 * height, 0.6 * width))


def _is_shown(canvas: Canvas, part: str) -> bool:
    return bool(canvas.visible[part].sum() >= MIN_VISIBLE * canvas.drawn[part].sum())


def _developed(canvas: Canvas, rng: np.random.Generator) -> Image.Image:
    """The picture in its light: brightness, contrast, tint, darker corners and a little camera noise."""
    size, pixels = canvas.size, canvas.pixels
    gain, contrast = rng.uniform(0.85, 1.2), rng.uniform(0.9, 1.2)
    tint = (gain * (1 + rng.normal(0, 0.035, 3))).astype(np.float32)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    side = rng.uniform(-0.12, 0.12)  # one side of the picture lies in more light
    falloff = 1 - np.float32(0.11) * (across[None] ** 2 + across[:, None] ** 2) + np.float32(side) * across[None]
    lit = (pixels - 0.5) * np.float32(contrast) + 0.5
    lit *= falloff[..., None] * tint
    lit += rng.standard_normal((size, size, 1), dtype=np.float32) * np.float32(rng.uniform(0.004, 0.02))
    return Image.fromarray((np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8))
