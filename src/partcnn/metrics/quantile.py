"""The threshold that a given share of a filter's cells exceeds, batch by batch."""

from typing import Any

import torch
from torch import Tensor

from partcnn.metrics.base import ImageMetric
from partcnn.metrics.functional.arguments import check_fraction
from partcnn.metrics.functional.quantile import NUM_BINS, QUANTILE, activation_histogram, activation_thresholds


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
        self.histogram += activation_histogram(feature_maps)

    def compute(self) -> Tensor:
        """[filter] float64."""
        return activation_thresholds(self.histogram, quantile=self.quantile)
