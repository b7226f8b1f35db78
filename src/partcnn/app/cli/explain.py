"""partcnn explain: a decision as a sum of parts."""

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json
from partcnn.app.cli.tables import console, contribution_table
from partcnn.foundation.errors import ConfigError


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory; demo: comes with the package")
    parser.add_argument("images", nargs="+", help="picture files")
    parser.add_argument("--class", dest="label", type=str | None, help="the class to explain; else the predicted one")
    parser.add_argument("--against", type=str | None, help="a second class: why the first and not this one")
    parser.add_argument(
        "--hide",
        type=int,
        default=5,
        help="for how many contributions to tell the logit's change when their place is hidden",
    )
    parser.add_argument("--out", type=str | None, help="folder for pictures with the parts on them, and the numbers")
    add_json(parser)


def execute(options: Namespace) -> int:
    from partcnn.app.runs.opening import followed_parts, open_run
    from partcnn.explanation.explanation import explain
    from partcnn.explanation.naming import parts_told_apart

    run = open_run(options.run)
    names = [Path(image).stem for image in options.images]
    if options.out is not None and len(set(names)) < len(names):
        raise ConfigError("images: expected different file names, since the explanations are named after them")
    found, parts = [], followed_parts(run)
    for image, name in zip(options.images, names, strict=True):
        explanation = explain(run.model, image, options.label, against=options.against, hide=options.hide)
        found.append({"image": str(image), **explanation.to_dict()})
        if options.out is not None:
            Path(options.out).mkdir(parents=True, exist_ok=True)
            for ending in ("png", "json"):
                explanation.save(Path(options.out) / f"{name}.{ending}", parts=parts)
        if not options.json:
            console().print(contribution_table(image, explanation, parts_told_apart(explanation, parts)))
    if options.json:
        print(json.dumps(found, indent=2))
    elif options.out is not None:
        console().print(f"pictures with the parts on them, and their numbers: {options.out}")
    return DONE
