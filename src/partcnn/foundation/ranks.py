"""Sums over the pictures of a batch that is spread over several processes, with their gradient.

Losses that couple the pictures of a batch, by a partition, a mean, a variance, are other losses where each process
("rank" r of W) has a part of the batch. They are the same again once every sum over pictures runs over the pictures of
all ranks:

    S = Σ_r s_r,   s_r a sum over the pictures of rank r, the same S on every rank.

The gradient. Rank r's loss is ℓ_r, its weights are its own copy θ_r. An all-reduce is a linear map of all s_r, and its
adjoint is an all-reduce of the slopes:

    ∂(Σ_q ℓ_q) / ∂s_r = Σ_q ∂ℓ_q/∂S,

which is what `Ranks.total` does in the backward pass. So the backward pass of all ranks together gives
∂(Σ_q ℓ_q)/∂θ_r on each rank r, and what DistributedDataParallel takes of it, the mean over ranks, is

    (1/W) Σ_r ∂(Σ_q ℓ_q)/∂θ_r = ∂( (1/W) Σ_q ℓ_q )/∂θ,

the gradient of the mean of the ranks' losses. Where every ℓ_q is the loss L of the joined batch it is ∂L/∂θ, that of
one process. Numbers of pictures may differ between ranks, down to none, as long as a mean divides by all pictures.

What is sent is a statistic, a number of a filter, a cell or a channel, never a map of a picture. Every rank must take
part in every sum, forward and backward, in the same order: code on the way asks nothing of the pictures that it has.
The ranks are those of torch.distributed's default group.
"""

import torch
from torch import Tensor, distributed


class Ranks:
    """One process alone: a sum over pictures is just that. Nothing is sent.

    Attributes:
        size: how many processes share a batch.
        is_first: this one is the first of them.
    """

    size = 1
    is_first = True

    def sum(self, values: Tensor) -> Tensor:  # [picture, ...] → [...]
        """Over the pictures of all ranks."""
        return values.sum(dim=0)

    def total(self, part: Tensor) -> Tensor:
        """The sum of what every rank has; whole numbers have no gradient."""
        return part

    def mean(self, values: Tensor) -> Tensor:  # [picture, ...] → a scalar
        """Over all values of the pictures of all ranks; 0 with a graph where there are none."""
        return values.sum() / max(values.numel(), 1)

    def log_softmax(self, values: Tensor) -> Tensor:  # [picture, ...] → the same
        """Over the pictures of all ranks, without a gradient for several of them."""
        return values.log_softmax(dim=0)

    def largest(self, values: Tensor) -> Tensor:  # [picture, ...] → [...]
        """Over the pictures of all ranks, without a gradient for several of them."""
        return values.amax(dim=0)

    def shared(self, value: Tensor) -> Tensor:
        """A number that is the same on every rank, worked out of what they all have. Its slopes are summed over ranks.

        For a value whose gradient to this rank's pictures is known, as ∂value/∂x, and not built of `total`.
        """
        return value

    def count(self, values: Tensor) -> int | Tensor:
        """The number of pictures of all ranks, of [picture, ...]; a scalar."""
        return len(values)

    def places(self, values: Tensor) -> Tensor:  # [picture]
        """Where the pictures of this rank are in the joined batch."""
        return torch.arange(len(values), device=values.device)

    def joined(self, values: Tensor) -> Tensor:  # [picture, ...] → [picture of all ranks, ...]
        """The rows of all ranks in the order of the joined batch, without a gradient. For a few numbers a picture."""
        return values

    def gathered(self, values: Tensor) -> Tensor:  # → [rank, ...]
        """What every rank has, of one shape, without a gradient."""
        return values[None]

    @property
    def of_pictures(self) -> "Ranks":
        """The same ranks, for values of which there is one a picture and not one a view."""
        return self


class JoinedRanks(Ranks):
    """All processes of torch.distributed's default group.

    Args:
        num_views: rows of each picture in a batch, all first views first. In the joined batch the first views of all
            ranks come first, in the order of the ranks, then all second views.
    """

    def __init__(self, num_views: int = 1) -> None:
        self.size, self._rank = distributed.get_world_size(), distributed.get_rank()
        self.is_first, self._num_views = self._rank == 0, num_views

    def sum(self, values: Tensor) -> Tensor:
        return self.total(values.sum(dim=0))

    def total(self, part: Tensor) -> Tensor:
        if not part.is_floating_point():
            return _reduced(part)
        total: Tensor = _Total.apply(part)  # type: ignore[no-untyped-call]
        return total

    def mean(self, values: Tensor) -> Tensor:
        total = self.total(torch.stack([values.sum(), values.new_tensor(float(values.numel()))]))
        return total[0] / total[1].detach().clamp(min=1)

    def log_softmax(self, values: Tensor) -> Tensor:
        values = values.detach()
        shift = self.largest(values)
        least = torch.finfo(values.dtype).tiny  # of a value that counts for nothing: an exp that underflows is slow
        powers = (values - shift).clamp(min=torch.tensor(least).log().item() * 0.9).exp()
        return values - (shift + self.sum(powers).log())

    def largest(self, values: Tensor) -> Tensor:
        own = values.amax(dim=0) if len(values) else values.new_full(values.shape[1:], -torch.inf)
        return _reduced(own, distributed.ReduceOp.MAX)

    def shared(self, value: Tensor) -> Tensor:
        shared: Tensor = _Shared.apply(value)  # type: ignore[no-untyped-call]
        return shared

    def count(self, values: Tensor) -> Tensor:
        return self._counts(values).sum()

    def places(self, values: Tensor) -> Tensor:
        counts = self._counts(values) // self._num_views
        own = len(values) // self._num_views
        views = counts.sum() * torch.arange(self._num_views, device=values.device)[:, None]
        pictures = counts[: self._rank].sum() + torch.arange(own, device=values.device)
        return (views + pictures).flatten()

    def joined(self, values: Tensor) -> Tensor:
        table = values.detach().new_zeros(int(self.count(values)), *values.shape[1:])
        table[self.places(values)] = values.detach()
        return _reduced(table)

    def gathered(self, values: Tensor) -> Tensor:
        values = values.detach().contiguous()
        rows = [torch.empty_like(values) for _ in range(self.size)]
        distributed.all_gather(rows, values)
        return torch.stack(rows)

    @property
    def of_pictures(self) -> Ranks:
        return JoinedRanks()

    def _counts(self, values: Tensor) -> Tensor:  # [rank]
        return self.gathered(torch.tensor(len(values), device=values.device))


ONE_PROCESS = Ranks()


def joined_ranks(num_views: int = 1) -> Ranks:
    """The ranks that share a batch: `ONE_PROCESS` where torch.distributed has no group, or a group of one."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return ONE_PROCESS
    return JoinedRanks(num_views)


class _Total(torch.autograd.Function):
    """Σ over ranks; of slopes the same sum."""

    @staticmethod
    def forward(ctx: object, part: Tensor) -> Tensor:
        return _reduced(part)

    @staticmethod
    def backward(ctx: object, upstream: Tensor) -> Tensor:
        return _Total.apply(upstream)  # type: ignore[no-any-return, no-untyped-call]


class _Shared(torch.autograd.Function):
    """Forward nothing, of slopes the sum over ranks."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: object, upstream: Tensor) -> Tensor:
        return _Total.apply(upstream)  # type: ignore[no-any-return, no-untyped-call]


def _reduced(part: Tensor, operation: "distributed.ReduceOp.RedOpType | None" = None) -> Tensor:
    """A new tensor; collectives write in place, into memory without gaps."""
    whole = part.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(whole, operation or distributed.ReduceOp.SUM)
    return whole
