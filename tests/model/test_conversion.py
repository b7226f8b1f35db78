"""Conversion of networks of many makes: what the result computes, and that the original can be had back."""

import copy
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.foundation.errors import ConfigError, LayerError, ShapeError
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.conversion import convert, remove_masks
from partcnn.model.losses import filter_loss
from partcnn.model.mask import PartMask, part_masks
from partcnn.model.network import Conversion, PartNetwork, conversion_of, recorded_feature_maps
from partcnn.model.trunks import HookedTrunk
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.probing.layer_shapes import layer_shapes
from partcnn.objectives.templates import part_mask

SIZE = (64, 64)
NETWORKS = ["alexnet", "vgg11_bn", "squeezenet1_1", "resnet18", "densenet121", "mobilenet_v2"]
NAMED_LAYERS = {
    "alexnet": "features.7",
    "vgg11_bn": "features.13",
    "squeezenet1_1": "features.9.expand3x3_activation",
    "resnet18": "layer3.0",
    "densenet121": "features.denseblock3",
    "mobilenet_v2": "features.13",
}


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    built = {name: torchvision.models.get_model(name, num_classes=5) for name in NETWORKS}
    built["alexnet"].classifier = nn.Linear(256 * 36, 5)  # the library's classifiers have 50 and 120 million weights
    built["vgg11_bn"].classifier = nn.Linear(512 * 49, 5)
    for network in built.values():
        calibrate(network)
    return {name: network.eval() for name, network in built.items()}


def calibrate(network: nn.Module) -> None:
    """Give batch norms the statistics of noise: with those of a new network, deep maps fade to nothing."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, *SIZE))
    for norm in norms:
        norm.momentum = 0.1


@pytest.fixture
def pictures(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=generator)


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5).eval()


@pytest.fixture
def demo_net() -> DemoNet:
    torch.manual_seed(0)
    return DemoNet(num_classes=5).eval()


class Branching(nn.Module):
    """Which way the data go depends on their values: torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.classifier = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        if images.mean() > 100:
            images = images / 100
        maps = self.relu(self.conv(images))
        return self.classifier(maps.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class TwoPaths(nn.Module):
    """Gives a map with negative values before the ReLU that its layer `negative` lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.negative = nn.Conv2d(3, 8, 3, padding=1)
        self.classifier = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(F.relu(self.negative(images)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def layer_outputs(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    """What a layer gives, copied before a later in-place ReLU can change it."""
    found: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _, __, output: found.append(output.clone()))
    network(images)
    handle.remove()
    return found[-1]


def fingerprint(network: nn.Module) -> dict[str, object]:
    """Everything of a network that conversion must not touch."""
    return {
        "keys": list(network.state_dict()),
        "weights": [value.clone() for value in network.state_dict().values()],
        "is_training": [module.training for module in network.modules()],
        "needs_grad": [parameter.requires_grad for parameter in network.parameters()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in network.modules()],
        "types": [type(module) for module in network.modules()],
        "attributes": sorted(vars(network)),
    }


def assert_same_fingerprint(now: dict[str, object], before: dict[str, object]) -> None:
    now_weights, before_weights = now.pop("weights"), before.pop("weights")
    assert now == before
    assert all(torch.equal(a, b) for a, b in zip(now_weights, before_weights, strict=True))  # type: ignore[call-overload]


@pytest.mark.parametrize(("layer", "objective"), [("auto", "auto"), ("named", "auto"), ("named", "labelled")], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_logits_are_the_sum_of_contributions_surroundings_and_bias(
    networks: dict[str, nn.Module], name: str, layer: str, objective: str, pictures: Tensor
) -> None:
    layers = "auto" if layer == "auto" else NAMED_LAYERS[name]
    settings = {"num_classes": 3, "filters": 12, "objective": objective, "input_size": SIZE}
    model = convert(networks[name], layers, **settings).eval()
    nn.init.normal_(model.head.bias)
    nn.init.normal_(model.head.weight, std=0.1)  # that of filters that compete starts at zero
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        logits = model(pictures)
        top = model.part_layers[-1].mask.masked(maps["part_layers.0.mask"])
        contributions, surroundings = model.logit_terms(top)
    total = contributions.sum(dim=2) + model.head.bias + (0 if surroundings is None else surroundings)
    assert logits.shape == (2, 3)
    assert contributions.shape == (2, 3, 12)
    assert contributions.abs().amax() > 1e-3
    torch.testing.assert_close(total, logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_trunk_gives_what_the_layer_gives_in_the_original(
    networks: dict[str, nn.Module], name: str, pictures: Tensor
) -> None:
    model = convert(networks[name], NAMED_LAYERS[name], num_classes=2, input_size=SIZE).eval()
    with torch.no_grad():
        expected = layer_outputs(networks[name], NAMED_LAYERS[name], pictures)
        torch.testing.assert_close(model.trunk(pictures), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("head", ["additive", "original"])
@pytest.mark.parametrize("name", NETWORKS)
def test_conversion_leaves_the_original_network_as_it_was(
    networks: dict[str, nn.Module], name: str, head: str, pictures: Tensor
) -> None:
    network = networks[name]
    with torch.no_grad():
        logits = network(pictures)
    before = fingerprint(network)
    model = convert(network, num_classes=5, head=head, input_size=SIZE).train()
    loss = model(pictures).sum() + filter_loss(model, torch.tensor([0, 1]))
    loss.backward()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(1.0)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert_same_fingerprint(fingerprint(network), before)
    with torch.no_grad():
        assert torch.equal(network(pictures), logits)


def test_conversion_keeps_the_training_flags_of_a_network_that_is_partly_frozen(resnet: nn.Module) -> None:
    resnet.train()
    resnet.layer1.eval()
    before = [module.training for module in resnet.modules()]
    model = convert(resnet, "layer2", num_classes=5, head="original", input_size=SIZE)
    flags = [module.training for module in model.modules() if not isinstance(module, PartMask)]
    assert flags == before
    assert not model.layer1.training
    assert model.layer2.training


def test_the_masked_network_has_all_keys_and_weights_of_the_original(resnet: nn.Module) -> None:
    model = convert(resnet, ["layer2", "layer3"], num_classes=5, head="original", input_size=SIZE)
    state = model.state_dict()
    original = resnet.state_dict()
    assert all(torch.equal(state[key], value) for key, value in original.items())
    assert all(".part_mask." in key for key in state.keys() - original.keys())
    assert [name for name, _ in part_masks(model)] == ["layer2.1.part_mask", "layer3.1.part_mask"]


def test_the_masked_networks_output_changes_by_the_mask_alone(resnet: nn.Module, pictures: Tensor) -> None:
    model = convert(resnet, "layer3", num_classes=5, head="original", input_size=SIZE).eval()
    with torch.no_grad():
        masked = part_mask(layer_outputs(resnet, "layer3", pictures))
        expected = resnet.fc(resnet.avgpool(resnet.layer4(masked)).flatten(1))
        assert not torch.allclose(model(pictures), resnet(pictures), atol=1e-3)
        torch.testing.assert_close(model(pictures), expected, atol=1e-6, rtol=0)


def test_without_masks_the_network_computes_what_the_original_computes(resnet: nn.Module, pictures: Tensor) -> None:
    model = convert(resnet, "layer3", num_classes=5, head="original", masks=False, input_size=SIZE).eval()
    with torch.no_grad():
        assert torch.equal(model(pictures), resnet(pictures))
        assert filter_loss(model, torch.tensor([0, 1])) != 0


def test_removing_the_masks_restores_the_network_exactly(resnet: nn.Module, pictures: Tensor) -> None:
    with torch.no_grad():
        logits = resnet(pictures)
    before = fingerprint(resnet)
    model = convert(resnet, ["layer2", "layer3"], num_classes=5, head="original", inplace=True, input_size=SIZE)
    assert model is resnet
    assert fingerprint(resnet)["hooks"] != before["hooks"]
    assert remove_masks(model) is resnet
    assert_same_fingerprint(fingerprint(resnet), before)
    with torch.no_grad():
        assert torch.equal(resnet(pictures), logits)
    with pytest.raises(LayerError):
        conversion_of(resnet)


def test_removing_the_masks_keeps_the_users_own_hooks(resnet: nn.Module) -> None:
    calls: list[str] = []
    model = convert(resnet, "layer3", num_classes=5, head="original", input_size=SIZE).eval()
    model.layer3[-1].register_forward_hook(lambda *_: calls.append("own"))
    remove_masks(model)(torch.zeros(1, 3, *SIZE))
    assert calls == ["own"]


def test_inplace_builds_on_the_very_modules_that_were_given(demo_net: DemoNet) -> None:
    weight = demo_net.features.block1.conv.weight
    assert any(p is weight for p in convert(demo_net, num_classes=2, inplace=True).parameters())
    assert not any(p is weight for p in convert(demo_net, num_classes=2).parameters())


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        ("vgg11_bn", "features.11"),  # a convolution
        ("vgg11_bn", "features.12"),  # a batch norm whose ReLU works in place
        ("mobilenet_v2", "features.13"),  # a linear bottleneck
    ],
)
def test_a_mask_in_place_is_refused_on_maps_that_can_be_negative(
    networks: dict[str, nn.Module], network: str, layer: str
) -> None:
    with pytest.raises(LayerError, match="negative values"):
        convert(networks[network], layer, num_classes=5, head="original", input_size=SIZE)


@pytest.mark.parametrize("objective", ["competing", "labelled"])
def test_the_additive_head_may_stand_on_maps_that_can_be_negative(objective: str, pictures: Tensor) -> None:
    torch.manual_seed(0)
    model = convert(TwoPaths(), "negative", num_classes=5, objective=objective, input_size=SIZE).eval()
    assert model.features(pictures).amin() < 0
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        model(pictures)
        assert all((found >= 0).all() and found.any() for found in maps.values())


def test_a_network_that_cannot_be_traced_runs_whole(pictures: Tensor) -> None:
    torch.manual_seed(0)
    network = Branching().eval()
    model = convert(network, "conv", num_classes=2, input_size=SIZE)
    assert isinstance(model.trunk, HookedTrunk)
    expected = layer_outputs(network, "conv", pictures)
    assert expected.amin() < 0  # and the in-place ReLU behind it must not change that
    assert torch.equal(model.trunk(pictures), expected)
    (model(pictures).sum() + filter_loss(model, torch.tensor([0, 1]))).backward()
    assert model.trunk.network.conv.weight.grad.abs().sum() > 0
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "evaluation"])
def test_a_trunk_keeps_the_mode_of_the_network_whether_it_can_be_traced_or_not(
    resnet: nn.Module, is_training: bool
) -> None:
    for network, layer in ((resnet, "layer2"), (Branching(), "relu")):
        trunk = convert(network.train(is_training), layer, num_classes=2, input_size=SIZE).trunk
        assert {module.training for module in trunk.network.modules()} == {is_training}


def test_a_copy_of_a_converted_network_keeps_its_mode_and_answers_alike(resnet: nn.Module, pictures: Tensor) -> None:
    calibrate(resnet)
    model = convert(resnet, "layer2", num_classes=2, input_size=SIZE).eval()
    nn.init.normal_(model.head.weight)  # it starts at 0, and logits of 0 are any network's
    model(pictures)  # leaves maps with a graph, which cannot be copied
    model.trunk.network.get_submodule("layer1.0.bn1").train()
    copied = copy.deepcopy(model)
    assert [m.training for m in copied.modules()] == [m.training for m in model.modules()]
    with torch.no_grad():
        assert torch.equal(copied(pictures), model(pictures))


def test_a_copy_in_evaluation_mode_runs_the_trunk_as_in_evaluation_mode(pictures: Tensor) -> None:
    class FunctionalDropout(TwoPaths):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(F.dropout(images, training=self.training))

    model = convert(FunctionalDropout(), "negative", num_classes=2, input_size=SIZE).eval()
    nn.init.normal_(model.head.weight)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model)(pictures), model(pictures))
        assert not torch.equal(copy.deepcopy(model.train()).trunk(pictures), model.eval().trunk(pictures))


def test_a_trunk_taken_by_a_hook_leaves_no_hook_behind_after_an_error() -> None:
    model = convert(Branching(), "conv", num_classes=2, input_size=SIZE)
    with pytest.raises(ShapeError, match="got one of shape"):
        model(torch.zeros(1, 7, *SIZE))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("head", ["additive", "original"])
@pytest.mark.parametrize("layer", ["features", "features.block3", "features.block3.relu"])
def test_sequential_networks_and_sequential_layers_work(
    demo_net: DemoNet, head: str, layer: str, pictures: Tensor
) -> None:
    model = convert(demo_net, layer, num_classes=5, head=head, input_size=SIZE).eval()
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        assert model(pictures).shape == (2, 5)
        if head == "original":
            (recorded,) = maps.values()
            assert torch.equal(recorded, layer_outputs(demo_net, layer, pictures))
        else:
            assert torch.equal(model.trunk(pictures), layer_outputs(demo_net, layer, pictures))


def test_a_sequential_network_still_computes_its_own_head_after_the_mask(demo_net: DemoNet, pictures: Tensor) -> None:
    model = convert(demo_net, "features", num_classes=5, head="original", input_size=SIZE).eval()
    with torch.no_grad():
        masked = part_mask(layer_outputs(demo_net, "features", pictures))
        expected = demo_net.classifier(masked.mean(dim=(2, 3)))
        torch.testing.assert_close(model(pictures), expected, atol=1e-6, rtol=0)


def test_auto_takes_the_deepest_layer_of_at_least_twelve_cells_and_says_so(
    resnet: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="partcnn"):
        model = convert(resnet, num_classes=5, head="original", input_size=(112, 112))
    assert conversion_of(model).settings.layers == ("layer2",)
    assert "layer2: 128 channels, stride 8×8 px, map 14×14 at input 112×112" in caplog.text
    for size, layer in (((96, 200), "layer2"), ((88, 200), "layer1")):
        masked = convert(resnet, num_classes=5, head="original", input_size=size)
        assert conversion_of(masked).settings.layers == (layer,)


def test_auto_of_the_additive_head_takes_layers_of_two_depths_and_says_so(
    resnet: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="partcnn"):
        model = convert(resnet, num_classes=2, input_size=(112, 112))
    assert model.layers == conversion_of(model).settings.layers == ("layer2", "layer3.1")
    assert model.trunk_channels == (128, 256)
    assert "layer2: 128 channels, stride 8×8 px, map 14×14 at input 112×112" in caplog.text
    assert "layer3.1: 256 channels, stride 16×16 px, map 7×7 at input 112×112" in caplog.text
    assert convert(resnet, num_classes=2, input_size=(104, 104)).layers == ("layer2", "layer3.1")  # 13 cells
    assert convert(resnet, num_classes=2, input_size=(96, 200)).layers == ("layer1", "layer2.1")  # 12


def test_auto_passes_over_dropout_and_class_scores(networks: dict[str, nn.Module]) -> None:
    shapes = {shape.name: shape for shape in layer_shapes(networks["squeezenet1_1"], (224, 224))}
    assert shapes["classifier.0"].is_passed_through
    assert shapes["classifier.1"].is_score_map
    model = convert(networks["squeezenet1_1"], num_classes=2, input_size=(224, 224))
    assert model.layers == ("features",)


def test_auto_in_place_takes_a_layer_whose_maps_are_not_negative(networks: dict[str, nn.Module]) -> None:
    model = convert(networks["mobilenet_v2"], num_classes=5, head="original", input_size=(96, 96))
    (layer,) = conversion_of(model).settings.layers
    outputs = layer_outputs(networks["mobilenet_v2"], layer, torch.randn(4, 3, 96, 96))
    assert outputs.amin() == 0
    assert min(outputs.shape[2:]) == 12


def test_auto_in_place_passes_over_a_deeper_layer_whose_maps_can_be_negative() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.append(nn.Linear(4, 2))
    assert conversion_of(convert(network, num_classes=2, input_size=SIZE)).settings.layers == ("2",)
    masked = convert(network, num_classes=2, head="original", input_size=SIZE)
    assert conversion_of(masked).settings.layers == ("1",)


def test_layer_shapes_lists_what_the_network_gives_in_the_order_it_runs(demo_net: DemoNet) -> None:
    before = fingerprint(demo_net.train())
    shapes = layer_shapes(demo_net, (64, 96))
    assert_same_fingerprint(fingerprint(demo_net), before)
    names = [shape.name for shape in shapes]
    assert names[:4] == ["features.block1.conv", "features.block1.norm", "features.block1.relu", "features.block1"]
    last = shapes[names.index("features")]
    assert (last.num_channels, last.map_size, last.stride_px) == (64, (8, 12), (8.0, 8.0))
    assert [shape.is_nonnegative for shape in shapes[:4]] == [False, False, True, True]


def test_a_layer_that_runs_twice_counts_where_it_ran_last() -> None:
    relu = nn.ReLU()
    network = nn.Sequential(
        OrderedDict(a=nn.Conv2d(3, 4, 3), b=relu, c=nn.Conv2d(4, 8, 3, stride=2), d=nn.Sequential(relu))
    )
    shapes = layer_shapes(network, (33, 33))
    assert [(shape.name, shape.num_channels) for shape in shapes] == [("a", 4), ("c", 8), ("b", 8), ("d", 8)]


def test_an_unknown_layer_is_answered_with_the_layers_there_are(demo_net: DemoNet) -> None:
    with pytest.raises(LayerError, match=r"got 'layer9'; there are: .*features\.block3\.conv, .*features"):
        convert(demo_net, "layer9", num_classes=2, input_size=SIZE)


def test_a_map_below_two_by_two_cells_is_refused_with_its_size(demo_net: DemoNet) -> None:
    with pytest.raises(LayerError, match=r"'pool' gives a map of 1×1 at input 64×64.*2×2"):
        convert(demo_net, "pool", num_classes=2, input_size=SIZE)
    with pytest.raises(LayerError, match="at least 2×2"):
        convert(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), num_classes=2, input_size=SIZE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes"),
        ({"new_layers": 0}, "new_layers"),
        ({"filters": 0}, "filters"),
        ({"head": "linear"}, "additive, original"),
        ({"background": 2}, "background"),
        ({"background": -1}, "background"),
        ({"objective": "mutual"}, "labelled"),
        ({"loss_weight": -0.1}, "loss_weight"),
        ({"projection": -1}, "projection"),
        ({"hidden": -1}, "hidden"),
        ({"erasing": 1.5}, "erasing"),
        ({"grid": 0}, "grid"),
    ],
    ids=str,
)
def test_an_argument_outside_what_it_may_be_is_named(
    demo_net: DemoNet, arguments: dict[str, object], message: str
) -> None:
    settings = {"layers": "features", "num_classes": 2, "input_size": SIZE} | arguments
    with pytest.raises(ConfigError, match=message):
        convert(demo_net, **settings)


def test_a_second_mask_on_a_layer_is_refused(resnet: nn.Module) -> None:
    model = convert(resnet, "layer3", num_classes=5, head="original", input_size=SIZE)
    with pytest.raises(LayerError, match="has a part mask already"):
        convert(model, "layer3", num_classes=5, head="original", input_size=SIZE)


@pytest.mark.parametrize(("num_classes", "background", "expected"), [(2, None, 64), (2, 0, 32), (5, None, 64)], ids=str)
def test_there_are_32_filters_for_each_class_that_owns_any_up_to_the_trunks_channels(
    demo_net: DemoNet, num_classes: int, background: int | None, expected: int
) -> None:
    settings = {"num_classes": num_classes, "background": background, "objective": "labelled", "input_size": SIZE}
    model = convert(demo_net, "features", **settings)
    assert [layer.out_channels for layer in model.part_layers] == [expected]


@pytest.mark.parametrize(("num_classes", "background", "expected"), [(2, None, 16), (2, 0, 8), (5, 1, 16)], ids=str)
def test_eight_filters_compete_for_one_class_and_sixteen_for_several(
    demo_net: DemoNet, pictures: Tensor, num_classes: int, background: int | None, expected: int
) -> None:
    model = convert(demo_net, "features", num_classes=num_classes, background=background, input_size=SIZE)
    assert isinstance(model, CompetingNetwork)
    with recorded_feature_maps(model) as maps:
        model(pictures)
        assert maps["part_layers.0.mask"].shape == (2, expected, 8, 8)
    assert conversion_of(model).settings.filters == expected


def test_the_part_layers_stand_on_one_another(demo_net: DemoNet, pictures: Tensor) -> None:
    model = convert(demo_net, "features", num_classes=2, new_layers=3, filters=8, hidden=10, input_size=SIZE).eval()
    assert [(layer.in_channels, layer.out_channels) for layer in model.part_layers] == [(10, 8), (8, 8), (8, 8)]
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        model(pictures)
        below, above = maps["part_layers.0.mask"], maps["part_layers.1.mask"]
        expected = F.relu(F.conv2d(part_mask(below), model.part_layers[1].weight, padding=1))
        torch.testing.assert_close(above, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, (64, 12)), ({"projection": 5}, (5, 12)), ({"projection": 0}, (64, 12)), ({"hidden": 0}, (64, None))],
    ids=str,
)
def test_features_are_projected_and_pass_an_ordinary_layer(
    demo_net: DemoNet, pictures: Tensor, settings: dict[str, Any], expected: tuple[int, int | None]
) -> None:
    num_channels, width = expected
    settings = {"objective": "labelled", "filters": 6, "input_size": SIZE, **settings}
    model = convert(demo_net, "features", num_classes=2, **settings).eval()
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        logits = model(pictures)
        features = model.features(pictures)
        assert features.shape[1] == num_channels
        assert torch.equal(model.forward_from_features(features), logits)
        below = features
        if width is not None:
            layer = model.hidden[0]
            assert layer.weight.shape == (width, num_channels, 3, 3)
            below = F.relu(F.conv2d(features, layer.weight, layer.bias, padding=1))
        top = model.part_layers[0]
        expected_maps = F.relu(F.conv2d(below, top.weight, top.bias, padding=1))
        torch.testing.assert_close(maps["part_layers.0.mask"], expected_maps, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("projection", "expected"), [(128, 64), (5, 5), (0, 64), (None, 64)])
def test_filters_compete_for_cells_of_the_projected_features(
    demo_net: DemoNet, pictures: Tensor, projection: int | None, expected: int
) -> None:
    model = convert(demo_net, "features", num_classes=2, projection=projection, input_size=SIZE).eval()
    nn.init.normal_(model.head.weight)
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        logits = model(pictures)
        features = model.features(pictures)
        assert features.shape[1] == expected
        assert torch.equal(model.forward_from_features(features), logits)
        shares = model.part_layers[0].scores(features).softmax(dim=1)[:, :-1]
        torch.testing.assert_close(maps["part_layers.0.mask"], shares, atol=1e-6, rtol=0)
        torch.testing.assert_close(model.head(shares, features), logits, atol=1e-5, rtol=0)


def test_no_dropout_is_none_in_the_head_of_filters_that_compete_either(demo_net: DemoNet, pictures: Tensor) -> None:
    model = convert(demo_net, "features", num_classes=2, dropout=0.0, erasing=0.0, input_size=SIZE)
    nn.init.normal_(model.head.weight)
    features = torch.randn(2, 64, 8, 8)
    assert torch.equal(model.train().forward_from_features(features), model.eval().forward_from_features(features))


def test_a_projection_starts_with_orthonormal_rows(demo_net: DemoNet) -> None:
    weight = convert(demo_net, "features", num_classes=2, projection=10, input_size=SIZE).projection.weight[..., 0, 0]
    torch.testing.assert_close(weight @ weight.T, torch.eye(10), atol=1e-5, rtol=0)


def test_dropout_acts_on_whole_channels_of_the_trunk_in_training_only(demo_net: DemoNet, pictures: Tensor) -> None:
    model = convert(demo_net, "features", num_classes=2, dropout=0.5, input_size=SIZE)
    maps = torch.ones(4, 64, 8, 8)
    dropped = model.train().dropout(maps)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (dropped == dropped[:, :, :1, :1]).all()
    assert torch.equal(model.eval().dropout(maps), maps)


def test_the_record_says_how_the_network_was_converted(resnet: nn.Module) -> None:
    model = convert(resnet, "layer3", num_classes=2, background=0, filters=7, input_size=SIZE)
    record = conversion_of(model)
    assert isinstance(record, Conversion)
    assert record.network == {"name": "resnet18", "num_classes": 5, "padding": "torch"}
    assert record.settings.layers == ("layer3",)
    assert record.settings.filters == 7
    assert record.preprocessing.input_size == SIZE
    assert record.classes == ["0", "1"]
    assert conversion_of(nn.DataParallel(model)) is record


def test_a_network_of_ones_own_has_no_library_name() -> None:
    assert conversion_of(convert(Branching(), "relu", num_classes=2, input_size=SIZE)).network is None


def test_a_changed_library_network_is_not_taken_for_the_librarys(resnet: nn.Module) -> None:
    resnet.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
    assert conversion_of(convert(resnet, "layer3", num_classes=2, input_size=SIZE)).network is None


def test_a_plain_network_has_no_record_and_no_part_masks(resnet: nn.Module) -> None:
    with pytest.raises(LayerError, match=r"partcnn\.convert"):
        conversion_of(resnet)
    with pytest.raises(LayerError, match=r"partcnn\.convert"):
        filter_loss(resnet, torch.tensor([0]))


def test_recorded_maps_are_given_top_layer_last_and_freed_afterwards(demo_net: DemoNet, pictures: Tensor) -> None:
    model = convert(demo_net, "features", num_classes=2, filters=6, new_layers=2, input_size=SIZE)
    with recorded_feature_maps(model) as maps:
        with pytest.raises(ConfigError, match="forward pass"):
            maps["part_layers.1.mask"]
        model(pictures)
        assert list(maps) == ["part_layers.0.mask", "part_layers.1.mask"]
        assert maps["part_layers.1.mask"].shape == (2, 6, 8, 8)
    assert all(mask.feature_maps is None for _, mask in part_masks(model))


def test_recorded_maps_are_freed_also_after_an_error(demo_net: DemoNet, pictures: Tensor) -> None:
    model = convert(demo_net, "features", num_classes=2, input_size=SIZE)

    def fail() -> None:
        with recorded_feature_maps(model):
            model(pictures)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert all(mask.feature_maps is None for _, mask in part_masks(model))


def grayscale() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def without_parameters() -> nn.Module:
    return nn.Sequential(OrderedDict(pool=nn.AvgPool2d(8), relu=nn.ReLU()))


@pytest.mark.parametrize(
    ("build", "layer", "num_channels"), [(grayscale, "1", 1), (without_parameters, "relu", 3)], ids=["grey", "bare"]
)
def test_networks_of_other_channels_or_without_parameters_convert(
    build: Callable[[], nn.Module], layer: str, num_channels: int
) -> None:
    model = convert(build(), layer, num_classes=2, input_size=SIZE)
    assert isinstance(model, PartNetwork)
    assert model(torch.randn(2, num_channels, *SIZE)).shape == (2, 2)


def test_masks_in_place_need_the_networks_own_number_of_classes() -> None:
    with pytest.raises(ConfigError, match="1000"):
        convert(torchvision.models.resnet18(), "layer3", num_classes=2, head="original", input_size=(64, 64))


def test_no_layer_at_all_is_refused() -> None:
    with pytest.raises(LayerError, match="at least one name"):
        convert(torchvision.models.resnet18(), [], num_classes=2, input_size=(64, 64))


def test_fewer_filters_than_classes_are_refused() -> None:
    settings = {"num_classes": 5, "filters": 4, "objective": "labelled", "input_size": (64, 64)}
    with pytest.raises(ConfigError, match="at least one for each of 5"):
        convert(torchvision.models.resnet18(), "layer2", **settings)


def test_a_layer_that_runs_twice_counts_where_it_runs_last() -> None:
    network = torchvision.models.resnet18().eval()
    model = convert(network, "layer3.0.relu", num_classes=2, input_size=(64, 64))
    assert isinstance(model, PartNetwork)
    images = torch.randn(1, 3, 64, 64)
    seen: list[torch.Tensor] = []
    network.layer3[0].relu.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    network(images)
    torch.testing.assert_close(model.trunk.eval()(images), seen[-1])


def test_auto_keeps_a_map_with_as_many_channels_as_the_linear_classifier_has_outputs() -> None:
    model = convert(torchvision.models.resnet18(num_classes=256), num_classes=2)
    assert isinstance(model, PartNetwork)
    assert model.layers == ("layer3", "layer4.1")
