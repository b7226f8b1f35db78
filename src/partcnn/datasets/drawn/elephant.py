"""An elephant, in the frame of `figures` and in the order in which its pieces are painted."""

import numpy as np

from partcnn.datasets.drawn.canvas import Colour, Decal, Paint
from partcnn.datasets.drawn.curves import blob, ellipse, moved, outline, tube
from partcnn.datasets.drawn.figures import IVORY, Piece, Place, assembled, darker, eye, gait, leg, pick_coat

COATS = (  # skin, inside of the ear
    ("8f959d", "c3a9a8"),
    ("a39a90", "d0b3a4"),
    ("75808f", "b39aa8"),
    ("b0a69e", "dcbcb0"),
    ("8a7768", "c39d8a"),
)
TRUNKS: tuple[tuple[Place, ...], ...] = (  # hanging, curled in, raised, reaching, curled back
    ((0.22, 0.0), (0.37, 0.22), (0.38, 0.48), (0.44, 0.68)),
    ((0.22, 0.0), (0.37, 0.2), (0.36, 0.44), (0.22, 0.6)),
    ((0.22, 0.0), (0.44, 0.14), (0.62, 0.02), (0.62, -0.22)),
    ((0.22, 0.0), (0.42, 0.2), (0.58, 0.34), (0.76, 0.3)),
    ((0.22, 0.0), (0.4, 0.18), (0.52, -0.06), (0.42, -0.3)),
)
EAR = [(0, -0.26), (-0.16, -0.28), (-0.27, -0.1), (-0.22, 0.14), (-0.06, 0.3), (0.05, 0.12), (0.06, -0.12)]


def elephant(rng: np.random.Generator) -> list[Piece]:
    """Column legs, a big ear, and a trunk that hangs, swings or is raised; the trunk belongs to the head."""
    skin, lining = pick_coat(rng, COATS)
    far, near = _legs(rng, skin)
    body = tube([(0.12, -0.74), (0.42, -0.78), (0.76, -0.74)], [0.28, 0.31, 0.27])
    nod, height = rng.uniform(-0.38, 0.32), rng.uniform(-0.05, 0.05)
    return [
        *far,
        *_tail(rng, skin),
        Piece("body", body, Paint(skin, grain=0.35)),
        *near,
        *assembled(_head(rng, skin, lining), angle=nod, to=(0.9, -0.86 + height)),
    ]


def _legs(rng: np.random.Generator, skin: Colour) -> tuple[list[Piece], list[Piece]]:
    """The far pair and the near pair, each with its feet and nails."""
    hips = ((0.12, -0.5), (0.66, -0.5), (0.2, -0.5), (0.76, -0.5))
    pairs: tuple[list[Piece], list[Piece]] = ([], [])
    for i, (hip, (swing, lift)) in enumerate(zip(hips, gait(rng, stride=0.16), strict=True)):
        colour = darker(skin, 0.3) if i < 2 else skin
        x, y = hip[0] + swing, -lift
        pieces = pairs[i // 2]
        pieces.append(leg(hip, (x, y), (0.16, 0.115, 0.115), colour, bend=0.03))
        pieces.append(Piece("legs", ellipse(x + 0.005, y - 0.055, 0.125, 0.06), Paint(colour)))
        for toe in (-0.01, 0.055, 0.11):
            nail = ellipse(x + toe, y - 0.03, 0.024, 0.028)
            pieces.append(Piece("legs", nail, Paint(IVORY, relief=0, rim=0)))
    return pairs


def _tail(rng: np.random.Generator, skin: Colour) -> list[Piece]:
    tip = (-0.26 + rng.uniform(-0.14, 0.1), -0.42 + rng.uniform(-0.12, 0.05))
    tail = tube([(-0.14, -0.82), (-0.24, -0.66 + rng.uniform(-0.06, 0.03)), tip], [0.042, 0.034, 0.028])
    tuft = blob(rng, tip[0], tip[1] + 0.04, 0.05, 0.085)
    return [Piece("tail", tail, Paint(darker(skin, 0.1))), Piece("tail", tuft, Paint(darker(skin, 0.65)))]


def _head(rng: np.random.Generator, skin: Colour, lining: Colour) -> list[Piece]:
    """About the joint of head and neck."""
    tusk = tube([(0.2, 0.14), (0.33, 0.27), (0.46, 0.27)], [0.042, 0.034, 0.012])
    lobe = outline(EAR)
    inside = Decal(moved(lobe, scale=0.72), lining, 0.6)
    ear = Piece("head", lobe, Paint(darker(skin, 0.12), rim=0.45, decals=(inside,)))
    return [
        Piece("head", tusk, Paint(darker(IVORY, 0.15))),
        Piece("head", ellipse(0.1, -0.02, 0.24, 0.25), Paint(skin, grain=0.35)),
        _trunk(rng, skin),
        Piece("head", moved(tusk, to=(-0.03, 0.03)), Paint(IVORY, rim=0.35)),
        *eye(0.2, -0.09, 0.036),
        *assembled([ear], angle=rng.uniform(-0.35, 0.35), scale=rng.uniform(0.85, 1.15)),
    ]


def _trunk(rng: np.random.Generator, skin: Colour) -> Piece:
    course = np.array(TRUNKS[rng.integers(len(TRUNKS))])
    course[1:] += rng.normal(0, 0.02, course[1:].shape)
    wrinkles = [
        Decal(tube([(x - 0.1, y), (x + 0.1, y + 0.01)], [0.008, 0.008], samples=2), darker(skin, 0.4), 0.5)
        for x, y in np.linspace(course[1], course[2], 4).tolist()
    ]
    form = tube([(x, y) for x, y in course.tolist()], [0.15, 0.1, 0.075, 0.055])
    return Piece("head", form, Paint(skin, decals=tuple(wrinkles), softness=0.1))
