"""A part moves with its picture: a filter's place differs between pictures, and not between two views of one."""

from collections.abc import Callable

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.foundation.ranks import ONE_PROCESS, Ranks
from partcnn.objectives.category_memory import counted_for_all
from partcnn.objectives.fitness import template_fitness

_FLOOR = 0.002  # ε, squared sides of the picture: a cell of a 14 × 14 map has (1/14)² = 0.005


def expected_positions(
    feature_maps: Tensor,  # [image, filter, row, col]
    centers: tuple[Tensor, Tensor],  # y of each row, x of each column, as fractions of the view's sides
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
) -> Tensor:  # [image, filter, 2]
    """Where a filter's part is in a view: the mean of the cells' places, weighed by p(T_μ | x, T⁺).

    With equal priors p(T_μ | x, T⁺) = softmax over μ of s_μ(x), the fitness of `template_fitness`. Unlike the
    peak it has a gradient.

    Returns:
        (x, y) in the units of `centers`.

    Raises:
        ShapeError: `centers` do not fit the maps, or maps or β have the wrong shape.
    """
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    sizes = (len(centers[0]), len(centers[1]))
    if feature_maps.shape[2:] != sizes:
        raise ShapeError(f"centers: expected {tuple(feature_maps.shape[2:])} rows and columns as the maps, got {sizes}")
    share = fitness[..., 1:].softmax(dim=2).unflatten(2, sizes)
    return mean_positions(share, centers)


def mean_positions(
    shares: Tensor,  # [image, filter, row, col], each map sums to 1
    centers: tuple[Tensor, Tensor],  # [row], [col]
) -> Tensor:  # [image, filter, 2]
    """The mean of the cells' places, weighed by their shares: (x, y) in the units of `centers`."""
    rows, cols = (center.to(shares) for center in centers)
    return torch.stack([shares.sum(dim=2) @ cols, shares.sum(dim=3) @ rows], dim=-1)


def in_pictures(
    points: Tensor,  # [view, point, 2]
    frames: Tensor,  # [view, 2, 3]
) -> Tensor:  # [view, point, 2]
    """Points (x, y) of views, carried by each view's frame into its picture."""
    frames = frames.to(points)
    return torch.einsum("ixy,ify->ifx", frames[..., :2], points) + frames[:, None, :, 2]


def equivariance(
    feature_maps: Tensor,  # [2 · picture, filter, row, col]: first views, then second views, in one order
    belongs: Tensor,  # [2 · picture, filter] bool
    frames: Tensor,  # [2 · picture, 2, 3]
    centers: tuple[Tensor, Tensor],
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    earlier: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
    ranks: Ranks = ONE_PROCESS,
) -> Tensor:  # [filter]
    """Log ratio of the variance of a filter's places within a picture to that between pictures.

        loss_f = log( (within + ε) / (between + ε) )
        within = mean ‖A₁ e(x₁) − A₂ e(x₂)‖² / 2,   between = var of the middle of A₁ e(x₁) and A₂ e(x₂),

    over the pictures of f's category, with e the expected position in a view, A the map from view to picture and
    ε = 0.002. Crops and flips are known, so this costs no label. A filter that answers a fixed point of the view pays
    for every crop, and one that answers a fixed point of the object, such as its middle, gains nothing. It is minus the
    log of Fisher's criterion with pictures as classes. Ours, not the paper's.

    Args:
        feature_maps: activations ≥ 0, brought to scale by the caller; half precision is computed in float32.
        belongs: the picture is of the filter's category.
        frames: A of every view: (x, y, 1) in fractions of the view's sides → (x, y) in fractions of the picture's.
        centers: y of each row and x of each column, fractions of the view's sides.
        tau, beta: of the templates.
        earlier: of the middles of these pictures, [picture, filter, 2], to the middles of earlier ones that count
            between pictures beside them, and which there are: see `variance_ratio`. None: none.
        ranks: that share the batch; the pictures are those of all.

    Returns:
        In nats; below 0 where places differ more between pictures than within. A filter without a picture that
        belongs: 0.

    Raises:
        ShapeError: an odd number of images, or shapes that do not fit together.
    """
    if len(feature_maps) % 2 or belongs.shape != feature_maps.shape[:2] or frames.shape != (len(feature_maps), 2, 3):
        raise ShapeError(
            "feature_maps, belongs, frames: expected two views of each picture, [2N, filter, row, col], "
            f"[2N, filter] and [2N, 2, 3], got {tuple(feature_maps.shape)}, {tuple(belongs.shape)} "
            f"and {tuple(frames.shape)}"
        )
    inside = expected_positions(feature_maps, centers, tau=tau, beta=beta)
    first, second = in_pictures(inside, frames).chunk(2)  # [picture, filter, 2]
    remembered = earlier((first + second) / 2) if earlier is not None else ()
    return variance_ratio(first, second, belongs[: len(first)], *remembered, ranks=ranks)


def variance_ratio(
    first: Tensor,  # [picture, filter, 2]
    second: Tensor,  # [picture, filter, 2]
    belongs: Tensor,  # [picture, filter] bool
    remembered: Tensor | None = None,  # [slot, filter, 2]
    is_remembered: Tensor | None = None,  # [slot, filter] bool
    *,
    ranks: Ranks = ONE_PROCESS,
) -> Tensor:  # [filter]
    """The loss of `equivariance`, of places in pictures.

    Args:
        first, second: of two views of each picture.
        belongs: the picture is of the filter's category.
        remembered, is_remembered: middles of earlier pictures, which count between pictures beside the batch's
            (`partcnn.objectives.category_memory`); a filter without a picture in the batch has 0 all the same.
        ranks: that share the batch; the pictures, also earlier ones, are those of all.
    """
    counted = belongs[..., None]
    num_counted = ranks.sum(counted)
    within = ranks.sum(((first - second) * counted).square()) / num_counted.clamp(min=1) / 2
    middle = (first + second) / 2
    if remembered is not None and is_remembered is not None:
        middle = torch.cat([counted_for_all(middle, belongs, is_remembered, ranks), remembered])
        counted = torch.cat([belongs, is_remembered & (num_counted[:, 0] > 0)])[..., None]
        num_counted = ranks.sum(counted)
    num_counted = num_counted.clamp(min=1)  # [filter, 1]
    deviation = (middle - ranks.sum(middle * counted) / num_counted) * counted
    between = ranks.sum(deviation.square()) / num_counted
    return (within.sum(dim=1) + _FLOOR).log() - (between.sum(dim=1) + _FLOOR).log()
