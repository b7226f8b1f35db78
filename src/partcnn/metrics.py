"""The measures of `part_metrics` as torchmetrics, for a loop of one's own; and the registry of all of them.

Every state either adds up or, for the measures on each filter's strongest images, is a table that merges: the figures
are those of all images at once, whatever the batches, also a short last one, and under distributed training.
Distributed samplers repeat images to give all processes the same number: the tables count an image once, by its
index; sums cannot tell, so take a sampler that does not repeat (Lightning's own does so in validation and test).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from partcnn import _torchvision  # noqa: F401

# isort: split
from torchmetrics import Metric

from partcnn import part_metrics
from partcnn.errors import ConfigError, ShapeError
from partcnn.part_metrics.arguments import check_fraction, check_top, checked_diagonal
from partcnn.part_metrics.interpretability import IOU_THRESHOLD, part_ious
from partcnn.part_metrics.pointing import TOLERANCE_PX
from partcnn.part_metrics.quantile import NUM_BINS, QUANTILE
from partcnn.part_metrics.results import BestPartMetric, PartMetric, hit_shares
from partcnn.part_metrics.strongest import empty_table


class _PartMetric(Metric):
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
        """What the function of `part_metrics` gives, of this process's images alone."""
        raise NotImplementedError


class _StrongestImages(_PartMetric):
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
        self.add_state("table", empty_table(num_filters, num_parts, top), dist_reduce_fx=part_metrics.merged_tables)

    def update(self, peaks: Tensor, scores: Tensor, landmarks: Tensor, image_index: Tensor) -> None:
        """Images of one category, as in the function; `image_index` [image] is a number of each image's own."""
        self.table = _extended(self.table, peaks, scores, landmarks, image_index)


class LocationInstability(_StrongestImages):
    """`partcnn.part_metrics.location_instability`, batch by batch."""

    higher_is_better = False

    def result(self) -> PartMetric:
        return part_metrics.instability_of_table(self.table, self.diagonal)


class DisplacementScatter(_StrongestImages):
    """`partcnn.part_metrics.displacement_scatter`, batch by batch."""

    higher_is_better = False

    def result(self) -> BestPartMetric:
        return part_metrics.scatter_of_table(self.table, self.diagonal)


class PartTracking(_StrongestImages):
    """`partcnn.part_metrics.part_tracking`, batch by batch; a filter silent on more than half of the images is dead."""

    higher_is_better = True
    num_silent: Tensor
    num_images: Tensor

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.add_state("num_silent", torch.zeros(self.num_filters, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, peaks: Tensor, scores: Tensor, landmarks: Tensor, image_index: Tensor) -> None:
        super().update(peaks, scores, landmarks, image_index)
        self.num_silent += (scores <= 0).sum(dim=0)
        self.num_images += len(scores)

    def result(self) -> BestPartMetric:
        is_dead = self.num_silent * 2 > self.num_images
        return part_metrics.tracking_of_table(self.table, self.diagonal, is_dead=is_dead)


class Coverage(PartTracking):
    """`partcnn.part_metrics.coverage` of `part_tracking`, batch by batch.

    Args:
        threshold: R² from which a part counts as covered.
        arguments, settings: of `PartTracking`.
    """

    def __init__(self, *arguments: Any, threshold: float = 0.5, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        check_fraction("threshold", threshold, is_one_allowed=True)
        self.threshold = threshold

    def compute(self) -> Tensor:
        """A scalar."""
        r2 = self.result().per_filter
        return r2.new_tensor(part_metrics.coverage(r2, threshold=self.threshold))


class LeastLocationInstability(_PartMetric):
    """`partcnn.part_metrics.least_location_instability`, batch by batch.

    Args:
        num_categories: of the labels that will be given.
        num_filters, num_parts, image_size, top: as in `LocationInstability`.
        settings: of `torchmetrics.Metric`.
    """

    higher_is_better = False
    tables: Tensor

    def __init__(
        self,
        num_categories: int,
        num_filters: int,
        num_parts: int,
        image_size: tuple[int, int],
        *,
        top: int = 100,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        check_top(top)
        self.diagonal = checked_diagonal(image_size)
        tables = torch.stack([empty_table(num_filters, num_parts, top)] * num_categories)
        self.add_state("tables", tables, dist_reduce_fx=_merged_categories)

    def update(self, peaks: Tensor, scores: Tensor, landmarks: Tensor, image_index: Tensor, labels: Tensor) -> None:
        """As in `LocationInstability`, and the category [image] of each picture; a label below 0 is left out."""
        tables = list(self.tables)
        for category in labels.unique().tolist():
            if category >= 0:
                own = labels == category
                arguments = (peaks[own], scores[own], landmarks[own], image_index[own])
                tables[category] = _extended(tables[category], *arguments)
        self.tables = torch.stack(tables)

    def compute(self) -> Tensor:
        """A scalar, or [category, filter, part] where not averaged."""
        per_category = [part_metrics.instability_of_table(table, self.diagonal).per_filter for table in self.tables]
        if not self.is_averaged:
            return torch.stack(per_category)
        return self.tables.new_tensor(part_metrics.least_location_instability(per_category))


class DeadFilters(_PartMetric):
    """Share of `partcnn.part_metrics.dead_filters`, batch by batch; [filter] bool where not averaged."""

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


class FilterPurity(_PartMetric):
    """`partcnn.part_metrics.filter_purity`, batch by batch; [filter] where not averaged.

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


class _Hits(_PartMetric):
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
    """`partcnn.part_metrics.pointing_game`, batch by batch.

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


class ActivationThresholds(_PartMetric):
    """`partcnn.part_metrics.activation_thresholds` [filter] over any number of batches; 330 kB a filter.

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
    """`partcnn.part_metrics.part_interpretability`, batch by batch, with the thresholds of a first pass.

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


@dataclass(frozen=True)
class MetricEntry:
    """One measure: a name in `Evaluation.summary`, and where it is computed."""

    function: Callable[..., Any]  # of tensors
    metric: type[Metric]  # the same, batch by batch
    better: int  # 1: higher is better, −1: lower
    lowest: float
    highest: float
    by_filter: str | None  # its name in `FilterEvaluation`; None: one figure of all filters


_INFINITY = float("inf")

METRICS = {
    "part_tracking_r2": MetricEntry(part_metrics.part_tracking, PartTracking, 1, -_INFINITY, 1, "part_tracking_r2"),
    "coverage": MetricEntry(part_metrics.coverage, Coverage, 1, 0, 1, None),
    "displacement_scatter": MetricEntry(
        part_metrics.displacement_scatter, DisplacementScatter, -1, 0, _INFINITY, "displacement_scatter"
    ),
    "location_instability": MetricEntry(
        part_metrics.location_instability, LocationInstability, -1, 0, _INFINITY, "location_instability"
    ),
    "least_location_instability": MetricEntry(
        part_metrics.least_location_instability, LeastLocationInstability, -1, 0, _INFINITY, None
    ),
    "part_interpretability": MetricEntry(
        part_metrics.part_interpretability, PartInterpretability, 1, 0, 1, "part_interpretability"
    ),
    "pointing_game": MetricEntry(part_metrics.pointing_game, PointingGame, 1, 0, 1, "pointing_game"),
    "purity": MetricEntry(part_metrics.filter_purity, FilterPurity, 1, 0, 1, "purity"),
    "dead_filters": MetricEntry(part_metrics.dead_filters, DeadFilters, -1, 0, 1, "is_dead"),
}


def _extended(table: Tensor, peaks: Tensor, scores: Tensor, landmarks: Tensor, image_index: Tensor) -> Tensor:
    if image_index.shape != peaks.shape[:1] or image_index.is_floating_point():
        raise ConfigError(f"image_index: expected a whole number for each of {len(peaks)} images, got {image_index}")
    top = table.shape[2]
    new = part_metrics.strongest_images(peaks, scores, landmarks, top=top, image_index=image_index).to(table.device)
    if new.shape[:2] != table.shape[:2]:
        raise ShapeError(f"peaks, landmarks: expected {table.shape[:2]} filters and parts, got {new.shape[:2]}")
    padded = torch.full_like(table, float("nan"))
    padded[:, :, : new.shape[2]] = new
    return part_metrics.merged_tables(torch.stack([table, padded]))


def _merged_categories(tables: Tensor) -> Tensor:  # [process, category, filter, part, rank, 6]
    return torch.stack([part_metrics.merged_tables(category) for category in tables.unbind(dim=1)])
