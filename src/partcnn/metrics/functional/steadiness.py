"""Whether a filter moves with its picture: no annotation needed."""

import math

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError


def steadiness(first: Tensor, second: Tensor, counted: Tensor) -> Tensor:  # [filter] float64
    """The share of a filter's movement that is between pictures, and not between two views of one; higher is better.

    The intraclass correlation of places in pictures, ICC(1) of Shrout & Fleiss (1979), x and y summed. Over the N
    pictures that count for a filter, with q and q′ its places in two views, carried into the picture:

        W = mean ‖q − q′‖² / 2                      within pictures
        B = N−1 variance of (q + q′) / 2            between pictures
        steadiness = (2 B − W) / (2 B + W) = 1 − W / (B + W / 2)

    B + W / 2 is what the places vary in all. A filter that moves exactly with its picture has 1, one that points
    anywhere 0, on the average. A point fixed in the view is carried elsewhere by every crop and flip: the middle has 0
    on the average, others less.

    Args:
        first, second: [picture, filter, 2] places (x, y) in fractions of the picture's sides; they may lie outside.
        counted: [picture, filter] bool: the filter is measured on the picture. Places elsewhere are not read.

    Returns:
        In −1–1; 0 for a filter that is in one place throughout; nan with fewer than two pictures.

    Raises:
        ShapeError: tensors without the axes above.
        ConfigError: a place that counts is not finite.
    """
    if first.ndim != 3 or first.shape[2] != 2 or second.shape != first.shape:
        raise ShapeError(
            "first, second: expected two [picture, filter, 2] with (x, y) last, "
            f"got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    if counted.shape != first.shape[:2] or counted.dtype != torch.bool:
        raise ShapeError(
            f"counted: expected bool [picture, filter] = {list(first.shape[:2])} as in first, "
            f"got {counted.dtype} {list(counted.shape)}"
        )
    own = counted[..., None]
    first, second = (points.detach().double().where(own, 0) for points in (first, second))
    if not (first.isfinite().all() and second.isfinite().all()):
        raise ConfigError("first, second: expected finite places where a picture counts, got nan or infinity")
    number = counted.sum(dim=0).double()
    within = (first - second).square().sum(dim=(0, 2)) / 2 / number.clamp(min=1)
    middle = (first + second) / 2
    deviation = (middle - middle.sum(dim=0) / number.clamp(min=1)[:, None]).where(own, 0)
    between = deviation.square().sum(dim=(0, 2)) / (number - 1).clamp(min=1)
    total = 2 * between + within
    found = (2 * between - within) / total.where(total > _NO_MOVEMENT, 1)
    return found.where(total > _NO_MOVEMENT, 0.0).masked_fill(number < 2, math.nan)


_NO_MOVEMENT = 1e-15  # squared sides: rounding leaves a place that stays about as much
