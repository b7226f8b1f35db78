"""A part moves with its picture: how far a filter's position in two views of one picture differs."""

import torch
from torch import Tensor

from partcnn.errors import ShapeError
from partcnn.objectives import template_fitness


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
    rows, cols = (center.to(share) for center in centers)
    return torch.stack([share.sum(dim=2) @ cols, share.sum(dim=3) @ rows], dim=-1)


def equivariance(
    feature_maps: Tensor,  # [2 · picture, filter, row, col]: first views, then second views, in one order
    belongs: Tensor,  # [2 · picture, filter] bool
    frames: Tensor,  # [2 · picture, 2, 3]
    centers: tuple[Tensor, Tensor],
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
) -> Tensor:  # [filter]
    """Squared distance between a filter's expected positions in two views, both carried to the picture's frame.

        loss_f = mean over pictures of f's category of ‖A₁ e(x₁) − A₂ e(x₂)‖²

    with e the expected position in a view and A the map from view to picture. Crops and flips are known, so this
    costs no label, and a filter that answers a fixed point of the view pays for every crop. Ours, not the paper's.

    Args:
        feature_maps: activations ≥ 0, brought to scale by the caller; half precision is computed in float32.
        belongs: the picture is of the filter's category.
        frames: A of every view: (x, y, 1) in fractions of the view's sides → (x, y) in fractions of the picture's.
        centers: y of each row and x of each column, fractions of the view's sides.
        tau, beta: of the templates.

    Returns:
        In squared sides of the picture, ≥ 0. A filter without a picture that belongs: 0.

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
    frames = frames.to(inside)
    in_picture = torch.einsum("ixy,ify->ifx", frames[..., :2], inside) + frames[:, None, :, 2]
    first, second = in_picture.chunk(2)
    counted = belongs[: len(first)]
    squared = (first - second).square().sum(dim=2) * counted
    return squared.sum(dim=0) / counted.sum(dim=0).clamp(min=1)
