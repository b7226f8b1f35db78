"""Files written whole, under a temporary name beside the place, then renamed; and whether a file is still the same."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from partcnn.foundation.errors import PartCNNError


def as_path(value: object, error: type[PartCNNError], expected: str) -> Path:
    """The path that an argument is.

    Args:
        value: what was given.
        error, expected: what is raised of anything else, and the beginning of its sentence.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise error(f"{expected}, got {value!r:.50} ({type(value).__name__})")
    return Path(value)


def file_state(path: Path) -> tuple[int, ...] | None:
    """Another one after each change of a file, also where its size and date are kept; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it: a reader sees the old file or the new one.

    Names of files may hold bytes that are no text; each becomes a "?".
    """
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="replace"))


def replace_file(path: Path, write: Callable[[Path], Any], *, is_synced: bool = False) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`; on an error nothing is left.

    Args:
        path: of the file.
        write: called with the temporary file.
        is_synced: wait until it is on the disk, so that the machine may lose its power at any moment.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes it readable by its owner alone
        if is_synced:
            _sync(temporary)
        os.replace(temporary, path)
        if is_synced:
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
