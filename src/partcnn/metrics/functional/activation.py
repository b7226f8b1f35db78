"""What a filter fires on, category by category: dead filters, class purity, and how its activation is shared out."""

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional.arguments import check_scores


def dead_filters(scores: Tensor) -> Tensor:  # [image, filter] -> [filter] bool
    """Filters that are silent, score ≤ 0, on more than half of the images given.

    Args:
        scores: the peak of each map after the ReLU, on the images of the filters' own category.

    Returns:
        True for dead filters. Without an image nothing is known and none is dead.

    Raises:
        ShapeError: not two axes.
        ConfigError: a score is nan.
    """
    check_scores(scores)
    return (scores <= 0).sum(dim=0) * 2 > scores.shape[0]


def activation_shares(activation: Tensor) -> Tensor:  # [filter, category] -> [filter, category]
    """How each filter's activation is shared out over the categories: the filter × category confusion table.

    Args:
        activation: mean over the pictures of each category of the map's sum, Σ_ij x_ij, ≥ 0. Means and not sums,
            so that a category does not weigh more for having more pictures.

    Returns:
        Rows that add up to 1; a filter that never fires has a row of 0.

    Raises:
        ShapeError: not two axes.
        ConfigError: an activation is below 0 or not finite.
    """
    if activation.ndim != 2:
        raise ShapeError(f"activation: expected [filter, category], got shape {tuple(activation.shape)}")
    if not (activation.isfinite() & (activation >= 0)).all():
        raise ConfigError("activation: expected finite numbers ≥ 0, as after a ReLU; got others")
    activation = activation.detach().to(torch.float64)
    total = activation.sum(dim=1, keepdim=True)
    return torch.where(total > 0, activation / total, 0.0)


def class_purity(activation: Tensor, filter_category: Tensor) -> Tensor:  # [filter, category], [filter] -> [filter]
    """The share of each filter's activation that falls on its own category; higher is better.

    class purity_f = a_{f,c(f)} / ∑_c a_{f,c}, with a as in `activation_shares`. 1: it fires on its category alone;
    1 / number of categories: on all alike, as a filter that does not look does; 0: it never fires. Our definition:
    the paper prints none.

    Raises:
        ShapeError, ConfigError: as in `activation_shares`; not one category per filter.
    """
    shares = activation_shares(activation)
    if filter_category.shape != shares.shape[:1] or filter_category.is_floating_point():
        raise ShapeError(
            f"filter_category: expected one category index for each of {len(shares)} filters, "
            f"got {filter_category.dtype} {tuple(filter_category.shape)}"
        )
    return shares.gather(1, filter_category.to(shares.device, torch.int64)[:, None]).squeeze(1)


filter_purity = class_purity  # its earlier name


def category_confusion(activation: Tensor, filter_category: Tensor) -> Tensor:  # -> [category, category]
    """`activation_shares` averaged over the filters of each category: row c says where the filters of c fire.

    Returns:
        nan in the row of a category that has no filter; else as `activation_shares`.

    Raises:
        ShapeError, ConfigError: as in `class_purity`.
    """
    class_purity(activation, filter_category)  # checks both
    shares = activation_shares(activation)
    owns = torch.nn.functional.one_hot(filter_category.long(), shares.shape[1]).to(shares)  # [filter, category]
    return owns.T @ shares / owns.sum(dim=0)[:, None]
