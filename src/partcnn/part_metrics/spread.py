"""Variances over a filter's chosen images, of all that displacement measures are made of; also of resampled images."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.part_metrics.strongest import INDEX, LANDMARK, PEAK, num_ranked

_MOST_ELEMENTS = 2**22  # of the counts of one chunk of filters
_NUM_QUANTITIES = 5  # distance, x and y of the displacement, x and y of the landmark


@dataclass(frozen=True)
class Spread:
    """N−1 variances over images, each [..., filter, part] float64, in squared diagonals; nan below two images."""

    distance: Tensor  # of ‖landmark − peak‖
    displacement: Tensor  # of landmark − peak, x and y summed
    landmark: Tensor  # x and y summed

    @property
    def instability(self) -> Tensor:
        """Location instability, in diagonals."""
        return self.distance.sqrt()

    @property
    def scatter(self) -> Tensor:
        """Displacement scatter, in diagonals."""
        return self.displacement.sqrt()

    @property
    def tracked_share(self) -> Tensor:
        """Part tracking R²; nan where the landmark does not move."""
        return (1 - self.displacement / self.landmark).masked_fill(self.landmark <= 0, math.nan)


def spread(table: Tensor, diagonal: float) -> Spread:
    """Of every filter and part over the images in a table of `strongest_images`."""
    quantities = _centred(table, diagonal)
    counts = num_ranked(table)
    variances = quantities.square().sum(dim=2) / (counts - 1).clamp(min=1)[..., None]
    return _spread(variances.masked_fill((counts < 2)[..., None], math.nan))


class ResampledSpread:
    """The spread over resampled images: image i counts as often as the resample drew it.

    The images of each filter and part stay the chosen ones; where no more than `top` show a part these are all.

    Args:
        table: of `strongest_images`, [filter, part, rank, 6].
        diagonal: of the frame.

    Attributes:
        image_index: [image], those in the table, ascending: what is resampled.
    """

    def __init__(self, table: Tensor, diagonal: float) -> None:
        is_used = ~table[..., INDEX].isnan()
        self.image_index = table[..., INDEX][is_used].unique().long()
        rows = torch.searchsorted(self.image_index, table[..., INDEX].nan_to_num(nan=-1).long())
        self._rows = rows.masked_fill(~is_used, len(self.image_index))  # a row of its own, never drawn
        moments = _centred(table, diagonal)
        moments = torch.cat([torch.ones_like(moments[..., :1]), moments, moments.square()], dim=-1)
        self._moments = (moments * is_used[..., None]).transpose(2, 3)  # [filter, part, moment, rank]

    def __call__(self, counts: Tensor) -> Spread:
        """Counts [resample, image] ≥ 0 → [resample, filter, part]."""
        drawn = torch.cat([counts, torch.zeros_like(counts[:, :1])], dim=1).to(self._moments).T.contiguous()
        chunk = max(1, _MOST_ELEMENTS // max(1, self._rows[0].numel() * len(counts)))
        sums = [
            moments @ drawn[rows]  # [filter, part, moment, resample]
            for moments, rows in zip(self._moments.split(chunk), self._rows.split(chunk), strict=True)
        ]
        number, first, second = torch.cat(sums).movedim(3, 0).split([1, _NUM_QUANTITIES, _NUM_QUANTITIES], dim=-1)
        variances = (second - first.square() / number.clamp(min=1)) / (number - 1).clamp(min=1)
        # Rounding leaves one image, drawn twice, a variance of 1e-20 where it has none.
        variances = variances.masked_fill(variances < 1e-15, 0.0)
        return _spread(variances.masked_fill(number < 2, math.nan))


def _centred(table: Tensor, diagonal: float) -> Tensor:  # [filter, part, rank, quantity], 0 where a rank is unused
    displacement = table[..., LANDMARK] - table[..., PEAK]
    distance = torch.linalg.vector_norm(displacement, dim=-1, keepdim=True)
    quantities = torch.cat([distance, displacement, table[..., LANDMARK]], dim=-1) / diagonal
    # Less the first image's first: what is the same in all images is then exactly 0, and has no variance.
    quantities = (quantities - quantities[:, :, :1]).nan_to_num(nan=0.0)
    mean = quantities.sum(dim=2, keepdim=True) / num_ranked(table).clamp(min=1)[..., None, None]
    is_used = ~table[..., INDEX, None].isnan()
    return (quantities - mean) * is_used


def _spread(variances: Tensor) -> Spread:  # [..., quantity]
    return Spread(variances[..., 0], variances[..., 1:3].sum(dim=-1), variances[..., 3:5].sum(dim=-1))
