"""Files of weights as trainings leave them are read; what is none is told in one sentence of ours."""

import argparse
import gzip
import logging
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from partcnn.foundation.errors import WeightsError
from partcnn.model.conversion import convert
from partcnn.model.saving.checkpoint import save
from partcnn.networks.backbones import load_backbone
from partcnn.networks.demo_net import DemoNet

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return DemoNet().state_dict()


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def other(state: State) -> State:
    return {name: tensor + 1 for name, tensor in state.items()}


def optimizer() -> dict[str, Any]:
    network = nn.Linear(2, 2)
    adam = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    adam.step()
    return adam.state_dict()


CONTENTS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "with an optimizer": lambda state: {"model": state, "optimizer": optimizer(), "epoch": 3, "best": 0.5},
    "model_state_dict": lambda state: {"epoch": 1, "model_state_dict": state, "optimizer_state_dict": optimizer()},
    "net": lambda state: {"net": state, "acc": 93.1, "epoch": 7},
    "of a name of its own": lambda state: {"my_cnn": state, "lr": [0.1, 0.2]},
    "averaged weights alone": lambda state: {"state_dict_ema": state, "epoch": 3},
    "averaged weights beside": lambda state: {"state_dict_ema": other(state), "state_dict": state, "arch": "demo"},
    "model_ema beside": lambda state: {"model_ema": other(state), "model": state},
    "ema within": lambda state: {"ema": {"module": state, "updates": 10}},
    "nested twice": lambda state: {"model": {"state_dict": state}},
    "numbers beside the tensors": lambda state: {**state, "epoch": 3, "classes": ["a", "b"]},
    "data-parallel": lambda state: under("module.", state),
    "torch.compile": lambda state: under("_orig_mod.", state),
    "compiled, then distributed": lambda state: under("module._orig_mod.", state),
    "a compiled part": lambda state: {name.replace("block1", "block1._orig_mod"): one for name, one in state.items()},
    "lightning": lambda state: {"state_dict": under("model.", state) | {"loss.weight": torch.ones(3)}, "loops": {}},
    "a backbone with another head": lambda state: under("encoder.backbone.", state) | {"head.weight": torch.ones(3, 4)},
    "AveragedModel": lambda state: AveragedModel(loaded(state)).state_dict(),
    "network and average in one table": lambda state: under("ema.", other(state)) | under("model.", state),
    "ordered, as parameters": lambda state: OrderedDict(loaded(state).named_parameters()) | state,
}


def loaded(state: State) -> nn.Module:
    network = DemoNet()
    network.load_state_dict(state)
    return network


@pytest.mark.parametrize("name", CONTENTS)
def test_every_weight_is_found_where_trainings_put_it(name: str, state: State, tmp_path: Path) -> None:
    torch.save(CONTENTS[name](state), tmp_path / "w.pth")
    backbone = load_backbone("demo", tmp_path / "w.pth")
    assert backbone.missing_layers == ()
    found = backbone.network.state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize("ending", [".ckpt", ".bin", ".pth.tar", ".pt"])
def test_the_endings_of_trainings_are_read(ending: str, state: State, tmp_path: Path) -> None:
    file = tmp_path / f"w{ending}"
    torch.save({"state_dict": state}, file)
    assert load_backbone("demo", file).missing_layers == ()


def test_a_saved_network_gives_its_trunk(tmp_path: Path) -> None:
    network = DemoNet()
    save(convert(network, "features", num_classes=2, input_size=(64, 64)), tmp_path)
    backbone = load_backbone("demo", tmp_path / "model.safetensors")
    assert backbone.missing_layers == ("classifier",)
    assert torch.equal(backbone.network.features[0].conv.weight, network.features[0].conv.weight)


def test_what_is_taken_of_two_is_told(state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"ema": other(state), "model": state}, tmp_path / "w.pth")
    with caplog.at_level(logging.INFO, "partcnn"):
        load_backbone("demo", tmp_path / "w.pth")
    assert "its model is taken, not its ema" in caplog.text


class Recipe:
    """A class of the training script."""


def scripted(file: Path) -> None:
    torch.jit.save(torch.jit.trace(DemoNet().eval(), torch.ones(1, 3, 64, 64)), file)


WRONG: dict[str, tuple[Callable[[State, Path], Any], str]] = {
    "arguments": (
        lambda state, file: torch.save({"model": state, "args": argparse.Namespace(lr=0.1)}, file),
        r"argparse\.Namespace",
    ),
    "arguments, the older format": (
        lambda state, file: torch.save([argparse.Namespace(lr=0.1), state], file, _use_new_zipfile_serialization=False),
        r"argparse\.Namespace",
    ),
    "arguments, a later pickle": (
        lambda state, file: torch.save({"args": argparse.Namespace(lr=0.1), **state}, file, pickle_protocol=4),
        r"argparse\.Namespace",
    ),
    "the whole network": (lambda state, file: torch.save(DemoNet(), file), r"partcnn\.networks\.demo_net\.DemoNet"),
    "a network of torch": (
        lambda state, file: torch.save(nn.Linear(1, 1), file),
        r"torch\.nn\.modules\.linear\.Linear",
    ),
    "a class of the script": (lambda state, file: torch.save({"a": Recipe()}, file), r"test_weight_content\.Recipe"),
    "a figure of numpy": (lambda state, file: torch.save({"m": state, "acc": np.float64(1)}, file), r"numpy\S*scalar"),
    "a defaultdict": (lambda state, file: torch.save(defaultdict(list, state), file), r"collections\.defaultdict"),
    "a plain pickle": (
        lambda state, file: file.write_bytes(pickle.dumps({"a": np.ones(3), "p": Path("x")})),
        r"numpy\S*_reconstruct",
    ),
    "a web page": (lambda state, file: file.write_text("\n<!DOCTYPE html><html>404"), "it is a web page"),
    "nothing": (lambda state, file: file.write_bytes(b""), "it is empty"),
    "a pointer": (lambda state, file: file.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "JSON": (lambda state, file: file.write_text('{"error": "not found"}'), "JSON"),
    "compressed": (lambda state, file: file.write_bytes(gzip.compress(b"x" * 100)), "gzip"),
    "half of a file": (lambda state, file: cut(state, file), "cut short"),
    "TorchScript": (lambda state, file: scripted(file), "TorchScript"),
    "safetensors": (lambda state, file: save_file(state, file), "it is a safetensors file"),
    "two networks": (
        lambda state, file: torch.save({"student": state, "teacher": state}, file),
        r"several networks \(student, teacher\)",
    ),
    "two networks in one table": (
        lambda state, file: torch.save(under("encoder_q.", state) | under("encoder_k.", state), file),
        r"several networks: encoder_q\., encoder_k\.",
    ),
    "two networks in one table, wrapped": (
        lambda state, file: torch.save(under("module.encoder_q.", state) | under("module.encoder_k.", state), file),
        r"several networks: module\.encoder_q\., module\.encoder_k\.",
    ),
    "names that steer a terminal": (
        lambda state, file: torch.save({"\x1b[31mred": torch.ones(1)}, file),
        r"no place in it: \\x1b\[31mred",
    ),
    "tables whose names steer a terminal": (
        lambda state, file: torch.save({"\x1b[2Ja": state, "\x1b[2Jb": state}, file),
        r"several networks \(\\x1b\[2Ja",
    ),
    "no values": (lambda state, file: torch.save(every(state, lambda w: w.to("meta")), file), r"\(without values\)"),
    "quantized": (
        lambda state, file: torch.save(every(state, lambda w: torch.quantize_per_tensor(w, 1, 0, torch.qint8)), file),
        r"\(quantized\)",
    ),
    "sparse": (lambda state, file: torch.save(every(state, Tensor.to_sparse), file), r"\(sparse\)"),
    "complex": (lambda state, file: torch.save(every(state, lambda w: w + 0j), file), r"\(complex\)"),
    "an optimizer alone": (
        lambda state, file: torch.save({"optimizer": optimizer()}, file),
        "a dictionary of optimizer",
    ),
    "a list": (lambda state, file: torch.save(list(state.values()), file), "expected named tensors, got a list"),
    "one tensor": (lambda state, file: torch.save(torch.ones(3), file), "expected named tensors, got a Tensor"),
}


def every(state: State, change: Callable[[Tensor], Tensor]) -> State:
    return {name: change(weight) for name, weight in state.items() if weight.is_floating_point()}


def cut(state: State, file: Path) -> None:
    torch.save(state, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")  # of TorchScript
@pytest.mark.filterwarnings("ignore::UserWarning")  # of quantized tensors
def test_what_is_no_plain_weights_is_named_in_one_sentence(name: str, state: State, tmp_path: Path) -> None:
    write, what = WRONG[name]
    write(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=what) as caught:
        load_backbone("demo", tmp_path / "w.pth")
    message = str(caught.value)
    assert message.startswith(f"weights: {tmp_path / 'w.pth'} ")
    assert not any(word in message for word in ("\x1b", "\n", "weights_only", "torch.load", "options"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<html>", "web page"),
        (b"PK\x03\x04", "file of torch.save"),
        (b"not at all", "no safetensors file"),
        (b"", "empty"),
    ],
)
def test_a_safetensors_file_that_is_none_is_told_apart(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=what):
        load_backbone("demo", tmp_path / "w.safetensors")


@pytest.mark.parametrize("path", [3, b"weights.pth"])
def test_what_is_no_path_is_named(path: Any) -> None:
    with pytest.raises(WeightsError, match=f"weights: expected a file of weights, got {path!r} "):
        load_backbone("demo", path)


def test_weights_of_another_network_are_not_taken_for_a_part_of_it(tmp_path: Path) -> None:
    names = [f"layer{number}.block.conv.weight" for number in range(3)] + ["classifier.weight", "block1.conv.weight"]
    torch.save({f"stem.features.{name}": torch.ones(1) for name in names}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="5 of 5 tensors have no place"):
        load_backbone("demo", tmp_path / "w.pth")
