"""Where the curves of a training go beside log/metrics.csv: Lightning's own loggers, by name.

wandb and mlflow write where their own settings say (WANDB_DIR, WANDB_MODE, MLFLOW_TRACKING_URI, …), under the project
or experiment "partcnn", and get the settings of the run and its figures too.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from partcnn.app.settings import RunSettings
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.errors import ConfigError

PROJECT = "partcnn"


def check_loggers(settings: RunSettings) -> None:
    """Raises ConfigError where a logger is not known or not installed."""
    for name in _names(settings):
        if name not in _LOGGERS:
            raise ConfigError(f"logger: expected {', '.join(_LOGGERS)}, or several with commas between, got {name!r}")
        if name in _TRACKERS and importlib.util.find_spec(name) is None:
            raise ConfigError(f"logger: {name} is not installed; pip install 'partcnn[{name}]'")


@contextmanager
def opened_loggers(settings: RunSettings, directory: Path) -> Iterator[list[Logger]]:
    """Those that the settings name, beside metrics.csv; they are closed at the end, also after an error.

    Args:
        settings: of the run.
        directory: of the run, where it is made.

    Raises:
        ConfigError: wandb or mlflow refuses, as where nobody is logged in.
    """
    loggers: list[Logger] = []
    try:
        for name in _names(settings):
            loggers += _LOGGERS[name](settings, directory)
        yield loggers
    except BaseException:
        _close(loggers, is_failed=True)
        raise
    _close(loggers)


def _close(loggers: list[Logger], *, is_failed: bool = False) -> None:
    """Whatever one of them raises after a failure hides neither that nor the others' end."""
    for logger in loggers:
        with suppress(Exception) if is_failed else nullcontext():
            if is_failed:
                logger.finalize("failed")
            if isinstance(logger, WandbLogger):  # else the next training of this process would go on with its run
                logger.experiment.finish(exit_code=int(is_failed))


def log_figures(loggers: list[Logger], evaluation: Evaluation) -> None:
    """The summary of an evaluation, as "test/MEASURE", to those that compare runs."""
    figures = {
        f"test/{name}": figure for name, figure in evaluation.summary.items() if isinstance(figure, (int, float))
    }
    for logger in loggers:
        if not isinstance(logger, TensorBoardLogger):  # which shows curves, and only those
            logger.log_metrics(figures)


def _names(settings: RunSettings) -> list[str]:
    return [name.strip() for name in settings.logger.split(",")]


def _nothing(settings: RunSettings, directory: Path) -> list[Logger]:
    """metrics.csv is always written: the report draws it."""
    return []


def _tensorboard(settings: RunSettings, directory: Path) -> list[Logger]:
    return [TensorBoardLogger(directory / "log", name="", version="")]


def _tracker(name: str, logger_of: Callable[[str], Logger]) -> Callable[[RunSettings, Path], list[Logger]]:
    def opened(settings: RunSettings, directory: Path) -> list[Logger]:
        try:
            logger = logger_of(Path(settings.out).resolve().name)
            logger.log_hyperparams(settings.to_record())
        except Exception as error:  # of its own kinds
            raise ConfigError(f"logger: {name} refuses: {error}") from error
        return [logger]

    return opened


def _wandb(run: str) -> Logger:
    return WandbLogger(project=PROJECT, name=run, save_dir=os.environ.get("WANDB_DIR", "."))


def _mlflow(run: str) -> Logger:
    uri: str = importlib.import_module("mlflow").get_tracking_uri()
    return MLFlowLogger(experiment_name=PROJECT, run_name=run, tracking_uri=uri)


_TRACKERS = {"wandb": _tracker("wandb", _wandb), "mlflow": _tracker("mlflow", _mlflow)}
_LOGGERS = {"csv": _nothing, "tensorboard": _tensorboard, **_TRACKERS}
