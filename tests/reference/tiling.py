"""The filter that holds a pixel, from the definition: bilinear shares, one pixel at a time."""

import math
from collections.abc import Sequence

Map = Sequence[Sequence[float]]  # [row][col]


def share_at(cells: Map, row: float, col: float) -> float:
    """Bilinear between the middles of cells, constant beyond the outermost."""
    row, col = (min(max(place, 0.0), count - 1.0) for place, count in ((row, len(cells)), (col, len(cells[0]))))
    top, left = math.floor(row), math.floor(col)
    bottom, right = min(top + 1, len(cells) - 1), min(left + 1, len(cells[0]) - 1)
    down, across = row - top, col - left
    upper = cells[top][left] * (1 - across) + cells[top][right] * across
    lower = cells[bottom][left] * (1 - across) + cells[bottom][right] * across
    return upper * (1 - down) + lower * down


def ranked_holders(
    shares: Sequence[Map],  # [filter][row][col]
    place: tuple[float, float],  # (x, y) in shares of the picture
    first: tuple[float, float],  # (x, y) of the middle of cell (0, 0), in shares of the picture
    stride: tuple[float, float],  # (x, y) between cells
) -> list[tuple[float, int]]:
    """(share, filter) at a place, the largest share first; −1 is the rest, with what the filters leave of 1."""
    col, row = ((where - start) / step for where, start, step in zip(place, first, stride, strict=True))
    found = [(share_at(cells, row, col), number) for number, cells in enumerate(shares)]
    found.append((1 - sum(share for share, _ in found), -1))
    return sorted(found, reverse=True)
