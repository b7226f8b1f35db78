"""partcnn compare: runs side by side."""

import json

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", help="run directories; each is compared with the first")
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        help="as many other runs, in the same order: one method against another, the runs being the pairs",
    )
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.runs.opening import figures_of
    from partcnn.evaluation.comparison import compare, compare_methods, methods_table

    evaluations = {run: figures_of(run) for run in (*options.runs, *options.against)}
    if options.against:
        groups = [[evaluations[run] for run in group] for group in (options.against, options.runs)]
        differences = compare_methods(*groups)
        if options.json:
            print(json.dumps({measure: difference.to_dict() for measure, difference in differences.items()}))
        else:
            console().print(methods_table(differences))
        return DONE
    comparison = compare(evaluations)
    if options.json:
        against = comparison.to_dict()
        printed = {
            run: json.loads(figures.dumps()) | {"against_first": against.get(run, {})}
            for run, figures in evaluations.items()
        }
        print(json.dumps(printed))
        return DONE
    console().print(comparison.table())
    return DONE
