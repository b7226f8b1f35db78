"""What a measure of every filter on every part gives back."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PartMetric:
    """One measure of every filter on every part."""

    per_filter: Tensor  # [filter, part] float64; nan where it is not defined
    value: float  # the measure's own average over parts and filters; nan when nothing is defined
    num_images: Tensor  # [filter, part] int64, the images that the measure was taken on

    @property
    def of_filters(self) -> Tensor:
        """[filter] float64: each one's mean over parts, or the figure of its best part where it has one; nan: none."""
        return self.per_filter.nanmean(dim=1)


@dataclass(frozen=True)
class BestPartMetric(PartMetric):
    """A measure that is averaged over filters with each filter on its best part."""

    best_per_filter: Tensor  # [filter] float64; nan for a filter that has no part to be measured on
    best_part: Tensor  # [filter] int64, the first of equals; without meaning where best_per_filter is nan

    @property
    def of_filters(self) -> Tensor:
        return self.best_per_filter


def with_best_part(per_filter: Tensor, num_images: Tensor, *, sign: int) -> BestPartMetric:
    """The mean over filters of each one's best part: the highest where `sign` is 1, the lowest where it is −1."""
    num_filters, num_parts = per_filter.shape
    if num_parts == 0:
        best_per_filter = per_filter.new_full((num_filters,), math.nan)
        best_part = num_images.new_zeros(num_filters)
    else:
        goodness = (sign * per_filter).nan_to_num(nan=-math.inf)
        # torch promises no order among ties: the first part equal to the best is the one meant.
        best_part = (goodness == goodness.amax(dim=1, keepdim=True)).to(torch.uint8).argmax(dim=1)
        best_per_filter = per_filter.gather(1, best_part[:, None]).squeeze(1)
    return BestPartMetric(
        per_filter=per_filter,
        value=best_per_filter.nanmean().item(),
        num_images=num_images,
        best_per_filter=best_per_filter,
        best_part=best_part,
    )


def hit_shares(hits: Tensor, num_images: Tensor) -> BestPartMetric:
    """Hits [filter, part] over the images that show the part [part]; nan where none does."""
    counts = num_images.expand(hits.shape).to(torch.int64)
    shares = hits.double() / counts  # 0 / 0 is nan
    return with_best_part(shares, counts, sign=1)
