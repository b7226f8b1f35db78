"""Runs that a comparison is made of: an interrupted one goes on where it stopped."""

from collections.abc import Collection
from pathlib import Path

from partcnn.app.runs import RunSettings, begun_or_new, evaluate_run, is_finished, open_run, run_evaluation
from partcnn.evaluation import Evaluation
from partcnn.foundation.disk_cache import default_cache


def trained_or_read(settings: RunSettings, measures: Collection[str] = ()) -> Evaluation:
    """The evaluation of the run in the settings' directory, which is trained where it is missing or was cut short, and
    measured anew where one of these measures was not taken."""
    directory = Path(settings.out)
    if is_finished(directory):
        run = open_run(directory)
        known = run_evaluation(run)
        return known if known.summary.keys() >= {*measures} else evaluate_run(run, cache=default_cache())
    _, _, evaluation = begun_or_new(settings, is_progress_shown=False)
    if evaluation is None:
        raise KeyboardInterrupt
    return evaluation
