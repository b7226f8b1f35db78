"""The two tasks that the demonstration's trunk learns from drawings and their labels."""

import math

import pytest
import torch
from torch import Tensor

from partcnn.app.demo_trunk import all_kinds, kind_loss, place_loss, recoloured, trained_trunk

WHOLE = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
FLIPPED = torch.tensor([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
LEFT = torch.tensor([[0.5, 0.0, 0.0], [0.0, 1.0, 0.0]])
RIGHT = torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])


@pytest.fixture
def maps() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 16, 12, 12)


def _frames(*views: Tensor) -> Tensor:
    return torch.stack(views).expand(2, 2, 2, 3)


def test_every_cell_is_asked_for_the_kind() -> None:
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 0, 0, 1] = 50.0
    assert kind_loss(logits, torch.tensor([1])).item() == pytest.approx(math.log(3) / 2)


def test_a_place_is_found_again_in_a_view_that_was_flipped(maps: Tensor) -> None:
    right = place_loss(maps, maps.flip(3), _frames(WHOLE, FLIPPED))
    wrong = place_loss(maps, maps, _frames(WHOLE, FLIPPED))
    assert right < 1.5 < wrong


def test_places_are_found_in_crops(maps: Tensor) -> None:
    smooth = torch.nn.functional.interpolate(maps, size=(24, 24), mode="bilinear", align_corners=False)
    assert place_loss(smooth, smooth[..., :12], _frames(WHOLE, LEFT)) < 1.5


def test_views_with_nothing_in_common_have_no_loss(maps: Tensor) -> None:
    maps.requires_grad_()
    loss = place_loss(maps, maps, _frames(LEFT, RIGHT))
    loss.backward()
    assert loss.item() == 0
    assert not maps.grad.any()  # type: ignore[union-attr]


def test_recolouring_changes_light_and_not_shape() -> None:
    views = torch.randn(4, 3, 8, 8)
    other = recoloured(views)
    assert not torch.allclose(other, views)
    for channel, before in zip(other.flatten(0, 1), views.flatten(0, 1), strict=True):
        assert torch.corrcoef(torch.stack([channel.flatten(), before.flatten()]))[0, 1].abs() > 0.999


def test_the_same_seed_trains_the_same_trunk() -> None:
    dataset = all_kinds("demo:2", 2)
    assert dataset.classes[-1] == "background"
    first, second = (trained_trunk(dataset, epochs=1, seed=3, is_progress_shown=False) for _ in range(2))
    assert len(dataset.classes) == first.classifier.out_features
    assert not first.training
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
