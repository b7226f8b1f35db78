"""The layer whose filters compete and the head that sums what they hold."""

import copy
import math

import pytest
import torch

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.model.competing import CompetingScores, SumOfParts


def test_cells_are_first_given_to_the_nearest_prototype(generator: torch.Generator) -> None:
    layer = CompetingScores(5, 3).double()
    torch.nn.init.zeros_(layer.context.weight)  # the prototypes alone
    points = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    layer.set_prototypes(points[:3], points[3])
    features = torch.randn(2, 5, 6, 7, generator=generator, dtype=torch.float64)
    shares = layer(features).softmax(dim=1)
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    gap = sum(math.dist(points[i].tolist(), points[j].tolist()) ** 2 for i, j in pairs) / len(pairs)
    for image, row, col in [(0, 0, 0), (1, 5, 6), (1, 2, 3)]:
        cell = features[image, :, row, col].tolist()
        scores = [math.exp(-6 * math.dist(cell, point.tolist()) ** 2 / gap) for point in points]
        expected = torch.tensor([score / sum(scores) for score in scores], dtype=torch.float64)
        torch.testing.assert_close(shares[image, :, row, col], expected)


def test_filters_start_apart_also_without_prototypes() -> None:
    scores = CompetingScores(8, 4)(torch.randn(2, 8, 6, 6))
    assert scores.shape == (2, 5, 6, 6)
    assert len({round(value, 6) for value in scores[0, :, 0, 0].tolist()}) == 5


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (1, 1)], ids=str)
def test_a_logit_is_the_sum_of_what_parts_add(size: tuple[int, int], generator: torch.Generator) -> None:
    head = SumOfParts(5, 3, 2, values=7).double().eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    features = torch.randn(4, 5, *size, generator=generator, dtype=torch.float64)
    shares = torch.randn(4, 4, *size, generator=generator, dtype=torch.float64).softmax(dim=1)[:, :3]
    contributions = head.contributions(shares, features)
    assert contributions.shape == (4, 2, 4)  # the surroundings last
    nobody = torch.zeros_like(shares)
    assert head.contributions(nobody, features)[..., :3].abs().max() == 0
    assert head.contributions(nobody, features)[..., 3].abs().min() > 0
    torch.testing.assert_close(contributions.sum(dim=2) + head.bias, head(shares, features))


def test_what_a_filter_holds_is_as_the_equation_says(generator: torch.Generator) -> None:
    head = SumOfParts(2, 2, 2, values=3).double().eval()
    features = torch.randn(1, 2, 4, 4, generator=generator, dtype=torch.float64)
    shares = torch.rand(1, 2, 4, 4, generator=generator, dtype=torch.float64) / 2
    coarse = features.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
    values = torch.relu(torch.nn.functional.conv2d(coarse, head.value.weight, head.value.bias, padding=1))
    held = head.held(shares, features)
    shares = torch.cat([shares, 1 - shares.sum(dim=1, keepdim=True)], dim=1)
    for part in range(3):
        mass = shares[0, part].sum().item()
        for channel in range(3):
            total = sum(
                shares[0, part, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum().item() * values[0, channel, i, j].item()
                for i in range(2)
                for j in range(2)
            )
            assert held[0, part, channel].item() == pytest.approx(total / (5 * math.sqrt(mass + 1)))
        assert held[0, part, 3].item() == pytest.approx(mass / (mass + 1))


def test_a_filter_that_holds_nothing_adds_nothing() -> None:
    head = SumOfParts(3, 2, 2).eval()
    torch.nn.init.normal_(head.weight)
    shares = torch.zeros(1, 2, 4, 4)
    shares[:, 1] = 1
    assert head.contributions(shares, torch.randn(1, 3, 4, 4))[0, :, 0].abs().max() == 0


def test_both_are_copied_with_their_weights() -> None:
    layer, head = CompetingScores(4, 2), SumOfParts(4, 2, 2)
    for module in (layer, head):
        assert {*copy.deepcopy(module).state_dict()} == {*module.state_dict()}


def test_prototypes_of_other_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"clusters, rest: expected \[3, 5\] and \[5\], got \[2, 5\] and \[5\]"):
        CompetingScores(5, 3).set_prototypes(torch.zeros(2, 5), torch.zeros(5))
    with pytest.raises(ConfigError, match="filters: expected at least 1, got 0"):
        CompetingScores(5, 0)
