"""Names beside a picture, each tied by a line to a place in it."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from partcnn.plot.colours import ink_on, web_colour
from partcnn.plot.lettering import drawable, lettering, points

_MARGIN_FRAC = 0.05  # of the picture's width, between it and the names
_LINE_LETTERS = 24
_LEAST_GAP = 0.1  # of the picture's height, between two names


class Callout(NamedTuple):
    text: str
    place_px: tuple[float, float]  # (x, y) in the picture
    colour: Sequence[int]  # red, green, blue in 0–255


def draw_callouts(callouts: Sequence[Callout], axis: Axes, size: tuple[int, int]) -> None:
    """The left half of the places gets its names on the left, the others on the right, from top to bottom as they lie.

    Args:
        callouts: may be none.
        axis: with the picture on it, in its pixels.
        size: (height, width) of the picture.
    """
    height, width = size
    by_column = sorted(callouts, key=lambda one: one.place_px[0])
    half = (len(by_column) + 1) // 2
    for column, edge, align in (
        (by_column[:half], -_MARGIN_FRAC, "right"),
        (by_column[half:], 1 + _MARGIN_FRAC, "left"),
    ):
        column = sorted(column, key=lambda one: one.place_px[1])
        heights = apart([one.place_px[1] / height for one in column])
        for one, share in zip(column, heights, strict=True):
            text = drawable(one.text, line_letters=_LINE_LETTERS)
            axis.annotate(
                text,
                one.place_px,
                xytext=(edge * width, share * height),
                ha=align,
                va="center",
                fontsize=points(0.9),
                color=ink_on(one.colour),
                **lettering([text]),
                bbox={
                    "boxstyle": "round,pad=0.3",
                    "facecolor": web_colour(one.colour),
                    "edgecolor": "#555555",
                    "linewidth": 0.6,
                },
                arrowprops={"arrowstyle": "-", "color": "#222222", "linewidth": 0.9, "shrinkB": 0},
                annotation_clip=False,
            )
            axis.plot(*one.place_px, "o", color=web_colour(one.colour), markeredgecolor="white", markersize=6)


def apart(heights: Sequence[float]) -> list[float]:
    """Ascending heights in 0–1, moved until they stand apart: first down, then back up from the lower edge."""
    gap = min(_LEAST_GAP, 1 / max(1, len(heights)))
    moved = list[float]()
    for height in heights:
        moved.append(max([height, gap / 2, *(last + gap for last in moved[-1:])]))
    for place in reversed(range(len(moved))):
        below = moved[place + 1] if place + 1 < len(moved) else 1 + gap / 2
        moved[place] = min(moved[place], below - gap)
    return moved
