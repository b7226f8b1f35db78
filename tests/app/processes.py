"""Commands in processes of their own, to be stopped, killed or starved: the modules are loaded once for all of them."""

import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, set_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml

_PATIENCE_S = 90.0
_server = get_context("forkserver")
_server.set_forkserver_preload(["tests.app.preloaded"])


class Command:
    """A process that runs one command.

    Args:
        process: it runs in.
        said: the file with all that it prints.
    """

    def __init__(self, process: BaseProcess, said: Path) -> None:
        self._process, self._said = process, said

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def said(self) -> str:
        return " ".join(self._said.read_text(encoding="utf-8").split())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + _PATIENCE_S
        while not condition():
            assert self._process.is_alive(), self.said
            assert time.monotonic() < ends, self.said
            time.sleep(0.02)

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def status(self) -> int | None:
        """How it ends: its exit status, or minus the signal that killed it."""
        self._process.join(_PATIENCE_S)
        return self._process.exitcode


@contextmanager
def command(
    arguments: list[str],
    said: Path,
    *,
    slow: str | None = None,
    deadly: str | None = None,
    most_bytes: int | None = None,
) -> Iterator[Command]:
    """Begin a command; it is killed when the block ends.

    Args:
        arguments: of `partcnn`.
        said: file for what it prints.
        slow: a function "module:name" that in this process writes the file `said`.slow and never comes back.
        deadly: a function "module:name" that in a worker of this process kills it.
        most_bytes: of a file, as where a quota ends.
    """
    process = _server.Process(target=_run, args=(arguments, said, slow, deadly, most_bytes, dict(os.environ)))
    process.start()
    try:
        yield Command(process, said)
    finally:
        process.kill()
        process.join()


def slow_file(said: Path) -> Path:
    """There as soon as the slow function was called."""
    return said.with_suffix(".slow")


def epochs_of(directory: Path) -> int:
    """That run.yaml says were trained; -1 where there is none."""
    file = directory / "run.yaml"
    return yaml.safe_load(file.read_text())["training"]["epochs"] if file.is_file() else -1


def _run(
    arguments: list[str],
    said: Path,
    slow: str | None,
    deadly: str | None,
    most_bytes: int | None,
    environment: dict[str, str],
) -> None:
    set_start_method("fork", force=True)  # of workers; a process of a server would make others through one too
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if slow is not None:
        _replace(slow, lambda *_, **__: _never_ending(said))
    if deadly is not None:
        ours = os.getpid()
        _replace(deadly, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL) if os.getpid() != ours else None)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    from partcnn.app.cli import main

    sys.exit(main(arguments))


def _replace(name: str, function: Callable[..., None]) -> None:
    module, _, place = name.partition(":")
    *owners, attribute = place.split(".")
    owner = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    setattr(owner, attribute, function)


def _never_ending(said: Path) -> None:
    slow_file(said).touch()
    time.sleep(10 * _PATIENCE_S)
