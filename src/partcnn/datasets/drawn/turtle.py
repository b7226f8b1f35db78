"""A turtle, in the frame of `figures` and in the order in which its pieces are painted."""

import math

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import outline, tube
from partcnn.datasets.drawn.figures import INK, Piece, assembled, darker, eye, gait, lighter, mixed, pick_coat, spots

COATS = (  # shell, scutes, skin
    ("6a5a32", "a58c4a", "8fa65a"),
    ("4c5a3a", "7f9a55", "b5a35f"),
    ("7a4a2c", "c08a4a", "7f9a80"),
    ("3f4a4c", "8a9a8a", "a89a70"),
)
# fmt: off
# In shares of the shell's height above its rim.
DOME = [(-0.1, 0), (0.0, 0.5), (0.22, 0.88), (0.46, 1), (0.7, 0.86), (0.9, 0.48), (1.0, 0), (0.72, -0.13),
        (0.45, -0.15), (0.18, -0.13)]
SCUTES = ((0.45, 0.66, 0.13), (0.2, 0.5, 0.115), (0.7, 0.5, 0.115), (0.06, 0.17, 0.075), (0.33, 0.24, 0.1),
          (0.57, 0.24, 0.1), (0.84, 0.17, 0.075))
# fmt: on
SKULL = [(-0.13, 0), (-0.06, -0.13), (0.1, -0.14), (0.25, -0.05), (0.27, 0.05), (0.14, 0.12), (-0.05, 0.12)]
HEXAGON = ((-1, 0), (-0.5, -0.9), (0.5, -0.9), (1, 0), (0.5, 0.9), (-0.5, 0.9))


def turtle(rng: np.random.Generator) -> list[Piece]:
    """A domed shell with scutes; head on a neck that is stretched, raised or drawn in; a pointed tail."""
    shell, scute, skin = pick_coat(rng, COATS)
    far, near = _legs(rng, skin)
    up, reach = rng.uniform(-0.35, 1.15), rng.uniform(0.2, 0.36)
    face = (1.0 + reach * math.cos(up), -0.26 - reach * math.sin(up))
    neck = tube([(0.86, -0.24), (0.97, -0.25), face], [0.11, 0.095, 0.085])
    droop = rng.uniform(-0.12, 0.08)
    tail = tube([(0.0, -0.19), (-0.16, -0.16 + droop * 0.5), (-0.34, -0.12 + droop)], [0.09, 0.06, 0.012])
    return [
        *far,
        Piece("tail", tail, Paint(skin)),
        Piece("body", neck, Paint(skin)),
        *near,
        *_shell(rng, shell, scute),
        *assembled(_head(rng, skin), angle=rng.uniform(-0.35, 0.3), to=face),
    ]


def _shell(rng: np.random.Generator, shell: Colour, scute: Colour) -> list[Piece]:
    height = rng.uniform(0.46, 0.6)
    dome = outline([(x, -0.2 - share * height) for x, share in DOME])
    marks = tuple(
        Decal([np.array([(x + r * dx, -0.2 - share * height + r * dy) for dx, dy in HEXAGON])], scute, 0.9)
        for x, share, r in SCUTES
    )
    rim = tube([(-0.1, -0.19), (0.45, -0.13), (1.0, -0.19)], [0.05, 0.06, 0.05])
    return [
        Piece("body", dome, Paint(shell, relief=0.7, decals=marks)),
        Piece("body", rim, Paint(mixed(shell, scute, 0.5), rim=0.4)),
    ]


def _legs(rng: np.random.Generator, skin: Colour) -> tuple[list[Piece], list[Piece]]:
    """The far pair and the near pair, splayed."""
    pieces = []
    for i, (hip, (swing, lift)) in enumerate(zip((0.1, 0.72, 0.18, 0.8), gait(rng, stride=0.14), strict=True)):
        colour = darker(skin, 0.3) if i < 2 else skin
        foot = hip + swing + (0.06 if i % 2 else -0.05)
        box = (hip - 0.15, -0.25, hip + 0.15, 0.0)
        marks = spots(rng, box, darker(skin, 0.4), count=5, radius=0.025, opacity=0.6)
        limb = tube([(hip, -0.2), ((hip + foot) / 2, -0.1), (foot, -lift - 0.07)], [0.12, 0.105, 0.085])
        pieces.append(Piece("legs", limb, Paint(colour, decals=tuple(marks))))
    return pieces[:2], pieces[2:]


def _head(rng: np.random.Generator, skin: Colour) -> list[Piece]:
    marks = spots(rng, (-0.12, -0.12, 0.05, 0.1), darker(skin, 0.4), count=4, radius=0.025, opacity=0.6)
    mouth = tube([(0.26, 0.04), (0.18, 0.06), (0.08, 0.05)], [0.008, 0.008, 0.006], samples=3)
    return [
        Piece("head", outline(SKULL), Paint(lighter(skin, 0.1), decals=tuple(marks))),
        *eye(0.11, -0.045, 0.042),
        Piece("head", mouth, Paint(INK, relief=0, rim=0)),
    ]
