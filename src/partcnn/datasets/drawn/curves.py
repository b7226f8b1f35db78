"""Outlines for the drawn demo pictures: smooth curves, ellipses, tubes and blobs as polygons.

A polygon is an array [point, 2] of (x, y), y downwards, in whatever unit the caller draws in.
A form is a list of polygons: their union is what gets filled, so that a tube may cross itself.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
Form = list[Polygon]
Points = Sequence[tuple[float, float]]


def spline(points: Points | Polygon, *, is_closed: bool = False, samples: int = 6) -> Polygon:
    """A Catmull–Rom curve through the points, `samples` vertices to a segment; open curves keep both ends."""
    knots = np.asarray(points, dtype=np.float64)
    if is_closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    before, start, end, after = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    t = (np.arange(samples) / samples)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    flat = curve.reshape(-1, knots.shape[1])
    return flat if is_closed else np.concatenate([flat, knots[-1:]])


def outline(points: Points) -> Form:
    """The smooth closed curve through the points."""
    return [spline(points, is_closed=True)]


def ellipse(x: float, y: float, rx: float, ry: float | None = None, *, angle: float = 0.0) -> Form:
    """An ellipse of 28 vertices about (x, y), turned by `angle` (radians, clockwise on the screen)."""
    turn = np.linspace(0, 2 * math.pi, 28, endpoint=False)
    ring = np.stack([rx * np.cos(turn), (rx if ry is None else ry) * np.sin(turn)], axis=1)
    return [ring @ _rotation(angle) + (x, y)]


def tube(points: Points, radii: Sequence[float], *, samples: int = 5) -> Form:
    """A limb: the smooth curve through the points, thick by the radii at them, with round ends."""
    knots = np.column_stack([np.asarray(points, dtype=np.float64), radii])
    course = spline(knots, samples=samples)
    centres, widths = course[:, :2], np.maximum(course[:, 2:], 0)
    along = np.gradient(centres, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1])[:, None], 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * widths
    left, right = centres + across, centres - across
    quads = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    turn = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    discs = centres[:, None] + widths[:, None] * ring
    return [*quads, *discs]


def blob(
    rng: np.random.Generator, x: float, y: float, rx: float, ry: float, *, jitter: float = 0.15, knots: int = 9
) -> Form:
    """An uneven ellipse: its radius varies by the share `jitter` from knot to knot."""
    turn = np.linspace(0, 2 * math.pi, knots, endpoint=False) + rng.uniform(0, 2 * math.pi)
    radius = 1 + jitter * rng.uniform(-1, 1, knots)
    ring = np.stack([x + rx * radius * np.cos(turn), y + ry * radius * np.sin(turn)], axis=1)
    return [spline(ring, is_closed=True, samples=4)]


def moved(
    form: Form,
    *,
    angle: float = 0.0,
    scale: float = 1.0,
    mirrored: bool = False,
    to: tuple[float, float] = (0.0, 0.0),
    about: tuple[float, float] = (0.0, 0.0),
) -> Form:
    """The form mirrored left to right, turned (clockwise on the screen) and scaled about a point, then shifted."""
    matrix = _rotation(angle) * scale
    if mirrored:
        matrix = np.diag([-1.0, 1.0]) @ matrix
    shift = np.array(about) + to
    return [(polygon - about) @ matrix + shift for polygon in form]


def bounds(form: Form) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of all the polygons."""
    points = np.concatenate(form)
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _rotation(angle: float) -> Polygon:
    """For row vectors; with y downwards a positive angle turns clockwise on the screen."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, sine], [-sine, cosine]])
