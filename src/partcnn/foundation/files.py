"""Files written whole, under a temporary name beside the place, then renamed; and whether a file is still the same."""

import os
import stat
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


def read_whole(path: Path, most_bytes: int) -> bytes:
    """The bytes of a plain file, read once.

    Args:
        path: of the file; opening a pipe or a device in its place would wait, or never end.
        most_bytes: that are read.

    Raises:
        OSError: it cannot be read, is no plain file, or holds more.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no plain file")
        content = file.read(most_bytes + 1) if status.st_size <= most_bytes else b""
        if status.st_size > most_bytes or len(content) > most_bytes:
            raise OSError(f"it holds more than {most_bytes >> 20} MiB")
        return content


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it: a reader sees the old file or the new one.

    Names of files may hold bytes that are no text; each becomes a "?".
    """
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="replace"))


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`; on an error nothing is left."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes it readable by its owner alone
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
