"""What trainings leave in a file of weights: the tensors are found in it, and what it is instead is said in a sentence.

Nothing in a file runs. A pickle that names other code than that of tensors is not opened, and is read only as far as
its names.
"""

import io
import logging
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partcnn.foundation.errors import WeightsError
from partcnn.foundation.streams import printable

_log = logging.getLogger("partcnn")

# What training scripts nest the tensors under; where a file has several, the first of these counts.
CONTAINERS = (
    *(
        "state_dict",
        "model_state_dict",
        "model",
        "net",
        "network",
        "module",
        "weights",
        "params",
        "backbone",
        "encoder",
    ),
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema"),
)
_ADDED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")  # names by wrappers
_MOST_NESTED = 4
_OBJECT_IS_PICKLE = 4  # in files of before torch 1.6, which hold several, one behind the other
_TENSORS_ONLY = 'where it was made, torch.save(model.state_dict(), "weights.pth") writes tensors alone'
_OF_TENSORS = re.compile(  # names that a pickle of tensors asks for
    r"torch\.\w+|torch\.(_utils|_tensor|storage|serialization|nn\.parameter)\..*|collections\.OrderedDict|_codecs\.encode"
)
_MOST_PICKLE_BYTES = 64 * 2**20  # of which the names are read
_STARTS = {  # of files that are something else → what they are
    b"<": "it is a web page; download the file itself",
    b"version https://git-lfs": "it is a pointer of Git LFS; `git lfs pull` fetches the file",
    b"{": "it is a text in JSON",
    b"\x89HDF": "it is an HDF5 file, as Keras writes it",
    b"\x1f\x8b": "it is compressed with gzip; unpack it first",
}


def tensors_in(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file that torch.save wrote, on the CPU, without the names that wrappers add.

    Raises:
        WeightsError: what else the file is or holds, and what to do.
    """
    reason = other_kind(path)
    if reason is not None:
        raise unreadable(path, reason)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, on bytes of strangers; torch's advice is to switch the safety off
        raise unreadable(path, _objects_in(path) or "it is damaged, cut short, or no file of torch.save") from error
    tensors = _named_tensors(content, path)
    return {_without_wrappers(name): tensor for name, tensor in tensors.items()}


def unreadable(path: Path, reason: str) -> WeightsError:
    """The error about a file that is no plain weights."""
    return WeightsError(f"weights: {path} cannot be read as plain weights: {printable(reason)}")


def other_kind(path: Path) -> str | None:
    """What a file is that is not what its ending says, by its first bytes; None where they do not tell."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "it is empty"
    if path.suffix == ".safetensors":
        if start.startswith(b"PK"):
            return "it is a file of torch.save; give it the ending .pth"
    elif start[8:9] == b"{" and not start.startswith((b"PK", b"\x80")):
        return "it is a safetensors file; give it that ending"
    elif _has_member(path, "constants.pkl"):
        return f"it is a program of TorchScript; {_TENSORS_ONLY}"
    return next((what for first, what in _STARTS.items() if start.lstrip().startswith(first)), None)


def _objects_in(path: Path) -> str | None:
    """What a pickle asks for beside tensors, in words."""
    names = [name for name in dict.fromkeys(_names_in(path)) if not _OF_TENSORS.fullmatch(name)]
    if not names:
        return None
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"beside tensors it holds Python objects ({', '.join(names[:3])}{more}), which would run code to be read; "
        f"{_TENSORS_ONLY}"
    )


def _has_member(path: Path, name: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(member.rpartition("/")[2] == name for member in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _names_in(path: Path) -> Iterator[str]:
    """The dotted names of code that a pickle asks for, as far as it can be read; nothing is imported."""
    try:
        pickles = io.BytesIO(_pickle_of(path))
        for _ in range(_OBJECT_IS_PICKLE):
            yield from _names_of_one(pickles)
    except (ValueError, IndexError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return


def _names_of_one(pickles: io.BytesIO) -> Iterator[str]:
    strings: list[str] = []
    remembered: list[str | None] = []
    for opcode, argument, _ in pickletools.genops(pickles):
        if opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
            yield ".".join(strings[-2:])
        elif opcode.name == "MEMOIZE":
            remembered.append(strings[-1] if strings else None)
        elif opcode.name in ("BINGET", "LONG_BINGET") and isinstance(argument, int):
            strings += [text for text in remembered[argument : argument + 1] if text is not None]
        elif isinstance(argument, str):
            strings.append(argument)


def _pickle_of(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return file.read(_MOST_PICKLE_BYTES)
    with zipfile.ZipFile(path) as archive:
        name = next((member for member in archive.namelist() if member.rpartition("/")[2] == "data.pkl"), None)
        if name is None:
            return b""
        with archive.open(name) as member:
            return member.read(_MOST_PICKLE_BYTES)


def _named_tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The innermost table of named tensors."""
    for _ in range(_MOST_NESTED):
        if not isinstance(content, Mapping):
            break
        tables = {key: value for key, value in content.items() if isinstance(value, Mapping) and _may_hold(value)}
        known = [key for key in CONTAINERS if key in tables]
        if any(isinstance(value, Tensor) for value in content.values()) and not known:
            return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        if not tables:
            break
        if not known and len(tables) > 1:
            raise unreadable(path, f"it holds several networks ({', '.join(map(str, tables))}); keep one of them")
        if len(known) > 1:
            _log.info("%s: its %s is taken, not its %s", path, known[0], ", ".join(known[1:]))
        content = tables[known[0] if known else next(iter(tables))]
    raise unreadable(path, f"expected named tensors, got {_described(content)}")


def _may_hold(table: Mapping[Any, Any], depth: int = _MOST_NESTED) -> bool:
    """Whether a table holds named tensors, itself or further in; an optimizer's are numbered."""
    if not table or not all(isinstance(key, str) for key in table):
        return False
    values = table.values()
    if any(isinstance(value, Tensor) for value in values):
        return True
    return depth > 0 and any(_may_hold(value, depth - 1) for value in values if isinstance(value, Mapping))


def _described(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary of {', '.join(map(str, list(content)[:3])) or 'nothing'}"
    return f"a {type(content).__name__}"


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _ADDED)
