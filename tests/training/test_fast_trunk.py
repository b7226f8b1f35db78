"""The faster copy of a frozen trunk gives the same maps."""

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import partcnn
from partcnn.model.network import PartNetwork
from partcnn.training.fast_trunk import fast_trunk

SIZE = (64, 64)


def calibrated(network: nn.Module) -> nn.Module:
    """With statistics and scales that a fold would miss if it left one out."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values, low in ((module.running_mean, -0.5), (module.running_var, 0.5), (module.weight.data, 0.5)):
                values.copy_(low + torch.rand(len(values), generator=generator))
            module.bias.data.normal_(generator=generator)
    return network.eval()


def trunk_of(network: nn.Module, layers: list[str]) -> nn.Module:
    model = partcnn.convert(network, layers, num_classes=2, input_size=SIZE)
    assert isinstance(model, PartNetwork)
    return nn.Sequential(model.trunk, model.projection).eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("timm:"):
        timm = pytest.importorskip("timm")
        network: nn.Module = timm.create_model(name.removeprefix("timm:"), num_classes=3)
        return network
    return torchvision.models.get_model(name, num_classes=3)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ["layer2", "layer3"]),
        ("mobilenet_v2", ["features.13"]),
        ("densenet121", ["features.denseblock2"]),
        ("timm:tf_efficientnet_lite0", ["blocks.4", "blocks.6"]),
    ],
)
def test_the_maps_are_those_of_the_trunk(name: str, layers: list[str], generator: torch.Generator) -> None:
    trunk = trunk_of(calibrated(built(name)), layers)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    fast = fast_trunk(trunk)
    images = torch.randn(3, 3, *SIZE, generator=generator)
    with torch.no_grad():
        expected, found = trunk(images), fast(images)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert norms(fast) < norms(trunk)
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())


class Standardised(nn.Conv2d):
    """Its weights are used at unit norm, whatever a fold would scale them by."""

    def forward(self, input: Tensor) -> Tensor:
        weight = F.normalize(self.weight.flatten(1), dim=1).view_as(self.weight)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


class UnitNorm(nn.Module):
    def __init__(self, kind: type[nn.Conv2d]) -> None:
        super().__init__()
        self.conv, self.norm = kind(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.last(self.norm(self.conv(images)).relu()).mean(dim=(2, 3)))
        return logits


def test_what_cannot_be_folded_runs_as_it_is(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Standardised, "__module__", "torch.nn.of_a_library")  # a leaf of the trace, as torch's own
    images = torch.randn(2, 3, *SIZE, generator=generator)
    for kind, num_left in ((nn.Conv2d, 0), (Standardised, 1)):
        torch.manual_seed(0)
        trunk = trunk_of(calibrated(UnitNorm(kind)), ["last"])
        fast = fast_trunk(trunk)
        assert norms(fast) == num_left
        with torch.no_grad():
            torch.testing.assert_close(fast(images), trunk(images))


def test_a_trunk_without_batch_norms_and_one_that_cannot_be_traced_are_copied(generator: torch.Generator) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, *SIZE, generator=generator)
    for trunk in (nn.Identity(), calibrated(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))):
        with torch.no_grad():
            torch.testing.assert_close(fast_trunk(trunk)(images), trunk(images))


def test_weights_that_are_made_anew_before_each_run_and_wide_dilations_are_handled(generator: torch.Generator) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, *SIZE, generator=generator)
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    hooked = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3))
    for conv, num_left in ((normed, 1), (hooked, 1), (nn.Conv2d(3, 4, 3, dilation=6), 0)):
        network = nn.Sequential(conv, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        trunk = trunk_of(calibrated(network), ["2"])
        fast = fast_trunk(trunk)
        assert norms(fast) == num_left
        with torch.no_grad():
            torch.testing.assert_close(fast(images), trunk(images), atol=1e-5, rtol=1e-5)
