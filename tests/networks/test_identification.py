"""A dozen network families through the survey that `make architectures` makes of all, on small pictures, not square."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torchvision
from torch import nn

import partcnn
from partcnn.model.conversion import convert
from partcnn.model.losses import filter_loss
from partcnn.model.network import conversion_of
from partcnn.model.trunks import HookedTrunk
from partcnn.networks.identification import identify_network

SIZE = (96, 128)
# name -> layers that "auto", head="original", and that with mask_skip=False take; None: refused with a reason
FAMILIES = {
    "resnet18": ("layer1 + layer2.1", "layer2", "layer2.1"),
    "googlenet": ("conv3 + inception3b", "inception3b", None),
    "mobilenet_v3_small": ("features.1 + features.3", "features.3.block.1", "features.3"),
    "shufflenet_v2_x0_5": ("maxpool + stage2.3", "stage2", None),
    "mnasnet0_5": ("layers.8 + layers.9.2", "layers.9.2.layers.5", "layers.9.2"),
    "regnet_x_400mf": (
        "trunk_output.block1 + trunk_output.block2.block2-1",
        "trunk_output.block2",
        "trunk_output.block2.block2-1",
    ),
    "efficientnet_b0": ("features.2 + features.3.1", None, "features.3.1"),
    "timm:convnext_atto": ("stages.0 + stages.1", None, "stages.1.blocks.1"),
    "timm:mambaout_femto": ("stages.0 + stages.1", None, None),  # channels last
    "timm:nf_regnet_b0": ("stages.0 + stages.1.2", None, None),  # no layer's output is added: it is scaled first
    "timm:repghostnet_050": ("blocks.2 + blocks.4.0", "blocks.4.0.se", "blocks.4.0"),
    # gives an object, not logits
    "transformers:ResNet": ("resnet.encoder.stages.0 + resnet.encoder.stages.1", None, None),
}


@pytest.fixture(scope="module")
def survey() -> ModuleType:
    file = Path(__file__).parents[2] / "benchmarks" / "architectures.py"
    spec = importlib.util.spec_from_file_location("architectures_survey", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.filterwarnings("ignore")  # of the libraries, about how they build their networks
def test_a_family_converts_learns_and_is_saved(survey: ModuleType, name: str) -> None:
    library = name.partition(":")[0] if ":" in name else "torchvision"
    pytest.importorskip(library, reason=f"{library} is not installed: pip install 'partcnn[{library}]'")
    row = survey.surveyed(name, SIZE, has_onnx=False)
    layer, original, branch = FAMILIES[name]
    assert row.get("reason") is None
    assert (row["layer"], row["map_size"]) == (layer, [24, 32])
    assert [survey.failure(row[step]) for step in ("step", "reload")] == [None, None]
    for head, expected in (("original", original), ("branch", branch)):
        assert row[head] == expected or (expected is None and len(survey.failure(row[head])) > 40)


def test_the_survey_names_at_least_sixty_networks_once_each(survey: ModuleType) -> None:
    names = survey.all_names()
    assert len(names) == len(set(names)) >= 60
    families = {name.partition("_")[0].rstrip("0123456789") for name in survey.TORCHVISION.split()}
    library = {"alexnet", "vgg", "resnet", "resnext", "wide", "densenet", "squeezenet", "googlenet", "inception"}
    assert families >= library | {"mobilenet", "shufflenet", "mnasnet", "efficientnet", "regnet", "convnext"}


def test_a_row_that_failed_tells_why(survey: ModuleType) -> None:
    row = survey.surveyed("no-such-network")
    assert "no-such-network" in row["reason"]
    page = survey.page([row])
    assert "- no-such-network: conversion: backbone: expected" in page
    assert "1 networks" in page


def test_the_survey_notices_a_network_whose_gradients_stop(survey: ModuleType) -> None:
    class Stopped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.conv(self.stem(images).detach()).mean(dim=(2, 3))

    model = convert(Stopped(), "conv", num_classes=2, input_size=SIZE)
    with pytest.raises(ValueError, match="no gradient"):
        survey.training_step(model, torch.randn(2, 3, *SIZE))


@pytest.mark.parametrize("aux_logits", [False, True], ids=["plain", "with training heads"])
def test_googlenet_trains_and_loads_with_and_without_its_training_heads(aux_logits: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.googlenet(num_classes=4, aux_logits=aux_logits, init_weights=False)
    assert identify_network(network).get("aux_logits", False) == aux_logits
    for layer in ("inception3b", "inception4d"):  # below the training heads, and above one
        model = convert(network, layer, num_classes=2, input_size=(64, 96)).train()
        logits = model(torch.randn(2, 3, 64, 96))
        assert logits.shape == (2, 2)
        (logits.sum() + filter_loss(model, torch.tensor([0, 1]))).backward()
    masked = convert(network, "inception4d", num_classes=4, head="original", input_size=(64, 96)).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        loaded = partcnn.load(partcnn.save(masked, tmp_path))
        assert torch.equal(loaded(images), masked(images))


def test_a_transformers_network_runs_whole_and_is_loaded_with_its_own_code(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install 'partcnn[transformers]'")
    config = transformers.ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], num_labels=5)
    network = transformers.ConvNextForImageClassification(config)
    model = convert(network, num_classes=2, input_size=SIZE).eval()
    assert any(isinstance(module, HookedTrunk) for module in model.trunk.modules())
    assert conversion_of(model).network is None
    nn.init.normal_(model.head.weight)
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        loaded = partcnn.load(partcnn.save(model, tmp_path), model=transformers.ConvNextForImageClassification(config))
        assert torch.equal(loaded(images), model(images))


def test_a_changed_timm_network_is_not_taken_for_timms() -> None:
    timm = pytest.importorskip("timm", reason="pip install 'partcnn[timm]'")
    network = timm.create_model("test_resnet", num_classes=3, drop_path_rate=0.1)
    assert identify_network(network) == {"name": "timm:test_resnet", "num_classes": 3, "padding": "torch"}
    assert identify_network(timm.create_model("test_resnet", in_chans=1)) is None
    network.fc = nn.Linear(network.fc.in_features, 7)
    assert identify_network(network) is None
