"""partcnn doctor: what is installed, and what is missing for what."""

import json

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json
from partcnn.app.cli.tables import console, extra_table, library_table, machine_table


def add_options(parser: ArgumentParser) -> None:
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.installation import installation

    found = installation()
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
        return DONE
    console().print(machine_table(found), library_table(found.libraries), extra_table(found.extras))
    if found.faults:
        names = " ".join(f"'{library.name}{library.needed}'" for library in found.faults)
        console().print(f"what partcnn needs is not all there: pip install {names}", soft_wrap=True)
    else:
        console().print("everything that partcnn always needs is there")
    return DONE
