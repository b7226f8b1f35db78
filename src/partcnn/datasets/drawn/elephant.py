"""An elephant, in the frame of `figures` and in the order in which its pieces are painted."""

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import blob, ellipse, moved, outline, tube
from partcnn.datasets.drawn.figures import (
    IVORY,
    Piece,
    Place,
    assembled,
    darker,
    eye,
    gait,
    leg,
    pick_coat,
)


def elephant(rng: np.random.Generator) -> list[Piece]:
    """Column legs, a big ear, and a trunk that hangs, swings or is raised; the trunk belongs to the head."""
    coat, inner = pick_coat(
        rng,
        (("8f959d", "c3a9a8"), ("a39a90", "d0b3a4"), ("75808f", "b39aa8"), ("b0a69e", "dcbcb0"), ("8a7768", "c39d8a")),
    )
    swings = gait(rng, stride=0.16)
    hips = [(0.12, -0.5), (0.66, -0.5), (0.2, -0.5), (0.76, -0.5)]
    legs = []
    for i, ((x, y), (swing, lift)) in enumerate(zip(hips, swings, strict=True)):
        colour = darker(coat, 0.3) if i < 2 else coat
        foot = (x + swing, -lift)
        legs.append(leg((x, y), foot, (0.16, 0.115, 0.115), colour, bend=0.03))
        legs.append(Piece("legs", ellipse(foot[0] + 0.005, foot[1] - 0.055, 0.125, 0.06), Paint(colour)))
        for nail in (-0.01, 0.055, 0.11):
            legs.append(
                Piece("legs", ellipse(foot[0] + nail, foot[1] - 0.03, 0.024, 0.028), Paint(IVORY, relief=0, rim=0))
            )
    trunk = tube([(0.12, -0.74), (0.42, -0.78), (0.76, -0.74)], [0.28, 0.31, 0.27])
    lift = rng.uniform(-0.12, 0.06)
    root = (-0.14, -0.82)
    tip = (-0.26 + rng.uniform(-0.14, 0.1), -0.42 + rng.uniform(-0.12, 0.05))
    tail = tube([root, (-0.24, -0.66 + lift / 2), tip], [0.042, 0.034, 0.028])
    tuft = blob(rng, tip[0], tip[1] + 0.04, 0.05, 0.085)
    head = assembled(
        _elephant_head(rng, coat, inner), angle=rng.uniform(-0.38, 0.32), to=(0.9, -0.86 + rng.uniform(-0.05, 0.05))
    )
    return [
        *legs[: len(legs) // 2],
        Piece("tail", tail, Paint(darker(coat, 0.1))),
        Piece("tail", tuft, Paint(darker(coat, 0.65))),
        Piece("body", trunk, Paint(coat, grain=0.35)),
        *legs[len(legs) // 2 :],
        *head,
    ]


def _elephant_head(rng: np.random.Generator, coat: Colour, inner: Colour) -> list[Piece]:
    """About the joint of head and neck."""
    courses: list[list[Place]] = [
        [(0.22, 0.0), (0.37, 0.22), (0.38, 0.48), (0.44, 0.68)],
        [(0.22, 0.0), (0.37, 0.2), (0.36, 0.44), (0.22, 0.6)],
        [(0.22, 0.0), (0.44, 0.14), (0.62, 0.02), (0.62, -0.22)],
        [(0.22, 0.0), (0.42, 0.2), (0.58, 0.34), (0.76, 0.3)],
        [(0.22, 0.0), (0.4, 0.18), (0.52, -0.06), (0.42, -0.3)],
    ]
    course = np.array(courses[rng.integers(len(courses))])
    course[1:] += rng.normal(0, 0.02, course[1:].shape)
    points = [(x, y) for x, y in course.tolist()]
    wrinkles = [
        Decal(tube([(x - 0.1, y), (x + 0.1, y + 0.01)], [0.008, 0.008], samples=2), darker(coat, 0.4), 0.5)
        for x, y in np.linspace(course[1], course[2], 4).tolist()
    ]
    tusk = tube([(0.2, 0.14), (0.33, 0.27), (0.46, 0.27)], [0.042, 0.034, 0.012])
    flap, ear = rng.uniform(-0.35, 0.35), rng.uniform(0.85, 1.15)
    lobe = outline(
        [(0, -0.26), (-0.16, -0.28), (-0.27, -0.1), (-0.22, 0.14), (-0.06, 0.3), (0.05, 0.12), (0.06, -0.12)]
    )
    lining = [polygon * 0.72 + (0.0, 0.01) for polygon in lobe]
    flapping = Piece("head", lobe, Paint(darker(coat, 0.12), rim=0.45, decals=(Decal(lining, inner, 0.6),)))
    return [
        Piece("head", tusk, Paint(darker(IVORY, 0.15))),
        Piece("head", ellipse(0.1, -0.02, 0.24, 0.25), Paint(coat, grain=0.35)),
        Piece("head", tube(points, [0.15, 0.1, 0.075, 0.055]), Paint(coat, decals=tuple(wrinkles), softness=0.1)),
        Piece("head", moved(tusk, to=(-0.03, 0.03)), Paint(IVORY, rim=0.35)),
        *eye(0.2, -0.09, 0.036),
        *assembled([flapping], angle=flap, scale=ear, to=(0.0, 0.0)),
    ]
