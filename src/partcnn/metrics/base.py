"""What the torchmetrics of measures share; their two kinds of state are tables that merge, and counts that add up."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional.arguments import check_top, checked_diagonal
from partcnn.metrics.functional.results import BestPartMetric, PartMetric, hit_shares
from partcnn.metrics.functional.strongest import empty_table, merged_tables, strongest_images


class CountMetric(Metric):
    """Of sums alone, which give one figure of all filters."""

    full_state_update = False


class ImageMetric(Metric):
    """Gives the mean over filters, or everything.

    Args:
        is_averaged: compute gives a scalar, the measure's own average; False: [filter, part].
        settings: of `torchmetrics.Metric`.
    """

    full_state_update = False

    def __init__(self, *, is_averaged: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.is_averaged = is_averaged

    def compute(self) -> Tensor:
        """A scalar, or [filter, part] where not averaged; float64, nan where nothing was measured."""
        result = self.result()
        return result.per_filter.new_tensor(result.value) if self.is_averaged else result.per_filter

    def result(self) -> PartMetric:
        """What the measure's function gives, of this process's images alone."""
        raise NotImplementedError


class StrongestImages(ImageMetric):
    """A measure on the strongest images of each filter and part.

    Args:
        num_filters, num_parts: as will be given.
        image_size: (height, width) of the frame of peaks and landmarks.
        top: images per filter and part.
        is_averaged, settings: see `compute` and `torchmetrics.Metric`.
    """

    table: Tensor

    def __init__(
        self, num_filters: int, num_parts: int, image_size: tuple[int, int], *, top: int = 100, **settings: Any
    ) -> None:
        super().__init__(**settings)
        check_top(top)
        self.num_filters, self.num_parts, self.top = num_filters, num_parts, top
        self.diagonal = checked_diagonal(image_size)
        # torchmetrics stacks the tables of all processes and calls the function; so does merge_state.
        self.add_state("table", empty_table(num_filters, num_parts, top), dist_reduce_fx=merged_tables)

    def update(self, peaks: Tensor, scores: Tensor, landmarks: Tensor, image_index: Tensor) -> None:
        """Images of one category, as in the function; `image_index` [image] is a number of each image's own."""
        self.table = extended_table(self.table, peaks, scores, landmarks, image_index)


class HitShares(ImageMetric):
    """The mean over filters of the share of hits on the best part."""

    higher_is_better = True
    hits: Tensor
    num_shown: Tensor

    def __init__(self, num_filters: int, num_parts: int, image_size: tuple[int, int], **settings: Any) -> None:
        super().__init__(**settings)
        checked_diagonal(image_size)
        self.image_size = image_size
        self.add_state("hits", torch.zeros(num_filters, num_parts, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_shown", torch.zeros(num_parts, dtype=torch.int64), dist_reduce_fx="sum")

    def result(self) -> BestPartMetric:
        return hit_shares(self.hits, self.num_shown)


def extended_table(table: Tensor, peaks: Tensor, scores: Tensor, landmarks: Tensor, image_index: Tensor) -> Tensor:
    """The table of these images too."""
    if image_index.shape != peaks.shape[:1] or image_index.is_floating_point():
        raise ConfigError(f"image_index: expected a whole number for each of {len(peaks)} images, got {image_index}")
    top = table.shape[2]
    new = strongest_images(peaks, scores, landmarks, top=top, image_index=image_index).to(table.device)
    if new.shape[:2] != table.shape[:2]:
        raise ShapeError(f"peaks, landmarks: expected {table.shape[:2]} filters and parts, got {new.shape[:2]}")
    padded = torch.full_like(table, float("nan"))
    padded[:, :, : new.shape[2]] = new
    return merged_tables(torch.stack([table, padded]))
