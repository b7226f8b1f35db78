"""What pictures show: one class each, or, in a multi-label task, any number of classes.

Labels are class indices [image], or marks [image, class]: 1 where the picture shows the class, 0 where it does not. A
picture without a mark shows no object.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def are_marks(labels: Tensor) -> bool:
    """Whether these are marks, and not class indices."""
    return labels.ndim == 2


def class_marks(labels: Tensor, num_classes: int) -> Tensor:  # [image, class], 0 or 1
    """Which classes each picture shows."""
    return labels if are_marks(labels) else F.one_hot(labels.long(), num_classes)


def shows_category(labels: Tensor, categories: Tensor) -> Tensor:  # [image, filter] bool
    """Whether each picture shows the class [filter] that each filter serves."""
    return labels[:, categories] > 0 if are_marks(labels) else labels[:, None] == categories


def shows_object(labels: Tensor, background: int | None) -> Tensor:  # [image] bool
    """Whether each picture shows an object: another class than the background, or any class at all."""
    if are_marks(labels):
        return (labels > 0).any(dim=1)
    return torch.ones_like(labels, dtype=torch.bool) if background is None else labels != background


def answered(logits: Tensor, *, is_multilabel: bool) -> list[tuple[int, ...]]:
    """What a network says of each picture, by its logits [image, class]: the class of the largest one, or in a
    multi-label task all whose logit is above 0, ascending."""
    if not is_multilabel:
        return [(label,) for label in logits.argmax(dim=1).tolist()]
    return [tuple(row.nonzero()[:, 0].tolist()) for row in logits > 0]


def right_answers(logits: Tensor, labels: Tensor) -> Tensor:  # [image] bool, of marks [image, class]
    """Whether the largest logit is the class's; of marks whether each logit has the right sign."""
    if are_marks(labels):
        return (logits > 0) == (labels > 0)
    return logits.argmax(dim=1) == labels
