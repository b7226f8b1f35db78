"""Directories of a saved network: what comes back, what is refused, and that nothing in them runs."""

import errno
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from partcnn.foundation.errors import LayerError, PartCNNError, RunError, WeightsError
from partcnn.foundation.files import replace_file
from partcnn.model.conversion import convert
from partcnn.model.losses import filter_loss
from partcnn.model.mask import part_masks
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import CARD_FILE, CONFIG_FILE, FORMAT, WEIGHTS_FILE, load, save
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.tensorflow_padding import with_padding
from tests.own_net import OwnNet

SIZE = (64, 64)
LABELS = torch.tensor([0, 1, 0, 1])


@pytest.fixture
def pictures(generator: torch.Generator) -> Tensor:
    return torch.randn(4, 3, *SIZE, generator=generator)


def converted(network: nn.Module, layer: str, pictures: Tensor, **settings: Any) -> nn.Module:
    """A converted network that has seen a batch in training: no statistic has its first value any more."""
    torch.manual_seed(0)
    model = convert(network, layer, num_classes=2, input_size=SIZE, **settings).train()
    for value in model.parameters():
        nn.init.normal_(value, std=0.1)
    model(pictures)
    filter_loss(model, LABELS)
    return model.eval()


@pytest.fixture
def demo_model(pictures: Tensor) -> nn.Module:
    return converted(DemoNet(num_classes=2), "features", pictures, filters=6)


@pytest.fixture
def saved(demo_model: nn.Module, tmp_path: Path) -> Path:
    return save(demo_model, tmp_path / "run")


def assert_same_network(loaded: nn.Module, model: nn.Module, pictures: Tensor) -> None:
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(loaded(pictures), model(pictures), atol=1e-6, rtol=0)
        torch.testing.assert_close(filter_loss(loaded, LABELS), filter_loss(model, LABELS), atol=1e-6, rtol=0)


def edit_config(directory: Path, **changes: Any) -> None:
    config = json.loads((directory / CONFIG_FILE).read_text())
    (directory / CONFIG_FILE).write_text(json.dumps(config | changes))


@pytest.mark.parametrize("head", ["additive", "original"])
@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (lambda: torchvision.models.resnet18(num_classes=2), "layer2"),
        (lambda: torchvision.models.squeezenet1_1(num_classes=2), "features.7"),
        (lambda: with_padding(torchvision.models.mobilenet_v2(num_classes=2), "tensorflow"), "features.6.conv.1"),
        (lambda: DemoNet(num_classes=2), "features.block3"),
    ],
    ids=["resnet18", "squeezenet1_1", "tensorflow padding", "demo"],
)
def test_a_library_network_comes_back_by_its_name_alone(
    build: Callable[[], nn.Module], layer: str, head: str, pictures: Tensor, tmp_path: Path
) -> None:
    model = converted(build(), layer, pictures, head=head)
    assert_same_network(load(save(model, tmp_path)), model, pictures)


@pytest.mark.parametrize("objective", ["official", "exact", None])
def test_the_settings_of_the_masks_come_back(objective: str | None, pictures: Tensor, tmp_path: Path) -> None:
    settings = {"objective": objective, "background": 0, "masks": False, "loss_weight": 0.3, "new_layers": 3}
    model = converted(DemoNet(), "features.block3", pictures, grid=2, dropout=0.4, filters=5, **settings)
    loaded = load(save(model, tmp_path))
    assert_same_network(loaded, model, pictures)
    for (_, ours), (_, theirs) in zip(part_masks(loaded), part_masks(model), strict=True):
        for name in ("objective", "background", "enabled", "loss_weight", "assignment"):
            assert getattr(ours, name) == getattr(theirs, name)
    assert loaded.dropout.p == 0.4
    assert loaded.head.grid == 2


@pytest.mark.parametrize("head", ["additive", "original"])
def test_a_network_of_ones_own_comes_back_when_it_is_passed(head: str, pictures: Tensor, tmp_path: Path) -> None:
    model = converted(OwnNet(), "stem", pictures, head=head)
    network = OwnNet()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert_same_network(load(save(model, tmp_path), model=network), model, pictures)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_of_ones_own_that_is_not_passed_is_asked_for(pictures: Tensor, tmp_path: Path) -> None:
    save(converted(OwnNet(), "stem", pictures), tmp_path)
    with pytest.raises(RunError, match=r"load\(path, model="):
        load(tmp_path)


def test_the_record_comes_back(demo_model: nn.Module, tmp_path: Path) -> None:
    record = conversion_of(demo_model)
    record.classes, record.is_trained = ["background", "çat"], True
    record.preprocessing = Preprocessing((64, 96), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    loaded = conversion_of(load(save(demo_model, tmp_path)))
    assert loaded == record


def test_a_network_can_be_saved_again_after_it_was_loaded(saved: Path, tmp_path: Path) -> None:
    again = save(load(saved), tmp_path / "again")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


def test_a_network_of_ones_own_can_be_saved_again_after_it_was_loaded(pictures: Tensor, tmp_path: Path) -> None:
    save(converted(OwnNet(), "stem", pictures), tmp_path)
    save(load(tmp_path, model=OwnNet()), tmp_path)
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["network"] is None


def test_the_librarys_name_stays_in_the_record_where_a_network_is_passed(saved: Path) -> None:
    class Unknown(DemoNet):
        pass

    loaded = load(saved, model=Unknown(num_classes=2))
    assert conversion_of(loaded).network == {"name": "demo", "num_classes": 2, "padding": "torch"}


def test_a_loaded_network_is_in_evaluation_mode(saved: Path) -> None:
    assert not any(module.training for module in load(saved).modules())


def test_double_precision_comes_back(demo_model: nn.Module, pictures: Tensor, tmp_path: Path) -> None:
    loaded = load(save(demo_model.double(), tmp_path))
    assert_same_network(loaded, demo_model, pictures.double())


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_a_wrapped_network_is_saved_without_its_wrapper(
    wrap: Callable[[nn.Module], nn.Module], demo_model: nn.Module, pictures: Tensor, tmp_path: Path
) -> None:
    assert_same_network(load(save(wrap(demo_model), tmp_path)), demo_model, pictures)


def test_saving_makes_the_directory_and_keeps_other_files_in_it(demo_model: nn.Module, tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    assert save(demo_model, str(directory)) == directory
    (directory / "metrics.csv").write_text("1")
    save(demo_model, directory)
    assert sorted(path.name for path in directory.iterdir()) == sorted(
        [CARD_FILE, CONFIG_FILE, "metrics.csv", WEIGHTS_FILE]
    )


def test_only_networks_that_were_converted_can_be_saved(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match=r"partcnn\.convert"):
        save(DemoNet(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_path_that_is_a_file_is_refused(demo_model: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="expected a directory, got the file"):
        save(demo_model, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_a_directory_without_one_of_its_files_is_named_with_it(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(RunError, match=name):
        load(saved)


@pytest.mark.parametrize("path", [None, 3, b"run"])
def test_what_is_no_path_is_named(demo_model: nn.Module, path: Any) -> None:
    with pytest.raises(RunError, match=f"path: expected a directory, got {path!r} "):
        save(demo_model, path)
    with pytest.raises(RunError, match=f"path: expected a directory written by partcnn.save, got {path!r} "):
        load(path)


def test_a_path_through_a_file_is_refused(demo_model: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"path: expected a directory, got the file .*file$"):
        save(demo_model, tmp_path / "file" / "run")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"{}", b'{"format": "one"}'], ids=repr
)
def test_a_config_that_is_not_the_one_that_save_writes_is_refused(saved: Path, content: bytes) -> None:
    (saved / CONFIG_FILE).write_bytes(content)
    with pytest.raises(RunError, match=r"config\.json"):
        load(saved)


@pytest.mark.parametrize("entry", ["network", "arguments", "classes", "preprocessing"])
def test_a_config_without_an_entry_is_answered_with_its_name(saved: Path, entry: str) -> None:
    config = json.loads((saved / CONFIG_FILE).read_text())
    del config[entry]
    (saved / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(RunError, match=f"expected the entries {entry}"):
        load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": {}},
        {"arguments": None},
        {"arguments": {"layers": ["features"], "input_size": [64, 64], "num_classes": 2, "colour": "red"}},
        {"arguments": {"layers": ["features"], "input_size": 64, "num_classes": 2}},
        {"preprocessing": {"size": [1, 2]}},
        {"preprocessing": 7},
        {"network": "resnet18"},
        {"network": {"name": "resnet19"}},
        {"network": {}},
        {"classes": 3},
    ],
    ids=str,
)
def test_a_config_with_an_entry_of_another_kind_is_an_error_of_ours(saved: Path, changes: dict[str, Any]) -> None:
    edit_config(saved, **changes)
    with pytest.raises(PartCNNError):
        load(saved)


def test_a_later_format_is_refused_and_says_which(saved: Path) -> None:
    edit_config(saved, format=FORMAT + 1)
    with pytest.raises(RunError, match=f"format {FORMAT + 1} is newer than {FORMAT}"):
        load(saved)


@pytest.mark.parametrize("keep", [0, 4, 200, -1], ids=["empty", "head", "header", "last byte"])
def test_weights_that_were_cut_short_are_refused(saved: Path, keep: int) -> None:
    content = (saved / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(content[:keep])
    with pytest.raises(RunError, match="expected a safetensors file"):
        load(saved)


class _Alarm:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (saved / WEIGHTS_FILE).write_bytes(pickle.dumps(_Alarm(tmp_path / "alarm")))
    with pytest.raises(RunError, match="expected a safetensors file"):
        load(saved)
    torch.save({"weight": torch.zeros(1)}, saved / WEIGHTS_FILE)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with pytest.raises(RunError, match="expected a safetensors file"):
        load(saved)
    assert not (tmp_path / "alarm").exists()


@pytest.mark.parametrize("change", ["missing", "unexpected", "reshaped"])
def test_weights_of_another_network_are_refused(saved: Path, change: str) -> None:
    tensors = load_file(saved / WEIGHTS_FILE)
    if change == "missing":
        del tensors["head.weight"]
    elif change == "unexpected":
        tensors["other.weight"] = torch.zeros(2)
    else:
        tensors["head.weight"] = torch.zeros(2, 3, 7, 7)
    save_file(tensors, saved / WEIGHTS_FILE)
    with pytest.raises(WeightsError, match=r"do not fit the network.*(head|other)\.weight"):
        load(saved)


def test_another_network_than_the_saved_one_is_refused(pictures: Tensor, tmp_path: Path) -> None:
    save(converted(OwnNet(), "stem", pictures), tmp_path)
    with pytest.raises(WeightsError, match="do not fit the network"):
        load(tmp_path, model=OwnNet(width=9))


@pytest.mark.fault("stop", "the disk is full when `save` writes over a network", "the old files stay whole")
def test_a_failing_save_leaves_the_old_files_whole(
    saved: Path, demo_model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with torch.no_grad():
        demo_model.head.bias.add_(1)

    def write_half(tensors: dict[str, Tensor], file: Path, **_: object) -> None:
        file.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", write_half)
    with pytest.raises(OSError, match="no space left"):
        save(demo_model, saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    load(saved)


def test_a_file_that_is_replaced_is_readable_by_others(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", lambda path: path.write_text("new"))
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
