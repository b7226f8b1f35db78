"""How well filters follow parts, batch by batch; the state is a table of each filter's strongest images."""

from typing import Any

import torch
from torch import Tensor

from partcnn.metrics.base import ImageMetric, StrongestImages, extended_table
from partcnn.metrics.functional.arguments import check_fraction, check_top, checked_diagonal
from partcnn.metrics.functional.displacement import (
    COVERAGE_R2,
    coverage,
    instability_of_table,
    least_location_instability,
    scatter_of_table,
    tracking_of_table,
)
from partcnn.metrics.functional.results import BestPartMetric, PartMetric
from partcnn.metrics.functional.strongest import empty_table, merged_tables


class LocationInstability(StrongestImages):
    """`partcnn.metrics.functional.location_instability`, batch by batch."""

    higher_is_better = False

    def result(self) -> PartMetric:
        return instability_of_table(self.table, self.diagonal)


class DisplacementScatter(StrongestImages):
    """`partcnn.metrics.functional.displacement_scatter`, batch by batch."""

    higher_is_better = False

    def result(self) -> BestPartMetric:
        return scatter_of_table(self.table, self.diagonal)


class PartTracking(StrongestImages):
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
        return tracking_of_table(self.table, self.diagonal, is_dead=is_dead)


class Coverage(PartTracking):
    """`partcnn.metrics.functional.coverage` of `part_tracking`, batch by batch.

    Args:
        threshold: R² from which a part counts as covered.
        arguments, settings: of `PartTracking`.
    """

    def __init__(self, *arguments: Any, threshold: float = COVERAGE_R2, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        check_fraction("threshold", threshold, is_one_allowed=True)
        self.threshold = threshold

    def compute(self) -> Tensor:
        """A scalar."""
        r2 = self.result().per_filter
        return r2.new_tensor(coverage(r2, threshold=self.threshold))


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
                tables[category] = extended_table(tables[category], *arguments)
        self.tables = torch.stack(tables)

    def compute(self) -> Tensor:
        """A scalar, or [category, filter, part] where not averaged."""
        per_category = [instability_of_table(table, self.diagonal).per_filter for table in self.tables]
        if not self.is_averaged:
            return torch.stack(per_category)
        return self.tables.new_tensor(least_location_instability(per_category))


def _merged_categories(tables: Tensor) -> Tensor:  # [process, category, filter, part, rank, 6]
    return torch.stack([merged_tables(category) for category in tables.unbind(dim=1)])
