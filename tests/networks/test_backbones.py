import json
import logging
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, WeightsError
from partcnn.networks.backbones import Backbone, build_network, load_backbone
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.identification import identify_network
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.tensorflow_padding import TensorFlowConv2d

# Animal-Part category -> name of the one ImageNet class that it is
_CLASSES = {"zebra": "zebra", "red panda": "lesser panda", "giant panda": "giant panda", "lion": "lion"}
_IMAGES_PER_CLASS = 3


@pytest.fixture
def demo_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the weights of a DemoNet, some changed or left out, and returns the path."""

    def write(
        changes: dict[str, Tensor] | None = None,
        without: str = "\0",
        metadata: dict[str, str] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Path:
        torch.manual_seed(0)
        tensors = {name: tensor for name, tensor in DemoNet().state_dict().items() if without not in name}
        tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
        save_file(tensors | (changes or {}), tmp_path / "demo.safetensors", metadata)
        return tmp_path / "demo.safetensors"

    return write


def test_the_demo_network_gives_14_cells_of_64_filters_at_112_pixels() -> None:
    backbone = load_backbone("demo")
    assert backbone.preprocessing.input_size == (112, 112)
    maps = backbone.network.get_submodule("features")(torch.zeros(1, 3, 112, 112))
    assert maps.shape == (1, 64, 14, 14)


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "inception_v3", "mobilenet_v3_small"])
def test_a_torchvision_network_comes_with_its_librarys_input_recipe(name: str) -> None:
    backbone = load_backbone(name)
    side = 299 if name == "inception_v3" else 224
    assert backbone.preprocessing == Preprocessing((side, side), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert not backbone.network.training
    assert backbone.missing_layers == ()


def test_inception_answers_with_one_tensor_in_training_too() -> None:
    with torch.no_grad():
        assert load_backbone("inception_v3").network.train()(torch.randn(2, 3, 96, 96)).shape == (2, 1000)


def test_a_timm_network_comes_with_its_librarys_input_recipe() -> None:
    pytest.importorskip("timm")
    backbone = load_backbone("timm:test_resnet")
    height, width = backbone.preprocessing.input_size
    assert backbone.network(torch.zeros(1, 3, height, width)).shape == (1, 1000)
    assert (height, width) == (160, 160)


def test_timm_names_without_timm_say_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"partcnn\[timm\]"):
        load_backbone("timm:resnet18")


@pytest.mark.parametrize(("name", "close"), [("resnet-18", "resnet18"), ("dmo", "demo"), ("RESNET-50", "resnet50")])
def test_an_unknown_name_is_answered_with_close_ones(name: str, close: str) -> None:
    with pytest.raises(ConfigError, match=close):
        load_backbone(name)


def test_default_weights_that_cannot_be_downloaded_point_to_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(WeightsError, match=r"no route to host.*--weights PATH") as caught:
        load_backbone("squeezenet1_1", "default")
    assert "\n" not in str(caught.value)


def test_the_demo_network_has_no_default_weights() -> None:
    with pytest.raises(WeightsError, match="no pretrained weights"):
        load_backbone("demo", "default")


@pytest.mark.parametrize("wrapper", ["plain", "state_dict", "data-parallel"])
def test_a_pth_file_gives_every_weight(tmp_path: Path, wrapper: str) -> None:
    state = DemoNet().state_dict()
    content = {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "data-parallel": {f"module.{name}": tensor for name, tensor in state.items()},
    }[wrapper]
    torch.save(content, tmp_path / "w.pth")
    backbone = load_backbone("demo", tmp_path / "w.pth")
    assert backbone.missing_layers == ()
    for name, tensor in backbone.network.state_dict().items():
        assert torch.equal(tensor, state[name])


class _Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"classifier.weight": _Trap(tmp_path / "sprung")}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="cannot be read as plain weights"):
        load_backbone("demo", tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["absent.safetensors", "notes.txt", "broken.safetensors"])
def test_a_file_that_cannot_be_weights_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"not at all")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(WeightsError, match=name) as caught:
        load_backbone("demo", tmp_path / name)
    assert "\n" not in str(caught.value)


def test_half_precision_is_loaded_as_float32(demo_file: Callable[..., Path]) -> None:
    network = load_backbone("demo", demo_file(dtype=torch.float16)).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_tensor_without_a_place_is_named(demo_file: Callable[..., Path]) -> None:
    with pytest.raises(WeightsError, match=r"features\.block9\.conv\.weight"):
        load_backbone("demo", demo_file({"features.block9.conv.weight": torch.zeros(1)}))


def test_a_shape_that_does_not_fit_is_given_beside_the_expected_one(demo_file: Callable[..., Path]) -> None:
    with pytest.raises(WeightsError, match=r"block1\.conv\.weight has \[16, 3, 5, 5\], expected \[16, 3, 3, 3\]"):
        load_backbone("demo", demo_file({"features.block1.conv.weight": torch.zeros(16, 3, 5, 5)}))


@pytest.mark.parametrize(
    ("without", "missing"),
    [
        ("classifier", ("classifier",)),
        ("block4", ("features.block4",)),
        ("block4.conv", ("features.block4.conv",)),
        ("block2.norm.running_mean", ("features.block2.norm",)),
        ("num_batches_tracked", ()),
    ],
)
def test_layers_that_the_file_lacks_are_listed_and_logged(
    demo_file: Callable[..., Path], caplog: pytest.LogCaptureFixture, without: str, missing: tuple[str, ...]
) -> None:
    with caplog.at_level(logging.WARNING, "partcnn"):
        assert load_backbone("demo", demo_file(without=without)).missing_layers == missing
    assert all(name in caplog.text for name in missing)
    assert bool(missing) == bool(caplog.records)


def test_a_classifier_of_other_classes_is_left_out(demo_file: Callable[..., Path]) -> None:
    other = {"classifier.weight": torch.zeros(7, 64), "classifier.bias": torch.zeros(7)}
    backbone = load_backbone("demo", demo_file(other))
    assert backbone.missing_layers == ("classifier",)
    assert backbone.network.get_submodule("classifier").weight.shape == (1000, 64)


def test_metadata_sets_padding_and_scaling(demo_file: Callable[..., Path]) -> None:
    path = demo_file(metadata={"preprocess": "RGB/127.5-1; stride-2 convs use TF SAME padding"})
    backbone = load_backbone("demo", path)
    assert backbone.padding == "tensorflow"
    assert backbone.preprocessing == Preprocessing((112, 112), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert isinstance(backbone.network.get_submodule("features.block1.conv"), TensorFlowConv2d)
    assert type(backbone.network.get_submodule("features.block4.conv")) is nn.Conv2d  # stride 1


def test_metadata_with_mean_and_std_is_read(demo_file: Callable[..., Path]) -> None:
    path = demo_file(metadata={"preprocess": "RGB/255, mean=.1,.2,.3 std=.4,.5,.6", "padding": "torch"})
    backbone = load_backbone("demo", path)
    assert (backbone.preprocessing.mean, backbone.preprocessing.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert backbone.padding == "torch"


def test_the_padding_entry_wins_over_the_text(demo_file: Callable[..., Path]) -> None:
    path = demo_file(metadata={"preprocess": "RGB/127.5-1; TF SAME padding", "padding": "torch"})
    assert load_backbone("demo", path).padding == "torch"


def test_arguments_win_over_metadata(demo_file: Callable[..., Path]) -> None:
    path = demo_file(metadata={"preprocess": "RGB/127.5-1; TF SAME padding"})
    own = Preprocessing((96, 128))
    backbone = load_backbone("demo", path, padding="torch", preprocessing=own)
    assert (backbone.padding, backbone.preprocessing) == ("torch", own)


def test_unreadable_metadata_is_logged_and_changes_nothing(
    demo_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    backbone = load_backbone("demo", demo_file(metadata={"preprocess": "as in the paper"}))
    assert backbone.preprocessing == load_backbone("demo").preprocessing
    assert "as in the paper" in caplog.text


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (10, 7)], ids=str)
def test_tensorflow_padding_puts_the_odd_pixel_right_and_below(size: tuple[int, int]) -> None:
    conv = TensorFlowConv2d.like(nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False))
    nn.init.ones_(conv.weight)
    rows, cols = (torch.arange(side) for side in size)
    image = (rows[:, None] * 100 + cols)[None, None].float()
    out = conv(image)
    assert out.shape[2:] == (-(-size[0] // 2), -(-size[1] // 2))
    # An even side needs one pixel of padding, after the last; an odd one gets one before and one after.
    top, left = size[0] % 2, size[1] % 2
    assert out[0, 0, 0, 0] == image[0, 0, : 3 - top, : 3 - left].sum()


def test_a_kernel_below_its_stride_is_not_padded_and_crops_nothing() -> None:
    conv = TensorFlowConv2d.like(nn.Conv2d(1, 1, 2, stride=4, padding=1))
    image = torch.randn(1, 1, 8, 8)
    assert torch.equal(conv(image), nn.functional.conv2d(image, conv.weight, conv.bias, stride=4))


def test_unpadded_convolutions_are_the_same_in_tensorflow() -> None:
    assert type(load_backbone("squeezenet1_1", padding="tensorflow").network.features[0]) is nn.Conv2d


def test_a_picture_is_stretched_scaled_and_normalised() -> None:
    picture = Image.new("L", (10, 40), 255)
    out = Preprocessing((8, 6), (0.5, 0.4, 0.2), (0.5, 0.3, 0.1))(picture)
    assert out.shape == (3, 8, 6)
    assert torch.allclose(out[:, 3, 3], torch.tensor([1.0, 2.0, 8.0]))


@pytest.mark.parametrize("padding", ["torch", "tensorflow"])
def test_the_network_can_be_rebuilt_from_its_spec_through_json(padding: str) -> None:
    network = load_backbone("demo", padding=padding, num_classes=7).network
    twin = build_network(json.loads(json.dumps(identify_network(network))))
    twin.load_state_dict(network.state_dict())
    image = torch.randn(1, 3, 96, 128)
    assert torch.equal(twin(image), network(image))


@pytest.mark.parametrize(
    "spec",
    [{}, {"name": "demo", "padding": "valid"}, {"name": "nothing"}],
    ids=["no name", "padding", "name"],
)
def test_a_wrong_spec_raises(spec: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        build_network(spec)


def test_the_last_layers_absent_from_the_resnet_file_are_reported(shared: Path) -> None:
    backbone = load_backbone("resnet18", shared / "weights/resnet18_to_layer3.safetensors")
    assert backbone.missing_layers == ("layer4", "fc")


@pytest.fixture(scope="module")
def animals(shared: Path) -> list[tuple[Image.Image, int]]:
    """Three crops of four categories, each with its ImageNet class."""
    names = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"]
    folder = shared / "data/animalpart"
    rows = [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]
    chosen = []
    for category, name in _CLASSES.items():
        paths = [folder / row["image"] for row in rows if row["category"] == category][:_IMAGES_PER_CLASS]
        chosen += [(Image.open(path), names.index(name)) for path in paths]
    return chosen


def _hits(backbone: Backbone, animals: list[tuple[Image.Image, int]]) -> tuple[float, float]:
    """Share of pictures whose class comes first, and the mean probability of the true class."""
    labels = torch.tensor([label for _, label in animals])
    with torch.no_grad():
        logits = backbone.network(torch.stack([backbone.preprocessing(picture) for picture, _ in animals]))
    probability = logits.softmax(1).gather(1, labels[:, None]).mean()
    return float((logits.argmax(1) == labels).float().mean()), float(probability)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_real_weights_recognise_real_animals(shared: Path, animals: list[tuple[Image.Image, int]], name: str) -> None:
    accuracy, _ = _hits(load_backbone(name, shared / f"weights/{name}.safetensors"), animals)
    assert accuracy >= 0.8


@pytest.mark.parametrize(
    ("wrong", "loss"),
    [({"padding": "torch"}, 0.02), ({"preprocessing": Preprocessing()}, 0.1)],
    ids=["padding", "scaling"],
)
def test_what_mobilenets_metadata_asks_for_beats_the_usual_recipe(
    shared: Path, animals: list[tuple[Image.Image, int]], wrong: dict[str, object], loss: float
) -> None:
    path = shared / "weights/mobilenet_v2.safetensors"
    _, right = _hits(load_backbone("mobilenet_v2", path), animals)
    assert _hits(load_backbone("mobilenet_v2", path, **wrong), animals)[1] < right - loss
