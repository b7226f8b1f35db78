"""What all torchmetrics of measures have in common."""

from typing import Any

from torch import Tensor
from torchmetrics import Metric

from partcnn.metrics.functional.results import PartMetric


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
        """What the function of `part_metrics` gives, of this process's images alone."""
        raise NotImplementedError
