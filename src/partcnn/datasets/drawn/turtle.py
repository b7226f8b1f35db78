"""A turtle, in the frame of `figures` and in the order in which its pieces are painted."""

import math

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import outline, tube
from partcnn.datasets.drawn.figures import (
    INK,
    Piece,
    assembled,
    darker,
    eye,
    gait,
    lighter,
    mixed,
    pick_coat,
    spots,
)


def turtle(rng: np.random.Generator) -> list[Piece]:
    """A domed shell with scutes; head on a neck that is stretched, raised or drawn in; a pointed tail."""
    shell, scute, skin = pick_coat(
        rng,
        (
            ("6a5a32", "a58c4a", "8fa65a"),
            ("4c5a3a", "7f9a55", "b5a35f"),
            ("7a4a2c", "c08a4a", "7f9a80"),
            ("3f4a4c", "8a9a8a", "a89a70"),
        ),
    )
    swings = gait(rng, stride=0.14)
    legs = []
    for i, ((x, y), (swing, lift)) in enumerate(
        zip([(0.1, -0.2), (0.72, -0.2), (0.18, -0.2), (0.8, -0.2)], swings, strict=True)
    ):
        colour = darker(skin, 0.3) if i < 2 else skin
        foot = (x + swing + (0.06 if i % 2 else -0.05), -lift)
        marks = spots(rng, (x - 0.15, -0.25, x + 0.15, 0.0), darker(skin, 0.4), count=5, radius=0.025, opacity=0.6)
        limb = tube([(x, y), ((x + foot[0]) / 2, y / 2 + 0.0), (foot[0], foot[1] - 0.07)], [0.12, 0.105, 0.085])
        legs.append(Piece("legs", limb, Paint(colour, decals=tuple(marks))))
    height = rng.uniform(0.46, 0.6)
    dome = outline(
        [
            (-0.1, -0.2),
            (0.0, -0.2 - 0.5 * height),
            (0.22, -0.2 - 0.88 * height),
            (0.46, -0.2 - height),
            (0.7, -0.2 - 0.86 * height),
            (0.9, -0.2 - 0.48 * height),
            (1.0, -0.2),
            (0.72, -0.13),
            (0.45, -0.12),
            (0.18, -0.13),
        ]
    )
    marks = [
        Decal(
            outline(
                [
                    (x - r, y),
                    (x - 0.5 * r, y - 0.9 * r),
                    (x + 0.5 * r, y - 0.9 * r),
                    (x + r, y),
                    (x + 0.5 * r, y + 0.9 * r),
                    (x - 0.5 * r, y + 0.9 * r),
                ]
            ),
            scute,
            0.9,
        )
        for x, y, r in (
            (0.45, -0.2 - 0.66 * height, 0.13),
            (0.2, -0.2 - 0.5 * height, 0.115),
            (0.7, -0.2 - 0.5 * height, 0.115),
            (0.06, -0.29, 0.075),
            (0.33, -0.2 - 0.24 * height, 0.1),
            (0.57, -0.2 - 0.24 * height, 0.1),
            (0.84, -0.29, 0.075),
        )
    ]
    rim = tube([(-0.1, -0.19), (0.45, -0.13), (1.0, -0.19)], [0.05, 0.06, 0.05])
    up = rng.uniform(-0.35, 1.15)
    reach = rng.uniform(0.2, 0.36)
    face = (1.0 + reach * math.cos(up), -0.26 - reach * math.sin(up))
    neck = tube([(0.86, -0.24), (0.97, -0.25), face], [0.11, 0.095, 0.085])
    droop = rng.uniform(-0.12, 0.08)
    tail = tube([(0.0, -0.19), (-0.16, -0.16 + droop * 0.5), (-0.34, -0.12 + droop)], [0.09, 0.06, 0.012])
    return [
        *legs[:2],
        Piece("tail", tail, Paint(skin)),
        Piece("body", neck, Paint(skin)),
        *legs[2:],
        Piece("body", dome, Paint(shell, relief=0.7, decals=tuple(marks))),
        Piece("body", rim, Paint(mixed(shell, scute, 0.5), rim=0.4)),
        *assembled(_turtle_head(skin, rng), angle=rng.uniform(-0.35, 0.3), to=face),
    ]


def _turtle_head(skin: Colour, rng: np.random.Generator) -> list[Piece]:
    skull = outline(
        [(-0.13, 0.0), (-0.06, -0.13), (0.1, -0.14), (0.25, -0.05), (0.27, 0.05), (0.14, 0.12), (-0.05, 0.12)]
    )
    marks = spots(rng, (-0.12, -0.12, 0.05, 0.1), darker(skin, 0.4), count=4, radius=0.025, opacity=0.6)
    return [
        Piece("head", skull, Paint(lighter(skin, 0.1), decals=tuple(marks))),
        *eye(0.11, -0.045, 0.042),
        Piece(
            "head",
            tube([(0.26, 0.04), (0.18, 0.06), (0.08, 0.05)], [0.008, 0.008, 0.006], samples=3),
            Paint(INK, relief=0, rim=0),
        ),
    ]
