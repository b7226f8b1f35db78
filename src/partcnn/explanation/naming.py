"""What to call filters in one picture, where several of them follow the same annotated part."""

import math
from collections.abc import Mapping

from partcnn.explanation.contribution import Contribution
from partcnn.explanation.explanation import Explanation

_SAME_PLACE = 0.05  # of the picture's diagonal
_DIRECTIONS = (
    "right of",
    "below right of",
    "below",
    "below left of",
    "left of",
    "above left of",
    "above",
    "above right of",
)


def parts_told_apart(explanation: Explanation, parts: Mapping[int, str]) -> dict[int, str]:
    """Of each filter that follows a part its name, with where it looks beside the strongest of that name.

    "head" is the filter of the head that adds most; "head, left of 3" looks left of it, that is of filter 3, as one
    sees the picture; "head, where 3 is" looks at the same place, within a twentieth of the diagonal.

    Args:
        explanation: of the picture.
        parts: filter → the part it follows.

    Returns:
        Filter → text, for the filters of `parts`; the part alone for one that found nothing.
    """
    first: dict[str, Contribution] = {}
    told = {}
    for one in explanation.contributions:
        part = parts.get(one.filter)
        if part is None:
            continue
        is_placed = one.score > 0
        if part in first and is_placed:
            told[one.filter] = f"{part}, {_where(one, first[part], explanation.image_size)}"
        else:
            told[one.filter] = part
        if is_placed:
            first.setdefault(part, one)
    return told


def _where(one: Contribution, other: Contribution, image_size: tuple[int, int]) -> str:
    across, down = (mine - its for mine, its in zip(one.position_px, other.position_px, strict=True))
    if math.hypot(across, down) < _SAME_PLACE * math.hypot(*image_size):
        return f"where {other.filter} is"
    eighth = round(math.atan2(down, across) / (math.pi / 4)) % 8
    return f"{_DIRECTIONS[eighth]} {other.filter}"
