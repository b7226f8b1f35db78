"""What each filter's own category looked like in earlier batches, where one batch holds too little of it."""

import torch
from torch import Tensor


class CategoryMemory:
    """The newest values of every filter's own category, without a graph. Not part of a network's state.

    A filter's mutual information sums over pictures of its category, and says nothing of one alone. A batch of 32
    holds one picture of each of 24 classes. A queue of what earlier batches held (He et al., 2020, keep one for
    contrastive learning) lets small batches count.

    Args:
        size: values kept per filter, at least 1.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._values = torch.empty(0)  # [slot, filter, ...], the newest last
        self._labels = torch.empty(0)  # [slot, filter], the class of each; -1 where the slot is empty

    def recalled(
        self,
        like: Tensor,  # [image, filter, ...]
        filter_category: Tensor,  # [filter]
    ) -> tuple[Tensor, Tensor]:  # [slot, filter, ...], [slot, filter] bool
        """What is remembered of each filter's present category, and which slots hold something; the others are 0.

        Values of another shape, type or device than `like` are forgotten.
        """
        if (
            self._values.shape[1:] != like.shape[1:]
            or self._values.dtype != like.dtype
            or self._values.device != like.device
        ):
            self._values = like.new_zeros(self.size, *like.shape[1:])
            self._labels = filter_category.new_full((self.size, like.shape[1]), -1)
        is_own = self._labels == filter_category
        return self._values * _wide(is_own, self._values), is_own

    def add(self, values: Tensor, belongs: Tensor, filter_category: Tensor) -> None:
        """Remember the values, [image, filter, ...], that `belongs`, [image, filter], says; after `recalled`."""
        values = torch.cat([self._values, values.detach()])
        labels = torch.cat([self._labels, torch.where(belongs, filter_category, -1)])
        newest = (labels >= 0).int().argsort(dim=0, stable=True)[-self.size :]  # [slot, filter]
        self._labels = labels.gather(0, newest)
        self._values = values.gather(0, _wide(newest, values).expand(-1, -1, *values.shape[2:]))


def counted_for_all(
    values: Tensor,  # [image, filter, ...]
    belongs: Tensor,  # [image, filter] bool
    is_remembered: Tensor,  # [slot, filter] bool
) -> Tensor:  # [image, filter, ...]
    """The same values; their gradients times all that is counted of the category over what the batch holds of it.

    Remembered values have no gradient. The batch's are a sample of all that are counted, and with this factor their
    gradient is, but for chance, what all of them would have given.
    """
    in_batch, remembered = (counted.sum(dim=0).to(values.dtype) for counted in (belongs, is_remembered))
    extra = belongs * (remembered / in_batch.clamp(min=1))  # [image, filter]
    return values + _wide(extra, values) * (values - values.detach())


def _wide(of_filters: Tensor, like: Tensor) -> Tensor:
    """[first, filter] with as many axes as `like`."""
    return of_filters.reshape(*of_filters.shape, *[1] * (like.ndim - 2))
