"""A network whose filters compete: loss, statistics, contributions, saving, copies."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn import convert, explain, export, filter_loss, load, save
from partcnn.foundation.errors import ConfigError
from partcnn.model.competing_mask import CompetingMask, competing_masks
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.losses import equivariance_loss, filter_loss_terms
from partcnn.model.mask import top_mask
from partcnn.model.network import layer_field
from partcnn.model.saving.exporting import onnx_differences
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.probing.receptive_field import cell_centers

SIZE = (64, 64)
LABELS = torch.tensor([1, 1, 0, 1])
TERMS = {"rest", "use", "use_in_picture", "certainty", "presence", "compactness", "size", "identity"}


@pytest.fixture
def model() -> CompetingNetwork:
    torch.manual_seed(0)
    made = convert(DemoNet(), "features", num_classes=2, background=0, objective="competing", input_size=SIZE)
    for parameter in made.head.parameters():
        nn.init.normal_(parameter, std=0.1)
    return made


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(4, 3, *SIZE, generator=generator)


def mask_of(model: nn.Module) -> CompetingMask:
    return competing_masks(model)[0]


def test_filters_and_the_rest_share_every_cell(model: CompetingNetwork, images: Tensor) -> None:
    assert model(images).shape == (4, 2)
    maps = mask_of(model).feature_maps
    assert maps.shape == (4, 8, 8, 8)
    assert (maps >= 0).all()
    assert (maps.sum(dim=1) < 1).all()  # what is left is the rest's


def test_the_loss_has_its_terms_and_reaches_every_weight_of_the_layer(model: CompetingNetwork, images: Tensor) -> None:
    model.train()
    logits = model(images)
    loss, terms = filter_loss_terms(model, LABELS)
    assert terms.keys() == TERMS
    (loss + F.cross_entropy(logits, LABELS)).backward()
    for name, parameter in [*model.part_layers.named_parameters(), *model.head.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_where_the_object_is_known_it_takes_the_place_of_a_usual_size(model: CompetingNetwork, images: Tensor) -> None:
    model(images)
    mask_of(model).object_share = torch.rand(4, 8, 8)
    _, terms = filter_loss_terms(model, LABELS)
    assert {"object", "size"} & terms.keys() == {"object"}
    model(images)
    assert mask_of(model).object_share is None  # of one pass


def test_asking_twice_for_a_loss_changes_nothing(model: CompetingNetwork, images: Tensor) -> None:
    model.train()
    model(images)
    first = filter_loss(model, LABELS)
    before = {name: value.clone() for name, value in mask_of(model).named_buffers()}
    assert filter_loss(model, LABELS) == first
    assert all(torch.equal(value, before[name]) for name, value in mask_of(model).named_buffers())


def test_what_filters_are_is_remembered_in_training_alone(model: CompetingNetwork, images: Tensor) -> None:
    model.eval()
    model(images)
    filter_loss(model, LABELS)
    assert not mask_of(model).identities.any()
    model.train()
    model(images)
    filter_loss(model, LABELS)
    first = mask_of(model).identities.clone()
    assert first.any()
    model(images + 1)
    filter_loss(model, LABELS)
    assert not torch.equal(mask_of(model).identities, first)


@pytest.mark.parametrize("labels", [torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)], ids=str)
def test_a_batch_of_one_kind_has_a_finite_loss(model: CompetingNetwork, images: Tensor, labels: Tensor) -> None:
    model.train()
    model(images)
    loss = filter_loss(model, labels)
    loss.backward()
    assert loss.isfinite()


def test_two_views_say_how_far_filters_move_with_their_pictures(model: CompetingNetwork, images: Tensor) -> None:
    whole = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).repeat(8, 1, 1)
    centers = {top_mask(model)[0]: cell_centers(layer_field(model, top_mask(model)[0]))}
    model.eval()
    model(torch.cat([images, images]))
    same = equivariance_loss(model, LABELS.repeat(2), whole, centers)
    model(torch.cat([images, images.flip(3)]))
    flipped = equivariance_loss(model, LABELS.repeat(2), whole, centers)
    assert same < flipped


def test_a_logit_is_the_sum_of_its_filters_and_the_surroundings(model: CompetingNetwork, images: Tensor) -> None:
    why = explain(model, images[0], 1)
    assert why.is_exact
    assert len(why.contributions) == 8
    assert why.surroundings not in (None, 0)
    total = why.bias + why.surroundings + sum(one.value for one in why.contributions)
    assert why.logit == pytest.approx(total, abs=1e-4)
    assert why.to_dict()["surroundings"] == why.surroundings
    with torch.no_grad():
        model.eval()(images)
        maps = top_mask(model)[1].feature_maps
        parts, around = model.logit_terms(maps)
        torch.testing.assert_close(parts.sum(dim=2) + around + model.bias, model(images))


def test_contributions_are_of_the_pictures_of_the_last_pass(model: CompetingNetwork, images: Tensor) -> None:
    with pytest.raises(ConfigError, match="expected a forward pass of these pictures"):
        model.contributions(torch.zeros(4, 8, 8, 8))


def test_it_is_saved_loaded_and_copied(model: CompetingNetwork, images: Tensor, tmp_path: Path) -> None:
    model.train()
    model(images)
    filter_loss(model, LABELS)
    model.eval()
    again = load(save(model, tmp_path / "run"))
    assert isinstance(again, CompetingNetwork)
    for network in (again, copy.deepcopy(model)):
        torch.testing.assert_close(network(images), model(images))
        assert filter_loss(network, LABELS).item() == pytest.approx(filter_loss(model, LABELS).item(), abs=1e-5)


def test_autocast_leaves_the_loss_in_float32(model: CompetingNetwork, images: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        model(images)
        loss = filter_loss(model, LABELS)
    assert loss.dtype == torch.float32
    model(images)
    assert loss.item() == pytest.approx(filter_loss(model, LABELS).item(), rel=0.05)


def test_an_export_gives_any_number_of_pictures_their_parts(
    model: CompetingNetwork, images: Tensor, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    path = export(model.eval(), tmp_path / "model.onnx", parts=True)
    gaps = onnx_differences(model, path, images[:3])
    assert gaps.keys() == {"logits", "masked_feature_maps", "peaks", "contributions", "surroundings"}
    assert max(gaps.values()) < 1e-4


def test_the_original_head_has_no_room_for_them() -> None:
    with pytest.raises(ConfigError, match="objective: competing needs head='additive'"):
        convert(DemoNet(2), "features", num_classes=2, objective="competing", head="original", input_size=SIZE)
