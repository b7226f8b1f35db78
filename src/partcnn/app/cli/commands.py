"""The command line: parse, call, print.

Each command has a file of its own beside this one, with `add_options` and `execute`. It is imported when the command
is given: `partcnn --help` costs neither torch nor any of them.
"""

import contextlib
import importlib
import logging
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from rich.logging import RichHandler

from partcnn.app.cli.exit_status import BAD_INPUT, DONE, INTERRUPTED
from partcnn.app.cli.failures import in_one_line
from partcnn.foundation.allocator import keep_freed
from partcnn.foundation.errors import ConfigError, PartCNNError
from partcnn.foundation.plain_yaml import read_plain_yaml
from partcnn.foundation.processes import is_first_process
from partcnn.foundation.signals import Stopped, stopping
from partcnn.foundation.streams import drop_output, flush, set_up_streams
from partcnn.foundation.terminal import PlainConsole, PlainFormatter
from partcnn.foundation.version import package_version

COMMANDS = {
    "train": "train a network with part filters and measure it",
    "evaluate": "measure a run on pictures it was not trained on",
    "explain": "show which parts made a decision",
    "report": "write one page that shows every filter",
    "figure": "draw a figure for a paper: filters, parts, one decision, or the training",
    "audit": "say whether decisions come from the object's parts or from what lies around it",
    "names": "show and give names to the filters of a run",
    "view": "a page on this machine where a picture of your own is explained",
    "redundancy": "measure how much the filters of runs say the same",
    "prune": "cut filters out of a run's network",
    "export": "write the network as one file that runs without partcnn, or as a page that explains in the browser",
    "compare": "put runs side by side",
    "info": "count a data set's pictures and parts and draw some, or list a network's layers",
    "benchmark": "put finished or new runs into the form of published tables",
    "demo": "train on drawn animals, with and without part filters, and write the page",
    "completion": "print a script with which a shell completes commands and options",
    "doctor": "say what is installed, what is missing for which command, and what the machine has",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and tell how it ended.

    What the terminal, or the file that output goes to, cannot show is replaced. Output that nobody reads on is no
    error.

    Returns:
        0: done. 2: bad input, or what the machine refuses (a full disk, no memory), told in one line. 130, 143, 129:
        stopped by Ctrl-C, SIGTERM or SIGHUP; what was trained is saved. A second signal ends the process at once.
    """
    keep_freed()
    set_up_streams()
    errors = PlainConsole(stderr=True, soft_wrap=True)
    _set_up_logging(errors)
    with stopping() as stop:
        try:
            status = _executed(sys.argv[1:] if arguments is None else arguments)
            return stop.exit_status if status == INTERRUPTED else status
        except BrokenPipeError:  # of `| head`
            drop_output()
            return DONE
        except KeyboardInterrupt as error:
            _tell(errors, f"stopped by {error}" if isinstance(error, Stopped) else "stopped")
            return stop.exit_status
        except Exception as error:
            told = in_one_line(error)
            if told is None:
                raise
            if isinstance(error, OSError):
                drop_output()
            _tell(errors, told)
            return BAD_INPUT


def _executed(arguments: Sequence[str]) -> int:
    parser = parser_of({given_command(arguments)})
    options = options_of(parser, arguments)
    chosen = options[options.command]
    if getattr(chosen, "resume", None) is not None:
        chosen.given = parser.parse_args(arguments, defaults=False)[options.command]
    status: int = _module(options.command).execute(chosen)
    flush()
    return status


def _tell(errors: PlainConsole, message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        errors.print(f"partcnn: {message}", style="red", highlight=False)


def given_command(arguments: Sequence[str]) -> str | None:
    """The first word that is no option; options before it take no value."""
    return next((word for word in arguments if not word.startswith("-")), None)


def options_of(parser: ArgumentParser, arguments: Sequence[str]) -> Any:
    """The options of a command line.

    Raises:
        ArgumentError: one of them is not what it may be.
        ConfigError: a file of settings is no plain YAML.
    """
    for place, word in enumerate(arguments):
        name, _, value = word.partition("=")
        following = "".join(arguments[place + 1 : place + 2])
        if name == "--config":
            _check_settings(Path(value or following))
    try:
        return parser.instantiate(parser.parse_args(arguments))
    except PartCNNError:
        raise
    except (RecursionError, TypeError, ValueError, OverflowError) as error:  # jsonargparse's: `recipe: null`, 10⁴⁰⁰
        raise ConfigError(f"config: expected settings as --help lists them, got others ({error})") from error


def _check_settings(file: Path) -> None:
    """Before the parser reads it, which never ends on a value that holds itself."""
    try:
        if file.is_file():
            read_plain_yaml(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"config: expected a YAML file in UTF-8, got another one ({error})") from error
    except ValueError as error:
        raise ConfigError(f"config: expected a YAML file of settings by name, got another one ({error})") from error


def parser_of(given: Collection[str | None]) -> ArgumentParser:
    """Knows every command by its line of help, and the options of those that were given."""
    parser = ArgumentParser(
        prog="partcnn", description="Part filters for any CNN.", version=package_version(), exit_on_error=False
    )
    commands = parser.add_subcommands(dest="command")
    for name, line in COMMANDS.items():
        command = ArgumentParser(prog=f"partcnn {name}", exit_on_error=False)
        commands.add_subcommand(name, command, help=line)
        if name in given:  # after, since a command may have commands of its own
            _module(name).add_options(command)
    return parser


def _module(command: str) -> Any:
    return importlib.import_module(f"partcnn.app.cli.{command}")


def _set_up_logging(errors: PlainConsole) -> None:
    handler = RichHandler(console=errors, show_path=False, show_time=False, show_level=False)
    handler.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("partcnn").setLevel(logging.INFO if is_first_process() else logging.ERROR)
