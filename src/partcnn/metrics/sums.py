"""Measures whose states are counts and sums over images."""

from typing import Any

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.metrics import functional as part_metrics
from partcnn.metrics.base import ImageMetric
from partcnn.metrics.functional.arguments import check_fraction, checked_diagonal
from partcnn.metrics.functional.interpretability import IOU_THRESHOLD, part_ious
from partcnn.metrics.functional.pointing import TOLERANCE_PX
from partcnn.metrics.functional.quantile import NUM_BINS, QUANTILE
from partcnn.metrics.functional.results import BestPartMetric, hit_shares


class DeadFilters(ImageMetric):
    """Share of `partcnn.metrics.functional.dead_filters`, batch by batch; [filter] bool where not averaged."""

    higher_is_better = False
    num_silent: Tensor
    num_images: Tensor

    def __init__(self, num_filters: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("num_silent", torch.zeros(num_filters, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor) -> None:  # [image, filter]
        """Images of the filters' category."""
        if scores.ndim != 2 or scores.shape[1] != len(self.num_silent):
            raise ShapeError(f"scores: expected [image, {len(self.num_silent)} filters], got {tuple(scores.shape)}")
        self.num_silent += (scores <= 0).sum(dim=0)
        self.num_images += len(scores)

    def compute(self) -> Tensor:
        is_dead = self.num_silent * 2 > self.num_images
        return is_dead.double().mean() if self.is_averaged else is_dead


class FilterPurity(ImageMetric):
    """`partcnn.metrics.functional.filter_purity`, batch by batch; [filter] where not averaged.

    Args:
        filter_category: [filter] category index of each.
        num_categories: of the labels that will be given.
        settings: of `torchmetrics.Metric`.
    """

    higher_is_better = True
    activation: Tensor
    num_images: Tensor
    filter_category: Tensor

    def __init__(self, filter_category: Tensor, num_categories: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.register_buffer("filter_category", filter_category, persistent=False)
        shape = (len(filter_category), num_categories)
        self.add_state("activation", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros(num_categories, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, feature_maps: Tensor, labels: Tensor) -> None:
        """Maps [image, filter, row, col] after the ReLU, and the category [image] of each picture."""
        is_category = torch.nn.functional.one_hot(labels.long(), len(self.num_images)).double()
        self.activation += feature_maps.detach().sum(dim=(2, 3)).double().T @ is_category
        self.num_images += is_category.sum(dim=0).long()

    def shares(self) -> Tensor:
        """[filter, category]: the confusion table, of this process's images alone."""
        return part_metrics.activation_shares(self.activation / self.num_images.clamp(min=1))

    def compute(self) -> Tensor:
        purity = part_metrics.filter_purity(self.activation / self.num_images.clamp(min=1), self.filter_category)
        return purity.mean() if self.is_averaged else purity


class _Hits(ImageMetric):
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


class PointingGame(_Hits):
    """`partcnn.metrics.functional.pointing_game`, batch by batch.

    Args:
        num_filters, num_parts: as will be given.
        image_size, tolerance_px: as in the function.
        settings: of `torchmetrics.Metric`.
    """

    def __init__(
        self,
        num_filters: int,
        num_parts: int,
        image_size: tuple[int, int],
        *,
        tolerance_px: float = TOLERANCE_PX,
        **settings: Any,
    ) -> None:
        super().__init__(num_filters, num_parts, image_size, **settings)
        self.tolerance_px = tolerance_px

    def update(self, peaks: Tensor, scores: Tensor, regions: Tensor) -> None:
        """As in `pointing_game`: images of one category."""
        hits = part_metrics.pointing_hits(peaks, scores, regions, self.image_size, tolerance_px=self.tolerance_px)
        self.hits += hits.sum(dim=0)
        self.num_shown += regions.any(dim=3).any(dim=2).sum(dim=0)


class ActivationThresholds(ImageMetric):
    """`partcnn.metrics.functional.activation_thresholds` [filter] over any number of batches; 330 kB a filter.

    Args:
        num_filters: of the maps that will be given.
        quantile: share of cells above the threshold.
        settings: of `torchmetrics.Metric`.
    """

    histogram: Tensor

    def __init__(self, num_filters: int, *, quantile: float = QUANTILE, **settings: Any) -> None:
        super().__init__(**settings)
        check_fraction("quantile", quantile)
        self.quantile = quantile
        self.add_state("histogram", torch.zeros(num_filters, NUM_BINS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, feature_maps: Tensor) -> None:
        """Maps [image, filter, row, col] after the ReLU."""
        self.histogram += part_metrics.activation_histogram(feature_maps)

    def compute(self) -> Tensor:
        """[filter] float64."""
        return part_metrics.activation_thresholds(self.histogram, quantile=self.quantile)


class PartInterpretability(_Hits):
    """`partcnn.metrics.functional.part_interpretability`, batch by batch, with the thresholds of a first pass.

    Args:
        thresholds: [filter], what `ActivationThresholds` computed over the same pictures.
        num_parts: as will be given.
        centers_px, image_size, radius_px, iou_threshold: as in the function.
        settings: of `torchmetrics.Metric`.
    """

    thresholds: Tensor
    centers_px: Tensor

    def __init__(
        self,
        thresholds: Tensor,
        num_parts: int,
        centers_px: Tensor,
        image_size: tuple[int, int],
        *,
        radius_px: float,
        iou_threshold: float = IOU_THRESHOLD,
        **settings: Any,
    ) -> None:
        super().__init__(len(thresholds), num_parts, image_size, **settings)
        check_fraction("iou_threshold", iou_threshold)
        self.radius_px, self.iou_threshold = radius_px, iou_threshold
        self.register_buffer("thresholds", thresholds, persistent=False)
        self.register_buffer("centers_px", centers_px, persistent=False)
        self._discs: Tensor | None = None

    def update(self, feature_maps: Tensor, regions: Tensor) -> None:
        """Maps [image, filter, row, col] and regions [image, part, row, col] of images of one category."""
        if self._discs is None or self._discs.shape[2:] != regions.shape[2:]:
            grid = (regions.shape[2], regions.shape[3])
            self._discs = part_metrics.cell_discs(self.centers_px, self.radius_px, grid, self.image_size)
        is_above = (feature_maps >= self.thresholds[:, None, None]) & (feature_maps > 0)
        ious = part_ious(is_above, regions, self._discs.to(regions.device))
        self.hits += (ious > self.iou_threshold).sum(dim=0)
        self.num_shown += regions.any(dim=3).any(dim=2).sum(dim=0)
