"""k-means: clusters that stand apart are found, and few points are no reason to fail."""

import pytest
import torch

from partcnn.foundation.errors import ShapeError
from partcnn.objectives.k_means import k_means


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_that_stand_apart_are_found(seed: int) -> None:
    centers = 200 * torch.eye(6, 8)
    points = (centers[:, None] + torch.randn(6, 50, 8, generator=generator(seed))).flatten(0, 1)
    found = k_means(points, 6, generator=generator(seed))
    gaps = torch.cdist(centers, found)
    assert sorted(gaps.argmin(dim=1).tolist()) == list(range(6))
    assert gaps.amin(dim=1).max() < 1


def test_means_are_those_of_the_points_nearest_to_them() -> None:
    points = torch.randn(200, 3, generator=generator())
    found = k_means(points, 4, generator=generator(), rounds=100)
    nearest = torch.cdist(points, found).argmin(dim=1)
    for cluster in range(4):
        torch.testing.assert_close(found[cluster], points[nearest == cluster].mean(dim=0))


def test_without_rounds_means_are_different_points() -> None:
    points = torch.arange(5.0)[:, None]
    assert sorted(k_means(points, 5, generator=generator(), rounds=0).flatten().tolist()) == [0, 1, 2, 3, 4]


def test_fewer_points_than_clusters_give_equal_means() -> None:
    found = k_means(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 5, generator=generator())
    assert found.shape == (5, 2)
    assert {tuple(mean) for mean in found.tolist()} == {(1.0, 2.0), (3.0, 4.0)}


def test_the_same_generator_gives_the_same_means() -> None:
    points = torch.randn(100, 3, generator=generator())
    assert torch.equal(k_means(points, 4, generator=generator(1)), k_means(points, 4, generator=generator(1)))


@pytest.mark.parametrize("points", [torch.rand(0, 3), torch.rand(3)], ids=["none", "one axis"])
def test_points_that_are_none_are_named(points: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"points: expected at least one, \[point, channel\]"):
        k_means(points, 2, generator=generator())
