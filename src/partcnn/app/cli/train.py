"""partcnn train: settings → a run directory."""

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE, INTERRUPTED
from partcnn.app.cli.options import add_json
from partcnn.app.cli.quiet import quiet_lightning
from partcnn.app.cli.tables import console
from partcnn.app.settings import RunSettings, check_kinds

_SPELT_OUT = ("plain", "force", "max_bad")  # flags without a value, and a hyphen
_OF_RECORDS = ("pruned", "unread")
_SETTINGS = [name for name in RunSettings.__dataclass_fields__ if name not in _OF_RECORDS]


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="settings from a YAML file; flags win over it")
    parser.add_class_arguments(RunSettings, as_group=False, skip={*_SPELT_OUT, *_OF_RECORDS})
    parser.add_argument(
        "--plain", action="store_true", help="ordinary filters, as many, without filter loss, to compare with"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing run")
    parser.add_argument("--max-bad", type=int, default=10, help="unreadable pictures that may be left out")
    add_json(parser)


def settings_of(options: Namespace) -> RunSettings:
    """Raises ConfigError where one is not what it may be."""
    settings = RunSettings(**{name: options[name] for name in _SETTINGS})
    check_kinds(settings)
    return settings


def execute(options: Namespace) -> int:
    from partcnn.app.named_data import remember
    from partcnn.app.runs.training import train_run

    quiet_lightning()
    settings = settings_of(options)
    remember(settings.data)
    run, history, evaluation = train_run(settings, is_progress_shown=not options.json)
    if evaluation is None:
        console().print(f"interrupted after {len(history.epochs)} epochs; the network so far is in {run.directory}")
        return INTERRUPTED
    if options.json:
        print(evaluation.dumps())
        return DONE
    console().print(evaluation.table(), evaluation.filter_table())
    console().print(f"trained in {history.seconds:.0f} s; run directory: {run.directory}")
    return DONE
