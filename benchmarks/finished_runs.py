"""Runs that a comparison is made of: an interrupted one goes on where it stopped."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from partcnn.app.runs import RunSettings, evaluate_run, open_run, run_evaluation, train_run
from partcnn.evaluation import Evaluation
from partcnn.foundation.disk_cache import default_cache
from partcnn.model.saving.checkpoint import METRICS_FILE


def trained_or_read(settings: RunSettings, measures: Collection[str] = ()) -> Evaluation:
    """The evaluation of the run in the settings' directory, which is trained where it is missing or was cut short, and
    measured anew where one of these measures was not taken."""
    directory = Path(settings.out)
    if (directory / METRICS_FILE).is_file():
        run = open_run(directory)
        known = run_evaluation(run)
        return known if known.summary.keys() >= {*measures} else evaluate_run(run, cache=default_cache())
    _, _, evaluation = train_run(replace(settings, force=directory.is_dir()), is_progress_shown=False)
    if evaluation is None:
        raise KeyboardInterrupt
    return evaluation
