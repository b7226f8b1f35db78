"""What filters fire on, batch by batch: dead filters and class purity."""

from typing import Any

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.metrics.base import ImageMetric
from partcnn.metrics.functional.activation import activation_shares, class_purity


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


class ClassPurity(ImageMetric):
    """`partcnn.metrics.functional.class_purity`, batch by batch; [filter] where not averaged.

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
        return activation_shares(self.activation / self.num_images.clamp(min=1))

    def compute(self) -> Tensor:
        purity = class_purity(self.activation / self.num_images.clamp(min=1), self.filter_category)
        return purity.mean() if self.is_averaged else purity


FilterPurity = ClassPurity  # its earlier name
