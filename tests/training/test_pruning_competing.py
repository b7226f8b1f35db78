"""Cutting filters that compete."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import partcnn
from partcnn.explanation.attribution import attribute
from partcnn.model.competing_network import CompetingNetwork
from partcnn.networks.demo_net import DemoNet
from partcnn.training.features import FeatureViews
from partcnn.training.pruning import prune

SIZE = (64, 64)


@pytest.fixture
def model() -> CompetingNetwork:
    torch.manual_seed(0)
    made = partcnn.convert(
        DemoNet(3), "features.block3", num_classes=3, background=2, objective="competing", filters=5, input_size=SIZE
    )
    assert isinstance(made, CompetingNetwork)
    with torch.no_grad():
        made.head.weight.normal_()
        made.head.shared_weight.normal_()
        made.layer_of_parts.mask.identities.normal_()
    return made.eval()


@pytest.fixture
def features(generator: torch.Generator) -> FeatureViews:
    maps = torch.randn(12, 1, 64, 16, 16, generator=generator)
    return FeatureViews(maps, torch.zeros(12, 1, 2, 3), torch.arange(12) % 3)


def logits(model: CompetingNetwork, features: FeatureViews) -> Tensor:
    with torch.no_grad():
        return model.forward_from_features(features.maps[:, 0])


def test_names_go_with_their_filters(model: CompetingNetwork, features: FeatureViews, tmp_path: Path) -> None:
    partcnn.model.name_filters(model, {1: "one", 2: "two", 4: "four", 0: "zero"})
    before = model.layer_of_parts.mask.identities.tolist()
    pruned = prune(model, None, keep=0.6, features=features)
    old = [before.index(identity) for identity in pruned.layer_of_parts.mask.identities.tolist()]
    called = {0: "zero", 1: "one", 2: "two", 4: "four"}
    expected = {new: called[number] for new, number in enumerate(old) if number in called}
    assert len(old) == 3
    assert partcnn.model.filter_names(partcnn.load(partcnn.save(pruned, tmp_path))) == expected


def test_keeping_all_changes_nothing_and_the_given_network_stays(
    model: CompetingNetwork, features: FeatureViews
) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    same = prune(model, None, keep=1, features=features)
    torch.testing.assert_close(logits(same, features), logits(model, features))
    assert prune(model, None, keep=0.2, features=features).layer_of_parts.mask.num_filters == 1
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_filter_that_holds_nothing_goes_first_and_nobody_misses_it(
    model: CompetingNetwork, features: FeatureViews
) -> None:
    with torch.no_grad():
        model.layer_of_parts.scores.prototypes.bias[[1, 3]] = -1e4
    pruned = prune(model, None, keep=0.6, features=features)
    torch.testing.assert_close(logits(pruned, features), logits(model, features))
    identities = model.layer_of_parts.mask.identities[[0, 2, 4]]
    assert torch.equal(pruned.layer_of_parts.mask.identities, identities)


def test_a_cut_network_adds_up_and_comes_back_from_the_disk(
    model: CompetingNetwork, features: FeatureViews, tmp_path: Path, generator: torch.Generator
) -> None:
    pruned = prune(model, None, keep=0.5, features=features)
    images = torch.randn(2, 3, *SIZE, generator=generator)
    assert attribute(pruned, images).remainder.abs().max() < 1e-4  # logit = bias + Σ shares
    loaded = partcnn.load(partcnn.save(pruned, tmp_path))
    torch.testing.assert_close(loaded(images), pruned(images), atol=1e-6, rtol=0)
