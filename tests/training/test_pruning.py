"""Cut networks: logits stay sums of filters, copies cost nothing, and what is written loads again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partcnn.explanation.attribution import attribute
from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.model.conversion import convert
from partcnn.model.naming import filter_names, name_filters
from partcnn.model.network import PartNetwork
from partcnn.model.saving.checkpoint import load, save
from partcnn.networks.demo_net import DemoNet
from partcnn.training.features import FeatureViews
from partcnn.training.pruning import layer_statistics, num_parameters, prune

SIZE = (64, 64)


def converted(**settings: Any) -> PartNetwork:
    torch.manual_seed(0)
    settings = {"objective": "labelled", "filters": 8, "hidden": 8, **settings}
    model = convert(DemoNet(), "features.block3", num_classes=3, input_size=SIZE, **settings)
    assert isinstance(model, PartNetwork)
    return model.eval()


@pytest.fixture
def features(generator: torch.Generator) -> FeatureViews:
    maps = torch.randn(24, 1, 64, 8, 8, generator=generator)
    return FeatureViews(maps, torch.zeros(24, 1, 2, 3), torch.zeros(24).long())


def logits(model: PartNetwork, features: FeatureViews) -> Tensor:
    with torch.no_grad():
        return model.forward_from_features(features.maps[:, 0])


def double_filters(model: PartNetwork) -> None:
    """Filters 4 to 7 of both layers become copies of 0 to 3, at other scales."""
    scale = torch.tensor([0.5, 1, 2, 3])[:, None, None, None]
    with torch.no_grad():
        for layer in (model.hidden[0], model.part_layers[0]):
            layer.weight[4:] = layer.weight[:4] * scale
            layer.bias[4:] = layer.bias[:4] * scale.flatten()


def test_names_go_with_their_filters(features: FeatureViews) -> None:
    model = converted(masks=False)
    name_filters(model, {number: f"part {number}" for number in range(8) if number != 3})
    nn.init.normal_(model.part_layers[0].bias, std=0.01)
    before = model.part_layers[0].bias.tolist()
    pruned = prune(model, None, keep=0.5, features=features)
    old = [before.index(bias) for bias in pruned.part_layers[0].bias.tolist()]
    assert len(old) == 4
    assert filter_names(pruned) == {new: f"part {number}" for new, number in enumerate(old) if number != 3}
    assert len(filter_names(model)) == 7


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "no masks"])
def test_copies_are_merged_without_changing_a_logit(masks: bool, features: FeatureViews) -> None:
    model = converted(masks=masks)
    double_filters(model)
    pruned = prune(model, None, keep=0.5, features=features)
    assert (pruned.hidden[0].out_channels, pruned.part_layers[0].out_channels) == (4, 4)
    spread = logits(model, features).std()
    assert (logits(pruned, features) - logits(model, features)).abs().max() < 0.02 * spread
    assert num_parameters(pruned) < num_parameters(model) / 2


def test_keeping_all_changes_nothing_and_the_given_network_stays(features: FeatureViews) -> None:
    model = converted()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.testing.assert_close(logits(prune(model, None, keep=1, features=features), features), logits(model, features))
    prune(model, None, keep=0.25, features=features)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("new_layers", [1, 2])
@pytest.mark.parametrize("objective", ["labelled", "official", None])
def test_a_cut_network_adds_up_and_comes_back_from_the_disk(
    objective: str | None, new_layers: int, features: FeatureViews, tmp_path: Path, generator: torch.Generator
) -> None:
    pruned = prune(converted(objective=objective, new_layers=new_layers), None, keep=0.5, features=features)
    images = torch.randn(2, 3, *SIZE, generator=generator)
    assert attribute(pruned, images).remainder.abs().max() < 1e-5  # logit = bias + Σ shares
    loaded = load(save(pruned, tmp_path))
    torch.testing.assert_close(loaded(images), pruned(images), atol=1e-6, rtol=0)
    assert loaded.part_layers[-1].mask.filter_category.equal(pruned.part_layers[-1].mask.filter_category)


def test_each_class_keeps_a_filter(features: FeatureViews) -> None:
    pruned = prune(converted(), None, keep=0.01, features=features)
    assert pruned.part_layers[0].mask.filter_category.unique().tolist() == [0, 1, 2]
    assert pruned.hidden[0].out_channels == 1


def test_importance_below_the_head_is_the_spread_of_the_exact_contributions(features: FeatureViews) -> None:
    model = converted()
    found = layer_statistics(model, model.part_layers[0], features.maps[:, 0])
    with torch.no_grad():
        model.forward_from_features(features.maps[:, 0])
        mask = model.part_layers[0].mask
        shares = model.head.contributions(mask.masked(mask.feature_maps)).double()
    centred = shares - shares.mean(dim=1, keepdim=True)
    expected = centred.var(dim=0, correction=0).mean(dim=0).sqrt()
    torch.testing.assert_close(found.importance, expected, rtol=1e-4, atol=1e-7)


def test_bad_arguments_are_told(features: FeatureViews) -> None:
    for keep in (0, -1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="keep: expected a share"):
            prune(converted(), None, keep=keep, features=features)
    original = convert(DemoNet(num_classes=3), "features.block3", num_classes=3, head="original", input_size=SIZE)
    with pytest.raises(LayerError, match="expected head='additive'"):
        prune(original, None, features=features)
    with pytest.raises(LayerError, match=r"made by partcnn\.convert"):
        prune(nn.Linear(1, 1), None)
