"""k-means of points in a feature space, the same for the same generator."""

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError


def k_means(
    points: Tensor,  # [point, channel]
    num_clusters: int,
    *,
    generator: torch.Generator,
    rounds: int = 10,
) -> Tensor:  # [cluster, channel]
    """The means of clusters: k-means++ (Arthur & Vassilvitskii, 2007), then Lloyd's rounds.

    Args:
        points: on the generator's device.
        rounds: of Lloyd's algorithm; a cluster that loses its last point stays where it is.

    Returns:
        Means; of fewer different points than clusters some are equal.

    Raises:
        ShapeError: points are not [point, channel], or there is none.
    """
    if points.ndim != 2 or not len(points):
        raise ShapeError(f"points: expected at least one, [point, channel], got {list(points.shape)}")
    means = _spread_points(points, num_clusters, generator)
    for _ in range(rounds):
        means = _moved(means, points)
    return means


def _spread_points(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next point is drawn with its squared distance to those drawn before as its weight."""
    first = torch.randint(len(points), (1,), generator=generator, device=points.device)
    drawn, gaps = [points[first]], torch.full_like(points[:, 0], torch.inf)
    for _ in range(count - 1):
        gaps = torch.minimum(gaps, (points - drawn[-1]).square().sum(dim=1))
        weights = gaps if gaps.any() else torch.ones_like(gaps)  # every point is drawn already
        drawn.append(points[torch.multinomial(weights, 1, generator=generator)])
    return torch.cat(drawn)


def _moved(means: Tensor, points: Tensor) -> Tensor:
    """Each cluster's mean of the points that are nearest to it."""
    nearest = torch.cdist(points, means).argmin(dim=1)
    belongs = torch.nn.functional.one_hot(nearest, len(means)).to(points)
    num_points = belongs.sum(dim=0)[:, None]
    return torch.where(num_points > 0, belongs.T @ points / num_points.clamp(min=1), means)
