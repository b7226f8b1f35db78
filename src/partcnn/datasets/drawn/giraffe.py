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

COATS = (("e8c483", "9a5a2b"), ("efd9a7", "b0703a"), ("dcae6a", "6d3d22"), ("f0dfc0", "8a5a3a"))  # coat, patches
WITHERS = (0.6, -1.02)


def giraffe(rng: np.random.Generator) -> list[Piece]:
    """Patches on trunk and neck; the neck, which belongs to the body, leans from upright to below level."""
    coat, mark = pick_coat(rng, COATS)
    far, near = _legs(rng, coat, mark)
    lean = rng.uniform(0.12, 1.15) if rng.random() < 0.8 else rng.uniform(1.15, 1.9)
    length = rng.uniform(0.72, 0.88)
    poll = _along(lean, length)
    bow = _along(lean - 0.12, 0.5 * length)
    neck = tube([(0.5, -0.96), WITHERS, bow, poll], [0.18, 0.155, 0.095, 0.075])
    trunk = tube([(0.02, -0.9), (0.3, -0.94), (0.58, -0.97)], [0.165, 0.185, 0.19])
    patches = [*_trunk_patches(rng, mark), *_neck_patches(rng, mark, poll)]
    nape = (bow[0] - 0.1 * math.cos(lean), bow[1] - 0.1 * math.sin(lean))
    mane = tube([(0.44, -1.08), nape, (poll[0] - 0.05, poll[1] - 0.02)], [0.03, 0.04, 0.04])
    return [
        *far,
        *_tail(rng, coat, mark),
        *near,
        Piece("body", mane, Paint(darker(mark, 0.25))),
        Piece("body", [*trunk, *neck], Paint(coat, decals=tuple(patches))),
        *assembled(_head(coat, mark), angle=rng.uniform(-0.25, 0.6), to=poll),
    ]


def _along(lean: float, length: float) -> Place:
    """The place on a neck of that lean from upright, `length` above the withers."""
    return WITHERS[0] + length * math.sin(lean), WITHERS[1] - length * math.cos(lean)


def _legs(rng: np.random.Generator, coat: Colour, mark: Colour) -> tuple[list[Piece], list[Piece]]:
    """The far pair and the near pair, each hind leg first."""
    hips = ((0.02, -0.8), (0.56, -0.8), (0.08, -0.8), (0.62, -0.8))
    pieces = []
    for i, (hip, (swing, lift)) in enumerate(zip(hips, gait(rng, stride=0.22), strict=True)):
        colour = darker(coat, 0.25) if i < 2 else coat
        x, y = hip[0] + swing, -lift
        marks = spots(rng, (hip[0] - 0.1, -0.85, hip[0] + 0.1, -0.5), mark, count=5, radius=0.05, opacity=0.8)
        limb = leg(hip, (x, y), (0.105, 0.055, 0.042), colour, bend=-0.04 if i % 2 == 0 else 0.02)
        hoof = tube([(x, y - 0.06), (x + 0.015, y - 0.03)], [0.046, 0.054])
        pieces.append(Piece("legs", limb.form, Paint(colour, softness=0.3, decals=tuple(marks))))
        pieces.append(Piece("legs", hoof, Paint(INK)))
    return pieces[:4], pieces[4:]


def _tail(rng: np.random.Generator, coat: Colour, mark: Colour) -> list[Piece]:
    tip = (-0.26 + rng.uniform(-0.16, 0.1), -0.58 + rng.uniform(-0.22, 0.05))
    tail = tube([(-0.1, -0.98), (-0.22, -0.84), tip], [0.04, 0.032, 0.026])
    tuft = blob(rng, tip[0], tip[1] + 0.05, 0.05, 0.1)
    return [Piece("tail", tail, Paint(darker(coat, 0.1))), Piece("tail", tuft, Paint(darker(mark, 0.6)))]


def _trunk_patches(rng: np.random.Generator, colour: Colour) -> list[Decal]:
    """Close-set uneven patches in a brick pattern."""
    marks = []
    for row, y in enumerate(np.arange(-1.2, -0.72, 0.125).tolist()):
        for x in np.arange(-0.2 + (row % 2) * 0.07, 0.8, 0.14).tolist():
            dx, dy = rng.normal(0, 0.012, 2)
            marks.append(Decal(blob(rng, x + dx, y + dy, 0.06, 0.053, jitter=0.22, knots=6), colour, 0.92))
    return marks


def _neck_patches(rng: np.random.Generator, colour: Colour, poll: Place) -> list[Decal]:
    """Two staggered rows along the neck, smaller towards the poll."""
    marks = []
    (x0, y0), (x1, y1) = WITHERS, poll
    length = math.hypot(x1 - x0, y1 - y0)
    across = ((y0 - y1) / length, (x1 - x0) / length)
    for i, share in enumerate(np.arange(0.22, 0.95, 0.1).tolist()):
        for side in (-1, 1):
            gap = side * (0.075 - 0.035 * share) + (0.015 if i % 2 else -0.015)
            x, y = x0 + share * (x1 - x0) + gap * across[0], y0 + share * (y1 - y0) + gap * across[1]
            radius = 0.052 - 0.018 * share
            marks.append(Decal(blob(rng, x, y, radius, radius, jitter=0.2, knots=6), colour, 0.92))
    return marks


def _head(coat: Colour, mark: Colour) -> list[Piece]:
    """About the poll, the muzzle forwards and down."""
    horns = []
    for x in (-0.02, 0.05):
        horns.append(Piece("head", tube([(x, -0.05), (x - 0.02, -0.2)], [0.026, 0.02]), Paint(coat)))
        horns.append(Piece("head", ellipse(x - 0.02, -0.21, 0.036), Paint(darker(mark, 0.5))))
    ear = tube([(-0.05, -0.05), (-0.13, -0.1), (-0.2, -0.1)], [0.03, 0.045, 0.01])
    skull = tube([(0.0, 0.0), (0.14, 0.06), (0.27, 0.12)], [0.115, 0.095, 0.075])
    muzzle = Decal(ellipse(0.31, 0.14, 0.1, 0.09), lighter(coat, 0.5))
    return [
        *horns,
        Piece("head", skull, Paint(coat, decals=(muzzle,))),
        Piece("head", ear, Paint(darker(coat, 0.12), rim=0.4)),
        *eye(0.06, -0.02, 0.036),
        Piece("head", ellipse(0.31, 0.1, 0.014), Paint(INK, relief=0, rim=0)),
        Piece("head", tube([(0.33, 0.165), (0.24, 0.155)], [0.008, 0.006]), Paint(INK, relief=0, rim=0)),
    ]
