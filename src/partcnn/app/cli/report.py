"""partcnn report: one page that shows every filter."""

from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory; demo: comes with the package")
    parser.add_argument(
        "--data", type=str | None, help="its pictures, KIND:PLACE; needed where the run was not trained on them here"
    )
    parser.add_argument("--compare", nargs="+", default=[], help="other runs on the same pictures")
    parser.add_argument("--out", type=str | None, help="the page; default report.html in the run directory")


def execute(options: Namespace) -> int:
    from partcnn.app.named_data import check_named
    from partcnn.app.runs.audits import run_audit
    from partcnn.app.runs.opening import figures_of, open_run, run_evaluation
    from partcnn.model.saving.shipped import is_shipped
    from partcnn.reporting import report

    run = open_run(options.run)
    if options.data is None:
        check_named(run.settings.data, run.directory)
    else:
        run = replace(run, settings=replace(run.settings, data=options.data))
    names = [Path(other).resolve().name for other in options.compare]
    names = names if len({*names}) == len(names) else list(options.compare)
    others = {name: figures_of(other) for name, other in zip(names, options.compare, strict=True)}
    folder = Path() if is_shipped(run.directory) else run.directory
    path = Path(options.out) if options.out else folder / "report.html"
    log = run.directory / "log" / "metrics.csv"
    written = report(
        run.model,
        run.dataset("test"),
        path,
        evaluation=run_evaluation(run),
        compare=others,
        log=log if log.is_file() else None,
        audit=run_audit(run),
    )
    console().print(f"report: {written}", soft_wrap=True)
    return DONE
