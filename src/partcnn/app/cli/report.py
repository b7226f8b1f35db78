"""partcnn report: one page that shows every filter."""

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
    from partcnn.app.runs.opening import open_run
    from partcnn.app.runs.reports import report_run

    written = report_run(open_run(options.run), options.out, data=options.data, compare=options.compare)
    console().print(f"report: {written}", soft_wrap=True)
    return DONE
