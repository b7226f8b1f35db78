"""The state of a training as one file: tensors in safetensors, all else as JSON in its header.

Reading it runs no code.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import SafetensorError, safe_open
from torch import Tensor

from partcnn.foundation.errors import RunError
from partcnn.foundation.files import save_tensors

_HEADER = "state"
_TENSOR, _ITEMS, _TUPLE, _FLOAT = "tensor", "items", "tuple", "float"  # what JSON has not, each as {name: value}


def write_state(file: Path, state: Mapping[str, Any]) -> None:
    """Write nested mappings, lists and tuples of tensors, numbers, texts, booleans and None, whole or not at all.

    Raises:
        TypeError: the state holds something else.
    """
    tensors: dict[str, Tensor] = {}
    header = {_HEADER: json.dumps(_packed(state, tensors), allow_nan=False)}
    save_tensors(tensors, file, header, is_synced=True)


def read_state(file: Path) -> dict[str, Any]:
    """What `write_state` wrote, tensors on the CPU.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no mapping)
            header = (opened.metadata() or {})[_HEADER]
        state: dict[str, Any] = _unpacked(json.loads(header), tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(
            f"resume: {file} holds no state of a training ({error}); start anew, without --resume"
        ) from error
    return state


class StateIO(CheckpointIO):
    """Lightning's checkpoints as such files.

    Args:
        more: called when a checkpoint is written: what is kept beside Lightning's own.
        loaded: what was read of the one to go on with.
    """

    def __init__(self, more: Callable[[], Mapping[str, Any]], loaded: Callable[[], dict[str, Any]]) -> None:
        self._more, self._loaded = more, loaded

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_state(Path(path), {**checkpoint, **self._more()})

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return self._loaded()

    def remove_checkpoint(self, path: Any) -> None:
        os.unlink(path)


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """As JSON has it; tensors are put aside under a number each."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: str(value)}
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()  # no two share their memory
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {_ITEMS: [[_packed(key, tensors), _packed(one, tensors)] for key, one in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_packed(one, tensors) for one in value]}
    if isinstance(value, list):
        return [_packed(one, tensors) for one in value]
    raise TypeError(f"a training's state cannot hold a {type(value).__name__}")


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == _TENSOR:
        return tensors[content]
    if kind == _FLOAT:
        return float(content)
    if kind == _TUPLE:
        return tuple(_unpacked(one, tensors) for one in content)
    return {_unpacked(key, tensors): _unpacked(one, tensors) for key, one in content}


def random_state() -> dict[str, Any]:
    """Of torch's generators, which layers and callbacks draw from."""
    cuda = list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
