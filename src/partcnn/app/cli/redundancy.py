"""partcnn redundancy: how much the filters of runs say the same."""

import json

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json, add_workers
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory; demo: comes with the package")
    parser.add_argument("others", nargs="*", default=[], help="other runs beside it, such as the plain one")
    add_workers(parser)
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.runs.opening import followed_parts, open_run
    from partcnn.evaluation.redundancy import measure_redundancy, redundancy_table

    runs = {name: open_run(name) for name in (options.run, *options.others)}
    found = {
        name: measure_redundancy(run.model, run.dataset("test"), num_workers=options.workers)
        for name, run in runs.items()
    }
    if options.json:
        print(json.dumps({name: figures.to_dict() for name, figures in found.items()}))
        return DONE
    console().print(redundancy_table(found, {name: followed_parts(run) for name, run in runs.items()}))
    return DONE
