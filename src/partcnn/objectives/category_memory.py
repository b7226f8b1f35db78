"""What each filter's own category looked like in earlier batches, where one batch holds too little of it."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from partcnn.foundation.ranks import ONE_PROCESS, Ranks

_OWN = 1 << 40  # more than any place: what is of a filter's category comes last


class _Batch(NamedTuple):
    values: Tensor  # [image, filter, ...]
    labels: Tensor  # [image, filter], the filter's category where the image is of it, else -1
    places: Tensor | None = None  # [image, filter], in what all ranks hold, -1 of another rank's; None: one process


class _State(NamedTuple):
    kept: _Batch  # [slot, filter, ...], [slot, filter], the newest last
    latest: _Batch  # joins what is kept when another batch comes


class CategoryMemory:
    """The newest values of every filter's own category, without a graph. Not part of a network's state.

    A filter's mutual information sums over pictures of its category, and says nothing of one alone. A batch of 32
    holds one picture of each of 24 classes. A queue of what earlier batches held (He et al., 2020, keep one for
    contrastive learning) lets small batches count.

    Among several ranks each keeps the values that it saw itself, of those that one process would keep of all: ranks
    tell each other places in that order, and no values.

    Args:
        size: values kept per filter, at least 1.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._state: _State | None = None

    def remember(
        self,
        values: Tensor,  # [image, filter, ...]
        belongs: Tensor,  # [image, filter] bool
        filter_category: Tensor,  # [filter]
        ranks: Ranks = ONE_PROCESS,
    ) -> None:
        """Another batch: what was the newest joins what is recalled, and this becomes the newest.

        Values of another shape, type or device than the last ones empty the memory first. Of what is not finite
        nothing is remembered. `ranks` share the batch.
        """
        is_finite = values.detach().isfinite().flatten(2).all(dim=2)  # [image, filter]
        values, belongs = torch.where(_wide(is_finite, values), values.detach(), 0), belongs & is_finite
        state = self._state
        if state is None or not _are_alike(state.kept.values, values):
            kept = self._nothing(values)
        else:
            kept = _newest(state.kept, state.latest, filter_category, ranks)
        places = None if ranks.size == 1 else ranks.places(values)[:, None].expand(belongs.shape)
        self._state = _State(kept, _Batch(values, torch.where(belongs, filter_category, -1), places))

    def recalled(
        self, like: Tensor, filter_category: Tensor
    ) -> tuple[Tensor, Tensor]:  # [slot, filter, ...], [slot, filter] bool
        """What is remembered of the batches before the newest, and which slots hold something; the others are 0.

        Only values of a filter's present category are recalled. Asking changes nothing.

        Args:
            like: values [image, filter, ...]; what is remembered of another shape, type or device is left out.
            filter_category: [filter], the category of each filter.
        """
        state = self._state
        kept = state.kept if state is not None and _are_alike(state.kept.values, like) else self._nothing(like)
        is_own = kept.labels == filter_category
        return kept.values * _wide(is_own, kept.values), is_own

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """All that is remembered."""
        return {} if self._state is None else {name: batch._asdict() for name, batch in self._state._asdict().items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """What `state_dict` gave."""
        batches = {name: _Batch(**batch) for name, batch in state.items()}
        self._state = _State(**batches) if batches else None

    def _nothing(self, like: Tensor) -> _Batch:
        labels = torch.full((self.size, like.shape[1]), -1, device=like.device)
        return _Batch(like.new_zeros(self.size, *like.shape[1:]), labels)


def counted_for_all(
    values: Tensor,  # [image, filter, ...]
    belongs: Tensor,  # [image, filter] bool
    is_remembered: Tensor,  # [slot, filter] bool
    ranks: Ranks = ONE_PROCESS,
) -> Tensor:  # [image, filter, ...]
    """The same values; their gradients times all that is counted of the category over what the batch holds of it.

    Remembered values have no gradient. Where the batch holds at least one of the category, its own are a sample of all
    that are counted, and with this factor their gradient is, in the mean over batches, that of all: but for what the
    weights have changed since the others were seen. Both are counted over all `ranks`.
    """
    in_batch, remembered = (ranks.sum(counted).to(values.dtype) for counted in (belongs, is_remembered))
    extra = belongs * (remembered / in_batch.clamp(min=1))  # [image, filter]
    return values + _wide(extra, values) * (values - values.detach())


def _newest(kept: _Batch, batch: _Batch, filter_category: Tensor, ranks: Ranks) -> _Batch:
    """The newest of each filter's present category, as many as are kept."""
    values, labels = (torch.cat([getattr(kept, name), getattr(batch, name)]) for name in ("values", "labels"))
    is_own, size = labels == filter_category, len(kept.labels)
    if batch.places is None:
        chosen = is_own.int().argsort(dim=0, stable=True)[-size:]  # [slot, filter]
        return _Batch(_taken(values, chosen), labels.gather(0, chosen))
    # One process would hold `size` slots and then the batch, each at its place, and keep the last of its order.
    places = torch.cat([_places_kept(kept, ranks), size + batch.places])
    order, chosen = torch.where(places >= 0, places + is_own * _OWN, -1).topk(size, dim=0, sorted=True)
    of_all = ranks.gathered(order).flatten(0, 1).topk(size, dim=0).values  # [slot, filter]
    is_kept = order >= of_all[-1]
    slots = (of_all < order[:, None]).sum(dim=1)
    return _Batch(
        _taken(values, chosen),
        torch.where(is_kept, labels.gather(0, chosen), -1),
        torch.where(is_kept, slots, -1),
    )


def _places_kept(kept: _Batch, ranks: Ranks) -> Tensor:  # [slot, filter]
    """Slots that nothing was kept in yet are the first rank's."""
    if kept.places is not None:
        return kept.places
    slots = torch.arange(len(kept.labels), device=kept.labels.device)[:, None].expand(kept.labels.shape)
    return slots if ranks.is_first else torch.full_like(slots, -1)


def _taken(values: Tensor, chosen: Tensor) -> Tensor:
    """[slot, filter, ...], of each filter the rows [slot, filter] of [image, filter, ...]."""
    return values.gather(0, _wide(chosen, values).expand(-1, -1, *values.shape[2:]))


def _are_alike(values: Tensor, others: Tensor) -> bool:
    return (values.shape[1:], values.dtype, values.device) == (others.shape[1:], others.dtype, others.device)


def _wide(of_filters: Tensor, like: Tensor) -> Tensor:
    """[first, filter] with as many axes as `like`."""
    return of_filters.reshape(*of_filters.shape, *[1] * (like.ndim - 2))
