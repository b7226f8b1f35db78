"""Runs that a comparison is made of: an interrupted one goes on where it stopped."""

from dataclasses import replace
from pathlib import Path

from partcnn.app.runs import RunSettings, open_run, run_evaluation, train_run
from partcnn.evaluation import Evaluation
from partcnn.model.saving.checkpoint import METRICS_FILE


def trained_or_read(settings: RunSettings) -> Evaluation:
    """The evaluation of the run in the settings' directory, which is trained where it is missing or was cut short."""
    directory = Path(settings.out)
    if (directory / METRICS_FILE).is_file():
        return run_evaluation(open_run(directory))
    _, _, evaluation = train_run(replace(settings, force=directory.is_dir()), is_progress_shown=False)
    if evaluation is None:
        raise KeyboardInterrupt
    return evaluation
