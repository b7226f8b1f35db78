"""Measures on each filter's strongest images: their state is a table, and tables merge."""

from typing import Any

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics import functional as part_metrics
from partcnn.metrics.base import ImageMetric
from partcnn.metrics.functional.arguments import check_fraction, check_top, checked_diagonal
from partcnn.metrics.functional.results import BestPartMetric, PartMetric
from partcnn.metrics.functional.strongest import empty_table


class _StrongestImages(ImageMetric):
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
    """`partcnn.metrics.functional.location_instability`, batch by batch."""

    higher_is_better = False

    def result(self) -> PartMetric:
        return part_metrics.instability_of_table(self.table, self.diagonal)


class DisplacementScatter(_StrongestImages):
    """`partcnn.metrics.functional.displacement_scatter`, batch by batch."""

    higher_is_better = False

    def result(self) -> BestPartMetric:
        return part_metrics.scatter_of_table(self.table, self.diagonal)


class PartTracking(_StrongestImages):
    """`functional.part_tracking`, batch by batch; a filter silent on more than half of the images is dead."""

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
    """`partcnn.metrics.functional.coverage` of `part_tracking`, batch by batch.

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


class LeastLocationInstability(ImageMetric):
    """`partcnn.metrics.functional.least_location_instability`, batch by batch.

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
