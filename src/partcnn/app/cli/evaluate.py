"""partcnn evaluate: a run's figures on pictures that it was not trained on."""

from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json, add_pictures, add_workers, are_own_pictures, chosen_pictures
from partcnn.app.cli.tables import console
from partcnn.foundation.errors import ConfigError

_PROTOCOL = ("top", "places", "radius_px", "iou_threshold")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory; demo: comes with the package")
    add_pictures(parser)
    add_workers(parser)
    parser.add_argument("--top", type=int | None, help="strongest pictures per filter and part; default 100")
    parser.add_argument("--places", type=str | None, help="peak or expected; without it as the network reads them")
    parser.add_argument("--radius-px", type=float | None, help="of the discs around cells; default two strides")
    parser.add_argument("--iou-threshold", type=float | None, help="above which a part is hit; default 0.2")
    parser.add_argument(
        "--faithfulness",
        action="store_true",
        help="also test explanations by insertion and deletion; some 100 passes of the network a picture",
    )
    parser.add_argument("--faithfulness-pictures", type=int | None, help="the same on at most so many; default 32")
    parser.add_argument("--csv", type=str | None, help="also write a row per filter to this file")
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.runs.faithfulness import faithfulness_of
    from partcnn.app.runs.opening import about, evaluate_run, open_run
    from partcnn.evaluation.faithfulness import NUM_IMAGES
    from partcnn.evaluation.measurement import evaluate
    from partcnn.evaluation.observation.protocol import Protocol

    given = {name: options[name] for name in _PROTOCOL if options[name] is not None}
    protocol = Protocol(**given)
    if options.csv is not None and Path(options.csv).is_dir():
        raise ConfigError(f"csv: expected a file name, got the directory {options.csv}; add filters.csv")
    if options.faithfulness_pictures is not None and options.faithfulness_pictures < 1:
        raise ConfigError(f"faithfulness-pictures: expected at least 1, got {options.faithfulness_pictures}")
    num_faithfulness = options.faithfulness_pictures or (NUM_IMAGES if options.faithfulness else 0)
    run = open_run(options.run)
    if are_own_pictures(options) and not given:
        evaluation = evaluate_run(run, num_workers=options.workers, must_keep=False, num_faithfulness=num_faithfulness)
    else:
        dataset = chosen_pictures(run, options)
        evaluation = evaluate(run.model, dataset, num_workers=options.workers, protocol=protocol)
        evaluation = replace(evaluation, run=about(run))
        if num_faithfulness:
            found = faithfulness_of(run.model, dataset, num_faithfulness, num_workers=options.workers)
            evaluation = replace(evaluation, faithfulness=found)
    if options.csv is not None:
        Path(options.csv).parent.mkdir(parents=True, exist_ok=True)
        evaluation.to_csv(options.csv)
    if options.json:
        print(evaluation.dumps())
        return DONE
    tables = [evaluation.table(), evaluation.filter_table()]
    tables += [evaluation.category_table()] if len(evaluation.by_category) > 1 else []
    tables += [evaluation.part_table()] if evaluation.parts else []
    tables += evaluation.faithfulness.tables() if evaluation.faithfulness is not None else []
    console().print(*tables)
    return DONE
