"""partcnn names: what the filters of a run are called."""

import json
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json
from partcnn.app.cli.tables import console, name_table
from partcnn.foundation.errors import ConfigError


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory, or one that partcnn.save wrote")
    parser.add_argument("--import", dest="source", type=str | None, help="take all names from this names.yaml")
    parser.add_argument(
        "--set", dest="given", nargs="+", default=[], help='NUMBER=NAME, such as 3="left ear"; 3= takes its name away'
    )
    parser.add_argument(
        "--propose", action="store_true", help="name filters that have none after the annotated part they follow"
    )
    parser.add_argument("--export", dest="target", type=str | None, help="write the names to this file too")
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.runs.opening import kept_figures, open_network
    from partcnn.evaluation.proposals import proposed_names
    from partcnn.model.naming import filter_names, name_filters, num_filters
    from partcnn.model.saving.checkpoint import save_names
    from partcnn.model.saving.names_file import read_names, write_names
    from partcnn.model.saving.shipped import run_directory

    target = None if options.target is None else Path(options.target)
    if target is not None and target.is_dir():
        raise ConfigError(f"export: expected a file name, got the directory {target}; add names.yaml")
    model, kept = open_network(options.run), kept_figures(run_directory(options.run))
    proposals = {} if kept is None else proposed_names(kept)
    before = names = filter_names(model)
    if options.source is not None:
        if not Path(options.source).is_file():
            raise ConfigError(f"import: expected a file of names, found none at {options.source}")
        names = read_names(Path(options.source), num_filters(model))
    names = _without_empty(names | dict(map(_numbered, options.given)))
    if options.propose:
        names = {number: proposal.name for number, proposal in proposals.items()} | names
    name_filters(model, names)
    names = filter_names(model)
    if names != before:
        save_names(model, options.run)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_names(names, target)
    rows = [_row(number, names, proposals) for number in range(num_filters(model))]
    if options.json:
        print(json.dumps({"filters": rows}, indent=2))
        return DONE
    console().print(name_table(options.run, rows, is_measured=kept is not None))
    return DONE


def _numbered(given: str) -> tuple[int, str]:
    number, sign, name = given.partition("=")
    if not sign or not number.strip().isdecimal() or len(number) > 10:
        raise ConfigError(f'set: expected NUMBER=NAME, such as 3="left ear", got {given!r:.60}')
    return int(number), name


def _without_empty(names: dict[int, str]) -> dict[int, str]:
    return {number: name for number, name in names.items() if name.strip()}


def _row(number: int, names: dict[int, str], proposals: dict[int, Any]) -> dict[str, Any]:
    proposal = proposals.get(number)
    return {
        "filter": number,
        "name": names.get(number),
        "proposed": None if proposal is None else proposal.name,
        "r2": None if proposal is None else proposal.r2,
    }
