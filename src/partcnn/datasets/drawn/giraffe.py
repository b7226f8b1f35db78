"""A giraffe, in the frame of `figures` and in the order in which its pieces are painted."""

import math

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import blob, ellipse, tube
from partcnn.datasets.drawn.figures import (
    INK,
    Piece,
    Place,
    assembled,
    darker,
    eye,
    gait,
    leg,
    lighter,
    pick_coat,
    spots,
)


def giraffe(rng: np.random.Generator) -> list[Piece]:
    """Patches on trunk and neck; the neck, which belongs to the body, leans between upright and level."""
    coat, mark = pick_coat(
        rng, (("e8c483", "9a5a2b"), ("efd9a7", "b0703a"), ("dcae6a", "6d3d22"), ("f0dfc0", "8a5a3a"))
    )
    swings = gait(rng, stride=0.22)
    hips = [(0.02, -0.8), (0.56, -0.8), (0.08, -0.8), (0.62, -0.8)]
    legs = []
    for i, ((x, y), (swing, lift)) in enumerate(zip(hips, swings, strict=True)):
        colour = darker(coat, 0.25) if i < 2 else coat
        foot = (x + swing, -lift)
        marks = spots(rng, (x - 0.1, -0.85, x + 0.1, -0.5), mark, count=5, radius=0.05, opacity=0.8)
        limb = leg((x, y), foot, (0.105, 0.055, 0.042), colour, bend=-0.04 if i % 2 == 0 else 0.02)
        legs.append(Piece("legs", limb.form, Paint(colour, softness=0.3, decals=tuple(marks))))
        legs.append(
            Piece(
                "legs", tube([(foot[0], foot[1] - 0.06), (foot[0] + 0.015, foot[1] - 0.03)], [0.046, 0.054]), Paint(INK)
            )
        )
    lean = rng.uniform(0.12, 1.15) if rng.random() < 0.8 else rng.uniform(1.15, 1.9)
    base, length = (0.6, -1.02), rng.uniform(0.72, 0.88)
    poll = (base[0] + length * math.sin(lean), base[1] - length * math.cos(lean))
    bow = (base[0] + 0.5 * length * math.sin(lean - 0.12), base[1] - 0.5 * length * math.cos(lean - 0.12))
    neck = tube([(0.5, -0.96), base, bow, poll], [0.18, 0.155, 0.095, 0.075])
    trunk = tube([(0.02, -0.9), (0.3, -0.94), (0.58, -0.97)], [0.165, 0.185, 0.19])
    mane = tube(
        [
            (base[0] - 0.16, base[1] - 0.06),
            (bow[0] - 0.1 * math.cos(lean), bow[1] - 0.1 * math.sin(lean)),
            (poll[0] - 0.05, poll[1] - 0.02),
        ],
        [0.03, 0.04, 0.04],
    )
    tip = (-0.26 + rng.uniform(-0.16, 0.1), -0.58 + rng.uniform(-0.22, 0.05))
    tail = tube([(-0.1, -0.98), (-0.22, -0.84), tip], [0.04, 0.032, 0.026])
    nod = rng.uniform(-0.25, 0.6)
    return [
        *legs[:4],
        Piece("tail", tail, Paint(darker(coat, 0.1))),
        Piece("tail", blob(rng, tip[0], tip[1] + 0.05, 0.05, 0.1), Paint(darker(mark, 0.6))),
        *legs[4:],
        Piece("body", mane, Paint(darker(mark, 0.25))),
        Piece(
            "body",
            [*trunk, *neck],
            Paint(
                coat, decals=tuple(_patches(rng, mark, (-0.2, -1.2, 0.8, -0.72)) + _neck_patches(rng, mark, base, poll))
            ),
        ),
        *assembled(_giraffe_head(coat, mark), angle=nod, scale=1.0, to=poll),
    ]


def _patches(rng: np.random.Generator, colour: Colour, box: tuple[float, float, float, float]) -> list[Decal]:
    """Close-set uneven patches in a brick pattern, step 0.13."""
    marks = []
    for row, y in enumerate(np.arange(box[1], box[3], 0.125).tolist()):
        for x in np.arange(box[0] + (row % 2) * 0.07, box[2], 0.14).tolist():
            dx, dy = rng.normal(0, 0.012, 2)
            marks.append(Decal(blob(rng, x + dx, y + dy, 0.06, 0.053, jitter=0.22, knots=6), colour, 0.92))
    return marks


def _neck_patches(rng: np.random.Generator, colour: Colour, base: Place, poll: Place) -> list[Decal]:
    marks = []
    (x0, y0), (x1, y1) = base, poll
    length = math.hypot(x1 - x0, y1 - y0)
    across = ((y0 - y1) / length, (x1 - x0) / length)
    for i, share in enumerate(np.arange(0.22, 0.95, 0.1).tolist()):
        for side in (-1, 1):
            gap = side * (0.075 - 0.035 * share) + (0.015 if i % 2 else -0.015)
            x, y = x0 + share * (x1 - x0) + gap * across[0], y0 + share * (y1 - y0) + gap * across[1]
            radius = 0.052 - 0.018 * share
            marks.append(Decal(blob(rng, x, y, radius, radius, jitter=0.2, knots=6), colour, 0.92))
    return marks


def _giraffe_head(coat: Colour, mark: Colour) -> list[Piece]:
    """About the poll, the muzzle forwards and down."""
    horns = []
    for x in (-0.02, 0.05):
        horns.append(Piece("head", tube([(x, -0.05), (x - 0.02, -0.2)], [0.026, 0.02]), Paint(coat)))
        horns.append(Piece("head", ellipse(x - 0.02, -0.21, 0.036), Paint(darker(mark, 0.5))))
    ear = tube([(-0.05, -0.05), (-0.13, -0.1), (-0.2, -0.1)], [0.03, 0.045, 0.01])
    return [
        *horns,
        Piece(
            "head",
            tube([(0.0, 0.0), (0.14, 0.06), (0.27, 0.12)], [0.115, 0.095, 0.075]),
            Paint(coat, decals=(Decal(ellipse(0.31, 0.14, 0.1, 0.09), lighter(coat, 0.5)),)),
        ),
        Piece("head", ear, Paint(darker(coat, 0.12), rim=0.4)),
        *eye(0.06, -0.02, 0.036),
        Piece("head", ellipse(0.31, 0.1, 0.014), Paint(INK, relief=0, rim=0)),
        Piece("head", tube([(0.33, 0.165), (0.24, 0.155)], [0.008, 0.006]), Paint(INK, relief=0, rim=0)),
    ]
