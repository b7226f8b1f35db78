"""What is printed to: a terminal, a file or a pipe, of whatever letters, which may be closed or full."""

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator

_LIKENESSES = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "—": "-",
        "…": "...",
        "×": "x",
        "²": "2",
        "≥": ">=",
        "≤": "<=",
        "→": "->",
        "·": ".",
        "λ": "lambda",
        "β": "beta",
        "τ": "tau",
        "±": "+-",
        "━": "-",
    }
)


def set_up_streams() -> None:
    """From now on what a stream cannot show is replaced: signs by their likenesses, all else by "?"."""
    codecs.register_error("partcnn", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="partcnn")


@contextlib.contextmanager
def replacing() -> Iterator[None]:
    """`set_up_streams` for a while; also a decorator."""
    before = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    set_up_streams()
    try:
        yield
    finally:
        for stream, errors in before:
            stream.reconfigure(errors=errors)


def printable(text: str) -> str:
    """A text that others wrote: each sign that would steer a terminal, or is not seen, as its escape, as in "\\x1b"."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def is_text(name: str) -> bool:
    """Whether the name of a file is UTF-8: bytes that are none come from the system as half characters."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def flush() -> None:
    """Now, where an error is told, and not when the process ends."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """What is left of it would raise the same error again when the process ends."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end].translate(_LIKENESSES)
    return "".join(letter if letter.isascii() else "?" for letter in found), error.end
