"""partcnn audit: do decisions come from the object's parts, or from what lies around it?"""

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json, add_pictures, add_workers, are_own_pictures, chosen_pictures
from partcnn.app.cli.tables import audit_tables, console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory; demo: comes with the package")
    add_pictures(parser)
    add_workers(parser)
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.runs.audits import audit_run
    from partcnn.app.runs.opening import followed_parts, open_run
    from partcnn.evaluation.audit import audit
    from partcnn.model.naming import filter_names

    run = open_run(options.run)
    if are_own_pictures(options):
        found = audit_run(run, num_workers=options.workers)
    else:
        found = audit(run.model, chosen_pictures(run, options), num_workers=options.workers)
    if options.json:
        print(found.dumps())
        return DONE
    console().print(*audit_tables(found, followed_parts(run), filter_names(run.model)))
    return DONE
