"""The page of a run, with its figures, its audit and the curves of its training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from partcnn.app.named_data import check_named
from partcnn.app.runs.audits import run_audit
from partcnn.app.runs.opening import Run, figures_of, run_evaluation
from partcnn.model.saving.shipped import is_shipped
from partcnn.reporting import report


def report_run(
    run: Run, path: str | Path | None = None, *, data: str | None = None, compare: Sequence[str | Path] = ()
) -> Path:
    """Write one page on what each filter of a run follows, see `partcnn.report`.

    Args:
        run: measured and audited now, where it was not.
        path: of the page; None takes report.html in the run directory, of the package's own run in the present one.
        data: its pictures, KIND:PLACE; None takes those of its settings, where somebody trained on them here.
        compare: directories of other runs on the same pictures.

    Returns:
        The path.

    Raises:
        RunError: `data` is None, and nobody named the run's pictures on this machine; another run is none.
        DataError, ConfigError: as of `partcnn.report`.
    """
    if data is None:
        check_named(run.settings.data, run.directory)
    else:
        run = replace(run, settings=replace(run.settings, data=data))
    names = [Path(other).resolve().name for other in compare]
    names = names if len({*names}) == len(names) else list(map(str, compare))
    others = {name: figures_of(other) for name, other in zip(names, compare, strict=True)}
    log = run.directory / "log" / "metrics.csv"
    folder = Path() if is_shipped(run.directory) else run.directory
    return report(
        run.model,
        run.dataset("test"),
        folder / "report.html" if path is None else path,
        evaluation=run_evaluation(run),
        compare=others,
        log=log if log.is_file() else None,
        audit=run_audit(run),
    )
