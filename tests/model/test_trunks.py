"""Trunks that join the maps of several layers, and those of timm's networks."""

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import partcnn
from partcnn.model.network import PartNetwork, layer_field
from partcnn.model.trunks import HookedTrunk, trunk_of
from partcnn.networks.probing.layer_choice import chosen_layers
from partcnn.networks.probing.receptive_field import receptive_field

SIZE = (128, 96)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.resnet18(num_classes=3)
    return network.eval()


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=generator)


def shapes_of(network: nn.Module, *layers: str) -> list[object]:
    return chosen_layers(network, layers, SIZE, in_place=False)


def expected_joined(network: nn.Module, layers: tuple[str, ...], images: Tensor) -> Tensor:
    """By hooks, and pixel by pixel in float64: the finest of the maps decides the cells."""
    seen: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(layer).register_forward_hook(lambda _, __, out, layer=layer: seen.update({layer: out}))
        for layer in layers
    ]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    rows, cols = max(tuple(seen[layer].shape[2:]) for layer in layers)
    joined = []
    for layer in layers:
        old = seen[layer].double()
        new = old.new_empty(*old.shape[:2], rows, cols)
        for row in range(rows):
            for col in range(cols):
                y, x = (
                    (at + 0.5) * old.shape[axis] / many - 0.5 for at, axis, many in ((row, 2, rows), (col, 3, cols))
                )
                y, x = max(y, 0.0), max(x, 0.0)
                top, left = int(y), int(x)
                bottom, right = min(top + 1, old.shape[2] - 1), min(left + 1, old.shape[3] - 1)
                down, across = y - top, x - left
                new[:, :, row, col] = (1 - down) * (
                    (1 - across) * old[:, :, top, left] + across * old[:, :, top, right]
                ) + down * ((1 - across) * old[:, :, bottom, left] + across * old[:, :, bottom, right])
        joined.append(new)
    return torch.cat(joined, dim=1)


@pytest.mark.parametrize("layers", [("layer2", "layer3"), ("layer3", "layer2"), ("layer1", "layer3", "layer4")])
def test_several_layers_are_joined_at_the_finest_cells(
    resnet: nn.Module, images: Tensor, layers: tuple[str, ...]
) -> None:
    trunk = trunk_of(resnet, shapes_of(resnet, *layers))
    with torch.no_grad():
        found = trunk.eval()(images)
    torch.testing.assert_close(found.double(), expected_joined(resnet, layers, images), atol=1e-5, rtol=1e-5)


def test_a_network_that_cannot_be_traced_gives_the_same(resnet: nn.Module, images: Tensor) -> None:
    layers = ("layer2", "layer3")
    with torch.no_grad():
        traced = trunk_of(resnet, shapes_of(resnet, *layers)).eval()(images)
        hooked = HookedTrunk(resnet, layers)(images)
    assert isinstance(hooked, tuple)
    assert torch.equal(traced[:, :128], hooked[0])
    assert [maps.shape[1] for maps in hooked] == [128, 256]


class ChannelsLast(nn.Module):
    """Its second stage has the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 5, 3, stride=4, padding=1)
        self.coarse = nn.Conv2d(5, 7, 3, stride=2, padding=1)
        self.turned = Turned()
        self.head = nn.Linear(7, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.turned(self.coarse(self.fine(images)))
        logits: Tensor = self.head(maps.mean(dim=(1, 2)))
        return logits


class Turned(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1)


def test_layers_with_the_channels_last_are_turned_before_they_are_joined(images: Tensor) -> None:
    torch.manual_seed(0)
    network = ChannelsLast().eval()
    with torch.no_grad():
        joined = trunk_of(network, shapes_of(network, "fine", "turned"))(images)
        coarse = network.coarse(network.fine(images))
    assert joined.shape == (2, 12, 32, 24)
    torch.testing.assert_close(joined[:, 5:], F.interpolate(coarse, size=(32, 24), mode="bilinear"))


def test_a_joined_cell_sees_what_its_finest_and_its_coarsest_layer_see(resnet: nn.Module) -> None:
    torch.manual_seed(0)
    model = partcnn.convert(
        resnet, ["layer2", "layer3"], num_classes=2, background=1, objective="competing", input_size=(128, 128)
    )
    field = layer_field(model, "part_layers.0.mask", (128, 128))
    fine = receptive_field(resnet, "layer2", (128, 128))
    coarse = receptive_field(resnet, "layer3", (128, 128))
    assert field.method == "traced"
    assert (field.map_size, field.stride_px) == (fine.map_size, fine.stride_px)
    # Scores look 3 × 3 cells wide; a coarse cell reaches at most a coarse cell, less half a fine one, to the side.
    assert field.size_px[0] == coarse.size_px[0] + 2 * (16 - 4) + 2 * 8
    assert abs(field.first_center_px[0] - fine.first_center_px[0]) <= 8


class Resized(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(3, 4, 3, stride=8, padding=1)
        self.last = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        maps = F.interpolate(self.conv(images), scale_factor=self.factor, mode="bilinear", align_corners=False)
        resized: Tensor = self.last(maps)
        return resized


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_field_of_a_resized_map_is_where_its_gradient_is(factor: int) -> None:
    torch.manual_seed(0)
    network = Resized(factor).double().eval()
    field = receptive_field(network, "last", (96, 96))
    assert field.method == "traced"
    images = torch.randn(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    maps = network(images)
    low, high = [], []
    for row in range(4 * factor, 5 * factor):  # one coarse cell's worth, far from the border
        (gradient,) = torch.autograd.grad(maps[0, :, row, 5 * factor].sum(), images, retain_graph=True)
        seen = gradient[0].abs().sum(dim=(0, 2)).nonzero()[:, 0]
        center = field.first_center_px[0] + row * field.stride_px[0]
        low.append(center - float(seen.min()))
        high.append(float(seen.max()) - center)
    half = (field.size_px[0] - 1) / 2
    assert max(low) == max(high) == half  # no cell sees more, and on each side one sees as much


def test_each_layers_maps_weigh_alike_in_the_projection(resnet: nn.Module) -> None:
    from partcnn.training.projection import _scale_of_layers

    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(500, 12, generator=generator, dtype=torch.float64) * torch.tensor([1000.0] * 4 + [0.01] * 8)
    covariance = torch.cov(cells.T)
    scale = _scale_of_layers(covariance, [4, 8])
    of_layers = torch.cov((cells * scale).T).diagonal().split([4, 8])
    assert [float(variances.sum()) for variances in of_layers] == pytest.approx([1, 1])
    assert _scale_of_layers(covariance, [12]).tolist() == [1.0] * 12
    assert _scale_of_layers(torch.zeros(3, 3), [1, 2]).isfinite().all()


def test_auto_takes_a_deep_block_beside_the_fine_one() -> None:
    torch.manual_seed(0)
    expected = {
        "resnet18": ["layer3", "layer4.1"],
        "mobilenet_v2": ["features.13", "features.17"],  # not features.18, which widens for the classifier
        "squeezenet1_1": ["features"],  # nothing is coarser
        "vgg11": ["features.19"],  # above it there is only pooling
    }
    for name, layers in expected.items():
        network = torchvision.models.get_model(name)
        chosen = chosen_layers(network, "auto", (224, 224), in_place=False, joins_depths=True)
        assert [shape.name for shape in chosen] == layers
    alone = chosen_layers(torchvision.models.resnet18(), "auto", (224, 224), in_place=False)
    assert [shape.name for shape in alone] == ["layer3"]


def lite() -> nn.Module:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=3)
    return network.eval()


def test_a_network_of_timm_is_traced_and_loses_its_head(images: Tensor) -> None:
    network = lite()
    model = partcnn.convert(network, ["blocks.4", "blocks.6"], num_classes=2, input_size=SIZE)
    assert isinstance(model, PartNetwork)
    assert not any(isinstance(module, HookedTrunk) for module in model.modules())
    assert not any("conv_head" in name for name in model.state_dict())
    assert model.trunk_channels == (112, 320)
    with torch.no_grad():
        found = model.trunk.eval()(images)
    torch.testing.assert_close(
        found.double(), expected_joined(network, ("blocks.4", "blocks.6"), images), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("is_own", [False, True], ids=["the library's", "one's own"])
def test_a_checkpoint_of_a_timm_network_that_was_kept_whole_still_loads(
    tmp_path: object, images: Tensor, is_own: bool
) -> None:
    network = lite()
    if is_own:
        network.conv_head = nn.Conv2d(320, 1280, 1)  # no library names it now
    model = partcnn.convert(network, "blocks.4", num_classes=2, objective="exact", background=1, input_size=SIZE).eval()
    partcnn.save(model, tmp_path)
    file = f"{tmp_path}/model.safetensors"
    of_head = {
        f"trunk.network.{name}": value.clone()
        for name, value in network.state_dict().items()
        if name.startswith(("blocks.6", "conv_head", "classifier"))
    }
    save_file(load_file(file) | of_head, file, metadata={"format": "pt"})
    own = network if is_own else None
    loaded = partcnn.load(tmp_path, own)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    save_file(load_file(file) | {"head.other": torch.zeros(1)}, file, metadata={"format": "pt"})
    with pytest.raises(partcnn.PartCNNError, match=r"head\.other"):
        partcnn.load(tmp_path, own)


@pytest.mark.parametrize("objective", ["competing", "exact"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_of_another_type_answers_in_it(
    resnet: nn.Module, images: Tensor, objective: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    model = partcnn.convert(
        resnet, ["layer2", "layer3"], num_classes=2, background=0, objective=objective, filters=4, input_size=SIZE
    ).eval()
    torch.nn.init.normal_(model.head.weight)
    with torch.no_grad():
        expected, found = model(images), model.to(dtype)(images.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=0.1 * float(expected.abs().max()), rtol=0)


def test_one_layer_twice_is_refused(resnet: nn.Module) -> None:
    with pytest.raises(partcnn.PartCNNError, match=r"different layers, got layer3, layer3"):
        partcnn.convert(resnet, ["layer3", "layer3"], num_classes=2, input_size=SIZE)
