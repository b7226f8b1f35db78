"""How often filters look at the same place of a picture."""

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.metrics.functional.arguments import check_points

CROWDED_CELLS = 1.0  # as far apart, at most, along rows and along columns: a cell and its eight neighbours
_MOST_ELEMENTS = 2**22  # of the gaps of one chunk of pictures


def crowded_filters(places: Tensor, fires: Tensor) -> float:  # [image, filter, 2], [image, filter] bool
    """The share of (picture, pair of filters) whose places lie within one cell of the map; lower is better.

    Counted are the pictures on which both filters of a pair fire. Copies of one filter get 1, however well it follows
    its part.

    Args:
        places: (row, col) of every filter, in cells or fractions of cells.
        fires: whether the filter fires on the picture.

    Returns:
        In 0–1; nan where no two filters fire on one picture.

    Raises:
        ShapeError: tensors without the axes above.
        ConfigError: a place is infinite.
    """
    num_near, num_both = crowded_pairs(places, fires)
    return float(num_near.sum() / num_both.sum().double())  # 0 / 0 is nan


def crowded_pairs(places: Tensor, fires: Tensor) -> tuple[Tensor, Tensor]:  # each [image] int64
    """Of every picture: the pairs of filters that fire within one cell of each other, and all pairs that fire.

    Args, Raises: as of `crowded_filters`.
    """
    check_points("places", places, "filter")
    if fires.shape != places.shape[:2] or fires.dtype != torch.bool:
        raise ShapeError(
            f"fires: expected bool [image, filter] = {list(places.shape[:2])} as in places, "
            f"got {fires.dtype} {list(fires.shape)}"
        )
    number = fires.sum(dim=1)
    chunk = max(1, _MOST_ELEMENTS // max(1, 2 * places.shape[1] ** 2))
    near = [_near(cells, fired) for cells, fired in zip(places.detach().split(chunk), fires.split(chunk), strict=True)]
    return torch.cat(near), number * (number - 1) // 2


def _near(places: Tensor, fires: Tensor) -> Tensor:  # [image]
    is_near = (places[:, :, None] - places[:, None]).abs().amax(dim=-1) <= CROWDED_CELLS
    is_near &= fires[:, :, None] & fires[:, None]
    found: Tensor = is_near.triu(diagonal=1).sum(dim=(1, 2))
    return found
