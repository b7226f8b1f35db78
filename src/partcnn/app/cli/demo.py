"""partcnn demo: drawn animals, with and without part filters."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.quiet import quiet_lightning
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=str, default="runs/demo", help="folder for the two runs and the page")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--category", type=str, default="giraffe", help="the animal whose parts are looked for")
    parser.add_argument("--count", type=int, default=150, help="drawn pictures per kind of animal")
    parser.add_argument("--epochs", type=int | None, help="fewer are quicker; the default shows the method's worth")
    parser.add_argument(
        "--pictures",
        type=str | None,
        help="train nothing, and write drawings that the network demo: never saw to this folder",
    )


def execute(options: Namespace) -> int:
    if options.pictures is not None:
        return _write_pictures(Path(options.pictures))
    from partcnn.app.demo import run_demo
    from partcnn.evaluation.comparison import compare

    quiet_lightning()
    page, evaluations = run_demo(
        Path(options.out), seed=options.seed, count=options.count, category=options.category, epochs=options.epochs
    )
    console().print(compare(evaluations).table())
    console().print(f"open this page: {page.resolve()}", soft_wrap=True)
    return DONE


def _write_pictures(directory: Path) -> int:
    from partcnn.app.drawings import unseen_drawings, write_drawings

    files = write_drawings(unseen_drawings(), directory)
    console().print(f"{len(files)} drawings, which the network demo: never saw: {directory}", soft_wrap=True)
    return DONE
