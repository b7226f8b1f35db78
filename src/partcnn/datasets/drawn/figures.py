"""Pieces that animals are put together from: a piece is a painted form that belongs to a part.

An animal's own frame: x forwards, y downwards, the ground at y = 0, the trunk about 1 long.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import Form, blob, bounds, ellipse, moved, tube

Place: TypeAlias = tuple[float, float]

PARTS = ("body", "head", "legs", "tail")


@dataclass(frozen=True)
class Piece:
    """A painted form. `is_sheer`: it changes the look but takes and hides no pixels (whiskers)."""

    part: str
    form: Form
    paint: Paint
    is_sheer: bool = False


def assembled(
    pieces: Iterable[Piece],
    *,
    angle: float = 0.0,
    scale: float = 1.0,
    mirrored: bool = False,
    to: Place = (0.0, 0.0),
    about: Place = (0.0, 0.0),
) -> list[Piece]:
    """The pieces and their decals, moved together; the arguments are those of `curves.moved`."""

    def move(form: Form) -> Form:
        return moved(form, angle=angle, scale=scale, mirrored=mirrored, to=to, about=about)

    return [
        replace(
            piece,
            form=move(piece.form),
            paint=replace(
                piece.paint,
                decals=tuple(replace(decal, form=move(decal.form)) for decal in piece.paint.decals),
            ),
        )
        for piece in pieces
    ]


def extent(pieces: Iterable[Piece]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of all pieces but the sheer ones."""
    return bounds([polygon for piece in pieces if not piece.is_sheer for polygon in piece.form])


def rgb(code: str) -> Colour:
    """A colour written as six hexadecimal digits."""
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


INK = rgb("2a2228")
IVORY = rgb("f3ead2")
PINK = rgb("e9a3a0")


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """`share` 0 is the first colour, 1 the other."""
    red, green, blue = (a + share * (b - a) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float = 0.25) -> Colour:
    return mixed(colour, (0.06, 0.05, 0.08), share)


def lighter(colour: Colour, share: float = 0.35) -> Colour:
    return mixed(colour, (1.0, 0.98, 0.94), share)


def varied(rng: np.random.Generator, colour: Colour, amount: float = 0.05) -> Colour:
    """The colour a little off, as from animal to animal."""
    shift = rng.normal(0, 1.5 * amount) + rng.normal(0, 0.6 * amount, 3)  # lightness varies more than hue
    red, green, blue = np.clip(np.array(colour) + shift, 0.02, 0.98).tolist()
    return red, green, blue


def pick_coat(rng: np.random.Generator, coats: tuple[tuple[str, ...], ...]) -> list[Colour]:
    """One of the palettes, a little off."""
    return [varied(rng, rgb(code), 0.02) for code in coats[rng.integers(len(coats))]]


def leg(hip: Place, foot: Place, radii: tuple[float, float, float], colour: Colour, *, bend: float = 0.0) -> Piece:
    """A leg from hip to foot; `bend` pushes the knee forwards by that share of the length."""
    (hip_x, hip_y), (foot_x, foot_y) = hip, foot
    length = math.hypot(foot_x - hip_x, foot_y - hip_y)
    knee = ((hip_x + foot_x) / 2 + bend * length, (hip_y + foot_y) / 2)
    ankle = (foot_x, foot_y - radii[2])
    return Piece("legs", tube([hip, knee, ankle], radii), Paint(colour, softness=0.3))


def gait(rng: np.random.Generator, *, stride: float) -> list[tuple[float, float]]:
    """Swing of (far hind, far front, near hind, near front) feet: forward share of the trunk, and lift."""
    phase = rng.uniform(0, 2 * math.pi)
    reach = stride * rng.uniform(0.15, 1)
    swings = []
    for offset in (0.0, math.pi * 0.9, math.pi, math.pi * 1.9):
        swing = math.sin(phase + offset)
        lift = max(math.cos(phase + offset), 0) * reach * 0.35
        swings.append((reach * swing, lift))
    return swings


def eye(x: float, y: float, radius: float, *, iris: Colour | None = None, narrow: float = 1.0) -> list[Piece]:
    """A shining eye; with an iris a pupil, `narrow` < 1 a slit."""
    black = Paint((0.05, 0.04, 0.06), relief=0, rim=0, grain=0)
    white = Paint((1.0, 1.0, 1.0), relief=0, rim=0, grain=0)
    pieces = [Piece("head", ellipse(x, y, radius), black)]
    if iris is not None:
        pieces.append(Piece("head", ellipse(x, y, radius * 0.86), Paint(iris, relief=0.3, rim=0, grain=0)))
        pieces.append(Piece("head", ellipse(x, y, radius * 0.62 * narrow, radius * 0.72), black))
    pieces.append(Piece("head", ellipse(x - 0.3 * radius, y - 0.35 * radius, 0.3 * radius), white))
    return pieces


def spots(
    rng: np.random.Generator,
    box: tuple[float, float, float, float],
    colour: Colour,
    *,
    count: int,
    radius: float,
    opacity: float = 0.9,
) -> list[Decal]:
    """Uneven spots spread over a box (x0, y0, x1, y1)."""
    places = rng.uniform(box[:2], box[2:], (count, 2))
    sizes = radius * rng.uniform(0.6, 1.4, (count, 2))
    return [
        Decal(blob(rng, x, y, rx, ry, knots=6), colour, opacity)
        for (x, y), (rx, ry) in zip(places.tolist(), sizes.tolist(), strict=True)
    ]


def stripes(
    rng: np.random.Generator, box: tuple[float, float, float, float], colour: Colour, *, count: int, width: float
) -> list[Decal]:
    """Upright wavy stripes from the top of a box (x0, y0, x1, y1) downwards."""
    x0, y0, x1, y1 = box
    marks = []
    for x in np.linspace(x0, x1, count).tolist():
        lean, depth = rng.uniform(-0.5, 0.5) * width * 3, y0 + (y1 - y0) * rng.uniform(0.55, 1)
        points = [(x, y0), (x + lean, (y0 + depth) / 2), (x + lean * 0.3, depth)]
        marks.append(Decal(tube(points, [width * 0.7, width, width * 0.25], samples=3), colour, 0.75))
    return marks
