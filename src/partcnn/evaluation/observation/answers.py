"""What the network answered, beside what the pictures show."""

import math

import torch
from torch import Tensor

from partcnn.evaluation.observation.groups import PictureGroups
from partcnn.foundation.labels import are_marks, right_answers


class Answers:
    """Counts of right answers; in a multi-label task also the logits of all pictures.

    Args:
        groups: of the pictures.

    Attributes:
        num_images: [group].
    """

    def __init__(self, groups: PictureGroups) -> None:
        self.groups = groups
        self.num_images = torch.zeros(len(groups), dtype=torch.int64)
        self._num_right = torch.zeros(groups.num_classes, dtype=torch.int64)
        self._num_asked = torch.zeros(groups.num_classes, dtype=torch.int64)
        self._logits: list[Tensor] = []
        self._marks: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor) -> Tensor:  # [image, class], labels → [image] or [image, class] bool
        """One batch; which answers are right."""
        _, groups = self.groups.rows(labels)
        is_right = right_answers(logits, labels)
        self.num_images += torch.bincount(groups, minlength=len(self.groups))
        if not are_marks(labels):
            self._num_right += torch.bincount(labels[is_right], minlength=self.groups.num_classes)
            self._num_asked += torch.bincount(labels, minlength=self.groups.num_classes)
            return is_right
        self._num_right += is_right.sum(dim=0)
        self._num_asked += len(labels)
        self._logits.append(logits.float())
        self._marks.append((labels > 0).to(torch.uint8))
        return is_right

    @property
    def num_pictures(self) -> int:
        """Of all, each once."""
        of_groups = self.num_images if not self.groups.is_multilabel else self.num_images[self.groups.num_classes :]
        return int(of_groups.sum())

    def accuracy(self, label: int | None = None) -> float:
        """Share of pictures, all or of one class, whose largest logit is their class's. In a multi-label task the share
        of right answers to "does it show this class?", of one class or of all."""
        right, asked = (one.sum() if label is None else one[label] for one in (self._num_right, self._num_asked))
        return right.item() / asked.item() if asked.item() else math.nan

    def average_precision(self) -> list[float] | None:
        """Of each class, in a multi-label task: nan of one that no picture shows. None in another."""
        if not self.groups.is_multilabel:
            return None
        from torchmetrics.functional.classification import binary_average_precision  # its import takes seconds

        shares, marks = torch.cat(self._logits).double().sigmoid(), torch.cat(self._marks).long()
        return [
            float(binary_average_precision(of_class, shown)) if bool(shown.any()) else math.nan
            for of_class, shown in zip(shares.T, marks.T, strict=True)
        ]
