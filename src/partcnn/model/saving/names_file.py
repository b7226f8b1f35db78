"""names.yaml: what filters of the top part layer are called, NUMBER: NAME, to be read and written by hand.

It is read as what a stranger may have written.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml

from partcnn.foundation.errors import ConfigError, RunError
from partcnn.foundation.files import read_whole, write_text
from partcnn.foundation.plain_yaml import read_plain_yaml
from partcnn.model.naming import checked_names

NAMES_FILE = "names.yaml"
_MOST_BYTES = 2**20
_HEAD = "# Filters of the top part layer, NUMBER: NAME. Those that share a name are one line in an explanation.\n"


def read_names(file: Path, num_filters: int | None = None) -> dict[int, str]:
    """Filter → name; nothing where there is no file.

    Args:
        file: of that form.
        num_filters: of the network; None: any number may have a name.

    Raises:
        RunError: it cannot be read, holds something else, or names a filter that is not there.
    """
    if not file.exists() and not file.is_symlink():
        return {}
    try:
        names = read_plain_yaml(read_whole(file, _MOST_BYTES).decode("utf-8-sig"), has_doubles=False)
        names = {} if names is None else names
        if not isinstance(names, dict):
            raise ValueError(f"it holds a {type(names).__name__}")
        return checked_names(names, num_filters, str(file))
    except ConfigError as error:
        raise RunError(f"{error}; mend the file, or remove it") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{file}: expected names of filters, a line NUMBER: NAME for each ({error}); mend the file, or remove it"
        ) from error


def write_names(names: Mapping[int, str], file: Path) -> None:
    """Write the file, replaced whole; without names there is none.

    Raises:
        OSError: it cannot be written.
    """
    if names:
        lines = yaml.safe_dump(dict(names), allow_unicode=True, width=1000)
        write_text(file, _HEAD + lines)
    else:
        file.unlink(missing_ok=True)
