"""A rabbit, in the frame of `figures` and in the order in which its pieces are painted."""

import math

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import blob, ellipse, moved, outline, tube
from partcnn.datasets.drawn.figures import (
    INK,
    PINK,
    Piece,
    Place,
    assembled,
    darker,
    eye,
    lighter,
    mixed,
    pick_coat,
    rgb,
    spots,
)

COATS = (  # coat, belly
    ("a5825f", "efe2cf"),
    ("f1ece6", "ffffff"),
    ("77716c", "cfc9c4"),
    ("c99a66", "f8ead5"),
    ("4a4240", "8b807a"),
)
# fmt: off
TRUNK = [(-0.1, -0.2), (-0.02, -0.45), (0.22, -0.6), (0.5, -0.56), (0.72, -0.4), (0.72, -0.18), (0.45, -0.07),
         (0.1, -0.05)]
SKULL = [(-0.2, -0.02), (-0.12, -0.17), (0.06, -0.2), (0.22, -0.08), (0.27, 0.05), (0.18, 0.15), (0.0, 0.18),
         (-0.15, 0.13)]
# fmt: on
HAUNCH = (0.1, -0.15)  # what the trunk turns about when the rabbit rises


def rabbit(rng: np.random.Generator) -> list[Piece]:
    """Sitting, crouched to half upright; long ears up, back or lopping; the tail is a light tuft."""
    coat, belly = pick_coat(rng, COATS)
    rise = rng.uniform(-0.5, 0.05)
    joints = np.array([(0.6, -0.25), (0.72, -0.56 + rng.uniform(-0.05, 0.07))])
    shoulder, face = moved([joints], angle=rise, about=HAUNCH)[0].tolist()
    far = _front_leg(rng, shoulder[0] + 0.06, shoulder[1], darker(coat, 0.28), belly)
    near = _front_leg(rng, shoulder[0] - 0.02, shoulder[1], coat, belly)
    tail = blob(rng, -0.14, -0.3 + rng.uniform(-0.05, 0.05), 0.115, 0.11, jitter=0.12, knots=11)
    return [
        Piece("tail", tail, Paint(lighter(belly, 0.5), relief=0.4)),
        *far,
        *assembled([_trunk(rng, coat, belly)], angle=rise, about=HAUNCH),
        *near,
        *_hind_leg(rng, coat, belly),
        *assembled(_head(rng, coat, belly), angle=rng.uniform(-0.3, 0.4), to=face),
    ]


def _trunk(rng: np.random.Generator, coat: Colour, belly: Colour) -> Piece:
    marks = [Decal(ellipse(0.5, -0.18, 0.3, 0.14), belly, 0.85)]
    if rng.random() < 0.35:
        marks += spots(rng, (0.0, -0.6, 0.7, -0.2), darker(coat, 0.5), count=4, radius=0.11)
    return Piece("body", outline(TRUNK), Paint(coat, decals=tuple(marks)))


def _front_leg(rng: np.random.Generator, x: float, y: float, coat: Colour, belly: Colour) -> list[Piece]:
    foot = x + rng.uniform(0.01, 0.13)
    limb = tube([(x, y), (foot - 0.01, -0.12), (foot, -0.06)], [0.09, 0.06, 0.05])
    paw = ellipse(foot + 0.04, -0.045, 0.085, 0.045)
    return [Piece("legs", limb, Paint(coat)), Piece("legs", paw, Paint(mixed(coat, belly, 0.5)))]


def _hind_leg(rng: np.random.Generator, coat: Colour, belly: Colour) -> list[Piece]:
    step = rng.uniform(-0.03, 0.06)
    foot = tube([(0.06 + step, -0.06), (0.36 + step, -0.045)], [0.06, 0.045])
    thigh = ellipse(0.13, -0.24, 0.2, 0.185, angle=-0.3)
    return [Piece("legs", foot, Paint(mixed(coat, belly, 0.4))), Piece("legs", thigh, Paint(coat, rim=0.4))]


def _head(rng: np.random.Generator, coat: Colour, belly: Colour) -> list[Piece]:
    """In profile, about the centre of the skull."""
    turn = rng.uniform(-0.75, 0.15)
    cheek = Decal(ellipse(0.2, 0.1, 0.13, 0.1), belly, 0.9)
    return [
        _ear(rng, turn + rng.uniform(0.15, 0.5), darker(coat, 0.25), ()),
        Piece("head", outline(SKULL), Paint(coat, decals=(cheek,))),
        _ear(rng, turn, coat, (PINK,)),
        *eye(0.07, -0.04, 0.046),
        Piece("head", ellipse(0.262, 0.03, 0.026, 0.02), Paint(rgb("c9686c"), relief=0, rim=0)),
        Piece("head", tube([(0.25, 0.06), (0.2, 0.1)], [0.008, 0.006], samples=2), Paint(INK, relief=0, rim=0)),
        *(_whisker(slope) for slope in (-0.05, 0.03, 0.1)),
    ]


def _ear(rng: np.random.Generator, turn: float, colour: Colour, lining: tuple[Colour, ...]) -> Piece:
    """Leaning by `turn` from upright; one in four is bent over in its middle."""
    bend = rng.uniform(-0.1, 0.1) if rng.random() < 0.75 else -0.9
    middle = (0.25 * math.sin(turn), -0.25 * math.cos(turn))
    tip = (middle[0] + 0.25 * math.sin(turn + bend), middle[1] - 0.25 * math.cos(turn + bend))
    course: list[Place] = [(0.0, 0.0), middle, tip]
    inside = tuple(Decal(tube(course, [0.02, 0.045, 0.005]), pink, 0.8) for pink in lining)
    piece = Piece("head", tube(course, [0.055, 0.085, 0.03]), Paint(colour, rim=0.35, decals=inside))
    return assembled([piece], to=(-0.06, -0.12))[0]


def _whisker(slope: float) -> Piece:
    form = tube([(0.2, 0.06), (0.38, 0.04 + slope)], [0.006, 0.003], samples=2)
    return Piece("head", form, Paint((1, 1, 1), relief=0, rim=0, opacity=0.6), is_sheer=True)
