"""Networks that are not RGB in, logits out: other channels, other outputs, and what cannot be taken."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from partcnn.datasets import PartDataset, load_dataset
from partcnn.evaluation.measurement import evaluate
from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError, PartCNNError, ShapeError
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import load, save
from partcnn.model.saving.exporting import export, file_metadata
from partcnn.model.saving.hub import from_pretrained
from partcnn.networks.preprocessing import Preprocessing
from partcnn.reporting import report
from partcnn.training.fitting import fit
from partcnn.training.recipe import Recipe
from partcnn.training.views import PictureViews

SIZE = (48, 64)


class Net(nn.Module):
    """Pictures of `channels` channels; what is done with the deepest map is free."""

    def __init__(self, channels: int = 3, output: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.classifier, self.output = nn.Linear(12, 2), output

    def forward(self, images: Tensor) -> Any:
        maps = self.body(images)
        return self.classifier(maps.mean(dim=(2, 3))) if self.output is None else self.output(maps)


class HeadFirst(nn.Module):
    """Its first convolution, as it is registered, is not the one that runs first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.auxiliary, self.net = nn.Conv2d(12, 5, 1), Net(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)  # type: ignore[no-any-return]


class Folding(HeadFirst):
    """Takes pictures in colour, and its first convolution 12 channels of them."""

    def __init__(self) -> None:
        super().__init__(12)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(F.pixel_unshuffle(images, 2))  # type: ignore[no-any-return]


def small(network: nn.Module, layer: str = "body.3", **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return convert(network, layer, num_classes=2, input_size=SIZE, **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir()
        for number in range(8):
            noise = np.random.default_rng(number).integers(0, 128, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(noise + np.uint8(label * 100)).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
@pytest.mark.parametrize("head", ["additive", "original"])
def test_a_network_of_any_number_of_channels_is_taken_saved_and_explained(
    channels: int, head: str, tmp_path: Path
) -> None:
    model, images = small(Net(channels), head=head).eval(), torch.randn(2, channels, *SIZE)
    assert conversion_of(model).preprocessing.channels == channels
    loaded = load(save(model, tmp_path), model=Net(channels))
    assert conversion_of(loaded).preprocessing == conversion_of(model).preprocessing
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images))
    assert explain(loaded, images[0]).image_size == SIZE
    with pytest.raises(ShapeError, match=rf"expected a tensor \[{channels}, H, W\]"):
        explain(model, torch.randn(5, *SIZE))
    assert export(model, tmp_path / "program.pt2").is_file()


def test_a_network_of_one_channel_sees_the_grey_of_pictures(folder: Path) -> None:
    preprocessing = Preprocessing(SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), channels=1)
    grey = preprocessing(Image.new("RGB", (9, 9), (255, 0, 51)))
    assert grey.shape == (1, *SIZE)
    expected = (0.2989 * 1 + 0.114 * 0.2 - 0.5 * 0.9999) / (0.25 * 0.9999)
    torch.testing.assert_close(grey, torch.full_like(grey, expected), atol=1e-3, rtol=0)
    model = small(Net(1))
    assert explain(model, folder / "dark" / "0.png").image_size == (40, 50)
    assert file_metadata(model)["preprocessing"]["pixels"].startswith("grey of RGB / 255")
    fit(model, load_dataset(f"folder:{folder}"), Recipe(epochs=1, num_views=1), is_progress_shown=False)
    evaluation = evaluate(model, load_dataset(f"folder:{folder}", split="all"))
    assert 0 <= evaluation.summary["accuracy"] <= 1


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_pictures_are_refused_in_a_sentence_where_a_network_takes_neither_colour_nor_grey(
    channels: int, folder: Path
) -> None:
    model, dataset = small(Net(channels)), load_dataset(f"folder:{folder}")
    for look in (
        lambda: explain(model, folder / "dark" / "0.png"),
        lambda: explain(model, Image.new("L", (9, 9))),
        lambda: fit(model, dataset, Recipe(epochs=1), is_progress_shown=False),
        lambda: evaluate(model, dataset),
        lambda: PictureViews(dataset, conversion_of(model).preprocessing),
    ):
        with pytest.raises(ConfigError, match=f"^preprocessing: pictures are RGB, .* takes {channels} channels"):
            look()


def test_a_directory_that_does_not_tell_channels_is_read_with_those_of_the_network(tmp_path: Path) -> None:
    save(small(Net(1)), tmp_path)
    config = tmp_path / "config.json"
    text = config.read_text()
    assert '"channels": 1' in text
    config.write_text(text.replace(',\n    "channels": 1', ""))
    assert "channels" not in config.read_text()
    assert conversion_of(load(tmp_path, model=Net(1))).preprocessing.channels == 1
    assert "channels" not in Preprocessing().to_spec()


@pytest.mark.parametrize("spec", [{"channels": 0}, {"channels": "3"}, {"channels": [3]}, {"channels": True}], ids=str)
def test_channels_that_are_no_number_are_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="channels: expected a whole number from 1"):
        Preprocessing.from_spec(spec)


@pytest.mark.parametrize(
    ("network", "layer", "channels"),
    [(HeadFirst(1), "net.body.3", 1), (HeadFirst(4), "net.body.3", 4), (Folding(), "net.body.3", 3)],
    ids=["grey", "four channels", "folded pixels"],
)
def test_channels_are_those_that_the_network_takes(network: nn.Module, layer: str, channels: int) -> None:
    model = small(network, layer)
    assert conversion_of(model).preprocessing.channels == channels
    assert explain(model, torch.randn(channels, *SIZE)).is_exact


@pytest.mark.parametrize("argument", ["mean", "std"])
def test_a_mean_of_one_number_is_refused_for_one_channel_too(argument: str) -> None:
    with pytest.raises(ConfigError, match=f"^{argument}: expected three numbers"):
        Preprocessing(SIZE, channels=1, **{argument: (0.5,)})


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "a map": lambda maps: maps,
    "a list of maps": lambda maps: [maps, maps],
    "a tuple": lambda maps: (maps, maps.mean(dim=(2, 3))),
    "a dictionary": lambda maps: {"maps": maps},
    "nothing": lambda maps: None,
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_a_trunk_without_a_head_gives_does_not_matter_below_the_additive_head(name: str, tmp_path: Path) -> None:
    network, images = Net(output=OUTPUTS[name]), torch.randn(2, 3, *SIZE)
    model = small(network, "auto").eval()
    nn.init.normal_(model.head.weight)
    with torch.no_grad():
        torch.testing.assert_close(load(save(model, tmp_path), model=network)(images), model(images))
    with pytest.raises(ConfigError, match=r"needs a network that gives logits.*or take head='additive'"):
        small(network, head="original")


@pytest.mark.parametrize(
    "settings", [{"num_classes": 0}, {"features_only": True}, {"num_classes": 0, "global_pool": ""}]
)
@pytest.mark.filterwarnings("ignore")  # timm's
def test_timms_trunks_are_taken(settings: dict[str, Any], tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'partcnn[timm]'")
    network, images = timm.create_model("test_resnet", **settings), torch.randn(2, 3, 64, 64)
    model = convert(network, num_classes=2, input_size=(64, 64)).eval()
    is_named = conversion_of(model).network is not None
    loaded = load(save(model, tmp_path), model=None if is_named else network)
    with torch.no_grad():
        torch.testing.assert_close(loaded.features(images), model.features(images))


def pruned() -> nn.Module:
    network = Net()
    prune.l1_unstructured(network.body[0], "weight", 0.5)
    network(torch.randn(1, 3, *SIZE))
    return network


def with_attribute(value: Any) -> nn.Module:
    network = Net()
    network.extra = value
    return network


HELD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "pruned": (pruned, r"body\.0\.weight: tensors with a graph"),
    "a tensor with a graph": (lambda: with_attribute(torch.ones(1, requires_grad=True) * 2), "extra: tensors with"),
    "a lock": (lambda: with_attribute(threading.Lock()), "lock"),
}


@pytest.mark.parametrize("name", HELD)
def test_what_cannot_be_copied_names_the_way_out_which_works(name: str, tmp_path: Path) -> None:
    build, reason = HELD[name]
    with pytest.raises(ConfigError, match=rf"^cnn: the network cannot be copied \(.*{reason}.*inplace=True"):
        small(build())
    model = small(build(), inplace=True)
    assert model(torch.randn(1, 3, *SIZE)).shape == (1, 2)
    with pytest.raises(ConfigError, match=r"^model: the network cannot be copied") as caught:
        load(save(small(Net()), tmp_path), model=build())
    assert "inplace" not in str(caught.value)


def test_a_network_that_cannot_be_copied_is_not_exported_in_torchs_words(tmp_path: Path) -> None:
    model = small(Net())
    prune.l1_unstructured(model.head.value, "weight", 0.5)
    model(torch.randn(1, 3, *SIZE))
    with pytest.raises(ConfigError, match=r"^model: the network cannot be copied \(head\.value\.weight: "):
        export(model, tmp_path / "program.pt2")


def scripted() -> Any:
    return torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3)))


NO_PATHS: dict[str, Callable[[nn.Module, PartDataset], Any]] = {
    "path: expected the file to write, got None": lambda model, data: export(model, None),  # type: ignore[arg-type]
    "path: expected the file to write, got 3": lambda model, data: report(model, data, 3),  # type: ignore[arg-type]
    "source: expected a directory": lambda model, data: from_pretrained(None),  # type: ignore[arg-type]
    "spec: expected a text such as 'folder:PATH', got PosixPath": lambda model, data: load_dataset(Path("a")),  # type: ignore[arg-type]
    "recipe: expected a Recipe, .* got a dict": lambda model, data: fit(model, data, {"epochs": 1}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("message", NO_PATHS)
def test_an_argument_of_another_kind_is_named(message: str, folder: Path) -> None:
    with pytest.raises(PartCNNError, match=message):
        NO_PATHS[message](small(Net()), load_dataset(f"folder:{folder}"))


NO_NETWORKS: dict[str, tuple[Callable[[], Any], str]] = {
    "a name": (lambda: "resnet18", r"expected a torch\.nn\.Module, got 'resnet18' \(str\)"),
    "a class": (lambda: Net, r"got the class Net; make one, Net\(\)"),
    "a function": (lambda: torch.relu, "got a builtin_function_or_method"),
    "nothing": (lambda: None, "got None"),
    "a program": (scripted, "a program of TorchScript"),
    "a converted one": (lambda: small(Net()), "one that was converted"),
    "a converted one, wrapped": (lambda: nn.DataParallel(small(Net())), "one that was converted"),
}


@pytest.mark.parametrize("name", NO_NETWORKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_network_is_named(name: str, tmp_path: Path) -> None:
    build, reason = NO_NETWORKS[name]
    with pytest.raises(ConfigError, match=f"^cnn: .*{reason}"):
        convert(build(), "body.3", num_classes=2, input_size=SIZE)
    if name != "nothing":  # None is no network of one's own
        with pytest.raises(ConfigError, match=f"^model: .*{reason}"):
            load(save(small(Net()), tmp_path), model=build())


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("layers", 3),
        ("layers", [1]),
        ("layers", nn.ReLU()),
        ("input_size", 64),
        ("input_size", (64,)),
        ("input_size", "64"),
        ("input_size", (64.0, 64.0)),
        ("input_size", (0, 64)),
        ("num_classes", "3"),
        ("num_classes", 2.0),
        ("filters", "8"),
        ("filters", np.array([8, 8])),
        ("background", "0"),
        ("grid", 2.5),
        ("projection", 1.5),
        ("dropout", "a"),
        ("dropout", 1.5),
        ("dropout", np.ones(2)),
        ("loss_weight", None),
        ("masks", "no"),
    ],
    ids=str,
)
def test_a_setting_of_another_kind_is_refused_by_its_name(argument: str, value: Any) -> None:
    settings = {"layers": "body.3", "num_classes": 2, "input_size": SIZE, argument: value}
    with pytest.raises(PartCNNError, match=f"^{argument}: expected"):
        convert(Net(), **settings)


def test_numbers_of_numpy_and_of_tensors_are_numbers(tmp_path: Path) -> None:
    sizes = torch.Size(SIZE)
    model = convert(
        Net(), "body.3", num_classes=np.int64(2), filters=torch.tensor(4), dropout=np.float32(0.5), input_size=sizes
    )
    again = load(save(model, tmp_path), model=Net())
    assert conversion_of(again).settings == conversion_of(model).settings
    assert conversion_of(model).settings.filters == 4
