"""partcnn audit: do decisions come from the object's parts, or from what lies around it?"""

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json, add_workers
from partcnn.app.cli.tables import audit_tables, console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory; demo: comes with the package")
    parser.add_argument("--data", type=str | None, help="other pictures than the run's own, KIND:PLACE")
    parser.add_argument("--split", type=str, default="test", help="train, test or all")
    add_workers(parser)
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.runs.audits import audit_run
    from partcnn.app.runs.opening import followed_parts, open_run
    from partcnn.datasets.loading import load_dataset
    from partcnn.evaluation.audit import audit
    from partcnn.model.naming import filter_names

    run = open_run(options.run)
    if options.data is None and options.split == "test":
        found = audit_run(run, num_workers=options.workers)
    else:
        spec, settings = options.data or run.settings.data, run.settings
        pictures = load_dataset(
            spec, category=settings.category, split=options.split, max_bad=settings.max_bad, **run.crop
        )
        found = audit(run.model, pictures, num_workers=options.workers)
    if options.json:
        print(found.dumps())
        return DONE
    console().print(*audit_tables(found, followed_parts(run), filter_names(run.model)))
    return DONE
