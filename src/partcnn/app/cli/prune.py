"""partcnn prune: a run with fewer filters."""

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json, add_workers
from partcnn.app.cli.quiet import quiet_lightning
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory")
    parser.add_argument("--out", type=str, required=True, help="run directory of the smaller network")
    parser.add_argument("--keep", type=float, default=0.25, help="share of the filters of each layer that stays")
    parser.add_argument("--finetune", type=int, default=0, help="epochs of training after the cut")
    parser.add_argument("--force", action="store_true", help="replace an existing run")
    add_workers(parser)
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.pruned_runs import prune_run
    from partcnn.app.runs.opening import open_run, run_evaluation
    from partcnn.evaluation.comparison import compare
    from partcnn.training.pruning import num_parameters

    quiet_lightning()
    run = open_run(options.run)
    pruned, after = prune_run(
        run,
        options.out,
        keep=options.keep,
        finetune=options.finetune,
        force=options.force,
        num_workers=options.workers,
        is_progress_shown=not options.json,
    )
    if options.json:
        print(after.dumps())
        return DONE
    before = run_evaluation(run)
    console().print(compare({options.run: before, options.out: after}).table())
    sizes = [num_parameters(each.model) for each in (run, pruned)]
    console().print(f"weights above the trunk: {sizes[0]} → {sizes[1]}; run directory: {pruned.directory}")
    return DONE
