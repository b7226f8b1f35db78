"""By what they show pictures are counted: one group a class, and more where a picture may show several classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.foundation.labels import are_marks


@dataclass(frozen=True)
class PictureGroups:
    """Groups of pictures, numbered: the classes first.

    In a multi-label task a picture is in the group of every class that it shows, and in one more of all pictures with
    an object, where it counts once; one that shows none is in the last group, the background.

    Args:
        num_classes: at least 1.
        background_class: that of pictures without an object, or None.
        is_multilabel: whether a picture may show several classes or none.
    """

    num_classes: int
    background_class: int | None = None
    is_multilabel: bool = False

    def __len__(self) -> int:
        return self.num_classes + 2 * self.is_multilabel

    @property
    def background(self) -> int | None:
        """The group of pictures without an object."""
        return self.num_classes + 1 if self.is_multilabel else self.background_class

    @property
    def of_objects(self) -> list[int]:
        """The groups that together hold every picture of an object, once."""
        if self.is_multilabel:
            return [self.num_classes]
        return [label for label in range(self.num_classes) if label != self.background]

    def rows(self, labels: Tensor) -> tuple[Tensor | slice, Tensor]:
        """Of pictures with such labels (`partcnn.foundation.labels`) each with each of its groups: which picture [row],
        all as they are where each has one, and which group [row]."""
        if not are_marks(labels):
            return slice(None), labels
        pictures, groups = self.marks(labels).nonzero(as_tuple=True)
        return pictures, groups

    def marks(self, labels: Tensor) -> Tensor:
        """Labels that know all groups: [picture, group] bool of marks; class indices as they are."""
        if not are_marks(labels):
            return labels
        shown = labels > 0
        is_object = shown.any(dim=1, keepdim=True)
        return torch.cat([shown, is_object, ~is_object], dim=1)


def in_groups(labels: Tensor, of_groups: Tensor) -> Tensor:  # [picture, ...] bool
    """Of each picture whether something holds, [group, ...] bool, of any of its groups; labels as `marks` has them."""
    if not are_marks(labels):
        return of_groups[labels]
    flat = of_groups.flatten(1) if of_groups.ndim > 1 else of_groups[:, None]
    found = (labels.float() @ flat.float()) > 0
    return found.unflatten(1, of_groups.shape[1:]) if of_groups.ndim > 1 else found[:, 0]
