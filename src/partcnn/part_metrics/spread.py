"""Variances over a filter's chosen images, of all that displacement measures are made of; also of resampled images."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.part_metrics.strongest import INDEX, LANDMARK, PEAK, num_ranked

_MOST_ELEMENTS = 2**22  # of the counts of one chunk of filters
_MOST_SPARE = 2  # images for each rank of a list, up to which lists are laid out over all images


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
        image_index: [image], ascending, of what is resampled; at least those in the table, which None takes.

    Attributes:
        image_index: [image]
    """

    def __init__(self, table: Tensor, diagonal: float, image_index: Tensor | None = None) -> None:
        self.image_index = images_of(table) if image_index is None else image_index
        self._sums = _ResampledSums(table, _centred(table, diagonal), self.image_index)

    def __call__(self, counts: Tensor) -> Spread:
        """Counts [resample, image] ≥ 0 → [resample, filter, part]."""
        return _spread(self._sums.variances(counts))


class ResampledInstability:
    """Location instability over resampled images: of the spread what takes least memory and time, for many filters.

    Args:
        table, diagonal, image_index: as of `ResampledSpread`.
    """

    def __init__(self, table: Tensor, diagonal: float, image_index: Tensor) -> None:
        self._sums = _ResampledSums(table, _centred(table, diagonal)[..., :1], image_index)

    def __call__(self, counts: Tensor) -> Tensor:
        """Counts [resample, image] ≥ 0 → [resample, filter, part], in diagonals; nan below two images."""
        return self._sums.variances(counts)[..., 0].sqrt()


def images_of(*tables: Tensor) -> Tensor:
    """[image]: the indices of all images in these tables, ascending."""
    found = torch.cat([table[..., INDEX].flatten() for table in tables])
    images: Tensor = found[~found.isnan()].unique().long()
    return images


class _ResampledSums:
    """Sums over resampled images of a table, and the variances that they make.

    Args:
        table: [filter, part, rank, 6]
        quantities: [filter, part, rank, quantity], 0 where a rank is unused.
        image_index: [image]
    """

    def __init__(self, table: Tensor, quantities: Tensor, image_index: Tensor) -> None:
        is_used, num_images = ~table[..., INDEX].isnan(), len(image_index)
        rows = torch.searchsorted(image_index, table[..., INDEX].nan_to_num(nan=-1).long())
        rows = rows.masked_fill(~is_used, num_images)  # a row of its own, never drawn
        moments = torch.cat([torch.ones_like(quantities[..., :1]), quantities, quantities.square()], dim=-1)
        moments = (moments * is_used[..., None]).transpose(2, 3)  # [filter, part, moment, rank]
        self._rows: Tensor | None = rows
        if num_images <= _MOST_SPARE * table.shape[2]:
            # About every image stands in every list: one product over images, without the counts copied for each list.
            whole = moments.new_zeros(*moments.shape[:3], num_images + 1)
            moments = whole.scatter_(3, rows[:, :, None].expand_as(moments), moments)[..., :num_images]
            self._rows = None
        self._moments = moments

    def variances(self, counts: Tensor) -> Tensor:
        """Counts [resample, image] → N−1 variances [resample, filter, part, quantity], nan below two images."""
        num_quantities = self._moments.shape[2] // 2
        number, first, second = self._summed(counts).split([1, num_quantities, num_quantities], dim=-1)
        variances: Tensor = (second - first.square() / number.clamp(min=1)) / (number - 1).clamp(min=1)
        # Rounding leaves one image, drawn twice, a variance of 1e-20 where it has none.
        return variances.masked_fill(variances < 1e-15, 0.0).masked_fill(number < 2, math.nan)

    def _summed(self, counts: Tensor) -> Tensor:  # [resample, filter, part, moment]
        counts = counts.to(self._moments)
        if self._rows is None:
            return (counts @ self._moments.flatten(0, 2).T).view(len(counts), *self._moments.shape[:3])
        drawn = torch.cat([counts, torch.zeros_like(counts[:, :1])], dim=1).T.contiguous()
        chunk = max(1, _MOST_ELEMENTS // max(1, self._rows.shape[1:].numel() * len(counts)))
        sums = [
            moments @ drawn[rows]  # [filter, part, moment, resample]
            for moments, rows in zip(self._moments.split(chunk), self._rows.split(chunk), strict=True)
        ]
        return torch.cat(sums).movedim(3, 0)


def _centred(table: Tensor, diagonal: float) -> Tensor:  # [filter, part, rank, quantity], 0 where a rank is unused
    """Distance, x and y of the displacement, x and y of the landmark."""
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
