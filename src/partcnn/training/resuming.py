"""A training that is stopped at any moment goes on as if it had not been.

A training in a directory keeps its state there, in training_state/, until it is whole:

    start.safetensors   the network as training began, and what is the object's in every picture
    state.safetensors   what has changed since: weights, optimiser, schedule, generators, place in the order of the
                        pictures, categories' memories, running means, and what was logged; after every epoch, and
                        within one where that takes long

On a CPU, with the same pictures and number of threads, what it ends with is the same bit by bit.
"""

import hashlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from partcnn.datasets import PartDataset
from partcnn.foundation.errors import ConfigError, RunError
from partcnn.foundation.signals import raise_waiting
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.network import PartNetwork
from partcnn.model.saving.checkpoint_files import STATE_FOLDER
from partcnn.training.batches import EpochBatches, EpochLoader
from partcnn.training.history import History
from partcnn.training.module import PartTraining
from partcnn.training.pruning import keep_filters
from partcnn.training.recipe import Recipe
from partcnn.training.state_files import StateIO, random_state, read_state, set_random_state, write_state

_STEPS_BETWEEN_QUESTIONS = 50  # with several devices: whether the state is to be kept
_OF_LIGHTNING = {"state_dict", "optimizer_states", "lr_schedulers", "loops"}
_OF_STATE = _OF_LIGHTNING | {"means", "memory", "progress", "random", "batches"}
_OF_START = {"told", "model", "object_share"}
_TOLERANCE = 1e-3  # of the largest value: another machine computes the same projection but for the last bits


@dataclass
class TrainingProgress:
    """How far a training is, beside what Lightning knows.

    Args:
        history: what was logged.
        steps: the number of each epoch's last one.
        kept: numbers of the filters that stayed, once some were dropped.
        first_head: the head as the first stage left it, in the second.
        threads: that the CPU computes with.
    """

    history: History
    steps: list[int] = field(default_factory=list)
    kept: Tensor | None = None
    first_head: dict[str, Tensor] | None = None
    threads: int | None = None
    began: float = field(default_factory=time.monotonic)

    def go_on(self, before: Mapping[str, Any]) -> None:
        """With what `to_record` gave."""
        self.history.epochs, self.history.head_epochs = before["epochs"], before["head_epochs"]
        self.steps = before["steps"]
        self.kept, self.first_head, self.threads = before["kept"], before["first_head"], before["threads"]
        self.began -= before["seconds"]

    def to_record(self) -> dict[str, Any]:
        return {
            "epochs": self.history.epochs,
            "head_epochs": self.history.head_epochs,
            "steps": self.steps,
            "kept": self.kept,
            "first_head": self.first_head,
            "threads": torch.get_num_threads(),
            "seconds": self.seconds,
        }

    @property
    def seconds(self) -> float:
        """Of training, without the time in which it stood."""
        return time.monotonic() - self.began


class StateFolder:
    """The folder of a training's state.

    Args:
        directory: of the training.
        told: all that must be the same where training goes on: name → value, as JSON has it.
    """

    def __init__(self, directory: Path, told: Mapping[str, Any]) -> None:
        self.folder, self._told = directory / STATE_FOLDER, dict(told)
        self.file, self._start = self.folder / "state.safetensors", self.folder / "start.safetensors"

    def keep_start(self, model: nn.Module, object_share: Tensor | None) -> None:
        """A new training begins: what is kept of another one goes."""
        self.clear()
        self.folder.mkdir(parents=True)
        write_state(self._start, {"told": self._told, "model": model.state_dict(), "object_share": object_share})

    def read(self) -> dict[str, Any] | None:
        """What was kept last; None where nothing was yet.

        Raises:
            ConfigError: the training was another one.
            RunError: a file is damaged.
        """
        if not self.file.is_file():
            return None
        state, start = read_state(self.file), read_state(self._start)
        lacking = [*(_OF_STATE - state.keys()), *(_OF_START - start.keys())]
        if lacking:
            raise RunError(f"resume: {self.folder} lacks {', '.join(sorted(lacking))}; start anew, without --resume")
        state["start"], before = start, start["told"]
        for name, value in self._told.items():
            if before.get(name) != value:
                raise ConfigError(
                    f"resume: the training in {self.folder.parent} began with {name} {before.get(name)!r:.100}, got "
                    f"{value!r:.100}; go on with what it began with, or start anew, without --resume"
                )
        return state

    def clear(self) -> None:
        """Training is whole, or begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


def told(recipe: Recipe, dataset: PartDataset, **settings: Any) -> dict[str, Any]:
    """What two trainings must have in common for one to go on with the other's state."""
    labels = dataset.labels()
    pictures = f"{len(labels)} with labels of hash {hashlib.sha256(labels.numpy().tobytes()).hexdigest()[:16]}"
    of_recipe = {f"recipe.{name}": value for name, value in asdict(recipe).items()}
    return {**of_recipe, **settings, "classes": list(dataset.classes), "pictures": pictures}


def begin_again(model: nn.Module, resumed: Mapping[str, Any]) -> Tensor | None:
    """Give a network what it had when its training began, and the filters it has now; → object shares.

    Raises:
        ConfigError: its trunk or projection is another one than the training began with.
    """
    start, kept = resumed["start"], resumed["progress"]["kept"]
    before, share = start["model"], start["object_share"]
    now = model.state_dict()
    shapes = [{name: value.shape for name, value in state.items()} for state in (now, before)]
    if shapes[0] != shapes[1]:
        raise ConfigError("resume: the network has other weights than the one that training began with; pass that one")
    for name, value in now.items():
        is_below = isinstance(model, PartNetwork) and name.startswith(("trunk.", "projection."))
        if is_below and value.is_floating_point() and not _is_close(value.cpu(), before[name]):
            raise ConfigError(
                f"resume: {name} of the network is another one than training began with: other pictures, weights or "
                "network; go on with what it began with, or start anew, without --resume"
            )
    model.load_state_dict(before)
    if kept is not None:
        assert isinstance(model, CompetingNetwork)
        keep_filters(model, kept)
    assert isinstance(share, Tensor | None)
    return share


def _is_close(value: Tensor, other: Tensor) -> bool:
    return bool((value - other).abs().max() <= _TOLERANCE * other.abs().max()) if value.numel() else True


class Keeper(Callback):
    """Gathers the history, and keeps the training's state.

    Args:
        state: where it is kept. None: nowhere.
        progress: of this training, which is changed.
        seed: of what is random on devices beside the first.

    Attributes:
        batches: that training goes through; set by `fit`.
        resumed: the state that this stage goes on with, or None; set by `fit`.
    """

    SECONDS = 120.0  # between two states within an epoch
    batches: EpochBatches | EpochLoader

    def __init__(self, state: StateFolder | None, progress: TrainingProgress, seed: int) -> None:
        self.state, self.progress, self.seed = state, progress, seed
        self.resumed: Mapping[str, Any] | None = None
        self._kept_at = time.monotonic()

    @property
    def state_io(self) -> StateIO:
        """How Lightning writes the state."""
        return StateIO(self._more, lambda: dict(self.resumed or {}))

    @property
    def is_stopped(self) -> bool:
        return self.progress.history.is_interrupted

    @property
    def resumed_file(self) -> Path | None:
        """What Lightning goes on with, by a name: it is in memory."""
        return None if self.resumed is None else Path(STATE_FOLDER)

    def restore(self, module: PartTraining) -> bool:
        """Put the order of the pictures where a resumed training had come to; what is left Lightning restores.

        Returns:
            Whether nothing is left to train of this stage. Then its weights are put back here.
        """
        if self.resumed is None:
            return False
        self.batches.load_state_dict(self.resumed["batches"])
        if len(self.progress.history.rows_of(module)) != module.recipe.epochs:
            return False
        state = dict(self.resumed)
        module.on_load_checkpoint(state)
        module.load_state_dict(state["state_dict"])
        set_random_state(state["random"])
        self.resumed = None
        return True

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.resumed is not None:  # last, for what comes before may have drawn
            if trainer.global_rank == 0:
                set_random_state(self.resumed["random"])
            else:
                torch.manual_seed(hash((self.seed, trainer.global_step, trainer.global_rank)) % 2**63)
        self._kept_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        raise_waiting()
        if not trainer.is_last_batch and self._is_due(trainer, batch_idx):
            self._keep(trainer)

    def _is_due(self, trainer: L.Trainer, batch_idx: int) -> bool:
        is_late = time.monotonic() - self._kept_at > self.SECONDS
        if trainer.world_size == 1:
            return is_late
        if (batch_idx + 1) % _STEPS_BETWEEN_QUESTIONS:
            return False
        return trainer.strategy.broadcast(is_late)  # they keep it together, or wait for each other for ever

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.progress.history.rows_of(module).append({"epoch": trainer.current_epoch, **metrics})
        self.progress.steps.append(trainer.global_step - 1)
        self._keep(trainer)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):
            self.progress.history.is_interrupted = True

    def _keep(self, trainer: L.Trainer) -> None:
        self._kept_at = time.monotonic()
        if trainer.strategy.broadcast(self.state is not None):
            file = Path(STATE_FOLDER) if self.state is None else self.state.file  # the first device writes
            trainer.save_checkpoint(file, weights_only=False)

    def _more(self) -> dict[str, Any]:
        return {
            "progress": self.progress.to_record(),
            "random": random_state(),
            "batches": self.batches.state_dict(),
        }
