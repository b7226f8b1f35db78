"""Where a run is made, and how it gets to its place: a transaction on directories.

A run that is made is .NAME.training beside its place NAME, locked by the process that makes it. When it is whole it is
renamed to NAME. A run that stood there is renamed to .NAME.replaced before, and removed after, so that at every moment
one of them is whole on the disk; what of this a killed process left undone is done by the next one.

Where the directory NAME itself must stay (an empty one that was there before, a volume of its own, the one that the
process is in, one whose parent cannot be written to), both are hidden folders within it, and their entries are renamed
one by one, run.yaml last.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from partcnn.app.runs.state import DONE, TrainingState, read_run
from partcnn.app.settings import SETTINGS_FILE, RunSettings, read_settings
from partcnn.foundation.errors import RunError
from partcnn.foundation.files import remove_abandoned
from partcnn.foundation.locks import DirectoryLock, lock_directory
from partcnn.foundation.streams import is_text
from partcnn.model.saving.checkpoint import CARD_FILE, METRICS_FILE, is_own_card
from partcnn.model.saving.checkpoint_files import CONFIG_FILE, STATE_FOLDER, WEIGHTS_FILE
from partcnn.model.saving.names_file import NAMES_FILE
from partcnn.model.saving.shipped import check_not_shipped

_MAKING, _REPLACED, _REPLACING = "training", "replaced", "replacing"
# What partcnn writes into a run goes with the run; all else is the user's, and is there after as before.
_OF_RUNS = (SETTINGS_FILE, CONFIG_FILE, WEIGHTS_FILE, METRICS_FILE, NAMES_FILE, "log", STATE_FOLDER, "report.html")
_CANNOT_RENAME = (errno.EXDEV, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SIBLING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)


class RunPlace:
    """A run that is being made in `directory`, to become `out`.

    Args:
        out: its place as the user gave it.
        is_within: whether it is made in a hidden folder of `out` itself.
        lock: on `directory`.
    """

    def __init__(self, out: Path, lock: DirectoryLock, *, is_within: bool) -> None:
        self.out, self._target, self._is_within, self._lock = out, out.resolve(), is_within, lock
        self.directory = _hidden(self._target, _MAKING, is_within=is_within)
        self._replaced = _hidden(self._target, _REPLACED, is_within=is_within)
        self.is_published, self._is_kept = False, False

    @property
    def has_old_run(self) -> bool:
        """Whether another run stands at its place, until it is published."""
        return (self._target / SETTINGS_FILE).is_file()

    @property
    def is_begun(self) -> bool:
        """Whether there is something of a run in `directory`."""
        return (self.directory / SETTINGS_FILE).is_file()

    def publish(self) -> None:
        """Put the run to its place; one that stood there is removed, but for what was the user's own in it."""
        self._is_kept = True
        try:
            self._move_entries() if self._is_within else self._swap()
        except OSError as error:
            if self._is_within or error.errno not in _CANNOT_RENAME or not self._target.is_dir():
                raise
            self._replaced = _hidden(self._target, _REPLACED, is_within=True)
            self._move_entries()
        self.is_published = True
        self._clear()

    def keep(self) -> None:
        """Leave the run where it is being made, to go on from."""
        self._is_kept = True

    def empty(self) -> None:
        """Remove what another training left here, and what comes now unless it is published or kept."""
        self._is_kept = False
        for entry in self.directory.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def close(self) -> None:
        """Unlock; a run that was neither published nor kept is removed."""
        try:
            if not self.is_published:
                if not self._is_kept:
                    shutil.rmtree(self.directory, ignore_errors=True)
                with suppress(OSError):
                    self.directory.rmdir()  # an empty one
        finally:
            self._lock.release()

    def finish(self) -> bool:
        """Do what a killed process left undone. Whether that moved a run from `directory` to its place."""
        remove_abandoned(self.directory, least_age_s=0.0)
        if _is_done(self.directory):
            self.publish()
            return True
        if (self._replaced / SETTINGS_FILE).is_file() and not self.has_old_run and not self.is_begun:
            self._target.mkdir(exist_ok=True)
            _move(self._replaced, self._target)  # the run that was to take its place is gone
        self._clear()
        return False

    def take_back(self) -> None:
        """Make half a run that stands at the place the one that is being made, to go on with it.

        Raises:
            RunError: another process is about to do so.
        """
        if self._is_within:
            for entry in sorted(_of_run(self._target), key=_settings_last):
                os.replace(entry, self.directory / entry.name)
            return
        lock = lock_directory(self._target)
        if lock is None:
            raise _busy(self.out)
        os.rename(self._target, self.directory)  # in place of the empty one that is locked by now
        self._lock.release()
        self._lock = lock

    def _swap(self) -> None:
        if self._target.is_dir():
            os.rename(self._target, self._replaced)
        try:
            os.rename(self.directory, self._target)
        except OSError:
            if self._replaced.is_dir():
                os.rename(self._replaced, self._target)
            raise

    def _move_entries(self) -> None:
        if not self._replaced.is_dir():  # else this was done before
            replacing = _hidden(self._target, _REPLACING, is_within=True)
            replacing.mkdir(exist_ok=True)
            for entry in sorted(_of_run(self._target), key=_settings_last, reverse=True):
                shutil.move(entry, replacing / entry.name)
            os.rename(replacing, self._replaced)
        _move(self.directory, self._target)

    def _clear(self) -> None:
        """Remove the run that was replaced, once another stands there."""
        if not self._replaced.is_dir() or not self.has_old_run:
            return
        own = set(_of_run(self._replaced))
        with suppress(OSError):  # another process does the same
            for entry in self._replaced.iterdir():
                if entry not in own:
                    os.replace(entry, self._target / entry.name)
        shutil.rmtree(self._replaced, ignore_errors=True)


@contextmanager
def new_run(out: Path, *, force: bool) -> Iterator[RunPlace]:
    """A place for a run, locked until the block ends. What is not published or kept by then is removed.

    Args:
        out: the run directory to be.
        force: whether a run that stands there, or half a one, may be replaced.

    Raises:
        RunError: it stands there and may not be replaced; other files stand there; another process trains to it; it
            is the package's own.
        OSError: it cannot be written to.
    """
    check_not_shipped(out, "out")
    if out.exists() and not out.is_dir():
        raise RunError(f"out: expected a directory, got the file {out}")
    if not is_text(os.fspath(out.resolve())):
        raise RunError(f"out: expected a path in UTF-8, got {out}; TensorBoard and safetensors write to no other")
    parents = [parent for parent in out.resolve().parents if not parent.exists()]
    out.resolve().parent.mkdir(parents=True, exist_ok=True)
    try:
        place = _taken(out)
        try:
            place.keep()  # until it is known to be of no use
            _check_free(place, force)
            place.empty()
            yield place
        finally:
            place.close()
    finally:
        for parent in parents:  # made for nothing
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def resumed_run(out: Path) -> Iterator[RunPlace | None]:
    """The place of half a run that is to go on, which stays half a run if nothing comes of it; None: it is whole.

    Raises:
        RunError: there is no run, or another process trains to it.
        OSError: it cannot be written to.
    """
    if half_made(out) is None:
        settings_of(out)
        state = state_of(out)
        if state is None:
            raise RunError(f"resume: {out} is of an earlier version, which kept nothing to go on from; use --force")
        if state.state == DONE:
            yield None
            return
    place, is_taken_back = _taken(out), False
    try:
        place.keep()
        if not place.is_begun and state_of(out) is not None and not _is_done(out):
            place.take_back()
            is_taken_back = True
        if not place.is_begun:
            yield None
            return
        yield place
    finally:
        if is_taken_back and not place.is_published:
            place.publish()
        place.close()


def half_made(out: Path) -> Path | None:
    """The hidden directory in which a run that is to become `out` was begun, if there is one."""
    target = out.resolve()
    hidden = [_hidden(target, _MAKING, is_within=is_within) for is_within in (False, True)]
    return next((place for place in hidden if (place / SETTINGS_FILE).is_file()), None)


def state_of(directory: Path) -> TrainingState | None:
    """How far the run came that is in a directory; None where there is none, or one of an earlier version.

    Raises:
        RunError: its run.yaml is malformed.
    """
    return read_run(directory)[1] if (directory / SETTINGS_FILE).is_file() else None


def is_begun(out: Path) -> bool:
    """Whether there is a run, or half a one, at its place or not yet."""
    return half_made(out) is not None or (out / SETTINGS_FILE).is_file()


def settings_of(out: Path) -> RunSettings:
    """The settings of a run that was begun, whether it is at its place or not yet.

    Raises:
        RunError: there is none, or its run.yaml is malformed.
    """
    if not is_begun(out):
        raise RunError(f"resume: expected a run that was begun, found none in {out}; train it without --resume")
    return read_settings(half_made(out) or out)


def _is_done(directory: Path) -> bool:
    state = state_of(directory)
    return state is not None and state.state == DONE


def _check_free(place: RunPlace, force: bool) -> None:
    """Raises RunError where a new run cannot be written, with or without `force`."""
    out = place.out
    is_half = any((place.directory / name).exists() for name in (WEIGHTS_FILE, STATE_FOLDER))
    others = [entry for entry in (out.iterdir() if out.is_dir() else ()) if entry.name not in _hidden_names(out)]
    if others and not place.has_old_run:
        raise RunError(f"out: {out} is not empty and no run; --force replaces runs only")
    if force:
        return
    state = state_of(place.directory if is_half else out)
    if is_half or (state is not None and state.state != DONE):
        told = "begun" if state is None else f"ended after {state.epochs} of {state.num_epochs} epochs"
        raise RunError(f"out: a training to {out} was {told}; --resume {out} goes on with it, --force begins anew")
    if others:
        raise RunError(f"out: {out} exists already; give another --out, or --force to replace the run")


def _taken(out: Path) -> RunPlace:
    """The place of a run, locked, and nothing left undone there."""
    target = out.resolve()
    is_within = not _hidden(target, _MAKING, is_within=False).is_dir() and (
        _hidden(target, _MAKING, is_within=True).is_dir() or _must_stay(target)
    )
    while True:
        try:
            lock = _locked(_hidden(target, _MAKING, is_within=is_within))
        except OSError as error:
            if is_within or error.errno not in _NO_SIBLING or not target.is_dir():
                raise
            is_within = True
            continue
        if lock is None:
            raise _busy(out)
        place = RunPlace(out, lock, is_within=is_within)
        if not place.finish():
            return place
        place.close()


def _locked(directory: Path) -> DirectoryLock | None:
    return lock_directory(directory, lambda: directory.mkdir(exist_ok=True))


def _must_stay(target: Path) -> bool:
    """Whether a directory may not be replaced by another one."""
    if not target.is_dir():
        return False
    with suppress(OSError):  # the directory that the process is in may be gone
        if Path.cwd().resolve().is_relative_to(target):
            return True
    return os.path.ismount(target) or not any(target.iterdir())


def _hidden(target: Path, what: str, *, is_within: bool) -> Path:
    return target / f".{what}" if is_within or not target.name else target.with_name(f".{target.name}.{what}")


def _hidden_names(target: Path) -> set[str]:
    return {_hidden(target, what, is_within=True).name for what in (_MAKING, _REPLACED, _REPLACING)}


def _of_run(directory: Path) -> list[Path]:
    """The entries of a directory that are a run's."""
    return [
        entry
        for entry in directory.iterdir()
        if entry.name in _OF_RUNS or (entry.name == CARD_FILE and is_own_card(entry))
    ]


def _move(source: Path, target: Path) -> None:
    """All entries; what stands at their place is the user's own, and stays."""
    for entry in sorted(source.iterdir(), key=_settings_last):
        if not (target / entry.name).exists():
            shutil.move(entry, target / entry.name)
    shutil.rmtree(source)


def _settings_last(entry: Path) -> bool:
    return entry.name == SETTINGS_FILE


def _busy(out: Path) -> RunError:
    return RunError(f"out: another process is training to {out}; give another --out, or wait for it")
