"""Filter objectives with their gradient in one pass: a few filters at a time, so that all they need stays in the cache.

Of a filter's fitness s_T(x) an objective says its value and terms, and ∂loss/∂s_T(x). Since s is linear in the map,
∂loss/∂x is the same linear map of ∂loss/∂s. Nothing but the gradient, as large as the maps, outlives the chunk.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from partcnn.foundation.ranks import ONE_PROCESS, Ranks
from partcnn.objectives.fitness import Cones, at_least_float32, cones, in_full_precision

# Cells computed at once: what a CPU's caches hold with all that comes of them; elsewhere, enough to keep a device busy.
_CHUNK, _CHUNK_ELSEWHERE = 1 << 17, 1 << 22
_USUAL_BATCH = 64  # images: on several ranks a chunk has the same filters on each, however many pictures it has


class Slopes(NamedTuple):
    """What an objective says of some filters: each number [filter], and the derivatives of the loss."""

    loss: Tensor
    terms: tuple[Tensor, ...]  # each [filter]
    by_positive: Tensor  # ∂loss/∂s_μ(x): [image, filter, cell]
    by_negative: Tensor  # ∂loss/∂s_T⁻(x): [image, filter]


# (s_μ(x) [image, filter, cell], s_T⁻(x) [image, filter], belongs [image, filter]) → Slopes. It may write over s_μ.
Rule = Callable[[Tensor, Tensor, Tensor], Slopes]


def fused(
    rule: Rule,
    feature_maps: Tensor,  # [image, filter, row, col]
    belongs: Tensor,  # [image, filter] bool
    *,
    tau: float | Tensor,
    beta: float | Tensor,
    ranks: Ranks = ONE_PROCESS,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The rule's loss, [filter], with a gradient to the maps, and its terms, without one.

    The gradient is worked out with the value, where one is asked for. τ and β get none, and a second derivative is
    refused. Arguments are those of `template_fitness` and have been checked; there is at least one image. A rule that
    sums over the pictures of `ranks` gives the loss of them all, and its slopes by this rank's.
    """
    if feature_maps.requires_grad and torch.is_grad_enabled():
        loss, *terms = _Fused.apply(feature_maps, rule, belongs, tau, beta, ranks)  # type: ignore[no-untyped-call]
        return ranks.shared(loss), tuple(terms)
    numbers, _ = _sweep(rule, feature_maps, belongs, tau, beta, ranks)
    return numbers[0], tuple(numbers[1:])


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, rule: Rule, belongs: Tensor, tau: Any, beta: Any, ranks: Ranks
    ) -> tuple[Tensor, ...]:
        # Half precision waits for the upstream gradient: scaled by it, as GradScaler means, it does not underflow.
        is_half = maps.dtype.itemsize < 4
        numbers, ctx.gradient = _sweep(rule, maps, belongs, tau, beta, ranks, with_gradient=not is_half)
        ctx.save_for_backward(maps)
        ctx.call = rule, belongs, tau, beta, ranks
        ctx.mark_non_differentiable(*numbers[1:])
        return tuple(numbers)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *of_terms: Tensor) -> tuple[Tensor | None, ...]:
        (maps,) = ctx.saved_tensors
        gradient, ctx.gradient = ctx.gradient, None  # handed over, so that it can be scaled where it lies
        with torch.no_grad():
            if gradient is None:  # half precision, or a second pass backwards
                rule, *call = ctx.call
                _, gradient = _sweep(rule, maps, *call, with_gradient=True, upstream=upstream)
            else:
                gradient.mul_(upstream[:, None, None])
        if torch.is_grad_enabled():  # create_graph: autograd's own once_differentiable would pass it for a constant
            gradient = _NoSecondDerivative.apply(gradient, maps, upstream)  # type: ignore[no-untyped-call]
        return gradient, None, None, None, None, None


class _NoSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *inputs: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "labelled, exact: expected first derivatives only, got a second one; "
            "partcnn.objectives.mutual_information has every derivative"
        )


@torch.no_grad()
def _sweep(
    rule: Rule,
    maps: Tensor,
    belongs: Tensor,
    tau: float | Tensor,
    beta: float | Tensor,
    ranks: Ranks,
    *,
    with_gradient: bool = False,
    upstream: Tensor | None = None,
) -> tuple[list[Tensor], Tensor | None]:
    """Loss and terms, each [filter], and on demand ∂(Σ_f upstream_f · loss_f)/∂maps; upstream None: 1."""
    size = (maps.shape[2], maps.shape[3])
    gradient = torch.empty_like(maps) if with_gradient else None
    numbers: list[tuple[Tensor, ...]] = []
    with in_full_precision(maps.device):
        cone = cones(size, beta, like=at_least_float32(maps[:0]))
        for chosen in _chunks(maps, ranks):
            chunk = at_least_float32(maps[:, chosen]).flatten(2)
            own_cone = cone.of_filters(chosen)
            negative = -tau * chunk.sum(dim=2)
            positive = own_cone.convolved(chunk).mul_(tau).add_(negative[..., None])
            found = rule(positive, negative, belongs[:, chosen])
            numbers.append((found.loss, *found.terms))
            if gradient is not None:
                by_maps = _by_maps(found, own_cone).mul_(tau)
                if upstream is not None:
                    by_maps.mul_(upstream[chosen, None])
                gradient[:, chosen] = by_maps.unflatten(2, size)
    return [torch.cat(column) for column in zip(*numbers, strict=True)], gradient


def _by_maps(slopes: Slopes, cone: Cones) -> Tensor:
    """∂/∂x = ∑_T ∂loss/∂s_T · t_T, for templates of height 1: the cone of the slopes, less all of them."""
    total = slopes.by_positive.sum(dim=2) + slopes.by_negative
    return cone.convolved(slopes.by_positive).sub_(total[..., None])


def _chunks(maps: Tensor, ranks: Ranks) -> Iterator[slice]:
    num_images, num_filters, height, width = maps.shape
    cells = _CHUNK if maps.device.type == "cpu" else _CHUNK_ELSEWHERE
    count = max(1, cells // ((num_images if ranks.size == 1 else _USUAL_BATCH) * height * width))
    return (slice(start, start + count) for start in range(0, max(num_filters, 1), count))
