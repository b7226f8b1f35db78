"""What is told of a network's layers, and which of them "auto" takes."""

from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.model.conversion import convert, remove_masks
from partcnn.model.losses import filter_loss
from partcnn.networks.probing.layer_choice import auto_layer, candidate_layers
from partcnn.networks.probing.layer_shapes import LayerShape, layer_shapes
from partcnn.networks.probing.receptive_field import receptive_field, traced_fields

SIZE = (48, 64)


class Turned(nn.Module):
    """Gives its maps with the channels last, then mixes them there and turns them back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.turn = nn.Conv2d(3, 20, 3, stride=4, padding=1), ToChannelsLast()
        self.norm, self.mix, self.back = nn.LayerNorm(20), nn.Linear(20, 24), ToChannelsFirst()
        self.classifier = nn.Linear(24, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.back(self.mix(self.norm(self.turn(self.conv(images)))).relu())
        return self.classifier(maps.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class ToChannelsLast(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1)


class ToChannelsFirst(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 3, 1, 2)


class Halving(nn.Module):
    """A block in the manner of a bottleneck: its first convolution still works on the finer map."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.reduce, self.relu = nn.Conv2d(num_channels, 8, 1), nn.ReLU()
        self.halve = nn.Conv2d(8, num_channels, 3, stride=2, padding=1)
        self.skip = nn.Conv2d(num_channels, num_channels, 1, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.halve(self.relu(self.reduce(maps))) + self.skip(maps)  # type: ignore[no-any-return]


class Table(nn.Module):
    """Attention's table of 8 × 32 tokens, from a map: four axes, but no map of the picture."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=3)[:, :2, :8, None].expand(-1, -1, -1, 32)


def named(network: nn.Module, size: tuple[int, int] = SIZE) -> dict[str, LayerShape]:
    return {shape.name: shape for shape in layer_shapes(network, size)}


def classified(*layers: nn.Module, num_channels: int) -> nn.Sequential:
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(num_channels, 5))
    return nn.Sequential(*layers, *head)


@pytest.mark.parametrize("size", [(48, 64), (64, 64), (80, 48)], ids=str)
def test_maps_with_the_channels_last_are_read_as_such(size: tuple[int, int]) -> None:
    shapes = named(Turned(), size)
    cells = (size[0] // 4, size[1] // 4)
    assert {name: shape.is_channels_last for name, shape in shapes.items()} == {
        "conv": False,
        "turn": True,
        "norm": True,
        "mix": True,
        "back": False,
    }
    assert {shape.map_size for shape in shapes.values()} == {cells}
    assert [shapes[name].num_channels for name in ("conv", "norm", "mix", "back")] == [20, 20, 24, 24]


def test_the_additive_head_turns_maps_that_have_the_channels_last() -> None:
    torch.manual_seed(0)
    network, images = Turned().eval(), torch.randn(2, 3, *SIZE)
    model = convert(network, "norm", num_classes=2, input_size=SIZE).eval()
    with torch.no_grad():
        expected = network.norm(network.conv(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(model.trunk(images), expected)
    (model(images).sum() + filter_loss(model, torch.tensor([0, 1]))).backward()
    assert model.part_layers[0].mask.feature_maps.shape[2:] == (12, 16)
    assert receptive_field(model, "part_layers.0.mask", SIZE).map_size == (12, 16)


def test_a_mask_in_place_is_refused_where_the_channels_come_last() -> None:
    network = nn.Sequential(Turned(), nn.Identity())
    network[0].turn = nn.Sequential(nn.ReLU(), ToChannelsLast())
    with pytest.raises(LayerError, match=r"\[image, row, col, channel\]"):
        convert(network, "0.turn", num_classes=5, head="original", input_size=SIZE)


def test_auto_passes_over_the_middle_of_a_block_that_makes_the_map_coarser() -> None:
    network = classified(
        nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.Sequential(nn.ReLU(), Halving(16)), num_channels=16
    )
    shapes = named(network)
    inside = [name for name, shape in shapes.items() if shape.is_within_coarser_block]
    assert inside == ["1.1.reduce", "1.1.relu"]
    assert auto_layer(list(shapes.values())).name == "1.0"  # a sequence may be cut anywhere
    assert convert(torchvision.models.resnet50(), num_classes=2).layers == ("layer3", "layer4.2")


def test_a_network_within_a_network_is_no_block_to_pass_over() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.fine = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1)
            self.coarse = nn.Conv2d(8, 8, 3, stride=2, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.coarse(self.fine(self.stem(images)))  # type: ignore[no-any-return]

    network = classified(nn.Conv2d(3, 3, 3, padding=1), Whole(), num_channels=8)
    assert auto_layer(layer_shapes(network, SIZE)).name == "1.fine"


def test_auto_passes_over_tables_that_are_not_laid_over_the_picture() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.table, self.classifier = nn.Conv2d(3, 8, 4, stride=4), Table(), nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.conv(images)
            return self.classifier(maps.mean(dim=(2, 3)) + self.table(maps).mean())  # type: ignore[no-any-return]

    shapes = layer_shapes(Attending(), (64, 64))
    assert [shape.name for shape in shapes] == ["conv", "table"]
    assert auto_layer(shapes).name == "conv"
    assert [shape.name for shape in candidate_layers(shapes)] == ["conv"]


def test_a_table_of_every_cell_against_every_other_is_no_map() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.softmax = nn.Softmax(dim=-1)

        def forward(self, maps: Tensor) -> Tensor:
            tokens = maps.flatten(2)[:, None]
            table = self.softmax(tokens.transpose(2, 3) @ tokens)  # [image, 1, cell, cell], square as the picture is
            return (tokens @ table).reshape(maps.shape)

    network = classified(nn.Conv2d(3, 8, 8, stride=8), Attention(), num_channels=8)
    shapes = layer_shapes(network, (64, 64))
    assert "1.softmax" not in {shape.name for shape in shapes}
    assert auto_layer(shapes).name == "1"


def test_zeros_alone_are_not_taken_for_a_relu() -> None:
    network = classified(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1), num_channels=8)
    nn.init.zeros_(network[2].weight)
    nn.init.zeros_(network[2].bias)
    assert [shape.is_nonnegative for shape in layer_shapes(network, SIZE)[:3]] == [False, True, False]
    with pytest.raises(LayerError, match="zeros alone"):
        convert(network, "2", num_classes=5, head="original", input_size=SIZE)


def test_a_convolution_that_happens_to_stay_above_zero_is_not_taken_for_a_relu() -> None:
    network = classified(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1), num_channels=1)
    nn.init.constant_(network[2].bias, 100.0)
    assert [shape.is_nonnegative for shape in layer_shapes(network, SIZE)[:3]] == [False, True, False]


@pytest.mark.parametrize("activation", [nn.GELU(), nn.SiLU(), nn.Hardswish()], ids=lambda one: type(one).__name__)
def test_activations_that_dip_below_zero_are_refused_in_place_and_taken_by_the_additive_head(
    activation: nn.Module,
) -> None:
    network = classified(nn.Conv2d(3, 8, 3, padding=1), activation, num_channels=8)
    with pytest.raises(LayerError, match="GELU, SiLU"):
        convert(network, num_classes=5, head="original", input_size=SIZE)
    with pytest.raises(LayerError, match="negative values"):
        convert(network, "1", num_classes=5, head="original", input_size=SIZE)
    assert convert(network, "1", num_classes=2, input_size=SIZE).trunk(torch.randn(1, 3, *SIZE)).amin() < 0


def test_a_mask_in_place_is_refused_on_a_layer_that_runs_twice() -> None:
    network = torchvision.models.resnet18(num_classes=5).eval()
    with pytest.raises(LayerError, match=r"'layer2\.1\.relu' runs 2 times"):
        convert(network, "layer2.1.relu", num_classes=5, head="original", input_size=SIZE)


@pytest.mark.parametrize("masks", [True, False], ids=["masked", "unmasked"])
def test_a_layer_behind_may_change_in_place_what_the_mask_gives(masks: bool) -> None:
    class AddsInPlace(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.add_(100)

    torch.manual_seed(0)
    network = classified(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), AddsInPlace(), num_channels=8).eval()
    model = convert(network, "1", num_classes=5, head="original", masks=masks, input_size=SIZE).eval()
    images = torch.randn(2, 3, *SIZE)
    logits = model(images)
    maps = network[1](network[0](images))
    assert torch.equal(model[1].part_mask.feature_maps, maps)
    (logits.sum() + filter_loss(model, torch.tensor([0, 1]))).backward()
    with torch.no_grad():
        assert torch.equal(remove_masks(model)(images), network(images))


def test_the_original_head_needs_a_network_that_gives_logits() -> None:
    class WithExtras(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 8, 3), nn.ReLU()

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"logits": self.relu(self.conv(images)).mean(dim=(2, 3))}

    with pytest.raises(ConfigError, match=r"logits \[image, class\], got dict"):
        convert(WithExtras(), "relu", num_classes=8, head="original", input_size=SIZE)
    assert convert(WithExtras(), "relu", num_classes=2, input_size=SIZE)(torch.randn(2, 3, *SIZE)).shape == (2, 2)


def test_a_size_that_the_network_does_not_take_is_told_with_its_reason() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 5))
    with pytest.raises(LayerError, match=r"input_size: .* 48×64 pixels .*mat1 and mat2"):
        convert(network, num_classes=2, input_size=SIZE)


def test_a_traced_convolution_of_its_own_class_still_tells_the_pictures_channels() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.conv2d(images, self.weight - self.weight.mean(), self.bias, self.stride, self.padding)

    network = classified(Standardised(1, 8, 3, padding=1), nn.Conv2d(8, 16, 1), nn.ReLU(), num_channels=16)
    model = convert(network, "2", num_classes=2, input_size=SIZE)
    assert receptive_field(model, "part_layers.0.mask", SIZE).map_size == SIZE


def test_fields_traced_together_are_those_traced_alone() -> None:
    network = torchvision.models.resnet18(num_classes=5).eval()
    layers = [shape.name for shape in candidate_layers(layer_shapes(network, SIZE))]
    fields = traced_fields(network, layers, SIZE)
    assert list(fields) == layers
    assert all(fields[layer] == receptive_field(network, layer, SIZE) for layer in ("conv1", "layer1", "layer3.1"))


def test_candidates_are_blocks_and_not_what_blocks_are_made_of() -> None:
    network = torchvision.models.mobilenet_v2(num_classes=5)
    names = [shape.name for shape in candidate_layers(layer_shapes(network, (96, 96)))]
    assert names[-3:] == ["features.18.1", "features.18.2", "features.18"] or names[-1] == "features"
    assert "features.13" in names
    assert not [name for name in names if ".conv." in name]


def test_a_field_traced_to_channels_last_has_its_rows_and_columns() -> None:
    field = receptive_field(Turned(), "norm", SIZE)
    assert (field.map_size, field.method) == ((12, 16), "traced")


def test_unused_names_do_not_hide_the_order_of_the_forward_pass() -> None:
    network = nn.Sequential(OrderedDict(b=nn.Conv2d(3, 4, 1), a=nn.ReLU(), flat=nn.Flatten()))
    assert list(named(network)) == ["b", "a"]
