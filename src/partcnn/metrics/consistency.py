"""Consistency and stability, batch by batch."""

from typing import Any

import torch
from torch import Tensor

from partcnn.metrics.base import HitShares, ImageMetric
from partcnn.metrics.functional.arguments import check_fraction, checked_diagonal
from partcnn.metrics.functional.consistency import (
    BOX_FRAC,
    CONSISTENT,
    Consistency,
    are_shown,
    consistency_of_counts,
    parts_in_boxes,
    stable_boxes,
)


class FilterConsistency(HitShares):
    """`partcnn.metrics.functional.consistency`, batch by batch; where not averaged, the shares [filter, part].

    Args:
        num_filters, num_parts: as will be given.
        image_size, box_frac, threshold: as in the function.
        settings: of `torchmetrics.Metric`.
    """

    def __init__(
        self,
        num_filters: int,
        num_parts: int,
        image_size: tuple[int, int],
        *,
        box_frac: float = BOX_FRAC,
        threshold: float = CONSISTENT,
        **settings: Any,
    ) -> None:
        super().__init__(num_filters, num_parts, image_size, **settings)
        check_fraction("box_frac", box_frac, is_one_allowed=True)
        check_fraction("threshold", threshold, is_one_allowed=True)
        self.box_frac, self.threshold = box_frac, threshold

    def update(self, peaks: Tensor, scores: Tensor, landmarks: Tensor) -> None:
        """As in `consistency`: images of one category."""
        is_inside = parts_in_boxes(peaks, scores, landmarks, self.image_size, box_frac=self.box_frac)
        self.hits += is_inside.sum(dim=0)
        self.num_shown += are_shown(landmarks).sum(dim=0)

    def result(self) -> Consistency:
        return consistency_of_counts(self.hits, self.num_shown, threshold=self.threshold)


class FilterStability(ImageMetric):
    """`partcnn.metrics.functional.stability`, batch by batch; [filter] where not averaged.

    Args:
        num_filters: as will be given.
        image_size, box_frac: as in the function.
        settings: of `torchmetrics.Metric`.
    """

    higher_is_better = True
    num_same: Tensor
    num_counted: Tensor

    def __init__(
        self, num_filters: int, image_size: tuple[int, int], *, box_frac: float = BOX_FRAC, **settings: Any
    ) -> None:
        super().__init__(**settings)
        checked_diagonal(image_size)
        check_fraction("box_frac", box_frac, is_one_allowed=True)
        self.image_size, self.box_frac = image_size, box_frac
        for name in ("num_same", "num_counted"):
            self.add_state(name, torch.zeros(num_filters, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, peaks: Tensor, scores: Tensor, noisy_peaks: Tensor, noisy_scores: Tensor, landmarks: Tensor
    ) -> None:
        """As in `stability`: images of one category."""
        arguments = (peaks, scores, noisy_peaks, noisy_scores, landmarks, self.image_size)
        num_same, num_counted = stable_boxes(*arguments, box_frac=self.box_frac).sum(dim=1)
        self.num_same += num_same
        self.num_counted += num_counted

    def compute(self) -> Tensor:
        shares = self.num_same / self.num_counted.double()
        return shares.nanmean() if self.is_averaged else shares
