"""What each filter's own category looked like in earlier batches, where one batch holds too little of it."""

import weakref
from typing import NamedTuple

import torch
from torch import Tensor


class _Batch(NamedTuple):
    values: Tensor  # [image, filter, ...]
    labels: Tensor  # [image, filter], the filter's category where the image is of it, else -1


class _State(NamedTuple):
    kept: _Batch  # [slot, filter, ...], [slot, filter], the newest last
    latest: _Batch  # joins what is kept when another batch comes
    maps: "weakref.ref[Tensor]"  # of that batch


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
        self._state: _State | None = None

    def before(
        self,
        maps: Tensor,
        values: Tensor,  # [image, filter, ...]
        belongs: Tensor,  # [image, filter] bool
        filter_category: Tensor,  # [filter]
    ) -> tuple[Tensor, Tensor]:  # [slot, filter, ...], [slot, filter] bool
        """What is remembered of the batches before this one, and which slots hold something; the others are 0.

        Only values of a filter's present category are recalled, and none of another shape, type or device.

        Args:
            maps: of a forward pass. Asked again about the very same ones, the answer is the same.
            values: to remember of that pass.
            belongs: the image is of the filter's category.
            filter_category: the category of each filter.
        """
        state = self._state
        if state is None or not _are_alike(state.kept.values, values):
            labels = filter_category.new_full((self.size, values.shape[1]), -1)
            kept = _Batch(values.new_zeros(self.size, *values.shape[1:]), labels)
        elif state.maps() is maps:
            kept = state.kept
        else:
            kept = _newest(state.kept, state.latest, filter_category)
        latest = _Batch(values.detach(), torch.where(belongs, filter_category, -1))
        self._state = _State(kept, latest, weakref.ref(maps))
        is_own = kept.labels == filter_category
        return kept.values * _wide(is_own, kept.values), is_own


def counted_for_all(
    values: Tensor,  # [image, filter, ...]
    belongs: Tensor,  # [image, filter] bool
    is_remembered: Tensor,  # [slot, filter] bool
) -> Tensor:  # [image, filter, ...]
    """The same values; their gradients times all that is counted of the category over what the batch holds of it.

    Remembered values have no gradient. Where the batch holds at least one of the category, its own are a sample of all
    that are counted, and with this factor their gradient is, in the mean over batches, that of all: but for what the
    weights have changed since the others were seen.
    """
    in_batch, remembered = (counted.sum(dim=0).to(values.dtype) for counted in (belongs, is_remembered))
    extra = belongs * (remembered / in_batch.clamp(min=1))  # [image, filter]
    return values + _wide(extra, values) * (values - values.detach())


def _newest(kept: _Batch, batch: _Batch, filter_category: Tensor) -> _Batch:
    """The newest of each filter's present category, as many as are kept."""
    values, labels = (torch.cat(both) for both in zip(kept, batch, strict=True))
    chosen = (labels == filter_category).int().argsort(dim=0, stable=True)[-len(kept.labels) :]  # [slot, filter]
    of_values = _wide(chosen, values).expand(-1, -1, *values.shape[2:])
    return _Batch(values.gather(0, of_values), labels.gather(0, chosen))


def _are_alike(values: Tensor, others: Tensor) -> bool:
    return (values.shape[1:], values.dtype, values.device) == (others.shape[1:], others.dtype, others.device)


def _wide(of_filters: Tensor, like: Tensor) -> Tensor:
    """[first, filter] with as many axes as `like`."""
    return of_filters.reshape(*of_filters.shape, *[1] * (like.ndim - 2))
