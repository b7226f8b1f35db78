"""How far the training of a run came: what run.yaml says of it beside the settings."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from partcnn.app.settings import SETTINGS_FILE, TRAINING, RunSettings, read_record
from partcnn.evaluation.result import half_run
from partcnn.foundation.errors import RunError
from partcnn.foundation.files import write_text

RUNNING, INTERRUPTED, DIVERGED, DONE = "running", "interrupted", "diverged", "done"


def new_id() -> str:
    """Of a training and no other."""
    return uuid.uuid4().hex


_KINDS: dict[str, type | tuple[type, ...]] = {  # how YAML has the fields of `TrainingState`
    "state": str,
    "epochs": int,
    "num_epochs": int,
    "weights": (str, type(None)),
    "id": str,
}


@dataclass(frozen=True)
class TrainingState:
    """Of a run.

    Args:
        state: running, interrupted, diverged or done.
        epochs: trained, of the first stage.
        num_epochs: of it in all.
        weights: SHA-256 of model.safetensors as training left it; None while it is running.
        id: of this training and no other; it stays when an interrupted one goes on.
    """

    state: str
    epochs: int
    num_epochs: int
    weights: str | None = None
    id: str = field(default_factory=new_id)

    @property
    def told(self) -> str | None:
        """That it is half a run, in words; None of a whole one."""
        return half_run(self.to_record())

    def to_record(self) -> dict[str, Any]:
        """Plain values, for run.yaml and metrics.json."""
        return asdict(self)


def read_run(directory: Path) -> tuple[RunSettings, TrainingState | None]:
    """The settings of a run directory, and how far its training came; None of a run of an earlier version.

    Raises:
        RunError: the directory holds no settings, or malformed ones.
    """
    record = read_record(directory)
    file = directory / SETTINGS_FILE
    return RunSettings.from_record(record, file), _state_from(record.get(TRAINING), file)


def write_run(settings: RunSettings, state: TrainingState, directory: Path) -> None:
    """Write run.yaml, replaced whole."""
    record = settings.to_record() | {TRAINING: state.to_record()}
    write_text(directory / SETTINGS_FILE, yaml.safe_dump(record, sort_keys=False))


def _state_from(record: Any, file: Path) -> TrainingState | None:
    if record is None:
        return None
    known = record if isinstance(record, Mapping) else {}
    is_known = known.get("state") in (RUNNING, INTERRUPTED, DIVERGED, DONE)
    if not is_known or not all(isinstance(known.get(name, ...), kind) for name, kind in _KINDS.items()):
        raise RunError(f"run: {TRAINING} in {file}: expected {', '.join(_KINDS)}, as partcnn train writes them")
    return TrainingState(**{name: known[name] for name in _KINDS})
