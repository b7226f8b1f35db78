import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.foundation.errors import LayerError, ShapeError
from partcnn.model.mask import PartMask
from partcnn.networks.probing.receptive_field import ReceptiveField, receptive_field
from partcnn.networks.tensorflow_padding import with_padding
from tests.reference.perturbed_pixels import seen_range


class Opaque(nn.Module):
    """The identity, by a road that tracing does not know."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.flatten(2).unflatten(2, maps.shape[2:])


class Residual(nn.Module):
    """Joins branches of different depth by adding, or side by side."""

    def __init__(self, *branches: nn.Module, cat: bool = False) -> None:
        super().__init__()
        self.branches, self.cat = nn.ModuleList(branches), cat

    def forward(self, maps: Tensor) -> Tensor:
        outputs = [branch(maps) for branch in self.branches]
        return torch.cat(outputs, dim=1) if self.cat else sum(outputs[1:], outputs[0])


class Gated(nn.Module):
    """A convolution whose map is weighted by squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.squeeze, self.fc = nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return maps * self.fc(self.squeeze(maps)).sigmoid()


class GatedByMean(Gated):
    """The same gate, of flat vectors."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        gate = F.linear(maps.mean(dim=(2, 3)), self.fc.weight.flatten(1))
        return maps * gate.sigmoid()[:, :, None, None]


class Windowed(nn.Module):
    """A convolution whose map is multiplied by a window drawn at its size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        window = torch.zeros_like(maps)
        window[:, :, 1:-1, 1:-1] = 1
        return maps * window


class ChannelsLast(nn.Module):
    """A block in the manner of ConvNeXt: normalised and mixed with the channels in the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.mix = nn.Conv2d(3, 4, 5, stride=2), nn.LayerNorm(4), nn.Linear(4, 6)

    def forward(self, images: Tensor) -> Tensor:
        return F.gelu(self.mix(self.norm(self.conv(images).permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


class PartlyOverwritten(nn.Module):
    """Writes a wider view into some channels of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(2, 2, 5, padding=2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images).clone()
        maps[:, :2] = self.second(maps[:, :2].clone())
        return maps


def _small_networks() -> Iterator[tuple[str, nn.Module]]:
    yield "tall kernels", nn.Sequential(nn.Conv2d(3, 4, (5, 2), padding=(1, 0)), nn.ReLU(), nn.Conv2d(4, 4, (1, 3)))
    yield "strides", nn.Sequential(nn.Conv2d(3, 4, 3, stride=(2, 3)), nn.Conv2d(4, 4, 3, padding=1))
    yield "dilation", nn.Sequential(nn.Conv2d(3, 4, 3, dilation=(2, 3), padding=2), nn.Conv2d(4, 4, 3, stride=2))
    yield "pools", nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(3, 4, 3), nn.AvgPool2d((2, 1)))
    yield "one-sided padding", nn.Sequential(nn.ZeroPad2d((1, 2, 3, 0)), nn.Conv2d(3, 4, 4, stride=2))
    yield "sum", nn.Sequential(Residual(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, (3, 5), padding=(1, 2))), nn.MaxPool2d(2))
    uneven = Residual(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ZeroPad2d((0, -2, -2, 0)), nn.Conv2d(3, 4, 1)), cat=True)
    yield "cat", nn.Sequential(uneven, nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, stride=2), nn.Dropout())
    yield "shuffle", nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ChannelShuffle(2), nn.Conv2d(4, 4, 3, groups=2))
    padded = (nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1))
    yield "cropped", nn.Sequential(nn.ZeroPad2d(-2), *padded)
    yield "adaptive pool", nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d((12, 11)))
    yield "response norm", nn.Sequential(nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(2), nn.MaxPool2d(3, 2))


SMALL_NETWORKS = dict(_small_networks())
INPUT_SIZE = (36, 44)


@pytest.mark.parametrize("method", ["traced", "gradient"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_the_field_is_what_changes_a_cell(name: str, method: str) -> None:
    network = nn.Sequential(copy.deepcopy(SMALL_NETWORKS[name]), Opaque() if method == "gradient" else nn.Identity())
    field = receptive_field(network, "1", INPUT_SIZE)
    assert field.method == method
    for cell in ((3, 5), (7, 4)):
        (top, bottom), (left, right) = seen_range(network, cell, INPUT_SIZE)
        assert field.boxes_px(torch.tensor(cell)).tolist() == [left, top, right + 1, bottom + 1]


@pytest.mark.parametrize(
    ("name", "layer", "size", "stride", "first_center", "map_size"),
    [
        ("vgg16", "features.29", 196, 16, 7.5, 14),
        ("vgg16", "features.30", 212, 32, 15.5, 7),
        ("alexnet", "features.11", 163, 16, 15, 13),
        ("alexnet", "features.12", 195, 32, 31, 6),
        ("resnet18", "layer3", 211, 16, 0, 14),
        ("squeezenet1_1", "features.12", 207, 16, 15, 13),
        ("densenet121", "features", 2071, 32, 14, 7),
        ("mobilenet_v2", "features", 491, 32, 0, 7),
        ("mobilenet_v3_small", "features.3", 31, 8, 0, 28),
        ("shufflenet_v2_x0_5", "stage2", 63, 8, 0, 28),
    ],
)
def test_known_networks(name: str, layer: str, size: int, stride: int, first_center: float, map_size: int) -> None:
    # Sizes of VGG-16 and AlexNet: Araujo, Norris & Sim (2019), Table 1; the others added up by hand.
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    network = network.to_empty(device="cpu")  # weights do not matter, and drawing them takes seconds
    field = receptive_field(network, layer)
    assert (field.size_px, field.stride_px) == ((size, size), (stride, stride))
    assert field.first_center_px == (first_center, first_center)
    assert (field.map_size, field.method) == ((map_size, map_size), "traced")


def test_a_new_3x3_layer_on_vgg16_keeps_stride_and_first_centre() -> None:
    with torch.device("meta"):
        trunk = torchvision.models.vgg16(weights=None).features[:30]
    network = nn.Sequential(trunk.to_empty(device="cpu"), nn.Conv2d(512, 8, 3, padding=1))
    field = receptive_field(network, "1")
    assert (field.size_px[0], field.stride_px[0], field.first_center_px[0]) == (228, 16, 7.5)


def test_the_classic_alexnet_at_227_pixels_starts_at_pixel_17() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(3, 6, 11, stride=4), nn.ReLU(), nn.MaxPool2d(3, 2), nn.LocalResponseNorm(5)),
        *(nn.Conv2d(6, 6, 5, padding=2, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(6, 6, 3, padding=1) for _ in range(3)),
    )
    field = receptive_field(network, "9", (227, 227))
    assert (field.size_px, field.first_center_px, field.map_size) == ((163, 163), (17, 17), (13, 13))


def test_tensorflow_padding_moves_each_stride_2_convolution_by_a_pixel_of_its_map() -> None:
    network = with_padding(torchvision.models.mobilenet_v2(weights=None, width_mult=0.25), "tensorflow")
    assert receptive_field(network, "features", (96, 96)).first_center_px == (31, 31)  # 1 + 2 + 4 + 8 + 16


def test_gates_that_are_the_same_in_every_cell_are_left_aside() -> None:
    for network, method in (
        (Gated(), "traced"),
        (GatedByMean(), "traced"),
        (nn.Sequential(Gated(), Opaque()), "gradient"),
        (nn.Sequential(GatedByMean(), Opaque()), "gradient"),
    ):
        field = receptive_field(network, "", (32, 32))
        assert (field.size_px, field.stride_px, field.first_center_px) == ((3, 3), (2, 2), (0, 0))
        assert field.method == method


def test_a_window_of_constants_does_not_stop_the_tracing() -> None:
    field = receptive_field(Windowed(), "", (20, 20))
    assert (field.size_px, field.method) == ((3, 3), "traced")


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_part_mask_does_not_hide_a_field_from_the_gradient(is_signed: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Opaque(), PartMask(4, 2, is_signed=is_signed))
    field = receptive_field(network, "2", (24, 24))
    assert (field.size_px, field.stride_px, field.method) == ((3, 3), (1, 1), "gradient")


@pytest.mark.parametrize(("dim", "width"), [(1, 3), (3, 20)], ids=["over channels", "along rows"])
def test_softmax_keeps_the_field_over_channels_and_widens_it_along_rows(dim: int, width: int) -> None:
    field = receptive_field(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(dim)), "1", (20, 20))
    assert field.size_px[1] == width


def test_uneven_tiles_of_adaptive_pooling_are_fitted() -> None:
    field = receptive_field(nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(12)), "1", (30, 30))
    assert field.method == "gradient"
    assert field.stride_px[0] == pytest.approx(30 / 12, abs=0.1)
    assert field.size_px[0] == pytest.approx(3, abs=0.5)


def test_units_that_are_silent_do_not_hide_a_field_from_the_gradient() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), Opaque())
    network[1].running_mean.fill_(100.0)
    field = receptive_field(network, "4", (20, 20))
    assert (field.size_px, field.method) == ((5, 5), "gradient")


def test_the_output_is_taken_before_hooks_change_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    network[0].register_forward_hook(lambda module, inputs, output: output.mean(dim=(2, 3)))
    assert receptive_field(network, "0", (20, 20)).map_size == (18, 18)


def test_channels_last_blocks_are_traced() -> None:
    field = receptive_field(ChannelsLast(), "", (33, 40))
    assert (field.size_px, field.stride_px, field.first_center_px) == ((5, 5), (2, 2), (2, 2))
    assert (field.map_size, field.method) == ((15, 18), "traced")


def test_a_map_that_is_written_into_is_measured_and_not_traced() -> None:
    field = receptive_field(PartlyOverwritten(), "", (32, 32))
    assert (field.size_px, field.method) == ((7, 7), "gradient")


@pytest.mark.parametrize("opaque", [False, True], ids=["traced", "gradient"])
def test_global_pooling_sees_the_whole_picture(opaque: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Opaque() if opaque else nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    field = receptive_field(network, "2", (30, 40))
    assert (field.size_px, field.map_size, field.first_center_px) == ((30, 40), (1, 1), (14.5, 19.5))
    assert field.boxes_px(torch.tensor([0, 0])).tolist() == [0, 0, 40, 30]


def test_a_field_larger_than_the_picture_is_measured_on_a_larger_one() -> None:
    convs = [nn.Conv2d(3 if i == 0 else 2, 2, 7, stride=2 if i < 2 else 1, padding=3) for i in range(5)]
    network = nn.Sequential(*convs, Opaque())
    field = receptive_field(network, "5", (48, 64))
    assert field.method == "gradient"
    assert (field.size_px, field.stride_px, field.first_center_px) == ((91, 91), (4, 4), (0, 0))
    assert field == replace(receptive_field(network, "4", (48, 64)), method="gradient")


def test_a_module_that_runs_twice_counts_with_its_last_run() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(self.conv(images))

    assert receptive_field(Twice(), "conv", (16, 16)).size_px == (5, 5)


def test_a_hook_that_picks_by_the_peak_does_not_widen_the_field() -> None:
    def keep_peak_row(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        peak = output.amax(dim=3).argmax(dim=2)
        return output * F.one_hot(peak, output.shape[2])[..., None]

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    network[0].register_forward_hook(keep_peak_row)
    assert receptive_field(network, "1", (20, 20)).size_px == (5, 5)


@pytest.mark.parametrize("last", [nn.Identity(), Opaque()], ids=["traced", "gradient"])
def test_the_network_is_left_as_it_was(last: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), last).train()
    network[1].eval()
    network[0].register_forward_hook(lambda module, inputs, output: setattr(module, "seen", output))
    network[0].seen = None
    before = copy.deepcopy(network.state_dict())
    receptive_field(network, "2", (20, 20))
    assert [module.training for module in network] == [True, False, True]
    assert network[0].seen is None
    assert [len(module._forward_hooks) for module in network] == [1, 0, 0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("opaque", [False, True], ids=["traced", "gradient"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_works_inside_inference_mode_and_in_half_precision(dtype: torch.dtype, opaque: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Opaque() if opaque else nn.ReLU()).to(dtype)
    with torch.inference_mode():
        assert receptive_field(network, "1", (20, 20)).size_px == (3, 3)


def test_an_unknown_layer_is_answered_with_close_ones() -> None:
    with pytest.raises(LayerError, match=r"'features\.31'.*features\.3"):
        receptive_field(torchvision.models.squeezenet1_1(weights=None), "features.31")


def test_a_layer_without_a_map_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(LayerError, match=r"'1' to give maps \[image, filter, row, col\], got \[1, 1296\]"):
        receptive_field(network, "1", (20, 20))


def test_a_layer_that_never_runs_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    network[0].spare = nn.ReLU()
    with pytest.raises(LayerError, match="does not run"):
        receptive_field(network, "0.spare", (20, 20))


def test_a_picture_too_small_for_the_network_is_refused_with_its_reason() -> None:
    with pytest.raises(LayerError, match=r"2 × 9 pixels: .*Kernel size"):
        receptive_field(nn.Sequential(nn.Conv2d(3, 4, 3)), "0", (2, 9))


@pytest.fixture
def field() -> ReceptiveField:
    """Cells of a 3 × 4 map, 10 px down and 8 px across; cell (0, 0) is centred on the pixel (2, 4)."""
    return ReceptiveField((6, 5), (10, 8), (2.0, 4.0), (3, 4), (25, 33), "traced")


def test_centres_are_x_y_at_the_middle_of_a_pixel(field: ReceptiveField) -> None:
    cells = torch.tensor([[0, 0], [2, 3]])
    assert field.centers_px(cells).tolist() == [[4.5, 2.5], [28.5, 22.5]]


def test_boxes_have_the_fields_size_and_end_at_the_picture(field: ReceptiveField) -> None:
    cells = torch.tensor([[[0, 0]], [[1, 1]], [[2, 3]]])
    assert field.boxes_px(cells).tolist() == [
        [[2, 0, 7, 5.5]],
        [[10, 9.5, 15, 15.5]],
        [[26, 19.5, 31, 25]],
    ]


def test_the_cell_at_a_cells_centre_is_the_cell(field: ReceptiveField) -> None:
    cells = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    assert torch.equal(field.cells_at(field.centers_px(cells)), cells)


def test_points_belong_to_the_nearest_cell_and_beyond_the_border_to_the_last(field: ReceptiveField) -> None:
    points = torch.tensor([[8.4, 7.4], [8.6, 7.6], [-50.0, 900.0], [900.0, -50.0]])
    assert field.cells_at(points).tolist() == [[0, 0], [1, 1], [2, 0], [0, 3]]


@pytest.mark.parametrize("method", ["centers_px", "boxes_px", "cells_at"])
def test_points_without_two_coordinates_are_refused(field: ReceptiveField, method: str) -> None:
    with pytest.raises(ShapeError, match=r"expected \[\.\.\., 2\], got \[4, 3\]"):
        getattr(field, method)(torch.zeros(4, 3))


def test_an_absent_landmark_has_no_cell(field: ReceptiveField) -> None:
    with pytest.raises(ShapeError, match="absent landmarks"):
        field.cells_at(torch.tensor([1.0, torch.nan]))
