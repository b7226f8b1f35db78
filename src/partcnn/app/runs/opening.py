"""Run directories that are there: open, measure, and where a new one may stand."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from partcnn.app.settings import SETTINGS_FILE, RunSettings, read_settings
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.errors import RunError
from partcnn.model.network import PartNetwork
from partcnn.model.saving.checkpoint import METRICS_FILE, load, write_card

if TYPE_CHECKING:  # what opens or measures pictures is imported where it is done
    from partcnn.datasets.part_dataset import PartDataset
    from partcnn.foundation.disk_cache import FeatureCache


@dataclass(frozen=True)
class Run:
    """A run directory that was opened."""

    directory: Path
    model: nn.Module
    settings: RunSettings

    def dataset(self, split: str) -> "PartDataset":
        """The pictures the run was trained on ("train") or those kept out ("test")."""
        return dataset_of(self.settings, split)

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


def evaluate_run(
    run: Run, dataset: "PartDataset | None" = None, *, num_workers: int = 0, cache: "FeatureCache | None" = None
) -> Evaluation:
    """Measure a run on the pictures kept out of it, and write metrics.json.

    Args:
        run: any.
        dataset: the pictures kept out, where they are open already.
        num_workers: processes that decode pictures.
        cache: where the trunk's maps of whole pictures are kept and looked for. None: the trunk runs.
    """
    from partcnn.evaluation.measurement import evaluate

    features = None
    if cache is not None and isinstance(run.model, PartNetwork):
        from partcnn.training.cached_features import picture_features

        features = partial(picture_features, run.model, cache=cache, num_workers=num_workers)
    pictures = dataset or run.dataset("test")
    evaluation = evaluate(run.model, pictures, num_workers=num_workers, features=features)
    evaluation.to_json(run.directory / METRICS_FILE)
    write_card(run.directory)
    return evaluation


def open_run(directory: str | Path) -> Run:
    """A run that was trained before.

    Raises:
        RunError: the directory is missing, incomplete or malformed.
    """
    directory = Path(directory)
    settings = read_settings(directory)
    return Run(directory, load(directory), settings)


def figures_of(directory: str | Path) -> Evaluation:
    """The figures of a run directory; its network is opened only where metrics.json is missing.

    Raises:
        RunError: the directory is missing, incomplete or malformed.
        DataError: metrics.json is malformed.
    """
    directory = Path(directory)
    read_settings(directory)
    file = directory / METRICS_FILE
    return Evaluation.from_json(file) if file.is_file() else evaluate_run(open_run(directory))


def run_evaluation(run: Run) -> Evaluation:
    """The figures in metrics.json, measured now where the file is missing."""
    file = run.directory / METRICS_FILE
    return Evaluation.from_json(file) if file.is_file() else evaluate_run(run)


def followed_parts(run: Run) -> dict[int, str]:
    """Filter → `FilterEvaluation.part_name`, where it has one."""
    file = run.directory / METRICS_FILE
    filters = Evaluation.from_json(file).filters if file.is_file() else []
    return {figures.filter: figures.part_name for figures in filters if figures.part_name}


def check_free(directory: Path, force: bool) -> None:
    """Raises RunError where a new run cannot be written: a file, another run without `force`, or other files."""
    if directory.exists() and not directory.is_dir():
        raise RunError(f"out: expected a directory, got the file {directory}")
    if not directory.exists() or not any(directory.iterdir()):
        return
    if not force:
        raise RunError(f"out: {directory} exists already; give another --out, or --force to replace the run")
    if not (directory / SETTINGS_FILE).is_file():
        raise RunError(f"out: {directory} is not empty and no run; --force replaces runs only")
