"""partcnn report: one page that shows every filter."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory")
    parser.add_argument("--compare", nargs="+", default=[], help="other runs on the same pictures")
    parser.add_argument("--out", type=str | None, help="the page; default report.html in the run directory")


def execute(options: Namespace) -> int:
    from partcnn.app.runs.opening import figures_of, open_run, run_evaluation
    from partcnn.reporting import report

    run = open_run(options.run)
    names = [Path(other).resolve().name for other in options.compare]
    names = names if len({*names}) == len(names) else list(options.compare)
    others = {name: figures_of(other) for name, other in zip(names, options.compare, strict=True)}
    path = Path(options.out) if options.out else run.directory / "report.html"
    log = run.directory / "log" / "metrics.csv"
    written = report(
        run.model,
        run.dataset("test"),
        path,
        evaluation=run_evaluation(run),
        compare=others,
        log=log if log.is_file() else None,
    )
    console().print(f"report: {written}", soft_wrap=True)
    return DONE
