"""Filters of one category in different places: how much of where a filter is depends on which filter it is."""

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.foundation.ranks import ONE_PROCESS, Ranks
from partcnn.objectives.fitness import template_fitness


def position_information(
    feature_maps: Tensor,  # [image, filter, row, col]
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    counted: Tensor | None = None,  # [image, filter] bool
) -> Tensor:  # [image]
    """Mutual information between filter and place on each picture: what a spread of the filters is worth.

        I(F; T⁺ | x) = H( mean_f p_f ) − mean_f H( p_f ),   p_f(μ) = softmax over μ of s_μ(x_f),

    with every filter and every positive template of equal prior and s_μ the fitness of `template_fitness`. It is
    the Jensen-Shannon divergence of the filters' places. Ours, not the paper's.

    Args:
        feature_maps: of the filters of one category on pictures of that category, activations ≥ 0, brought to
            scale by the caller; half precision is computed in float32.
        tau, beta: of the templates.
        counted: which filters count on an image; None: all. An image without any has 0.

    Returns:
        In nats, between 0, all filters in one place or nowhere, and log min(filters, cells).

    Raises:
        ShapeError: maps or β have the wrong shape.
        ConfigError: τ, or β as a number, is not positive.
    """
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    log_place = fitness[..., 1:].log_softmax(dim=2)
    place = log_place.exp()
    share = torch.ones_like(place[..., 0]) if counted is None else counted.to(place)
    share = share / share.sum(dim=1, keepdim=True).clamp(min=1)  # [image, filter]
    mixed = torch.einsum("if,ifc->ic", share, place)
    mixed_entropy = -torch.special.xlogy(mixed, mixed.clamp(min=torch.finfo(mixed.dtype).tiny)).sum(dim=1)
    information: Tensor = mixed_entropy + (share * (place * log_place).sum(dim=2)).sum(dim=1)
    return information


def diversity(
    feature_maps: Tensor,  # [image, filter, row, col]
    belongs: Tensor,  # [image, filter] bool
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    ranks: Ranks = ONE_PROCESS,
) -> Tensor:  # scalar
    """−`position_information` of each category's filters on its pictures: mean over pictures, sum over categories.

    Args:
        feature_maps, tau, beta: see there.
        belongs: the picture is of the filter's category, so that an image's are the filters of one category.
        ranks: that share the batch; the pictures are those of all.

    Returns:
        In nats, ≤ 0; 0 with a graph where no picture belongs.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    if belongs.shape != feature_maps.shape[:2]:
        raise ShapeError(
            "feature_maps, belongs: expected [image, filter, row, col] and [image, filter], "
            f"got {tuple(feature_maps.shape)} and {tuple(belongs.shape)}"
        )
    information = position_information(feature_maps, tau=tau, beta=beta, counted=belongs)
    num_pictures = torch.where(belongs, ranks.sum(belongs), 1).amax(dim=1)  # [image], of the image's category
    return -ranks.total((information / num_pictures).sum())
