"""Signals that ask the process to end: the first becomes an exception, so that what is trained is saved; a second one
ends the process at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_AS_THEY_COME = (signal.SIG_DFL, signal.default_int_handler)


class Stopped(KeyboardInterrupt):
    """The process was asked to end, by Ctrl-C or by whatever manages it.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stopping:
    """Which signal came, if any: `number`."""

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def exit_status(self) -> int:
        """As a shell says it: 128 + the signal's number, that of Ctrl-C where none came."""
        return 128 + (signal.SIGINT if self.number is None else self.number)

    def take(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        for each in ENDING:
            if each == number or signal.getsignal(each) == self.take:
                signal.signal(each, signal.SIG_DFL)
        if self.number is not None:  # Lightning puts back the handlers that it found
            signal.raise_signal(number)
        self.number = number
        if _waiting.is_on:
            _waiting.stopped = Stopped(number)
        else:
            raise Stopped(number)


class _Waiting:
    """A signal that came while others hold locks, and is raised where none is held."""

    is_on = False
    stopped: Stopped | None = None


_waiting = _Waiting()


@contextmanager
def waiting() -> Iterator[None]:
    """Within it `Stopped` is raised in `raise_waiting` alone. An exception amid a logger's code would leave its locks
    taken, and what waits for them would wait for ever."""
    _waiting.is_on, _waiting.stopped = True, None
    try:
        yield
    finally:
        _waiting.is_on = False


def raise_waiting() -> None:
    """Raises `Stopped` where a signal came within `waiting`."""
    stopped, _waiting.stopped = _waiting.stopped, None
    if stopped is not None:
        raise stopped


@contextmanager
def stopping(*signals: int) -> Iterator[Stopping]:
    """Meanwhile the first of these signals raises `Stopped`. Handlers are as before afterwards.

    Those that are ignored (as by nohup), or that others handle, stay. Outside the main thread nothing changes.

    Args:
        signals: `ENDING` where none are given.
    """
    stop, before = Stopping(), {}
    if threading.current_thread() is threading.main_thread():
        before = {each: signal.getsignal(each) for each in signals or ENDING}
    before = {each: handler for each, handler in before.items() if handler in _AS_THEY_COME}
    for each in before:
        signal.signal(each, stop.take)
    try:
        yield stop
    finally:
        restore(before)


def restore(handlers: dict[int, Callable[..., Any] | int | None]) -> None:
    """Put handlers back, signal → handler as `signal.getsignal` gave it; outside the main thread nothing changes."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if handler is not None:  # of a handler that Python did not install
                signal.signal(number, handler)
