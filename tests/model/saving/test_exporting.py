"""Exported files: what runs them gives what the network gives, at any number of images, and knows how to be fed."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

from partcnn.app.cli.commands import main
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.model.conversion import convert
from partcnn.model.losses import filter_loss
from partcnn.model.mask import part_masks
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import save
from partcnn.model.saving.exporting import METADATA_KEY, export, onnx_differences, output_names
from partcnn.networks.demo_net import DemoNet

SIZE = (64, 80)  # not square, and 8 × 10 cells that a grid of 7 does not divide


def converted(network: nn.Module, layer: str, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    model = convert(network, layer, num_classes=3, input_size=SIZE, **settings)
    for value in model.parameters():
        nn.init.normal_(value, std=0.2)
    return model.eval()


@pytest.fixture(scope="module")
def demo_model() -> nn.Module:
    model = converted(DemoNet(), "features.block3", filters=6)
    conversion_of(model).classes = ["cat", "çow", "dog"]
    return model


@pytest.fixture(scope="module")
def demo_file(demo_model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(demo_model, tmp_path_factory.mktemp("export") / "new" / "model.onnx", parts=True)


@pytest.mark.parametrize("num_images", [1, 3, 7])
def test_onnxruntime_gives_what_the_network_gives_at_any_number_of_images(
    demo_model: nn.Module, demo_file: Path, num_images: int, generator: torch.Generator
) -> None:
    images = torch.randn(num_images, 3, *SIZE, generator=generator)
    differences = onnx_differences(demo_model, demo_file, images)
    assert list(differences) == ["logits", "masked_feature_maps", "peaks", "contributions", "surroundings"]
    assert max(differences.values()) < 1e-4
    assert differences["peaks"] == 0


@pytest.mark.parametrize(
    ("build", "layer", "settings"),
    [
        (lambda: torchvision.models.resnet18(num_classes=3), "layer2", {"objective": "official", "new_layers": 2}),
        (lambda: torchvision.models.squeezenet1_1(num_classes=3), "features.7", {"head": "original"}),
        (
            lambda: torchvision.models.densenet121(num_classes=3),
            "features.transition2",
            {"masks": False, "places": "expected"},
        ),
    ],
    ids=["learned slopes, two layers", "original head", "expected places"],
)
def test_other_conversions_agree_too(
    build: Callable[[], nn.Module], layer: str, settings: dict[str, Any], tmp_path: Path, generator: torch.Generator
) -> None:
    torch.manual_seed(0)
    model = convert(build(), layer, num_classes=3, input_size=SIZE, **settings).eval()
    for _, mask in part_masks(model):
        mask.slopes = torch.linspace(2, 6, mask.num_filters) if mask.objective == "official" else None
    path = export(model, tmp_path / "model.onnx", parts=True)
    differences = onnx_differences(model, path, torch.randn(3, 3, *SIZE, generator=generator))
    assert list(differences) == output_names(model, parts=True)
    assert max(differences.values()) < 1e-4


def test_a_wrong_file_is_seen(demo_model: nn.Module, demo_file: Path, generator: torch.Generator) -> None:
    other = converted(DemoNet(), "features.block3", filters=6)
    with torch.no_grad():
        other.head.bias[1] += 0.5
    differences = onnx_differences(other, demo_file, torch.randn(2, 3, *SIZE, generator=generator))
    assert differences["logits"] == pytest.approx(0.5, abs=1e-3)
    assert differences["contributions"] < 1e-4


def test_only_logits_are_given_unless_parts_are_asked_for(demo_model: nn.Module, tmp_path: Path) -> None:
    graph = onnx.load(export(demo_model, tmp_path / "model.onnx")).graph
    assert [output.name for output in graph.output] == ["logits"]
    assert [size.dim_param or size.dim_value for size in graph.input[0].type.tensor_type.shape.dim][1:] == [3, *SIZE]


def test_the_file_alone_explains_a_picture_as_the_package_does(demo_model: nn.Module, demo_file: Path) -> None:
    """What a user without partcnn does: numpy, Pillow, and what the file says about itself."""
    picture = draw_animal("cat", 3, size=96).image
    metadata = json.loads(onnx.load(demo_file).metadata_props[0].value)
    height, width = metadata["preprocessing"]["input_size"]
    pixels = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)) / 255
    pixels = (pixels - metadata["preprocessing"]["mean"]) / metadata["preprocessing"]["std"]
    session = onnxruntime.InferenceSession(demo_file)
    outputs = session.run(None, {"images": pixels.transpose(2, 0, 1)[None].astype("float32")})
    logits, _, peaks, contributions, surroundings = outputs
    label = metadata["classes"].index("çow")
    total = metadata["bias"][label] + surroundings[0, label] + contributions[0, label].sum()
    assert logits[0, label] == pytest.approx(total, abs=1e-4)

    why = explain(demo_model, picture, "çow")
    cells = metadata["cells"]
    for one in why.contributions:
        assert contributions[0, label, one.filter] == pytest.approx(one.value, abs=0.02 * abs(why.logit))  # resizing
        if one.score > 0:
            row_col = np.array(cells["first_center_px"]) + 0.5 + peaks[0, one.filter] * cells["stride_px"]
            y, x = row_col * [picture.height / height, picture.width / width]
            assert (x, y) == pytest.approx(one.position_px, abs=1e-3)


@pytest.mark.parametrize("head", ["additive", "original"])
def test_a_program_of_torch_export_gives_the_same_and_carries_the_metadata(
    head: str, tmp_path: Path, generator: torch.Generator
) -> None:
    model = converted(DemoNet(num_classes=3), "features.block3", head=head)
    extra = {METADATA_KEY: ""}
    program = torch.export.load(export(model, tmp_path / "model.pt2", parts=True), extra_files=extra)
    images = torch.randn(3, 3, *SIZE, generator=generator)
    for count in (1, 3):
        outputs = program.module()(images[:count])
        assert len(outputs) == len(output_names(model, parts=True))
        torch.testing.assert_close(outputs[0], model(images[:count]), atol=1e-5, rtol=0)
    assert json.loads(extra[METADATA_KEY])["classes"] == ["0", "1", "2"]


def test_the_model_stays_as_it_was(tmp_path: Path, generator: torch.Generator) -> None:
    model = converted(DemoNet(), "features.block3").double().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    export(model, tmp_path / "model.pt2", parts=True)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model(torch.randn(2, 3, *SIZE, generator=generator).double())
    assert filter_loss(model, torch.tensor([0, 1])).isfinite()  # its masks still record


class CountsImages(nn.Module):
    """A network that no exporter can follow with a free number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.conv(images))
        return maps * float(maps.sum() > 0) if images.shape[0] > 1 else maps


def test_a_network_that_cannot_be_followed_is_refused_with_the_reason(tmp_path: Path) -> None:
    model = converted(CountsImages(), "conv")
    model.trunk = CountsImages()
    with pytest.raises(LayerError, match=r"torch-export cannot be made of this network \(.+\)"):
        export(model, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_told(demo_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="format: expected one of onnx, torch-export"):
        export(demo_model, tmp_path / "model", format="torchscript")
    with pytest.raises(ConfigError, match="got the directory"):
        export(demo_model, tmp_path)
    with pytest.raises(LayerError, match=r"made by partcnn\.convert"):
        export(DemoNet(), tmp_path / "model.onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'partcnn\[onnx\]'"):
        export(demo_model, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "settings",
    [{"objective": "competing"}, {"objective": "labelled"}, {"objective": "labelled", "masks": False}],
    ids=["competing", "masks", "plain"],
)
@pytest.mark.parametrize("is_training", [True, False], ids=["training", "evaluation"])
def test_the_forward_pass_compiles_without_a_graph_break(
    settings: dict[str, Any], is_training: bool, generator: torch.Generator
) -> None:
    model = converted(DemoNet(), "features.block3", dropout=0.0, erasing=0.0, **settings).train(is_training)
    images, labels = torch.randn(4, 3, *SIZE, generator=generator), torch.tensor([0, 1, 2, 0])
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # fullgraph raises at a break
    expected, expected_loss = model(images), filter_loss(model, labels)
    torch.testing.assert_close(compiled(images), expected)
    torch.testing.assert_close(filter_loss(compiled, labels), expected_loss, rtol=1e-3, atol=1e-5)


def test_the_original_head_compiles_without_a_graph_break(generator: torch.Generator) -> None:
    model = converted(DemoNet(num_classes=3), "features.block3", head="original")
    images = torch.randn(2, 3, *SIZE, generator=generator)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(images), model(images))


def test_the_command_line_exports_what_was_saved(
    demo_model: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str], generator: torch.Generator
) -> None:
    run = save(demo_model, tmp_path / "run")
    out = tmp_path / "model.onnx"
    assert main(["export", str(run), "--out", str(out), "--parts"]) == 0
    assert "onnxruntime gives the same" in capsys.readouterr().out
    assert max(onnx_differences(demo_model, out, torch.randn(2, 3, *SIZE, generator=generator)).values()) < 1e-4
    assert main(["export", str(run), "--out", str(out), "--format", "coreml"]) == 2
    assert "format: expected one of" in capsys.readouterr().err
