"""Where the files of a tar archive lie in it, and which archives a pattern names."""

import itertools
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from partcnn.datasets.annotations import Skips
from partcnn.datasets.paths import expanded
from partcnn.foundation.errors import DataError

NO_FILES = "entries of archives that are no files (links, devices, sparse files)"
LEADS_OUT = "entries of archives whose names lead out of them"
_MOST_ARCHIVES = 100_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))


class TarEntry(NamedTuple):
    """A file in an archive."""

    name: str
    offset: int  # of its content, in bytes
    size: int


def archives_of(pattern: str) -> list[Path]:
    """The archives that a pattern names, in its order: `train-{000..012}.tar`, `{a,b}.tar`, `train-*.tar`, or one file.

    Raises:
        DataError: one of them is missing, there is none, or the pattern names another machine or too many.
    """
    if _ADDRESS.match(pattern) and not expanded(pattern).exists():
        raise DataError(
            f"spec: expected shards on this machine, got {pattern[:80]!r}; copy them here: pictures are read in place, "
            "in any order"
        )
    paths: list[Path] = []
    for name in itertools.islice(_with_braces_filled(pattern), _MOST_ARCHIVES + 1):
        path = expanded(name)
        has_signs = any(sign in path.name for sign in "*?[") and not path.exists()
        paths += sorted(_matching(path)) if has_signs else [path]
    if len(paths) > _MOST_ARCHIVES:
        raise DataError(f"spec: expected at most {_MOST_ARCHIVES} shards, {pattern[:80]!r} names more")
    if not paths:
        raise DataError(f"spec: expected shards, such as train-{{000..012}}.tar, found none by {pattern[:80]!r}")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"spec: expected {len(paths)} shards by {pattern[:80]!r}; {len(missing)} are no files, the first "
            f"{missing[0]}"
        )
    if len(set(paths)) < len(paths):
        raise DataError(f"spec: expected every shard once, {pattern[:80]!r} names one again")
    return paths


def _matching(path: Path) -> list[Path]:
    try:
        return [found for found in path.parent.glob(path.name) if not found.name.startswith(".")]
    except (ValueError, NotImplementedError, OSError, re.error) as error:
        raise DataError(f"spec: expected a pattern of shards, got {path.name!r} ({error})") from error


def _with_braces_filled(pattern: str) -> Iterator[str]:
    """As a shell does, the first braces first: ranges of numbers, as wide as the first one is written, and lists."""
    braces = _BRACES.search(pattern)
    if braces is None or expanded(pattern).exists():
        yield pattern
        return
    span = _RANGE.fullmatch(braces[1])
    if span is None and "," not in braces[1]:
        raise DataError(f"spec: expected a range {{000..012}} or a list {{a,b}} in braces, got {braces[0][:80]!r}")
    inner: Iterator[str] | list[str] = braces[1].split(",")
    if span is not None:
        first, last = int(span[1]), int(span[2])
        step = 1 if last >= first else -1
        inner = (f"{number:0{len(span[1])}d}" for number in range(first, last + step, step))
    for text in inner:
        yield from _with_braces_filled(pattern[: braces.start()] + text + pattern[braces.end() :])


def tar_entries(archive: Path, skips: Skips) -> list[TarEntry]:
    """All files of an archive, in its order; nothing is unpacked.

    Args:
        archive: not compressed.
        skips: entries that are no files, or whose names lead out of the archive, are left out and counted.

    Raises:
        DataError: it is no archive, compressed, damaged, cut short, or goes on behind its end.
    """
    found = []
    try:
        with archive.open("rb") as file:
            _check_kind(archive, file.read(8))
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:", errorlevel=1) as tar:
                end = 0
                for member in tar:
                    if member.size < 0 or member.offset < end or member.offset_data <= member.offset:
                        raise DataError(f"{archive}: expected a tar archive, its entry at byte {end} is damaged")
                    end = member.offset_data
                    if not member.isreg() or member.issparse():
                        if not member.isdir():
                            skips.add(NO_FILES, f"{archive}/{member.name}")
                    elif _leads_out(member.name):
                        skips.add(LEADS_OUT, f"{archive}/{member.name!r}")
                    else:
                        found.append(TarEntry(member.name, member.offset_data, member.size))
                _check_end(archive, file, tar.offset)
    except DataError:
        raise
    # damaged headers raise what each line of the parser happens to
    except (tarfile.TarError, OSError, ValueError, ArithmeticError, EOFError, RecursionError, LookupError) as error:
        raise DataError(f"{archive}: expected a tar archive, got {type(error).__name__}: {error}") from error
    return found


def _check_kind(archive: Path, head: bytes) -> None:
    for start, name in _COMPRESSED:
        if head.startswith(start):
            raise DataError(
                f"{archive}: expected a tar archive that is not compressed, got {name}; unpack it: pictures are "
                "compressed themselves, and are read in place"
            )


def _check_end(archive: Path, file: "tarfile._Fileobj", offset: int) -> None:
    """`tarfile` takes a damaged header for the end, and an archive that was cut between two entries for a whole one."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise DataError(f"{archive}: expected the mark of its end, the archive is cut short at byte {offset}")
    if any(block):
        raise DataError(f"{archive}: expected an entry or the mark of its end, got damaged bytes at {offset}")
    while rest := file.read(2**20):
        if any(rest):
            raise DataError(
                f"{archive}: expected nothing behind its end, at byte {offset}; archives that were put together need "
                "tar's --concatenate"
            )


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not name or "\0" in name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]
