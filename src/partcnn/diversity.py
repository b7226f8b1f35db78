"""Filters of one category in different places: how much of where a filter is depends on which filter it is."""

import torch
from torch import Tensor

from partcnn.errors import ShapeError
from partcnn.objectives import template_fitness
from partcnn.objectives.fitness import at_least_float32


def position_information(
    feature_maps: Tensor,  # [image, filter, row, col]
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
) -> Tensor:  # [image]
    """Mutual information between filter and place on each picture: what a spread of the filters is worth.

        I(F; T⁺ | x) = H( mean_f p_f ) − mean_f H( p_f ),   p_f(μ) = softmax over μ of s_μ(x_f),

    with every filter and every positive template of equal prior and s_μ the fitness of `template_fitness`. It is
    the Jensen-Shannon divergence of the filters' places. Ours, not the paper's.

    Args:
        feature_maps: of the filters of one category on pictures of that category, activations ≥ 0, brought to
            scale by the caller; half precision is computed in float32.
        tau, beta: of the templates.

    Returns:
        In nats, between 0, all filters in one place or nowhere, and log min(filters, cells).

    Raises:
        ShapeError: maps or β have the wrong shape.
        ConfigError: τ, or β as a number, is not positive.
    """
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    log_place = fitness[..., 1:].log_softmax(dim=2)
    place = log_place.exp()
    mixed = place.mean(dim=1)
    mixed_entropy: Tensor = -torch.special.xlogy(mixed, mixed.clamp(min=torch.finfo(mixed.dtype).tiny)).sum(dim=1)
    return mixed_entropy + (place * log_place).sum(dim=2).mean(dim=1)


def diversity(
    feature_maps: Tensor,  # [image, filter, row, col]
    belongs: Tensor,  # [image, filter] bool
    filter_category: Tensor,  # [filter]
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
) -> Tensor:  # scalar
    """−`position_information` of each category's filters on its pictures: mean over pictures, sum over categories.

    Args:
        feature_maps, tau, beta: see there.
        belongs: the picture is of the filter's category.
        filter_category: the category of each filter.

    Returns:
        In nats, ≤ 0; 0 with a graph where no picture belongs.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    if belongs.shape != feature_maps.shape[:2] or filter_category.shape != feature_maps.shape[1:2]:
        raise ShapeError(
            "feature_maps, belongs, filter_category: expected [image, filter, row, col], [image, filter] and [filter], "
            f"got {tuple(feature_maps.shape)}, {tuple(belongs.shape)} and {tuple(filter_category.shape)}"
        )
    total = at_least_float32(feature_maps[:, :1]).sum() * 0  # with a graph
    for category in filter_category.unique():
        own = (filter_category == category).nonzero().squeeze(1)
        pictures = belongs[:, own[0]].nonzero().squeeze(1)
        if len(pictures):
            slope = beta[own] if isinstance(beta, Tensor) else beta
            total = total - position_information(feature_maps[pictures][:, own], tau=tau, beta=slope).mean()
    return total
