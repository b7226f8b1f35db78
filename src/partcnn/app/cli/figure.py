"""partcnn figure: a figure for a paper."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory; demo: comes with the package")
    parser.add_argument(
        "--kind",
        choices=["filters", "parts", "explanation", "curves"],
        required=True,
        help="filters: a row of pictures each; parts: pictures with all filters on them; explanation: one decision as "
        "a sum; curves: the training",
    )
    parser.add_argument("--out", type=str, required=True, help="the file: .pdf, .svg or .png")
    parser.add_argument("--width", type=str, default="double", help="single (8.5 cm), double (17.5 cm), or in cm")
    parser.add_argument("--images", nargs="+", default=[], help="picture files; else some that were kept out")
    parser.add_argument("--class", dest="label", type=str | None, help="the class to explain; else the predicted one")
    parser.add_argument("--against", type=str | None, help="a second class: why the first and not this one")
    parser.add_argument("--filters", type=int, nargs="+", default=[], help="numbers of those that are drawn")
    parser.add_argument("--num-pictures", type=int | None, help="in a row of filters, or of parts in all; default 6")
    parser.add_argument("--dpi", type=int, default=300, help="dots an inch of the pictures in it")
    parser.add_argument(
        "--data", type=str | None, help="its pictures, KIND:PLACE; needed where the run was not trained on them here"
    )


def execute(options: Namespace) -> int:
    from partcnn.app.figures import FigureSettings, draw_figure
    from partcnn.app.runs.opening import open_run
    from partcnn.plot.papers import check_paper_file, paper_style, save_paper_figure, width_in_cm

    settings = FigureSettings(
        width_in_cm(options.width),
        images=options.images,
        label=options.label,
        against=options.against,
        filters=options.filters,
        num_pictures=options.num_pictures,
        data=options.data,
    )
    check_paper_file(Path(options.out), options.dpi)
    run = open_run(options.run)
    with paper_style():
        figure = draw_figure(run, options.kind, settings)
        path = save_paper_figure(figure, Path(options.out), dpi=options.dpi)
    console().print(f"figure: {path}", soft_wrap=True)
    return DONE
