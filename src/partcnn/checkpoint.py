"""Save a converted network to a directory and load it again: safetensors and JSON, nothing that runs.

    model.safetensors   all parameters and buffers
    config.json         format version, how the network was converted, classes, preprocessing

A run directory of `partcnn train` holds these two and more.
"""

import inspect
import json
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from partcnn.backbones import Preprocessing, build_network
from partcnn.conversion import Conversion, conversion_of, convert, unwrapped
from partcnn.errors import RunError, WeightsError

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "network": (dict, type(None)),
    "arguments": dict,
    "classes": list,
    "preprocessing": dict,
}


def save(model: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Write a converted network to a directory, which is made where missing. Files there are replaced whole.

    Args:
        model: a network made by `partcnn.convert`, trained or not.
        path: the directory. Other files in it stay.

    Returns:
        The directory.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        RunError: the path is a file.
    """
    record = conversion_of(model)
    directory = Path(path)
    if directory.exists() and not directory.is_dir():
        raise RunError(f"path: expected a directory, got the file {directory}")
    directory.mkdir(parents=True, exist_ok=True)
    inner = unwrapped(model)
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in inner.state_dict().items()}
    config = {
        "format": FORMAT,
        "partcnn": version("partcnn"),
        "network": record.network,
        "arguments": record.arguments,
        "classes": record.classes,
        "preprocessing": record.preprocessing.to_spec(),
    }
    replace_file(directory / WEIGHTS_FILE, lambda file: save_file(tensors, file))
    write_text(directory / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    return directory


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """The network of a directory written by `save`, in evaluation mode, on the CPU.

    Args:
        path: the directory.
        model: the unconverted network, where it is of your own making: its code is not in the directory. It is
            copied, and its weights are replaced by the saved ones.

    Raises:
        RunError: the directory or its files are missing, malformed, or of a later format; or the network has no
            library name and `model` is None.
        WeightsError: the weights do not fit the network.
    """
    directory = Path(path)
    config = _config(directory)
    if model is None:
        if config["network"] is None:
            raise RunError(f"model: {directory} holds a network of your own; pass it, load(path, model=MyNetwork())")
        model = build_network(config["network"])
    arguments = dict(config["arguments"])
    arguments["input_size"] = tuple(arguments["input_size"])
    converted = convert(model, arguments.pop("layers"), **arguments)
    record: Conversion = conversion_of(converted)
    record.network = config["network"]
    record.classes, record.is_trained = list(config["classes"]), True
    record.preprocessing = Preprocessing.from_spec(config["preprocessing"])
    _fill(converted, directory / WEIGHTS_FILE)
    return converted.eval()


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it: a reader sees the old file or the new one."""
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`; on an error nothing is left."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes it readable by its owner alone
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _config(directory: Path) -> dict[str, Any]:
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (directory / name).is_file():
            raise RunError(f"path: expected a directory written by partcnn.save, got {directory} without {name}")
    file = directory / CONFIG_FILE
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        saved_format = int(config["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: expected the JSON that partcnn.save writes ({error})") from error
    if saved_format > FORMAT:
        raise RunError(f"{file}: format {saved_format} is newer than {FORMAT}, the newest this partcnn reads")
    wrong = [name for name, kind in _ENTRIES.items() if not isinstance(config.get(name, ...), kind)]
    if wrong:
        raise RunError(f"{file}: expected the entries {', '.join(wrong)} as partcnn.save writes them")
    arguments = config["arguments"]
    unknown = arguments.keys() - inspect.signature(convert).parameters.keys()
    missing = {"layers", "num_classes", "input_size"} - arguments.keys()
    if unknown or missing or not isinstance(arguments["input_size"], list):
        raise RunError(f"{file}: expected the arguments of partcnn.convert, got {arguments}")
    return config


def _fill(model: nn.Module, file: Path) -> None:
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{file}: expected a safetensors file ({error})") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(
            f"{file}: the weights do not fit the network: {str(error).splitlines()[-1].strip()}"
        ) from error
    dtypes = {value.dtype for value in tensors.values() if value.is_floating_point()}
    if dtypes - {torch.float32}:
        model.to(next(iter(dtypes - {torch.float32})))
