"""A changed network of a library is not taken for the library's; what changes nothing does not make it one's own."""

import copy
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from partcnn.foundation.errors import RunError
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import load, save
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.identification import identify_network
from partcnn.networks.likeness import difference
from partcnn.networks.tensorflow_padding import with_padding

SIZE = (64, 64)
Change = Callable[[nn.Module], Any]


def resnet() -> ResNet:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=3)


class Passing(BasicBlock):
    """Another block with the weights of torchvision's."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1


Passing.__name__ = "BasicBlock"  # its text is the same too


def flipped(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    return output.flip(-1)


CHANGES: dict[str, tuple[Change, str]] = {
    "a layer is left out": (lambda net: setattr(net, "maxpool", nn.Identity()), "maxpool"),
    "another activation": (lambda net: setattr(net.layer1[0], "relu", nn.SiLU()), "layer1.0.relu"),
    "another stride": (lambda net: setattr(net.conv1, "stride", (4, 4)), "conv1.stride.0"),
    "another padding mode": (lambda net: setattr(net.conv1, "padding_mode", "circular"), "conv1.padding_mode"),
    "another epsilon": (lambda net: setattr(net.bn1, "eps", 1e-2), "bn1.eps"),
    "a hook": (lambda net: net.layer1.register_forward_hook(flipped), "layer1._forward_hooks.0"),
    "a hook before": (lambda net: net.fc.register_forward_pre_hook(lambda m, x: x), "fc._forward_pre_hooks.0"),
    "a replaced forward": (lambda net: setattr(net, "forward", lambda x: x.mean((2, 3))), "forward"),
    "a bound forward": (
        lambda net: setattr(net.layer1, "forward", types.MethodType(lambda self, x: -x, net.layer1)),
        "layer1.forward",
    ),
    "a parametrization": (lambda net: nn.utils.parametrizations.weight_norm(net.conv1), "conv1"),
    "a layer that stands twice": (lambda net: setattr(net.layer1[0], "conv2", net.layer1[0].conv1), "layer1.0.conv2"),
    "a weight that stands twice": (
        lambda net: setattr(net.layer1[0].conv2, "weight", net.layer1[0].conv1.weight),
        "layer1.0.conv2.weight",
    ),
    "a buffer of its own": (lambda net: net.register_buffer("mean", torch.ones(3), persistent=False), "mean"),
    "a child of its own": (lambda net: net.add_module("extra", nn.ReLU()), "extra"),
}
SAME: dict[str, Change] = {
    "as it is": lambda net: net,
    "other weights": lambda net: nn.init.normal_(net.fc.weight),
    "frozen, in evaluation mode": lambda net: net.eval().requires_grad_(False),
    "half precision": lambda net: net.half(),
    "channels last": lambda net: net.to(memory_format=torch.channels_last),
    "compiled in place": lambda net: net.compile(backend="eager"),
    "a hook of gradients": lambda net: net.layer1.register_full_backward_hook(lambda *_: None),
}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks are numbered from 0, as in a process of their own."""
    monkeypatch.setattr(torch.utils.hooks.RemovableHandle, "next_id", 0)


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_the_answer_is_found_and_named(name: str, counted: None) -> None:
    change, place = CHANGES[name]
    network = resnet()
    change(network)
    assert (difference(network, resnet()) or "").startswith(place)


@pytest.mark.parametrize("name", ["a hook", "a replaced forward", "another stride"])
def test_a_changed_network_of_torchvision_is_ones_own(name: str) -> None:
    network = torchvision.models.alexnet(num_classes=3)
    assert identify_network(network) == {"name": "alexnet", "num_classes": 3, "padding": "torch"}
    {
        "a hook": lambda: network.features.register_forward_hook(flipped),
        "a replaced forward": lambda: setattr(network, "forward", lambda x: x.mean((2, 3))),
        "another stride": lambda: setattr(network.features[0], "stride", (8, 8)),
    }[name]()
    assert identify_network(network) is None


def test_blocks_of_ones_own_under_the_librarys_names_are_ones_own() -> None:
    network = ResNet(Passing, [2, 2, 2, 2], num_classes=3)
    assert repr(network) == repr(resnet())
    assert identify_network(network) is None
    assert difference(network, resnet()) == "layer1.0"


@pytest.mark.parametrize("name", SAME)
def test_what_changes_no_answer_does_not_count(name: str) -> None:
    network = resnet()
    SAME[name](network)
    assert difference(copy.deepcopy(network), resnet()) is None


@pytest.mark.parametrize(
    ("name", "flag", "value"),
    [("mobilenet_v2", "features.3.use_res_connect", False), ("googlenet", "transform_input", True)],
)
@pytest.mark.filterwarnings("ignore")  # torchvision's, about the weights it starts with
def test_a_flag_that_no_text_shows_is_compared(name: str, flag: str, value: bool) -> None:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, num_classes=3, **options)
    text = repr(network)
    module, _, attribute = flag.rpartition(".")
    setattr(network.get_submodule(module), attribute, value)
    assert repr(network) == text
    assert identify_network(network) is None


def test_functions_with_what_they_hold_are_compared() -> None:
    class Holding(nn.Module):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function = function

    def scaled(factor: float) -> Callable[[float], float]:
        return lambda value: factor * value

    def of(one: Any, other: Any) -> str | None:
        return difference(Holding(one), Holding(other))

    assert of(scaled(2.0), scaled(2.0)) is None
    assert of(scaled(2.0), scaled(3.0)) == "function.__closure__.0.contents"
    assert of(partial(max, 1), partial(max, 1)) is None
    assert of(partial(max, 1), partial(max, 2)) == "function.args.0"
    assert of(torch.relu, torch.tanh) == "function"
    assert of(float("nan"), float("nan")) is None
    assert of({"a": [1, 2]}, {"a": [1, 3]}) == "function.a.1"
    assert of(torch.ones(2), torch.ones(2)) is None
    assert of(torch.ones(2), torch.zeros(2)) == "function"
    assert of(1, 1.0) == "function"


def test_a_circle_of_modules_ends() -> None:
    def circle() -> nn.Module:
        outer, inner = nn.Sequential(nn.ReLU()), nn.Linear(1, 1)
        outer.inner, inner.notes = inner, {"outer": outer}  # type: ignore[assignment]
        return outer

    assert difference(circle(), circle()) is None


TIMM_CHANGES: dict[str, Callable[[Any], nn.Module]] = {
    "no pooling in the stem": lambda timm: changed(timm.create_model("test_resnet"), maxpool=nn.Identity()),
    "another activation": lambda timm: timm.create_model("test_efficientnet", act_layer=nn.Tanh),
    "another stride": lambda timm: timm.create_model("test_efficientnet", output_stride=8),
    "no pooling above": lambda timm: timm.create_model("test_resnet", num_classes=0, global_pool=""),
    "maps of all stages": lambda timm: timm.create_model("test_resnet", features_only=True),
    "another shift of windows": lambda timm: unmasked(timm.create_model("swin_tiny_patch4_window7_224")),
    "a hook on what passes all on": lambda timm: hooked(timm.create_model("test_resnet"), nn.Identity),
    "a hook on a drop path": lambda timm: hooked(
        timm.create_model("convnext_atto", drop_path_rate=0.1), timm.layers.DropPath
    ),
}


def changed(network: nn.Module, **attributes: Any) -> nn.Module:
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


def hooked(network: nn.Module, kind: type[nn.Module]) -> nn.Module:
    next(module for module in network.modules() if isinstance(module, kind)).register_forward_hook(flipped)
    return network


def unmasked(swin: Any) -> nn.Module:
    swin.layers[0].blocks[1].attn_mask.zero_()  # a buffer that no file holds
    return swin  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", TIMM_CHANGES)
@pytest.mark.filterwarnings("ignore")  # timm's
def test_a_changed_network_of_timm_is_ones_own(name: str) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'partcnn[timm]'")
    assert identify_network(TIMM_CHANGES[name](timm)) is None


@pytest.mark.filterwarnings("ignore")  # timm's
def test_what_timm_remembers_of_a_picture_does_not_make_a_network_ones_own() -> None:
    timm = pytest.importorskip("timm", reason="pip install 'partcnn[timm]'")
    network = timm.create_model("levit_128s").eval()
    with torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))
    assert any(getattr(module, "attention_bias_cache", None) for module in network.modules())
    assert identify_network(network) is not None


@pytest.mark.parametrize("padding", ["torch", "tensorflow"])
def test_timms_networks_are_known_with_either_padding_and_without_a_classifier(padding: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'partcnn[timm]'")
    network = with_padding(timm.create_model("test_resnet", num_classes=0), padding)
    assert identify_network(network) == {"name": "timm:test_resnet", "num_classes": 0, "padding": padding}
    model, images = convert(network, "layer3", num_classes=2, input_size=SIZE).eval(), torch.randn(1, 3, *SIZE)
    loaded = load(save(model, tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(loaded.features(images), model.features(images))


@pytest.mark.parametrize("config", [None, {"architecture": "test_resnet"}, {"architecture": "no such network"}])
def test_notes_in_timms_manner_do_not_make_a_network_timms(config: Any) -> None:
    network = DemoNet(num_classes=2)
    network.default_cfg, network.num_classes = config, 2
    assert identify_network(network) is None


def test_a_network_that_was_changed_after_it_was_converted_is_not_loaded_by_name(tmp_path: Path) -> None:
    model = convert(resnet(), "layer2", num_classes=2, input_size=SIZE)
    assert conversion_of(model).network is not None
    model.trunk.network.maxpool = nn.AvgPool2d(3, stride=2, padding=1)
    with pytest.raises(RunError, match=r"made from 'resnet18' and then changed.*other features.*load\(path, model="):
        load(save(model, tmp_path))


def built(stride: int = 2, activation: type[nn.Module] = nn.ReLU, *, is_turned: bool = False) -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, stride, 1), nn.BatchNorm2d(8), activation(), nn.Conv2d(8, 8, 3, 2, 1))
    network = nn.Sequential(body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    if is_turned:
        body.register_forward_hook(flipped)
    return network


@pytest.mark.parametrize("head", ["additive", "original"])
@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"activation": nn.SiLU}, "other"),
        ({"stride": 1}, "of shape"),
        ({"is_turned": True}, "other"),
    ],
    ids=["another activation", "another stride", "a hook"],
)
def test_ones_own_network_built_otherwise_is_refused(
    other: dict[str, Any], found: str, head: str, tmp_path: Path
) -> None:
    directory = save(convert(built(), "1", num_classes=2, head=head, input_size=SIZE), tmp_path)
    assert load(directory, model=built()) is not None
    with pytest.raises(RunError, match=rf"^model: expected a network that computes what .* gives .*{found}"):
        load(directory, model=built(**other))
