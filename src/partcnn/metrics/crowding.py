"""How often filters look at the same place, batch by batch."""

from typing import Any

import torch
from torch import Tensor

from partcnn.metrics.base import CountMetric
from partcnn.metrics.functional.crowding import crowded_pairs


class CrowdedFilters(CountMetric):
    """`partcnn.metrics.functional.crowded_filters`, batch by batch."""

    higher_is_better = False
    num_near: Tensor
    num_both: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in ("num_near", "num_both"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, places: Tensor, fires: Tensor) -> None:
        """Places [image, filter, 2] in cells, and which filters fire [image, filter] bool."""
        num_near, num_both = crowded_pairs(places, fires)
        self.num_near += num_near.sum()
        self.num_both += num_both.sum()

    def compute(self) -> Tensor:
        """A scalar, float64; nan where no two filters fired on one picture."""
        return self.num_near.double() / self.num_both
