"""Run directories that are there: open and measure. Figures of other weights are never taken for a run's own."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from partcnn.app.runs.place import half_made, state_of
from partcnn.app.runs.state import DIVERGED, DONE, TrainingState, read_run
from partcnn.app.settings import SETTINGS_FILE, RunSettings
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.disk_cache import FeatureCache, default_cache
from partcnn.foundation.errors import RunError
from partcnn.foundation.files import file_digest
from partcnn.model.naming import filter_names
from partcnn.model.network import PartNetwork, PictureFeatures
from partcnn.model.saving.checkpoint import METRICS_FILE, load, write_card
from partcnn.model.saving.checkpoint_files import WEIGHTS_FILE
from partcnn.model.saving.shipped import is_shipped, run_directory

if TYPE_CHECKING:  # what opens or measures pictures is imported where it is done
    from partcnn.datasets.part_dataset import PartDataset
    from partcnn.training.dealing import Dealer


_log = logging.getLogger("partcnn")


@dataclass(frozen=True)
class Run:
    """A run directory that was opened.

    Args:
        directory: of it.
        model: its network.
        settings: it was trained with.
        state: how far its training came; None of an earlier version's.
    """

    directory: Path
    model: nn.Module
    settings: RunSettings
    state: TrainingState | None = None

    def dataset(self, split: str) -> "PartDataset":
        """The pictures the run was trained on ("train") or those kept out ("test")."""
        return dataset_of(self.settings, split)

    @property
    def names(self) -> dict[int, str]:
        """Filter → what it is called, of those that have a name; see `partcnn.model.naming`."""
        return filter_names(self.model)

    @property
    def cache(self) -> FeatureCache | None:
        """Where the maps of its trunk are kept; None of a trunk that learned, and where none are to be kept."""
        return cache_of(self.settings)

    @property
    def crop(self) -> dict[str, Any]:
        """How its pictures were cut, as `load_dataset` takes it."""
        return {"crop": self.settings.crop, "margin": self.settings.margin}


def dataset_of(settings: RunSettings, split: str = "train") -> "PartDataset":
    """The pictures that settings speak of."""
    from partcnn.datasets.loading import load_dataset

    return load_dataset(
        settings.data,
        category=settings.category,
        split=split,
        max_bad=settings.max_bad,
        crop=settings.crop,
        margin=settings.margin,
    )


def cache_of(settings: RunSettings) -> FeatureCache | None:
    """As `Run.cache`, of settings as they were taken."""
    return default_cache() if settings.cache and settings.trunk == "frozen" else None


def evaluate_run(
    run: Run,
    dataset: "PartDataset | None" = None,
    *,
    num_workers: int = 0,
    cache: FeatureCache | None = None,
    must_keep: bool = True,
    dealer: "Dealer | None" = None,
    num_faithfulness: int = 0,
) -> Evaluation:
    """Measure a run on the pictures kept out of it, and write metrics.json.

    Args:
        run: any; the package's own stays as it is.
        dataset: the pictures kept out, where they are open already.
        num_workers: processes that decode pictures.
        cache: where the trunk's maps of whole pictures are kept and looked for. None: the trunk runs.
        must_keep: whether it is an error, or told in the log, that the directory cannot be written to.
        dealer: deals the trunk's pass out among several devices.
        num_faithfulness: on how many pictures explanations are put to the test too, see
            `partcnn.evaluation.faithfulness`; 0: they are not.

    Raises:
        RunError: the directory got other weights meanwhile.
        OSError: it cannot be written to.
    """
    evaluation = _measured(run, dataset, num_workers=num_workers, cache=cache, dealer=dealer)
    if num_faithfulness:
        from partcnn.app.runs.faithfulness import faithfulness_of

        pictures = dataset or run.dataset("test")
        found = faithfulness_of(run.model, pictures, num_faithfulness, num_workers=num_workers)
        evaluation = replace(evaluation, faithfulness=found)
    if is_shipped(run.directory):
        return evaluation
    try:
        keep_figures(run, evaluation)
    except OSError as error:
        if must_keep:
            raise
        _log.warning("%s: the figures are not kept: %s", run.directory, error)
    return evaluation


def keep_figures(run: Run, evaluation: Evaluation) -> None:
    """Write metrics.json, and the model card with the figures.

    Raises:
        RunError: the directory has other weights than those that were measured.
        OSError: it cannot be written to.
    """
    if file_digest(run.directory / WEIGHTS_FILE) != evaluation.run["weights"]:
        raise RunError(f"run: {run.directory} got other weights while it was measured; run partcnn evaluate again")
    evaluation.to_json(run.directory / METRICS_FILE)
    write_card(run.directory)


def about(run: Run) -> dict[str, Any]:
    """What an evaluation says of the run that it measured, see `Evaluation.run`."""
    known = {} if run.state is None else run.state.to_record()
    return known | {"weights": file_digest(run.directory / WEIGHTS_FILE)}


def open_run(directory: str | Path) -> Run:
    """A run that was trained before. What is not as training left it is told in the log.

    Args:
        directory: of it; "demo:" is the run that comes with the package.

    Raises:
        RunError: the directory is missing, incomplete or malformed.
    """
    directory = run_directory(directory)
    settings, state = _read(directory)
    _tell(directory, state)
    return Run(directory, load(directory), settings, state)


def open_network(directory: str | Path) -> nn.Module:
    """The network of a run, or of a directory that `partcnn.save` wrote.

    Raises:
        RunError, WeightsError: as of `partcnn.load`.
    """
    directory = run_directory(directory)
    return open_run(directory).model if (directory / SETTINGS_FILE).is_file() else load(directory)


def figures_of(directory: str | Path) -> Evaluation:
    """The figures of a run directory; its network is opened only where they are missing or of other weights.

    Raises:
        RunError: the directory is missing, incomplete or malformed.
        DataError: metrics.json is malformed.
    """
    directory = run_directory(directory)
    _, state = _read(directory)
    kept = kept_figures(directory)
    if kept is None:
        return run_evaluation(open_run(directory))
    _tell(directory, state)
    return kept


def run_evaluation(run: Run) -> Evaluation:
    """The figures in metrics.json, measured now where they are missing or of other weights."""
    return kept_figures(run.directory) or evaluate_run(run, must_keep=False)


def kept_figures(directory: Path) -> Evaluation | None:
    """The figures in metrics.json, where they are of the weights beside it; else None, and why is told in the log.

    Of runs of earlier versions, which say nothing of their weights, they are taken as they are.

    Raises:
        RunError, DataError: run.yaml or metrics.json is malformed.
    """
    file = directory / METRICS_FILE
    if not file.is_file():
        return None
    evaluation, state = Evaluation.from_json(file), state_of(directory)
    measured, trained = evaluation.run.get("weights"), None if state is None else state.weights
    is_known = measured is not None or state is not None
    if is_known and measured != (file_digest(directory / WEIGHTS_FILE) or trained):  # figures may be all that was kept
        _log.warning("%s: its figures are of other weights and are not used", file)
        return None
    return evaluation


def is_finished(directory: Path) -> bool:
    """Whether there is a whole run with figures of its own weights; one of an earlier version with figures is whole.

    Raises:
        RunError, DataError: run.yaml or metrics.json is malformed.
    """
    state = state_of(directory)
    return (state is None or state.state == DONE) and kept_figures(directory) is not None


def followed_parts(run: Run) -> dict[int, str]:
    """Filter → `FilterEvaluation.part_name`, where it has one."""
    return followed_parts_in(run.directory)


def followed_parts_in(directory: Path) -> dict[int, str]:
    """As `followed_parts`, of a directory that may hold a network without a run."""
    kept = kept_figures(directory)
    filters = [] if kept is None else kept.filters
    return {figures.filter: figures.part_name for figures in filters if figures.part_name}


def features_of(
    run: Run, cache: FeatureCache | None, *, num_workers: int = 0, dealer: "Dealer | None" = None
) -> Callable[..., PictureFeatures | None] | None:
    """What gives the maps of a run's trunk that are kept, as `evaluate` and `audit` take it; arguments as of
    `evaluate_run`. None: these pass the trunk themselves."""
    is_shared = dealer is not None and dealer.has_others
    if not isinstance(run.model, PartNetwork) or (cache is None and not is_shared):
        return None
    from partcnn.training.cached_features import picture_features

    return partial(picture_features, run.model, cache=cache, num_workers=num_workers, dealer=dealer)


def _measured(
    run: Run,
    dataset: "PartDataset | None" = None,
    *,
    num_workers: int = 0,
    cache: FeatureCache | None = None,
    dealer: "Dealer | None" = None,
) -> Evaluation:
    from partcnn.evaluation.measurement import evaluate

    features = features_of(run, cache, num_workers=num_workers, dealer=dealer)
    told = about(run)
    pictures = dataset or run.dataset("test")
    return replace(evaluate(run.model, pictures, num_workers=num_workers, features=features), run=told)


def _read(directory: Path) -> tuple[RunSettings, TrainingState | None]:
    """As of `read_run`; of a run that is not there yet the error says so."""
    try:
        return read_run(directory)
    except RunError as error:
        half = None if (directory / SETTINGS_FILE).is_file() else half_made(directory)
        if half is None:
            raise
        raise RunError(f"{error}; {_on_half(half)}, partcnn train --resume {directory} goes on with it") from None


def _on_half(half: Path) -> str:
    state = state_of(half)
    told = "" if state is None else f", {state.epochs} of {state.num_epochs} epochs"
    return f"a training to it is not whole yet{told}"


def _tell(directory: Path, state: TrainingState | None) -> None:
    """One line of what is not as training left it."""
    if state is None:
        return
    if state.weights is not None and state.weights != file_digest(directory / WEIGHTS_FILE):
        _log.warning("%s: its weights are others than partcnn train left there", directory)
    if state.state == DIVERGED:
        _log.warning("%s is %s; these are its last good weights", directory, state.told)
    elif state.state != DONE:
        _log.warning("%s is %s; partcnn train --resume %s goes on", directory, state.told, directory)
