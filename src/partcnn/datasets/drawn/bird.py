"""A bird, in the frame of `figures` and in the order in which its pieces are painted."""

import math

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import ellipse, outline, tube
from partcnn.datasets.drawn.figures import Piece, assembled, darker, eye, lighter, pick_coat, rgb

COATS = (  # back, breast, wing, beak
    ("7a6a55", "d9713c", "5c4e3f", "4a4038"),
    ("4f83c4", "f0d060", "35598f", "3a3a42"),
    ("e6c23a", "f7e27d", "8a7a2a", "d8763a"),
    ("35323a", "4a4650", "232028", "e8a13a"),
    ("c23b38", "e06a50", "8a2524", "e8b04a"),
    ("5fae5a", "b5d96a", "357a48", "d8503a"),
    ("8f98a5", "e8e4e0", "5f6875", "e0a060"),
)
# fmt: off
TRUNK = [(0.42, -0.2), (0.44, 0.04), (0.22, 0.27), (-0.12, 0.26), (-0.42, 0.06), (-0.48, -0.06), (-0.2, -0.18),
         (0.15, -0.3)]
# fmt: on
BREAST = [(0.5, -0.16), (0.52, 0.2), (0.15, 0.42), (-0.3, 0.32), (0.02, 0.16), (0.22, -0.02)]


def bird(rng: np.random.Generator) -> list[Piece]:
    """A song bird on two thin legs, upright to level, the wing folded or raised, looking ahead or back."""
    back, breast, wing, beak = pick_coat(rng, COATS)
    pitch, height = rng.uniform(-0.65, 0.25), rng.uniform(0.5, 0.61)
    trunk = Piece("body", outline(TRUNK), Paint(back, decals=(Decal(outline(BREAST), breast),)))
    face = (0.06 + 0.38 * math.cos(0.6 * pitch), -0.3 + 0.42 * math.sin(0.6 * pitch) + rng.uniform(-0.05, 0.04))
    pieces = [
        *_legs(rng, beak, height),
        *assembled([*_tail(rng, wing), trunk, *_wing(rng, wing)], angle=pitch),
        *assembled(
            _head(rng, back, breast, beak),
            angle=rng.uniform(-0.35, 0.35),
            mirrored=bool(rng.random() < 0.2),
            to=face,
        ),
    ]
    return assembled(pieces, to=(0.0, -height))


def _legs(rng: np.random.Generator, beak: Colour, height: float) -> list[Piece]:
    """From the middle of the trunk, y = 0, down to the ground at `height`."""
    pieces = []
    for hip, shade in ((-0.02, 0.45), (0.12, 0.25)):
        foot = hip + rng.uniform(-0.1, 0.12)
        paint = Paint(darker(beak, shade))
        shank = [(hip - 0.02, 0.18), (hip - 0.05, 0.36), (foot, height - 0.02)]
        pieces.append(Piece("legs", tube(shank, [0.085, 0.035, 0.03]), paint))
        for toe in (-0.1, 0.1, 0.16):
            claw = tube([(foot, height - 0.03), (foot + toe, height)], [0.03, 0.02], samples=2)
            pieces.append(Piece("legs", claw, paint))
    return pieces


def _tail(rng: np.random.Generator, wing: Colour) -> list[Piece]:
    """Three long feathers."""
    fan = rng.uniform(-0.04, 0.04)
    feathers = [
        Piece("tail", tube([(-0.36, -0.02), (-0.84, y + fan)], [0.085, 0.05]), Paint(darker(wing, shade), rim=0.4))
        for y, shade in ((-0.03, 0.0), (0.07, 0.1), (0.16, 0.2))
    ]
    return assembled(feathers, angle=rng.uniform(-0.25, 0.5))


def _wing(rng: np.random.Generator, colour: Colour) -> list[Piece]:
    if rng.random() < 0.3:
        turns, length, root = [1.9, 2.15, 2.4, 2.65], 0.62, (0.12, -0.1)
    else:
        turns, length, root = [2.86, 3.0, 3.12], 0.5, (0.16, -0.04)
    quills = []
    for i, turn in enumerate(turns):
        tip = (root[0] + length * math.cos(turn), root[1] - length * math.sin(turn))
        middle = ((root[0] + tip[0]) / 2, (root[1] + tip[1]) / 2 + 0.02)
        quills.append(
            Piece("body", tube([root, middle, tip], [0.1, 0.1, 0.035]), Paint(darker(colour, 0.08 * i), rim=0.45))
        )
    shoulder = ellipse(root[0] - 0.06, root[1] + 0.02, 0.17, 0.13)
    return [*quills[::-1], Piece("body", shoulder, Paint(lighter(colour, 0.12), rim=0.3))]


def _head(rng: np.random.Generator, back: Colour, breast: Colour, beak: Colour) -> list[Piece]:
    marks = [Decal(ellipse(0.12, 0.14, 0.18, 0.16), breast, 0.95)]
    if rng.random() < 0.4:
        marks.append(Decal(tube([(-0.25, -0.04), (0.3, -0.03)], [0.05, 0.07]), darker(back, 0.6), 0.9))
    length = rng.uniform(0.16, 0.3)
    upper = np.array([(0.16, -0.1), (0.22 + length, 0.02), (0.16, 0.05)])
    lower = np.array([(0.16, 0.0), (0.2 + length * 0.8, 0.03), (0.15, 0.11)])
    crest = []
    if rng.random() < 0.35:
        crest = [
            Piece("head", tube([(0.02, -0.16), (x, y)], [0.07, 0.02]), Paint(back, rim=0.4))
            for x, y in ((-0.16, -0.36), (-0.06, -0.4), (0.04, -0.38))
        ]
    return [
        *crest,
        Piece("head", [lower], Paint(darker(beak, 0.2))),
        Piece("head", [upper], Paint(beak)),
        Piece("head", ellipse(0.0, 0.0, 0.235, 0.225), Paint(back, decals=tuple(marks))),
        *eye(0.09, -0.045, 0.052, iris=(0.2, 0.14, 0.1) if rng.random() < 0.6 else rgb("e8c860"), narrow=0.9),
    ]
