"""A rabbit, in the frame of `figures` and in the order in which its pieces are painted."""

import math

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import blob, ellipse, moved, outline, tube
from partcnn.datasets.drawn.figures import (
    INK,
    PINK,
    Piece,
    assembled,
    darker,
    eye,
    lighter,
    mixed,
    pick_coat,
    rgb,
    spots,
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
    coat, belly = pick_coat(
        rng,
        (("a5825f", "efe2cf"), ("f1ece6", "ffffff"), ("77716c", "cfc9c4"), ("c99a66", "f8ead5"), ("4a4240", "8b807a")),
    )
    rise = rng.uniform(-0.5, 0.05)
    marks = [Decal(ellipse(0.5, -0.18, 0.3, 0.14), belly, 0.85)]
    if rng.random() < 0.35:
        marks += spots(rng, (0.0, -0.6, 0.7, -0.2), darker(coat, 0.5) if belly != coat else belly, count=4, radius=0.11)
    trunk = Piece("body", outline(TRUNK), Paint(coat, decals=tuple(marks)))
    joints = np.array([(0.6, -0.25), (0.72, -0.56 + rng.uniform(-0.05, 0.07))])
    shoulder, face = moved([joints], angle=rise, about=HAUNCH)[0].tolist()
    front = []
    for i, dx in enumerate((0.06, -0.02)):
        colour = darker(coat, 0.28) if i == 0 else coat
        foot_x = shoulder[0] + dx + 0.05 + rng.uniform(-0.04, 0.08)
        front.append(
            Piece(
                "legs",
                tube([(shoulder[0] + dx, shoulder[1]), (foot_x - 0.01, -0.12), (foot_x, -0.06)], [0.09, 0.06, 0.05]),
                Paint(colour),
            )
        )
        front.append(Piece("legs", ellipse(foot_x + 0.04, -0.045, 0.085, 0.045), Paint(mixed(colour, belly, 0.5))))
    step = rng.uniform(-0.03, 0.06)
    thigh = [
        Piece(
            "legs", tube([(0.06 + step, -0.06), (0.36 + step, -0.045)], [0.06, 0.045]), Paint(mixed(coat, belly, 0.4))
        ),
        Piece("legs", ellipse(0.13, -0.24, 0.2, 0.185, angle=-0.3), Paint(coat, rim=0.4)),
    ]
    tail_y = -0.3 + rng.uniform(-0.05, 0.05)
    tail = blob(rng, -0.14, tail_y, 0.115, 0.11, jitter=0.12, knots=11)
    return [
        Piece("tail", tail, Paint(lighter(belly, 0.5), relief=0.4)),
        *front[:2],
        *assembled([trunk], angle=rise, about=HAUNCH),
        *front[2:],
        *thigh,
        *assembled(_rabbit_head(rng, coat, belly), angle=rng.uniform(-0.3, 0.4), to=face),
    ]


def _rabbit_head(rng: np.random.Generator, coat: Colour, belly: Colour) -> list[Piece]:
    """In profile, about the centre of the skull."""
    base = rng.uniform(-0.75, 0.15)
    ears = []
    for i, turn in enumerate((base + rng.uniform(0.15, 0.5), base)):
        lop = rng.uniform(-0.1, 0.1) if rng.random() < 0.75 else -0.9
        length = 0.5
        knee = (0.5 * length * math.sin(turn), -0.5 * length * math.cos(turn))
        tip = (knee[0] + 0.5 * length * math.sin(turn + lop), knee[1] - 0.5 * length * math.cos(turn + lop))
        colour = darker(coat, 0.25) if i == 0 else coat
        ears.append(
            Piece(
                "head",
                tube([(0, 0), knee, tip], [0.055, 0.085, 0.03]),
                Paint(
                    colour,
                    rim=0.35,
                    decals=(Decal(tube([(0.01, 0), knee, tip], [0.02, 0.045, 0.005]), PINK, 0.8),) if i == 1 else (),
                ),
            )
        )
    ears = assembled(ears, to=(-0.06, -0.12))
    skull = outline(SKULL)
    whiskers = [
        Piece(
            None,
            tube([(0.2, 0.06), (0.38, 0.04 + slope)], [0.006, 0.003], samples=2),
            Paint((1, 1, 1), relief=0, rim=0, opacity=0.6),
        )
        for slope in (-0.05, 0.03, 0.1)
    ]
    return [
        ears[0],
        Piece("head", skull, Paint(coat, decals=(Decal(ellipse(0.2, 0.1, 0.13, 0.1), belly, 0.9),))),
        ears[1],
        *eye(0.07, -0.04, 0.046),
        Piece("head", ellipse(0.262, 0.03, 0.026, 0.02), Paint(rgb("c9686c"), relief=0, rim=0)),
        Piece("head", tube([(0.25, 0.06), (0.2, 0.1)], [0.008, 0.006], samples=2), Paint(INK, relief=0, rim=0)),
        *whiskers,
    ]
