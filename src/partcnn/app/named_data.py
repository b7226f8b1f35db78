"""Which pictures the user of this machine named to partcnn: a report embeds no others.

A run directory of a stranger says in run.yaml where its pictures lie. A report that took them from there would put
pictures of a folder that the stranger chose into a page that one may hand on.
"""

import contextlib
import hashlib
import os
from pathlib import Path

from partcnn.foundation.cache_place import default_directory
from partcnn.foundation.errors import RunError

_FOLDER = "named"  # within the directory of the cache; of each data set an empty file
DRAWN = "demo"


def remember(spec: str) -> None:
    """Called with what the user gave to train on. Without a place to keep it, a report asks for --data."""
    file = _file(spec)
    if file is not None:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def check_named(spec: str, directory: Path) -> None:
    """Raises RunError where a run directory speaks of pictures that were never named here."""
    file = _file(spec)
    if spec.partition(":")[0] == DRAWN or (file is not None and file.is_file()):
        return
    raise RunError(
        f"data: {directory} was not trained here on {spec}, whose pictures would be shown; if they are to be, "
        f"name them: --data {spec}"
    )


def _file(spec: str) -> Path | None:
    directory = default_directory()
    if directory is None:
        return None
    kind, _, place = spec.partition(":")
    whole = (kind, *(os.path.abspath(path) for path in place.split(",")))
    return directory / _FOLDER / hashlib.sha256(repr(whole).encode()).hexdigest()
