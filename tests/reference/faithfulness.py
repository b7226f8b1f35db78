"""Insertion and deletion in plain loops, from the equations in docs/metrics.md."""

import itertools
import math
from collections.abc import Callable, Sequence

Plane = list[list[float]]  # [row][col]
Picture = list[Plane]  # [channel][row][col]


def blurred(plane: Plane, cells: tuple[int, int]) -> Plane:
    """Each pixel the mean of all, weighed by a Gaussian of the distance, σ a cell's side along each axis."""
    height, width = len(plane), len(plane[0])

    def weights(place: int, side: int, count: int) -> list[float]:
        sigma = side / count
        found = [math.exp(-((place - other) ** 2) / (2 * sigma**2)) for other in range(side)]
        return [one / sum(found) for one in found]

    across = [weights(col, width, cells[1]) for col in range(width)]
    rows = [[sum(w * v for w, v in zip(across[col], line, strict=True)) for col in range(width)] for line in plane]
    down = [weights(row, height, cells[0]) for row in range(height)]
    return [[sum(down[row][k] * rows[k][col] for k in range(height)) for col in range(width)] for row in range(height)]


def cell_of(row: int, col: int, size: tuple[int, int], cells: tuple[int, int]) -> int:
    return (row * cells[0] // size[0]) * cells[1] + col * cells[1] // size[1]


def cell_means(plane: Plane, cells: tuple[int, int]) -> list[float]:
    size = (len(plane), len(plane[0]))
    members: list[list[float]] = [[] for _ in range(cells[0] * cells[1])]
    for row in range(size[0]):
        for col in range(size[1]):
            members[cell_of(row, col, size, cells)].append(plane[row][col])
    return [sum(one) / len(one) for one in members]


def view(picture: Picture, hidden: Picture, shown: set[int], cells: tuple[int, int]) -> Picture:
    size = (len(picture[0]), len(picture[0][0]))
    return [
        [
            [(plane if cell_of(row, col, size, cells) in shown else blur)[row][col] for col in range(size[1])]
            for row in range(size[0])
        ]
        for plane, blur in zip(picture, hidden, strict=True)
    ]


def curves(
    picture: Picture,
    order: Sequence[int],
    logit: Callable[[Picture], float],
    cells: tuple[int, int],
) -> tuple[list[float], list[float]]:
    """Insertion and deletion, after each row's number of cells."""
    counts = range(0, len(order) + 1, cells[1])
    hidden, every = [blurred(plane, cells) for plane in picture], set(order)
    insertion = [logit(view(picture, hidden, set(order[:count]), cells)) for count in counts]
    deletion = [logit(view(picture, hidden, every - set(order[:count]), cells)) for count in counts]
    return insertion, deletion


def area(curve: Sequence[float]) -> float:
    """Trapezoids over shares from 0 to 1 in equal steps."""
    steps = len(curve) - 1
    return sum((left + right) / 2 for left, right in itertools.pairwise(curve)) / steps


def normalised(areas: Sequence[float], hidden: Sequence[float], whole: Sequence[float]) -> float:
    above = sum(one - low for one, low in zip(areas, hidden, strict=True))
    return above / sum(high - low for low, high in zip(hidden, whole, strict=True))
