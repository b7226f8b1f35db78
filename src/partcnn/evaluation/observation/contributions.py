"""What filters add to logits, summed over the pictures that each is measured on."""

import torch
from torch import Tensor

_MOST_VALUES = 2**27  # of a table by label, where nobody knows yet which labels count for a filter


class ContributionSums:
    """Sums of contributions over the pictures of each filter's category.

    Where the categories are known beforehand the sums are [class, filter], however many classes there are. Else they
    are kept by the pictures' labels; where that table would take a GiB or more, none are kept.

    Args:
        serves: [filter, label] bool, which pictures count for a filter; None: that is not known yet.
        num_filters, num_classes: of the sums.
        num_groups: of the pictures, by which the labels count.
    """

    def __init__(self, serves: Tensor | None, num_filters: int, num_classes: int, num_groups: int) -> None:
        self._serves = serves
        self._is_kept = serves is not None or num_groups * num_classes * num_filters < _MOST_VALUES
        shape = (num_classes, num_filters) if serves is not None else (num_groups, num_classes, num_filters)
        self._sums = torch.zeros(shape if self._is_kept else (0,), dtype=torch.float64)
        self._num_groups = num_groups

    def add(self, contributions: Tensor, labels: Tensor) -> None:
        """[image, class, filter] of pictures with these labels, [image]."""
        if not self._is_kept:
            return
        contributions = contributions.double().cpu()
        if self._serves is not None:
            self._sums += torch.einsum("icf,fi->cf", contributions, self._serves[:, labels].double())
            return
        is_class = torch.nn.functional.one_hot(labels, self._num_groups).double()
        self._sums += torch.einsum("icf,il->lcf", contributions, is_class)

    def of(self, serves: Tensor) -> Tensor | None:
        """[class, filter] sums over the pictures that count; those of `serves` where they were not known before."""
        if not self._is_kept:
            return None
        if self._serves is not None:
            return self._sums
        return torch.einsum("lcf,fl->cf", self._sums, serves.double())
