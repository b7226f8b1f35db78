"""How many filters a layer's filters are worth, batch by batch."""

from typing import Any

import torch
from torch import Tensor

from partcnn.metrics.base import CountMetric
from partcnn.metrics.functional.map_statistics import MapMoments, participation_ratio


class EffectiveFilters(CountMetric):
    """`participation_ratio` of the correlation of filters' maps over all cells of all pictures, batch by batch.

    Args:
        num_filters: of the maps that will be given.
        settings: of `torchmetrics.Metric`.
    """

    higher_is_better = True
    count: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, num_filters: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(num_filters, dtype=torch.float64), dist_reduce_fx="sum")
        shape = (num_filters, num_filters)
        self.add_state("products", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, feature_maps: Tensor) -> None:
        """Maps [image, filter, row, col]."""
        found = MapMoments.of(feature_maps.detach())
        self.count += found.count
        self.total += found.total.to(self.total.device)
        self.products += found.products.to(self.products.device)

    def compute(self) -> Tensor:
        """A scalar, float64."""
        moments = MapMoments(int(self.count), self.total.cpu(), self.products.cpu())
        return self.total.new_tensor(participation_ratio(moments.correlation))
