"""partcnn train: settings → a run directory."""

import argparse
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE, INTERRUPTED
from partcnn.app.cli.options import add_json
from partcnn.app.cli.quiet import quiet_lightning
from partcnn.app.cli.tables import console
from partcnn.app.settings import TRAINING, RunSettings, check_kinds
from partcnn.foundation.errors import ConfigError
from partcnn.foundation.processes import is_first_process

_SPELT_OUT = ("plain", "force", "max_bad")  # flags without a value, and a hyphen
_NOT_ALWAYS = ("data", "out")  # with --resume
_OF_RECORDS = ("pruned", "unread")
_OF_THE_MACHINE = (
    "workers",
    "cache",
    "devices",
    "num_nodes",
    "strategy",
    "logger",
)  # change nothing of what is trained
_NO_SETTINGS = ("resume", "json", "config", TRAINING)
_SETTINGS = [name for name in RunSettings.__dataclass_fields__ if name not in _OF_RECORDS]


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="settings from a YAML file; flags win over it")
    parser.add_argument("--resume", type=str | None, help="go on with this run, by its own settings")
    parser.add_argument(
        "--data",
        type=str | None,
        help="pictures, KIND:PLACE: folder:PATH, animalpart:PATH, cub:PATH, pascal-part:PATH, coco:IMAGES,JSON, demo:",
    )
    parser.add_argument("--out", type=str | None, help="the run directory, which must not exist")
    parser.add_class_arguments(RunSettings, as_group=False, skip={*_SPELT_OUT, *_NOT_ALWAYS, *_OF_RECORDS})
    parser.add_argument(
        "--plain", action="store_true", help="ordinary filters, as many, without filter loss, to compare with"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing run, once the new one is whole")
    parser.add_argument("--max-bad", type=int, default=10, help="unreadable pictures that may be left out")
    parser.add_argument(f"--{TRAINING}", type=dict | None, help=argparse.SUPPRESS)  # of a run.yaml given as --config
    add_json(parser)


def settings_of(options: Namespace) -> RunSettings:
    """Raises ConfigError where one is not what it may be."""
    settings = RunSettings(**{name: options[name] for name in _SETTINGS})
    check_kinds(settings)
    return settings


def execute(options: Namespace) -> int:
    status = _trained(options)
    from partcnn.training.devices import leave_devices  # not before: bad input is told without Lightning

    leave_devices()
    return status


def _trained(options: Namespace) -> int:
    from partcnn.app.named_data import remember
    from partcnn.app.runs.training import resume_run, train_run

    is_progress_shown = not options.json
    if options.resume is None:
        missing = [f"--{name}" for name in _NOT_ALWAYS if options[name] is None]
        if missing:
            raise ConfigError(f"train: expected {' and '.join(missing)}, or --resume RUN")
        quiet_lightning()
        settings = settings_of(options)
        remember(settings.data)
        run, history, evaluation = train_run(settings, is_progress_shown=is_progress_shown)
    else:
        quiet_lightning()
        changes = _changes(options.given, Path(options.resume))
        run, history, evaluation = resume_run(options.resume, changes, is_progress_shown=is_progress_shown)
    if not is_first_process():  # of several devices one speaks
        return INTERRUPTED if history.is_interrupted else DONE
    if evaluation is None:
        return INTERRUPTED
    if options.json:
        print(evaluation.dumps())
        return DONE
    console().print(evaluation.table(), evaluation.filter_table())
    told = f"trained in {history.seconds:.0f} s" if history.epochs else "nothing to do: the run is whole"
    console().print(f"{told}; run directory: {run.directory}")
    return DONE


def _changes(given: Namespace, run: Path) -> dict[str, Any]:
    """Of the flags given beside --resume those that a run may change.

    Raises:
        ConfigError: another one differs from the run's own.
    """
    from partcnn.app.runs.place import settings_of

    flags = {name: value for name, value in vars(given.as_flat()).items() if name.split(".")[0] not in _NO_SETTINGS}
    own = settings_of(run)
    differing = [name for name, value in flags.items() if not _is_same(name, value, own)]
    if differing:
        told = ", ".join(f"--{name} {flags[name]}" for name in differing)
        raise ConfigError(f"resume: {run} was begun with other settings than {told}; leave out what differs")
    return {name: flags[name] for name in _OF_THE_MACHINE if name in flags}


def _is_same(name: str, value: Any, own: RunSettings) -> bool:
    """Whether a flag says what the run was begun with. What None and "auto" took stands in its record."""
    found: Any = own
    for word in name.split("."):
        found = getattr(found, word)
    if name == "out":
        return Path(value).resolve() == Path(found).resolve()
    return value in (None, "auto", found) or name in _OF_THE_MACHINE
