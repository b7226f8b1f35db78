"""Locks that end with their holder: none is left over by a process that was killed."""

import contextlib
import errno
import logging
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

try:
    import fcntl as _module
except ImportError:  # Windows: nothing is locked there
    _fcntl: ModuleType | None = None
else:
    _fcntl = _module

_log = logging.getLogger("partcnn")
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


def try_lock(handle: int) -> bool:
    """Lock an open file or directory against all others; False where another has it.

    Where the file system knows no locks, which is logged, this is True.
    """
    if _fcntl is None:
        return True
    try:
        _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        _log.debug("nothing is locked: %s", error)
    return True


class DirectoryLock:
    """A lock on a directory itself, whatever it is called by then. Processes that are forked do not hold it.

    Args:
        handle: of the open directory; None where directories cannot be opened.
    """

    def __init__(self, handle: int | None) -> None:
        self._handle = handle
        _held.add(self)

    def release(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with contextlib.suppress(OSError):
                os.close(handle)

    def __del__(self) -> None:
        self.release()


_held: "weakref.WeakSet[DirectoryLock]" = weakref.WeakSet()


def _let_go() -> None:
    """A forked worker that outlives its parent would keep the locks."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def lock_directory(path: Path, make: Callable[[], None] | None = None) -> DirectoryLock | None:
    """Lock the directory that is at `path`; None where another process has it.

    Args:
        path: of it.
        make: called before each look, where it is to be made; it may be renamed away by its holder at any time.

    Raises:
        OSError: it cannot be made or opened.
    """
    while True:
        if make is not None:
            make()
        if _fcntl is None:
            return DirectoryLock(None)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            if make is None:
                raise
            continue
        lock = DirectoryLock(handle)
        if not try_lock(handle):
            lock.release()
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return lock
        lock.release()  # another one stands there by now
