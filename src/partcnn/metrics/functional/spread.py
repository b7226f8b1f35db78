"""Variances over a filter's chosen images, of all that displacement measures are made of; also of resampled images."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.metrics.functional.strongest import INDEX, LANDMARK, PEAK, num_ranked

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
        self._rows = rows.masked_fill(~is_used, num_images)  # a row of its own, never drawn
        moments = [is_used[:, :, None].to(quantities), quantities.transpose(2, 3)]  # each [filter, part, …, rank]
        # Where about every image stands in every list: one product over images, without the counts copied for each.
        self._is_over_images = num_images <= _MOST_SPARE * table.shape[2]
        if self._is_over_images:
            moments = [self._over_images(one, num_images) for one in moments]
            if (moments[0] == moments[0][:1]).all():  # every filter has the same list
                moments[0] = moments[0][:1]
        self._moments = [*moments, moments[1].square()]

    def variances(self, counts: Tensor) -> Tensor:
        """Counts [resample, image] → N−1 variances [resample, filter, part, quantity], nan below two images."""
        counts = counts.to(self._moments[0])
        number, first, second = self._of_images(counts) if self._is_over_images else self._of_lists(counts)
        # In place: these are the largest tensors of an evaluation's intervals.
        variances: Tensor = first.square_().div_(-number.clamp(min=1)).add_(second).div_((number - 1).clamp(min=1))
        # Rounding leaves one image, drawn twice, a variance of 1e-20 where it has none.
        return variances.masked_fill_(variances < 1e-15, 0.0).masked_fill_(number < 2, math.nan)

    def _over_images(self, moment: Tensor, num_images: int) -> Tensor:  # [..., rank] -> [..., image]
        whole = moment.new_zeros(*moment.shape[:3], num_images + 1)
        return whole.scatter_(3, self._rows[:, :, None].expand_as(moment), moment)[..., :num_images]

    def _of_images(self, counts: Tensor) -> list[Tensor]:  # each [resample, filter, part, …]
        return [(counts @ one.flatten(0, 2).T).view(len(counts), *one.shape[:3]) for one in self._moments]

    def _of_lists(self, counts: Tensor) -> list[Tensor]:
        drawn = torch.cat([counts, torch.zeros_like(counts[:, :1])], dim=1).T.contiguous()
        chunk = max(1, _MOST_ELEMENTS // max(1, self._rows.shape[1:].numel() * len(counts)))
        moments = torch.cat(self._moments, dim=2)
        sums = [
            some @ drawn[rows]  # [filter, part, moment, resample]
            for some, rows in zip(moments.split(chunk), self._rows.split(chunk), strict=True)
        ]
        return list(torch.cat(sums).movedim(3, 0).split([one.shape[2] for one in self._moments], dim=-1))


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
