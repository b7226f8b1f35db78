"""Filters that compete for every cell, so that together they tile the object: the terms of their loss.

At every cell of a picture K filters and a rest share the cell by a softmax:

    a_k(c) = exp s_k(c) / Σ_j exp s_j(c),    k = 1 … K and the rest, which comes last.

A filter's mass is m_k = Σ_c a_k(c), its map per unit mass p_k = a_k / m_k, and its point e_k = Σ_c p_k(c) · c, the
centroid. Others have terms for presence, equivariance and concentration about a centroid (SCOPS, 2019; PDiscoNet,
2023), for certainty (PDiscoFormer, 2024) and for how often a part occurs (Huang & Li, 2020), in other forms; these
forms are ours, measured in docs/results. Maps are [image, filter, row, col] and float32 or wider, computed outside
autocast, which would round the products; terms are scalars, 0 with a graph where there is no image. The images are
those of all `ranks` that share a batch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.foundation.errors import ShapeError
from partcnn.foundation.ranks import ONE_PROCESS, Ranks
from partcnn.objectives.equivariance import in_pictures, mean_positions, variance_ratio

_LEAST_MASS = 1e-4  # cells: who holds less holds nothing, and a centroid or a share of that means nothing
_PRESENCE_MARGIN = 0.02
_COMPACT_SCALE = 10.0  # brings the variance of a part, some 0.01 squared sides, to the size of the other terms
_IDENTITY_TEMPERATURE = 0.1
_USUAL_SIZE, _SIZE_SCALE = (0.15, 0.4), 25.0


def shares_of_cells(scores: Tensor) -> tuple[Tensor, Tensor]:
    """a and log a of scores [image, K + 1, row, col], the rest last."""
    log_shares = scores.log_softmax(dim=1)
    return log_shares.exp(), log_shares


def per_unit_mass(shares: Tensor) -> Tensor:  # [image, filter, row, col] → the same
    """p_k = a_k / m_k: each map sums to 1, or to less where a filter holds nearly nothing."""
    mass = shares.sum(dim=(2, 3), keepdim=True)
    return shares / mass.clamp(min=_LEAST_MASS)


def rest_loss(log_shares: Tensor, *, ranks: Ranks = ONE_PROCESS) -> Tensor:
    """Pictures without an object belong to the rest: mean over images and cells of −log a_rest."""
    return ranks.mean(-log_shares[:, -1])


def object_loss(log_shares: Tensor, object_share: Tensor, *, ranks: Ranks = ONE_PROCESS) -> Tensor:
    """Filters hold what is the object's: mean binary cross-entropy of 1 − a_rest against f.

    Args:
        log_shares: [image, K + 1, row, col].
        object_share: f, how far each cell is the object's, in 0–1: [image, row, col].

    Raises:
        ShapeError: f has other axes.
    """
    if object_share.shape != (len(log_shares), *log_shares.shape[2:]):
        raise ShapeError(
            f"object_share: expected [image, row, col] = {[len(log_shares), *log_shares.shape[2:]]} as the maps, "
            f"got {list(object_share.shape)}"
        )
    log_rest, log_object = log_shares[:, -1], log_shares[:, :-1].logsumexp(dim=1)
    target = object_share.to(log_shares)
    return ranks.mean(-(target * log_object + (1 - target) * log_rest))


def size_loss(shares: Tensor, *, ranks: Ranks = ONE_PROCESS) -> Tensor:
    """An object is of a usual size, where no more is known: 25 (relu(.15 − s)² + relu(s − .4)²), mean over images.

    s is the share of a picture's cells that filters hold.

    Args:
        shares: of the filters alone, [image, K, row, col].
    """
    held = shares.sum(dim=1).mean(dim=(1, 2))
    least, most = _USUAL_SIZE
    return ranks.mean(_SIZE_SCALE * ((least - held).clamp(min=0).square() + (held - most).clamp(min=0).square()))


def use_losses(shares: Tensor, *, ranks: Ranks = ONE_PROCESS) -> tuple[Tensor, Tensor]:
    """Every filter is used: log K − H of the filters' shares, over the batch, and in each picture (mean).

    Args:
        shares: of the filters alone, [image, K, row, col].

    Returns:
        Both in nats, between 0, all filters of one size, and log K, one filter for all. A picture where filters hold
        nothing has 0.
    """
    mass = shares.sum(dim=(2, 3))
    return _missing_entropy(ranks.sum(mass)), ranks.mean(_missing_entropy(mass))


def certainty_loss(shares: Tensor, log_shares: Tensor, *, ranks: Ranks = ONE_PROCESS) -> Tensor:
    """Each cell is one filter's or the rest's: the mean over images and cells of H(a), between 0 and log(K + 1) nats.

    Both arguments are with the rest, as `shares_of_cells` gives them.
    """
    return ranks.mean(-(shares * log_shares).sum(dim=1))


def presence_loss(shares: Tensor, *, ranks: Ranks = ONE_PROCESS) -> Tensor:
    """Each filter is somewhere in each picture of an object: mean of −log min(1, max_c a_k(c) + 0.02).

    Shares are of the filters alone. Between 0 and log 50 nats; a filter that is nowhere costs that, and not infinity.
    """
    return ranks.mean(-(shares.amax(dim=(2, 3)) + _PRESENCE_MARGIN).clamp(max=1).log())


def compactness_loss(shares: Tensor, centers: tuple[Tensor, Tensor], *, ranks: Ranks = ONE_PROCESS) -> Tensor:
    """A filter is in one place: 10 · mean over images and filters of Σ_c p_k(c) ‖c − e_k‖², in sides of the view.

    Per unit mass, so that a large part pays for its spread and not for its size.

    Args:
        shares: of the filters alone.
        centers: y of each row and x of each column, fractions of the view's sides.

    Returns:
        0 where every filter holds one cell, or nothing.

    Raises:
        ShapeError: centers do not fit the maps.
    """
    _check_centers(shares, centers)
    weights = per_unit_mass(shares)
    rows, cols = (center.to(weights) for center in centers)
    points = mean_positions(weights, centers)
    down = (rows[:, None] - points[..., 1, None, None]).square()
    across = (cols - points[..., 0, None, None]).square()
    return _COMPACT_SCALE * ranks.mean((weights * (down + across)).sum(dim=(2, 3)))


def steadiness_loss(
    shares: Tensor, frames: Tensor, centers: tuple[Tensor, Tensor], *, ranks: Ranks = ONE_PROCESS
) -> Tensor:
    """A filter moves with its picture: the mean over filters of `variance_ratio` of its centroids in two views.

    Args:
        shares: of the filters alone, [2 · picture, K, row, col]: all first views, then all second views.
        frames: of these views, [2 · picture, 2, 3], see `partcnn.objectives.equivariance.equivariance`.
        centers: as in `compactness_loss`.

    Raises:
        ShapeError: an odd number of images, frames of another number, or centers that do not fit the maps.
    """
    if len(shares) % 2 or frames.shape != (len(shares), 2, 3):
        raise ShapeError(
            "shares, frames: expected two views of each picture, [2N, filter, row, col] and [2N, 2, 3], "
            f"got {tuple(shares.shape)} and {tuple(frames.shape)}"
        )
    _check_centers(shares, centers)
    first, second = in_pictures(mean_positions(per_unit_mass(shares), centers), frames).chunk(2)
    is_counted = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)
    of_filters = variance_ratio(first, second, is_counted, ranks=ranks)
    return ONE_PROCESS.mean(of_filters)


def mean_features(shares: Tensor, features: Tensor) -> Tensor:  # [image, filter, channel]
    """v̄_k = Σ_c p_k(c) z(c), the feature under each filter; features are [image, channel, row, col].

    Raises:
        ShapeError: features of other images or cells.
    """
    if features.ndim != 4 or (len(features), *features.shape[2:]) != (len(shares), *shares.shape[2:]):
        raise ShapeError(
            "features: expected [image, channel, row, col] of the images and cells of the shares, "
            f"{tuple(shares.shape)}, got {tuple(features.shape)}"
        )
    return torch.einsum("ifhw,idhw->ifd", per_unit_mass(shares), features)


def identity_loss(found: Tensor, prototypes: Tensor, *, ranks: Ranks = ONE_PROCESS) -> Tensor:
    """Each filter is known by its feature: mean cross-entropy of cos(v̄_k − μ, q_j − μ) / 0.1 against k.

    Args:
        found: v̄, [image, filter, channel], of `mean_features`.
        prototypes: q, [filter, channel], running means of v̄ without a graph; μ is their mean.

    Returns:
        In nats, between 0 and 20 + log K. The cosine to μ itself is taken as 0, and its gradient is very steep there.

    Raises:
        ShapeError: another number of filters or channels.
    """
    if found.ndim != 3 or found.shape[1:] != prototypes.shape:
        raise ShapeError(
            f"found, prototypes: expected [image, filter, channel] and [filter, channel], got {tuple(found.shape)} "
            f"and {tuple(prototypes.shape)}"
        )
    center = prototypes.mean(dim=0)
    # [image, filter, filter]
    cosines = F.normalize(found - center, dim=2) @ F.normalize(prototypes - center, dim=1).T
    answers = torch.arange(len(prototypes), device=found.device).expand(found.shape[:2])
    logits = cosines.flatten(0, 1) / _IDENTITY_TEMPERATURE
    return ranks.mean(F.cross_entropy(logits, answers.flatten(), reduction="none"))


def _missing_entropy(mass: Tensor) -> Tensor:  # [..., filter] → [...]
    """log K − H(mass / its sum); 0 where there is no mass, for 1 / mass would overflow in the backward pass."""
    total = mass.sum(dim=-1, keepdim=True)
    share = mass / total.clamp(min=_LEAST_MASS)
    tiny = torch.finfo(mass.dtype).tiny  # p log p is 0 at 0, and its gradient is to be finite
    missing = (share * (share.clamp(min=tiny) * mass.shape[-1]).log()).sum(dim=-1)
    return missing.where(total[..., 0] >= _LEAST_MASS, 0)


def _check_centers(shares: Tensor, centers: tuple[Tensor, Tensor]) -> None:
    sizes = (len(centers[0]), len(centers[1]))
    if shares.shape[2:] != sizes:
        raise ShapeError(f"centers: expected {tuple(shares.shape[2:])} rows and columns as the maps, got {sizes}")
