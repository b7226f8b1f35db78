"""A cat, in the frame of `figures` and in the order in which its pieces are painted."""

import math

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import Form, ellipse, outline, tube
from partcnn.datasets.drawn.figures import (
    INK,
    PINK,
    Piece,
    Place,
    assembled,
    darker,
    eye,
    gait,
    leg,
    mixed,
    pick_coat,
    rgb,
    spots,
    stripes,
    varied,
)

COATS = (  # coat, belly, mark
    ("d98a3d", "f4dfc0", "a85a1e"),
    ("8b8e96", "d9dade", "54575f"),
    ("3a363c", "5a555c", "201d22"),
    ("efe6da", "ffffff", "c98f55"),
    ("a58361", "e6d3b8", "5c422c"),
)
SKULL = [(0, -0.82), (0.62, -0.68), (1, 0.05), (0.72, 0.58), (0, 0.82), (-0.72, 0.58), (-1, 0.05), (-0.62, -0.68)]


def cat(rng: np.random.Generator) -> list[Piece]:
    """Standing or walking; the face is seen from the front, turned by up to a third to either side."""
    coat, belly, mark = pick_coat(rng, COATS)
    pattern = ("striped", "patched", "plain")[rng.integers(3)]
    far, near = _legs(rng, coat, belly)
    up = rng.uniform(-0.5, 1.1)
    neck, face = (0.74, -0.54), (0.78 + 0.24 * math.cos(up), -0.6 - 0.26 * math.sin(up))
    head = _face(rng, coat, belly, mark, is_striped=pattern == "striped")
    return [
        *far,
        Piece("tail", _tail(rng), Paint(coat, softness=0.3)),
        Piece("body", tube([neck, face], [0.14, 0.11]), Paint(coat)),
        _trunk(rng, coat, belly, mark, pattern),
        *near,
        *assembled(head, scale=0.215, angle=rng.uniform(-0.3, 0.3), to=face),
    ]


def _trunk(rng: np.random.Generator, coat: Colour, belly: Colour, mark: Colour, pattern: str) -> Piece:
    box = (-0.1, -0.72, 0.85, -0.42)
    decals = [Decal(tube([(0.1, -0.3), (0.4, -0.3), (0.8, -0.34)], [0.07, 0.06, 0.1]), belly, 0.9)]
    if pattern == "striped":
        decals += stripes(rng, box, mark, count=7, width=0.028)
    elif pattern == "patched":
        decals += spots(rng, box, mark, count=4, radius=0.13)
    arch = rng.uniform(-0.03, 0.05)
    form = tube([(0.04, -0.49), (0.38, -0.47 - arch), (0.74, -0.5)], [0.165, 0.155, 0.165])
    return Piece("body", form, Paint(coat, decals=tuple(decals)))


def _legs(rng: np.random.Generator, coat: Colour, belly: Colour) -> tuple[list[Piece], list[Piece]]:
    """The far pair and the near pair, each hind leg first."""
    hips = ((0.04, -0.42), (0.68, -0.42), (0.08, -0.42), (0.74, -0.42))
    pieces = []
    for i, (hip, (swing, lift)) in enumerate(zip(hips, gait(rng, stride=0.2), strict=True)):
        colour = darker(coat, 0.3) if i < 2 else coat
        foot = (hip[0] + swing, -lift)
        if i % 2 == 0:
            pieces.append(leg(hip, foot, (0.13, 0.075, 0.06), colour, bend=-0.1))
        else:
            pieces.append(leg(hip, foot, (0.1, 0.065, 0.058), colour, bend=0.06))
        paw = ellipse(foot[0] + 0.03, foot[1] - 0.045, 0.085, 0.05)
        pieces.append(Piece("legs", paw, Paint(mixed(colour, belly, 0.7), softness=0.3)))
    return pieces[:4], pieces[4:]


def _tail(rng: np.random.Generator) -> Form:
    root = (-0.06, -0.54)
    courses: list[list[Place]] = [
        [root, (-0.24, -0.62), (-0.3, -0.86), (-0.22, -1.06), (-0.12, -1.1)],
        [root, (-0.22, -0.58), (-0.4, -0.72), (-0.56, -0.68), (-0.62, -0.54)],
        [root, (-0.2, -0.46), (-0.3, -0.24), (-0.44, -0.14), (-0.56, -0.2)],
        [root, (-0.16, -0.72), (-0.14, -0.92), (-0.24, -1.1), (-0.38, -1.12)],
    ]
    course = np.array(courses[rng.integers(len(courses))])
    course[1:] += rng.normal(0, 0.025, course[1:].shape)
    return tube([(x, y) for x, y in course.tolist()], [0.06, 0.058, 0.055, 0.052, 0.045])


def _face(rng: np.random.Generator, coat: Colour, belly: Colour, mark: Colour, *, is_striped: bool) -> list[Piece]:
    """In units of the head's radius, about its centre; the features move aside as the head turns."""
    aside = rng.uniform(-0.32, 0.38)
    marks = [Decal(ellipse(aside * 1.1, 0.62, 0.55, 0.42), belly, 0.95)]
    if is_striped:
        for x in (-0.25, 0.0, 0.25):
            marks.append(Decal(tube([(x + aside, -0.95), (x * 0.8 + aside, -0.5)], [0.07, 0.05]), mark, 0.8))
    iris = varied(rng, rgb(("8fbf4a", "e0b23c", "6fb4d8")[rng.integers(3)]), 0.03)
    narrow = rng.uniform(0.4, 1)
    return [
        *_ears(coat, aside),
        Piece("head", outline(SKULL), Paint(coat, decals=tuple(marks))),
        *eye(aside - 0.42, -0.08, 0.225, iris=iris, narrow=narrow),
        *eye(aside + 0.42, -0.08, 0.225, iris=iris, narrow=narrow),
        *_muzzle(aside * 1.3),
    ]


def _ears(coat: Colour, aside: float) -> list[Piece]:
    pieces = []
    for side in (-1, 1):
        x = side * 0.58 + aside * 0.4
        ear = np.array([(x - 0.36, -0.5), (x + side * 0.2, -1.32), (x + 0.36, -0.5)])
        inner = np.array([(x - 0.18, -0.6), (x + side * 0.16, -1.08), (x + 0.18, -0.6)])
        pieces.append(Piece("head", [ear], Paint(darker(coat, 0.1), rim=0.4)))
        pieces.append(Piece("head", [inner], Paint(PINK, relief=0, rim=0)))
    return pieces


def _muzzle(x: float) -> list[Piece]:
    """Nose, mouth and whiskers about the line x."""
    nose = np.array([(x - 0.14, 0.26), (x + 0.14, 0.26), (x, 0.42)])
    pieces = [Piece("head", [nose], Paint(rgb("c9686c"), relief=0, rim=0))]
    for side in (-1, 1):
        lip = [(x, 0.42), (x + side * 0.12, 0.56), (x + side * 0.28, 0.52)]
        mouth = tube(lip, [0.03, 0.03, 0.02], samples=3)
        pieces.append(Piece("head", mouth, Paint(INK, relief=0, rim=0, opacity=0.8)))
        for drop in (-0.24, 0.12):
            ends = [(x + side * 0.33, 0.42), (x + side * 1.18, 0.42 + drop)]
            whisker = tube(ends, [0.022, 0.012], samples=2)
            pieces.append(Piece("head", whisker, Paint(rgb("fbf7f0"), relief=0, rim=0, opacity=0.7), is_sheer=True))
    return pieces
