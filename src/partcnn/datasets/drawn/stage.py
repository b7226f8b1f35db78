"""The stage of a drawn picture: its chance, where the animal stands, what lies behind and before it, and the light."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from partcnn.datasets.drawn.canvas import Canvas, noise
from partcnn.datasets.drawn.curves import Form, ellipse, moved
from partcnn.datasets.drawn.figures import PARTS, Piece, assembled, extent
from partcnn.datasets.drawn.scenery import Scene, paint_land
from partcnn.datasets.drawn.things import paint_bush, paint_grass, paint_rock, paint_thing, paint_trunk
from partcnn.foundation.errors import ConfigError

SMALLEST_SIZE = 32
MAX_TURN = 0.3  # radians, either way
EXTENT = (0.45, 0.9)  # longer side of the animal, as a share of the picture's side
OCCLUSION_RATE = 0.36  # pictures with something in front

Corners = tuple[float, float, float, float]


class Placed(NamedTuple):
    """An animal in the unit frame of its picture: `turn` and `mirrored` are how its own frame lies there."""

    pieces: list[Piece]
    shadow: Form
    box: Corners
    turn: float
    mirrored: bool


def generator(kind: str, seed: int, size: int) -> np.random.Generator:
    """All chance of a picture.

    Raises:
        ConfigError: the seed is negative, or the size too small.
    """
    if seed < 0:
        raise ConfigError(f"seed: expected an integer of at least 0, got {seed}")
    if size < SMALLEST_SIZE:
        raise ConfigError(f"size: expected at least {SMALLEST_SIZE} pixels, got {size}")
    return np.random.Generator(np.random.PCG64([seed, *kind.encode()]))  # hash() differs from run to run


def placed(rng: np.random.Generator, pieces: list[Piece]) -> Placed:
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
    return Placed(
        assembled(pieces, scale=scale, to=to),
        moved(shadow, scale=scale, to=to),
        (left, foot - height, left + width, foot),
        angle,
        mirrored,
    )


def paint_back(
    rng: np.random.Generator, size: int, *, foot: float, light: float | None = None, number: int | None = None
) -> tuple[Canvas, Scene]:
    """Land and things behind; the horizon lies above the animal's feet.

    `light` and the scene's `number`: in place of the chosen ones.
    """
    chosen = rng.uniform(-1, 1)
    canvas = Canvas(
        size,
        PARTS,
        light=chosen if light is None else light,
        grain=noise(rng, size, cells=(12, 12), octaves=4, persistence=0.7),
    )
    horizon = rng.uniform(0.2, min(foot - 0.06, 0.62))
    scene = paint_land(canvas, rng, horizon, number)
    depths = np.sort(rng.uniform(0.0, 1.0, rng.integers(3, 8)))
    for depth in depths.tolist():
        y = horizon + depth * (foot - horizon)  # what stands lower would be in front of the animal
        paint_thing(canvas, rng, scene, rng.uniform(-0.05, 1.05), y, rng.uniform(0.1, 0.2) + 0.25 * depth)
    return canvas, scene


def paint_front(canvas: Canvas, rng: np.random.Generator, scene: Scene, box: Corners) -> None:
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


def developed(canvas: Canvas, rng: np.random.Generator) -> Image.Image:
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
