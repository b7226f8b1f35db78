"""Filters of one category in different places: against the twin, its bounds, and in training."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from partcnn.foundation.errors import ShapeError
from partcnn.model.conversion import convert
from partcnn.model.losses import diversity_loss
from partcnn.model.mask import part_masks
from partcnn.objectives.diversity import diversity, position_information
from tests.reference import diversity as twin

float64 = torch.float64


def random_case(height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(5, 4, height, width, generator=generator, dtype=float64).relu() * 4
    category = torch.tensor([1, 2, 1, 2])
    labels = torch.tensor([1, 0, 2, 1, 1])
    return maps, labels[:, None] == category, category


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 6), (1, 1)], ids=str)
def test_it_agrees_with_its_twin(size: tuple[int, int]) -> None:
    maps, belongs, category = random_case(*size)
    found = diversity(maps, belongs, tau=0.7)
    expected = twin.diversity(maps.tolist(), belongs.tolist(), category.tolist(), 0.7, 4.0)
    assert found.item() == pytest.approx(expected, abs=1e-10)


def test_the_gradient_is_that_of_the_value() -> None:
    maps, belongs, _ = random_case(3, 4)
    maps = (maps + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: diversity(one, belongs, tau=0.3), maps, fast_mode=False)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_the_information_lies_between_0_and_what_filters_and_cells_allow(
    num_filters: int, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = 30 * torch.rand(2, num_filters, height, width, generator=generator, dtype=float64)
    found = position_information(maps, tau=1.0)
    assert (found >= -1e-12).all()
    assert (found <= math.log(min(num_filters, height * width)) + 1e-12).all()
    order = torch.randperm(num_filters, generator=generator)
    torch.testing.assert_close(position_information(maps[:, order], tau=1.0), found)


def test_filters_in_one_place_are_worth_nothing_and_each_in_its_own_all() -> None:
    together, apart = torch.zeros(1, 3, 7, 7), torch.zeros(1, 3, 7, 7)
    together[0, :, 2, 2] = 1000.0
    for index, cell in enumerate([0, 3, 6]):
        apart[0, index, cell, cell] = 1000.0
    assert position_information(together, tau=1.0).item() == pytest.approx(0, abs=1e-6)
    assert position_information(apart, tau=1.0).item() == pytest.approx(math.log(3), abs=1e-5)


def test_silent_filters_half_precision_and_no_pictures_are_finite() -> None:
    maps, belongs, _ = random_case(4, 4)
    assert diversity(maps * 0, belongs, tau=1.0).item() == pytest.approx(0, abs=1e-12)
    assert diversity(maps.half(), belongs, tau=1.0).isfinite()
    none = diversity(maps.requires_grad_(), torch.zeros_like(belongs), tau=1.0)
    assert none.item() == 0
    none.backward()
    assert maps.grad is not None
    assert (maps.grad == 0).all()


def test_shapes_that_do_not_fit_are_named() -> None:
    maps, belongs, _ = random_case(4, 4)
    with pytest.raises(ShapeError, match="belongs"):
        diversity(maps, belongs[:3], tau=1.0)


def test_training_on_it_alone_moves_filters_apart() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
    model = convert(trunk, "1", num_classes=2, filters=4, background=0, input_size=(32, 32), erasing=0.0, dropout=0.0)
    pictures, labels = torch.randn(8, 3, 32, 32), torch.ones(8, dtype=torch.long)
    (_, mask), *_ = part_masks(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    values = []
    for _ in range(30):
        model(pictures)
        loss = diversity_loss(model, labels)
        values.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert values[-1] < values[0] - 0.1
    assert not mask.mean_peak.any()  # it leaves the statistics alone
