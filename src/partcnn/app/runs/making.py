"""The training of a run within its transaction: whatever ends it, run.yaml says how far it came."""

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch import nn

from partcnn.app.runs.loggers import log_figures, opened_loggers
from partcnn.app.runs.opening import Run, evaluate_run
from partcnn.app.runs.place import RunPlace, state_of
from partcnn.app.runs.state import DIVERGED, DONE, INTERRUPTED, RUNNING, TrainingState, write_run
from partcnn.app.settings import RunSettings
from partcnn.datasets.part_dataset import PartDataset
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.errors import DivergedError
from partcnn.foundation.files import file_digest
from partcnn.model.saving.checkpoint import METRICS_FILE
from partcnn.model.saving.checkpoint_files import STATE_FOLDER, WEIGHTS_FILE
from partcnn.model.saving.names_file import NAMES_FILE
from partcnn.training.dealing import dealing, help_measuring
from partcnn.training.fitting import fit
from partcnn.training.history import History
from partcnn.training.recipe import Recipe

_log = logging.getLogger("partcnn")


@dataclass(frozen=True)
class Untrained:
    """All that a run is trained from."""

    model: nn.Module
    dataset: PartDataset
    settings: RunSettings  # as taken, trunk and recipe included
    cache: FeatureCache | None

    @property
    def trunk(self) -> str:
        assert self.settings.trunk is not None
        return self.settings.trunk


def trained_in(
    place: RunPlace, untrained: Untrained, *, resume: bool = False, is_progress_shown: bool = True
) -> tuple[Run, History, Evaluation | None]:
    """Train, measure on the pictures kept out, and publish; half a run is published too where none is replaced by it.

    Args:
        place: of the run.
        untrained: network, data and settings.
        resume: whether half a run is in the place, to go on with.
        is_progress_shown: bars on the terminal.

    Returns:
        As of `train_run`.
    """
    with opened_loggers(untrained.settings, place.directory) as loggers:
        return _made(place, untrained, loggers, resume=resume, is_progress_shown=is_progress_shown)


def _made(
    place: RunPlace, untrained: Untrained, loggers: list[Logger], *, resume: bool, is_progress_shown: bool
) -> tuple[Run, History, Evaluation | None]:
    settings = untrained.settings
    ledger = _Ledger(place, settings, _begun(place, settings.recipe, resume=resume))
    try:
        history = _fitted(
            untrained,
            directory=place.directory,
            callbacks=[ledger],
            loggers=loggers,
            resume=resume,
            is_progress_shown=is_progress_shown,
        )
    except BaseException as error:
        ledger.leave_half(DIVERGED if isinstance(error, DivergedError) else INTERRUPTED)
        raise
    ledger.count(history)
    if history.is_interrupted:
        directory = ledger.leave_half(INTERRUPTED)
        return Run(directory, untrained.model, settings, ledger.state), history, None
    ledger.write(DONE)
    run = Run(place.directory, untrained.model, settings, ledger.state)
    try:
        test = untrained.dataset.with_split("test")
        with dealing(run.model) as dealer:
            evaluation = evaluate_run(run, test, num_workers=settings.workers, cache=untrained.cache, dealer=dealer)
        log_figures(loggers, evaluation)
    except BaseException:
        place.publish()
        _log.warning("%s is trained and not measured: partcnn evaluate %s", place.out, place.out)
        raise
    place.publish()
    return replace(run, directory=place.out), history, evaluation


def trained_beside(untrained: Untrained, *, resume: bool = False) -> tuple[Run, History, None]:
    """The part of another process in a training on several devices: the first one writes."""
    history = _fitted(untrained, resume=resume)
    if not history.is_interrupted:
        help_measuring(untrained.model, untrained.dataset, num_workers=untrained.settings.workers)
    return Run(Path(untrained.settings.out), untrained.model, untrained.settings), history, None


def _fitted(untrained: Untrained, **given: Any) -> History:
    settings = untrained.settings
    return fit(
        untrained.model,
        untrained.dataset,
        settings.recipe,
        trunk=untrained.trunk,
        seed=settings.seed,
        num_workers=settings.workers,
        cache=untrained.cache,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
        **given,
    )


def _begun(place: RunPlace, recipe: Recipe, *, resume: bool) -> TrainingState:
    """The state of a training that begins, or goes on."""
    before = state_of(place.directory) if resume else None
    (place.directory / METRICS_FILE).unlink(missing_ok=True)  # of half a run that goes on
    names = place.directory / NAMES_FILE
    if names.exists():  # what a filter follows may change as long as it is trained
        _log.warning("%s: its filters go on being trained, and lose their names; look at them again", place.out)
        names.unlink()
    if before is not None:
        return replace(before, state=RUNNING, weights=None)
    assert recipe.epochs is not None
    return TrainingState(RUNNING, 0, recipe.epochs)


class _Ledger(Callback):
    """Keeps run.yaml up to date while a run is trained."""

    def __init__(self, place: RunPlace, settings: RunSettings, state: TrainingState) -> None:
        self._place, self._settings, self.state = place, settings, state
        write_run(settings, state, place.directory)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.state = replace(self.state, epochs=trainer.current_epoch + 1)
        write_run(self._settings, self.state, self._place.directory)

    def count(self, history: History) -> None:
        """The epochs that were trained; one may end, be saved, and never get here."""
        self.state = replace(self.state, epochs=len(history.epochs))

    def write(self, state: str) -> None:
        """Training ended, in this state."""
        directory = self._place.directory
        self.state = replace(self.state, state=state, weights=file_digest(directory / WEIGHTS_FILE))
        write_run(self._settings, self.state, directory)

    def leave_half(self, state: str) -> Path:
        """Keep what there is to go on from: at the run's place, or where it is made while another run has the place, or
        there is no network yet.

        Returns:
            Where it is; the place where nothing is kept.
        """
        place = self._place
        if not any((place.directory / name).exists() for name in (WEIGHTS_FILE, STATE_FOLDER)):
            return place.out
        place.keep()
        with suppress(OSError):  # the disk may be full: that it is not done stands there already
            self.write(state)
        where = place.directory
        if place.has_old_run:
            told = f"the run in {place.out} stays as it was; the new one so far is in {where}"
        elif not (where / WEIGHTS_FILE).exists():
            told = f"the training so far is in {where}"
        else:
            place.publish()
            where = place.out
            told = f"the network so far is in {where}"
        how = f"{state} after {self.state.epochs} of {self.state.num_epochs} epochs"
        _log.warning("%s; %s; partcnn train --resume %s goes on", how, told, place.out)
        return where
