"""VGG-M and VGG-S against Chatfield et al. (2014), Table 1, and the figures of the interpretable-CNN paper's code."""

import pytest
import torch
from torch import nn

from partcnn.model.conversion import convert
from partcnn.networks.backbones import load_backbone
from partcnn.networks.identification import identify_network
from partcnn.networks.paper_networks import VGGM, VGGS
from partcnn.networks.probing.receptive_field import receptive_field

# name -> shape of the weight, in order; the same in both networks, whose strides differ
SHAPES = {
    "features.conv1": (96, 3, 7, 7),
    "features.conv2": (256, 96, 5, 5),
    "features.conv3": (512, 256, 3, 3),
    "features.conv4": (512, 512, 3, 3),
    "features.conv5": (512, 512, 3, 3),
    "classifier.fc6": (4096, 512 * 6 * 6),
    "classifier.fc7": (4096, 4096),
    "classifier.fc8": (1000, 4096),
}
# 13 × 13 and 17 × 17 cells, strides 16 and 12, first centres 18 and 15 counted from 1: the paper's code.
FIELDS = {"vgg_m": (VGGM, 13, 139, 16, 17), "vgg_s": (VGGS, 17, 113, 12, 14)}


@pytest.fixture(params=FIELDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def without_weights(name: str) -> nn.Module:
    """Drawing 100 million weights takes a second; where they do not matter they are left as memory gave them."""
    with torch.device("meta"):
        network = FIELDS[name][0]()
    return network.to_empty(device="cpu")


def test_weights_have_the_papers_shapes(name: str) -> None:
    with torch.device("meta"):
        network = FIELDS[name][0]()
    weights = {key.removesuffix(".weight"): tuple(value.shape) for key, value in network.state_dict().items()}
    assert {key: shape for key, shape in weights.items() if not key.endswith(".bias")} == SHAPES
    assert sum(parameter.numel() for parameter in network.parameters()) == 102_908_520


def test_cells_lie_where_the_papers_code_puts_them(name: str) -> None:
    _, side, size, stride, first_center = FIELDS[name]
    field = receptive_field(without_weights(name), "features.relu5")
    assert (field.map_size, field.method) == ((side, side), "traced")
    assert (field.size_px, field.stride_px) == ((size, size), (stride, stride))
    assert field.first_center_px == (first_center, first_center)


def test_the_last_pooling_gives_the_6_by_6_cells_that_fc6_was_made_for(name: str) -> None:
    maps = without_weights(name).get_submodule("features")(torch.zeros(1, 3, 224, 224))
    assert maps.shape == (1, 512, 6, 6)


def test_they_are_backbones_by_name_and_recognised_again() -> None:
    backbone = load_backbone("vgg_m", num_classes=3)
    assert backbone.preprocessing.input_size == (224, 224)
    assert identify_network(backbone.network) == {"name": "vgg_m", "num_classes": 3, "padding": "torch"}
    assert convert(backbone.network, num_classes=2).layers == ("features.relu5",)
    with torch.no_grad():
        assert backbone.network(torch.rand(1, 3, 224, 224)).shape == (1, 3)


def test_the_two_are_not_taken_for_each_other() -> None:
    with torch.device("meta"):
        assert [identify_network(build(num_classes=3))["name"] for build in (VGGM, VGGS)] == ["vgg_m", "vgg_s"]
