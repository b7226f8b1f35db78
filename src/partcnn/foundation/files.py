"""Files written whole, under a temporary name beside the place, then renamed; and whether a file is still the same."""

import contextlib
import glob
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from partcnn.foundation.errors import PartCNNError
from partcnn.foundation.locks import lock_directory

_UNFINISHED = ".partial"  # ending of temporary names
_ABANDONED_S = 60.0  # a folder that is written to is locked, but for the moment after it is made
_BLOCK = 2**20


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


def file_digest(path: Path) -> str | None:
    """The SHA-256 of a file's bytes, in hexadecimal; None where there is no file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return digest.hexdigest()


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


def replace_file(path: Path, write: Callable[[Path], Any], *, is_synced: bool = False) -> None:
    """Let `write` fill a file in a temporary folder beside `path`, then rename it; on an error nothing is left.

    What a process that was killed left of the same file is removed.

    Args:
        path: of the file.
        write: called with the temporary file.
        is_synced: wait until it is on the disk, so that the machine may lose its power at any moment.
    """
    remove_abandoned(path.parent, path.name)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED))
    lock = lock_directory(folder)
    try:
        temporary = folder / path.name
        write(temporary)
        temporary.chmod(0o644)  # libraries may make it readable by its owner alone
        if is_synced:
            _sync(temporary)
        os.replace(temporary, path)
        if is_synced:
            _sync(path.parent)
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            if lock is not None:
                lock.release()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_abandoned(directory: Path, name: str | None = None, *, least_age_s: float = _ABANDONED_S) -> None:
    """Remove temporary folders of `replace_file` that nobody writes to: not locked, and a minute old.

    Args:
        directory: they lie in.
        name: of the file that they were to become; None for those of all.
        least_age_s: of those that are removed, in seconds.
    """
    pattern = f".{'*' if name is None else glob.escape(name)}.????????{_UNFINISHED}"
    for found in glob.glob(pattern, root_dir=directory):
        folder = directory / found
        with contextlib.suppress(OSError):  # gone, or another user's
            if time.time() - folder.stat().st_mtime < least_age_s:
                continue
            lock = lock_directory(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()


def save_tensors(
    tensors: Mapping[str, Any], path: Path, metadata: Mapping[str, str] | None = None, *, is_synced: bool = False
) -> None:
    """Write a safetensors file, replaced whole; `is_synced` as of `replace_file`.

    Raises:
        OSError: it cannot be written, such as on a full disk.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    told = None if metadata is None else dict(metadata)
    try:
        replace_file(path, lambda file: save_file(dict(tensors), file, metadata=told), is_synced=is_synced)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
