"""Whether a filter moves with its picture: no annotation needed."""

import math

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError

_NO_MOVEMENT = 1e-15  # squared sides: rounding leaves a place that stays about as much


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
    every = torch.ones(1, len(first), dtype=torch.float64, device=first.device)
    found: Tensor = ResampledSteadiness(first, second, counted)(every)[0]
    return found


class ResampledSteadiness:
    """The same over resampled pictures: picture i counts as often as the resample drew it.

    Args, Raises: as of `steadiness`.
    """

    def __init__(self, first: Tensor, second: Tensor, counted: Tensor) -> None:
        own = counted[..., None]
        first, second = (points.detach().double().where(own, 0) for points in (first, second))
        if not (first.isfinite().all() and second.isfinite().all()):
            raise ConfigError("first, second: expected finite places where a picture counts, got nan or infinity")
        middle = (first + second) / 2
        middle = (middle - middle.sum(dim=0) / own.sum(dim=0).clamp(min=1)).where(own, 0)  # about 0: no digits are lost
        gap = (first - second).square().sum(dim=2) / 2
        moments = [own[..., 0].double(), gap, middle.square().sum(dim=2), *middle.unbind(dim=2)]
        self._moments = torch.stack(moments, dim=1)  # [picture, moment, filter]

    def __call__(self, counts: Tensor) -> Tensor:
        """Counts [resample, picture] ≥ 0 → [resample, filter]; nan below two pictures."""
        sums = (counts.to(self._moments) @ self._moments.flatten(1)).unflatten(1, self._moments.shape[1:])
        number, gap, square, x, y = sums.unbind(dim=1)
        within = gap / number.clamp(min=1)
        between = (square - (x.square() + y.square()) / number.clamp(min=1)) / (number - 1).clamp(min=1)
        total = 2 * between + within
        found = (2 * between - within) / total.where(total > _NO_MOVEMENT, 1)
        shares: Tensor = found.where(total > _NO_MOVEMENT, 0.0).masked_fill(number < 2, math.nan)
        return shares
