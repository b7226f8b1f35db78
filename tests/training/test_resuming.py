"""A training that is killed anywhere and goes on ends bit by bit as one that was not."""

import copy
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import save_file
from torch import nn

from partcnn.datasets import PartDataset
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.errors import ConfigError, DivergedError, RunError
from partcnn.model.conversion import convert
from partcnn.model.saving.checkpoint import load
from partcnn.model.saving.checkpoint_files import STATE_FOLDER
from partcnn.networks.demo_net import DemoNet
from partcnn.training import fitting, state_files
from partcnn.training.fitting import fit
from partcnn.training.head_training import HeadTraining
from partcnn.training.module import PartTraining
from partcnn.training.recipe import Recipe
from partcnn.training.resuming import Keeper
from partcnn.training.state_files import read_state, write_state
from tests.training.test_fitting import SIZE

RECIPE = Recipe(epochs=3, head_epochs=2, batch_size=6, num_views=2, lr=1e-2)


class Killed(BaseException):
    """What no part of a training catches."""


@pytest.fixture(autouse=True)
def _kept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within an epoch too, after every step."""
    monkeypatch.setattr(Keeper, "SECONDS", -1.0)


@contextmanager
def killed_in_step(number: int, of: type[PartTraining] = PartTraining) -> Iterator[None]:
    """Of four an epoch; the first stage's three epochs, or those of the head."""
    step, seen = of.training_step, []

    def killing(module: PartTraining, *arguments: Any) -> Any:
        seen.append(module)
        if len(seen) == number:
            raise Killed
        return step(module, *arguments)

    with killed_with(of, "training_step", killing):
        yield


@contextmanager
def killed_with(owner: Any, name: str, killing: Any) -> Iterator[None]:
    """What is done within it ends in `Killed`, raised by what is put in place of something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, killing)
        with pytest.raises(Killed):
            yield


def network(objective: str = "competing", filters: int | str = 4, num_classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_classes": num_classes, "objective": objective, "input_size": SIZE}
    return convert(DemoNet(num_classes), "features", filters=filters, **settings)


def train(model: nn.Module, pictures: PartDataset, directory: Path, recipe: Recipe = RECIPE, **settings: Any) -> Any:
    return fit(model, pictures, recipe, directory=directory, is_progress_shown=False, **settings)


def left_behind(directory: Path) -> tuple[dict[str, Any], str]:
    return load(directory).state_dict(), (directory / "log" / "metrics.csv").read_text()


def assert_same(found: tuple[dict[str, Any], str], expected: tuple[dict[str, Any], str]) -> None:
    assert found[0].keys() == expected[0].keys()
    assert [name for name, value in expected[0].items() if not torch.equal(value, found[0][name])] == []
    assert found[1] == expected[1]
    assert len(found[1].splitlines()) == 1 + RECIPE.epochs


@pytest.mark.fault("resume", "training is killed at any step of any epoch", "it goes on: weights, logs bit-identical")
@pytest.mark.parametrize("number", [1, 5, 6, 12])
def test_a_killed_training_goes_on(dataset: PartDataset, tmp_path: Path, number: int) -> None:
    history = train(network(), dataset, tmp_path / "whole")
    with killed_in_step(number):
        train(network(), dataset, tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()
    found = train(network(), dataset, tmp_path / "run", resume=True)
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))
    assert (found.epochs, found.head_epochs) == (history.epochs, history.head_epochs)
    assert not (tmp_path / "run" / STATE_FOLDER).exists()


@pytest.mark.fault("resume", "training is killed in its second stage", "it goes on: weights, logs bit-identical")
@pytest.mark.parametrize(("number", "filters"), [(1, 4), (6, 4), (1, "auto"), (5, "auto")])
def test_a_killed_second_stage_goes_on(
    dataset: PartDataset,
    tmp_path: Path,
    number: int,
    filters: int | str,
) -> None:
    train(network(filters=filters), dataset, tmp_path / "whole")
    with killed_in_step(number, HeadTraining):
        train(network(filters=filters), dataset, tmp_path / "run")
    train(network(filters=filters), dataset, tmp_path / "run", resume=True)
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


@pytest.mark.fault("resume", "training is killed between its last step and its last file", "it ends at once, the same")
def test_a_training_killed_at_its_end_goes_on(
    dataset: PartDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    train(network(), dataset, tmp_path / "whole")
    with killed_with(fitting, "save", killed):
        train(network(), dataset, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(PartTraining, "training_step", killed)
        train(network(), dataset, tmp_path / "run", resume=True)
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


@pytest.mark.fault("resume", "killed again and again", "it goes on: weights, logs bit-identical")
def test_a_training_killed_many_times_goes_on(dataset: PartDataset, tmp_path: Path) -> None:
    train(network(), dataset, tmp_path / "whole")
    for of in [PartTraining] * 4 + [HeadTraining] * 2:
        with killed_in_step(3, of):
            train(network(), dataset, tmp_path / "run", resume=True)
    train(network(), dataset, tmp_path / "run", resume=True)
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


@pytest.mark.fault("resume", "a training of the whole network is killed", "it goes on: weights, logs bit-identical")
@pytest.mark.parametrize(
    ("memory_bytes", "num_workers"), [(0, 0), (0, 1), (2**30, 0)], ids=["decoded", "decoded by workers", "in memory"]
)
def test_a_killed_training_of_the_trunk_goes_on(
    dataset: PartDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    memory_bytes: int,
    num_workers: int,
) -> None:
    monkeypatch.setattr("partcnn.training.fitting._PICTURES_IN_MEMORY_BYTES", memory_bytes)
    settings: dict[str, Any] = {"trunk": "finetune", "num_workers": num_workers}
    train(network(), dataset, tmp_path / "whole", **settings)
    with killed_in_step(7):
        train(network(), dataset, tmp_path / "run", **settings)
    with killed_in_step(2, HeadTraining):
        train(network(), dataset, tmp_path / "run", resume=True, **settings)
    train(network(), dataset, tmp_path / "run", resume=True, **settings)
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


def test_a_killed_training_whose_features_are_cached_goes_on(dataset: PartDataset, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    train(network(), dataset, tmp_path / "whole")
    with killed_in_step(6):
        train(network(), dataset, tmp_path / "run", cache=cache)
    train(network(), dataset, tmp_path / "run", cache=cache, resume=True)
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


@pytest.mark.fault("resume", "killed where categories' maps of earlier batches count", "they are kept: bit-identical")
def test_the_memory_of_categories_goes_on(dataset: PartDataset, tmp_path: Path) -> None:
    three = copy.copy(dataset)
    three.classes = ["clutter", "left", "right"]
    three.samples = [replace(sample, label=number % 3) for number, sample in enumerate(dataset.samples)]
    recipe = replace(RECIPE, memory=4)
    train(network("labelled", num_classes=3, filters=3), three, tmp_path / "whole", recipe)
    for at in (2, 7):
        with killed_in_step(at):
            train(network("labelled", num_classes=3, filters=3), three, tmp_path / f"run{at}", recipe)
        train(network("labelled", num_classes=3, filters=3), three, tmp_path / f"run{at}", recipe, resume=True)
        assert_same(left_behind(tmp_path / f"run{at}"), left_behind(tmp_path / "whole"))


@pytest.mark.fault("stop", "Ctrl-C in training", "the network so far is saved; going on from there is bit-identical")
def test_an_interrupted_training_goes_on(dataset: PartDataset, tmp_path: Path) -> None:
    class CtrlC(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
            if trainer.global_step == 6:
                raise KeyboardInterrupt

    train(network(), dataset, tmp_path / "whole")
    assert train(network(), dataset, tmp_path / "run", callbacks=[CtrlC()]).is_interrupted
    load(tmp_path / "run")
    assert not train(network(), dataset, tmp_path / "run", resume=True).is_interrupted
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


class Sigterm(Callback):
    """Comes where the trainer's callbacks are asked after our own, so that Lightning is the first to see it."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self._come)

    def _come(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_epoch_end"])
@pytest.mark.fault("stop", "SIGTERM between two steps, or while an epoch's state is written", "saved, exit 143")
def test_sigterm_between_steps_is_no_other(hook: str, dataset: PartDataset, tmp_path: Path) -> None:
    train(network(), dataset, tmp_path / "whole")
    with pytest.raises(SystemExit, match="143"):
        train(network(), dataset, tmp_path / "run", callbacks=[Sigterm(hook)])
    load(tmp_path / "run")
    assert not train(network(), dataset, tmp_path / "run", resume=True).is_interrupted
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


def test_sigterm_that_others_handle_interrupts(dataset: PartDataset, tmp_path: Path) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        history = train(network(), dataset, tmp_path / "run", callbacks=[Sigterm("on_train_epoch_end")])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    assert history.is_interrupted
    assert len(history.epochs) == 2
    load(tmp_path / "run")


def test_where_nothing_is_kept_training_begins(dataset: PartDataset, tmp_path: Path) -> None:
    train(network(), dataset, tmp_path / "whole")
    train(network(), dataset, tmp_path / "run", resume=True)
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


@pytest.mark.fault("resume", "other settings, pictures or weights than it began with", "refused; the state stays")
def test_another_training_is_refused(dataset: PartDataset, tmp_path: Path) -> None:
    with killed_in_step(6):
        train(network(), dataset, tmp_path)
    fewer = dataset.with_samples(dataset.samples[:-1])
    other = network()
    with torch.no_grad():
        next(other.trunk.parameters()).add_(0.1)
    for model, pictures, recipe, named in (
        (network(), dataset, replace(RECIPE, epochs=4), "recipe.epochs 3, got 4"),
        (network(), fewer, RECIPE, "pictures '20 .*, got '19 "),
        (other, dataset, RECIPE, "trunk.* is another one"),
    ):
        with pytest.raises(ConfigError, match=f"resume: .*{named}"):
            train(model, pictures, tmp_path, recipe, resume=True)
    with pytest.raises(ConfigError, match=r"resume: .* seed 0, got 1"):
        train(network(), dataset, tmp_path, resume=True, seed=1)
    with pytest.raises(ConfigError, match="resume: the network has other weights"):
        train(network(filters=5), dataset, tmp_path, resume=True)
    with pytest.raises(ConfigError, match="resume: expected a directory"):
        fit(network(), dataset, RECIPE, resume=True)
    assert len(train(network(), dataset, tmp_path, resume=True).epochs) == RECIPE.epochs


@pytest.mark.fault("resume", "the state's file is cut, or none of ours", "one sentence names it")
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "no header", "another"])
def test_a_damaged_state_is_told(dataset: PartDataset, tmp_path: Path, damage: str) -> None:
    with killed_in_step(6):
        train(network(), dataset, tmp_path)
    file = tmp_path / STATE_FOLDER / "state.safetensors"
    content = {"cut": file.read_bytes()[:-100], "empty": b"", "text": b"nonsense" * 100}
    if damage == "no header":
        save_file({"0": torch.zeros(1)}, file)
    elif damage == "another":
        write_state(file, {"progress": {}})
    else:
        file.write_bytes(content[damage])
    told = "lacks batches, loops" if damage == "another" else "state.safetensors holds no state of a training"
    with pytest.raises(RunError, match=f"resume: .*{re.escape(told)}"):
        train(network(), dataset, tmp_path, resume=True)


@pytest.mark.fault("resume", "killed while the state is being written", "the one before is what it goes on with")
def test_the_last_good_state_stays(dataset: PartDataset, tmp_path: Path) -> None:
    written: list[Path] = []

    def cut(tensors: Any, file: Path, header: Any, *, is_synced: bool) -> None:
        assert is_synced
        save_file(tensors, file.with_name("cut"), header)
        written.append(file)
        if len(written) == 7:
            raise Killed
        file.with_name("cut").rename(file)

    train(network(), dataset, tmp_path / "whole")
    with killed_with(state_files, "save_tensors", cut):
        train(network(), dataset, tmp_path / "run")
    train(network(), dataset, tmp_path / "run", resume=True)
    assert_same(left_behind(tmp_path / "run"), left_behind(tmp_path / "whole"))


# --- losses and weights that are not finite


@pytest.mark.fault("stop", "a learning rate at which training diverges", "it stops at once, says where and what to try")
def test_training_stops_where_it_diverges(dataset: PartDataset, tmp_path: Path) -> None:
    model = network()
    with pytest.raises(DivergedError, match=r"diverged in epoch \d+: .*lower recipe.lr \(1e\+30\)"):
        train(model, dataset, tmp_path, replace(RECIPE, lr=1e30))
    assert all(value.isfinite().all() for value in model.state_dict().values())
    saved = load(tmp_path).state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())


def test_what_is_not_finite_is_named(dataset: PartDataset, tmp_path: Path) -> None:
    class Spoil(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
            if trainer.current_epoch == 1 and index == 2:
                with torch.no_grad():
                    module.model.layer_of_parts.scores.prototypes.weight[3, 0] = float("nan")

    expected = network()
    train(expected, dataset, tmp_path / "first", replace(RECIPE, epochs=1, head_epochs=0, lr=1e-2))
    model = network()
    with pytest.raises(
        DivergedError, match=r"in epoch 2: the loss of step 3 is nan, and weight of .*, filter 3, is not"
    ):
        train(model, dataset, tmp_path / "run", callbacks=[Spoil()])
    assert all(value.isfinite().all() for value in model.state_dict().values())


# --- the file


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "numbers": [1, -2, 3.5, float("inf"), float("-inf")],
        "texts": ("ä", None, True),
        "by number": {0: {"step": torch.tensor(3.0)}, 1: {"step": torch.arange(3)[::2]}},
        "half": torch.randn(2, 3).bfloat16().T,
    }
    write_state(tmp_path / "state.safetensors", state)
    found = read_state(tmp_path / "state.safetensors")
    assert found["numbers"] == state["numbers"]
    assert found["texts"] == state["texts"]
    assert list(found["by number"]) == [0, 1]
    assert torch.equal(found["by number"][1]["step"], torch.tensor([0, 2]))
    assert torch.equal(found["half"], state["half"])
    with pytest.raises(TypeError, match="cannot hold a set"):
        write_state(tmp_path / "state.safetensors", {"one": {1, 2}})
    assert read_state(tmp_path / "state.safetensors").keys() == state.keys()
