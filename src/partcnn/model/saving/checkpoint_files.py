"""The two files of a saved network, read as what a stranger may have written: nothing in them runs, and no size that
they claim is believed before it is held against what else is there.
"""

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from partcnn.foundation.errors import RunError, WeightsError
from partcnn.model.saving.answers import is_number, problems_of_answer
from partcnn.model.settings import ConversionSettings

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
STATE_FOLDER = "training_state"  # what a training that was stopped goes on from
CONFIG_FILE = "config.json"

_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "network": (dict, type(None)),
    "arguments": dict,
    "classes": list,
    "preprocessing": dict,
}
_MOST_CONFIG_BYTES = 16 * 2**20  # 100 000 class names of 100 letters are less
_MOST_CLASSES = 2**16  # of a network's own classifier, which is built although the weights may lack it
_MOST_SIDE_PX = 4096  # of the input: a picture of noise of this size is passed through
_REQUIRED = {"layers", "num_classes", "input_size"}  # of the settings; others may be missing
_DTYPES = {  # as safetensors names them → ours
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
}


@dataclass(frozen=True)
class TensorHeader:
    """What the weights file says of one tensor; its values are not read yet."""

    shape: tuple[int, ...]
    dtype: str  # as safetensors names it


def read_config(directory: Path) -> dict[str, Any]:
    """The entries of config.json, each of the right kind.

    Raises:
        RunError: the directory or one of its files is missing; the file is not what `save` writes; or it is of a later
            format.
    """
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (directory / name).is_file():
            raise RunError(f"path: expected a directory written by partcnn.save, got {directory} without {name}")
    file = directory / CONFIG_FILE
    if file.stat().st_size > _MOST_CONFIG_BYTES:
        raise RunError(f"{file}: expected at most {_MOST_CONFIG_BYTES} bytes of JSON, got {file.stat().st_size}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        saved_format = config["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{file}: expected the JSON that partcnn.save writes ({error})") from error
    if not isinstance(saved_format, int) or isinstance(saved_format, bool) or saved_format < 1:
        raise RunError(f"{file}: format: expected a whole number from 1, got {saved_format!r:.50}")
    if saved_format > FORMAT:
        raise RunError(
            f"{file}: format {saved_format!s:.20} is newer than {FORMAT}, the newest this partcnn reads; update partcnn"
        )
    wrong = [name for name, kind in _ENTRIES.items() if not isinstance(config.get(name, ...), kind)]
    if wrong:
        raise RunError(f"{file}: expected the entries {', '.join(wrong)} as partcnn.save writes them")
    _check_entries(config, file)
    checked: dict[str, Any] = config
    return checked


def read_headers(file: Path) -> dict[str, TensorHeader]:
    """Shapes and types of the tensors in a safetensors file; their values stay on the disk.

    Raises:
        RunError: it is no such file, or its header does not fit its length.
    """
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
            return {name: TensorHeader(tuple(one.get_shape()), one.get_dtype()) for name, one in slices.items()}
    except (SafetensorError, OSError) as error:
        raise RunError(f"{file}: expected a safetensors file ({error})") from error


def check_sizes(settings: ConversionSettings, headers: Mapping[str, TensorHeader], file: Path) -> None:
    """Every size by which `convert` makes layers is that of a tensor which is there, before any memory is taken.

    Raises:
        WeightsError: a size is another one.
    """
    if settings.head != "additive":
        return  # masks take their sizes from the network
    if not isinstance(settings.filters, int):
        raise WeightsError(
            f"{file}: {CONFIG_FILE} says {settings.filters!r} filters, expected the number of those saved"
        )
    for name, sizes in _claimed_sizes(settings).items():
        in_file = headers[name].shape if name in headers else (0,)
        if in_file[: len(sizes)] != sizes:
            raise WeightsError(
                f"{file}: the weights do not fit the network: {name} has {list(in_file)}, "
                f"and {CONFIG_FILE} says {list(sizes)}"
            )
    if settings.is_competing:
        _check_of_competing(settings, file)
    found = len({name.split(".")[1] for name in headers if name.startswith("part_layers.")})
    if found != settings.new_layers:
        raise WeightsError(
            f"{file}: the weights do not fit the network: {found} part layers, expected {settings.new_layers}"
        )


def _check_of_competing(settings: ConversionSettings, file: Path) -> None:
    """No setting asks for what a network whose filters compete has not."""
    asked, meant = settings.to_spec(), settings.resolved(settings.layers, num_channels=0).to_spec()
    told = [f"{name} {value}, expected {meant[name]}" for name, value in asked.items() if value != meant[name]]
    if told:
        raise WeightsError(
            f"{file}: the weights do not fit the network, whose filters compete: {CONFIG_FILE} says {'; '.join(told)}"
        )


def _claimed_sizes(settings: ConversionSettings) -> dict[str, tuple[int, ...]]:
    """The first axes that the settings say of tensors in the file."""
    classes, filters = settings.num_classes, settings.num_filters
    if settings.is_competing:
        return {"head.weight": (classes, filters + 1), "part_layers.0.mask.identities": (filters,)}
    return {
        "head.weight": (classes, filters, settings.grid, settings.grid),
        "hidden.0.weight": (settings.num_hidden,),
    }


def check_tensors(expected: Mapping[str, Tensor], headers: Mapping[str, TensorHeader], file: Path) -> None:
    """Names, shapes and kinds of all tensors are those of the network.

    Raises:
        WeightsError: names the first few that differ.
    """
    problems = [f"missing {name}" for name in expected if name not in headers]
    problems += [f"unexpected {name}" for name in headers if name not in expected]
    for name, tensor in expected.items():
        header = headers.get(name)
        if header is None:
            continue
        if header.shape != tuple(tensor.shape):
            problems.append(f"{name} has {list(header.shape)}, expected {list(tensor.shape)}")
        dtype = _DTYPES.get(header.dtype)
        if dtype is None or dtype.is_floating_point != tensor.dtype.is_floating_point:
            problems.append(f"{name} is {header.dtype}, expected {str(tensor.dtype).removeprefix('torch.')}")
    narrow = {header.dtype for header in headers.values()} - {"F32", "I64"}
    if len(narrow) > 1:
        problems.append(f"expected one floating type beside F32, got {', '.join(sorted(narrow))}")
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{file}: the weights do not fit the network: {'; '.join(problems[:3])}{more}")


def check_categories(state: Mapping[str, Tensor], num_classes: int, file: Path) -> None:
    """Every filter serves a class that exists.

    Raises:
        WeightsError: one does not.
    """
    for name, tensor in state.items():
        if name.endswith("filter_category") and tensor.numel():
            low, high = int(tensor.min()), int(tensor.max())
            if low < 0 or high >= num_classes:
                raise WeightsError(f"{file}: {name}: expected classes from 0 to {num_classes - 1}, got {low} to {high}")


def check_finite(state: Mapping[str, Tensor], parameters: Container[str], file: Path) -> None:
    """Weights are numbers. Buffers may hold infinities, as masks of attention do.

    Args:
        state: of the file.
        parameters: names of those that are weights.
        file: for the error.

    Raises:
        WeightsError: one is not.
    """
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        is_bad = ~tensor.isfinite() if name in parameters else tensor.isnan()
        if bool(is_bad.any()):
            raise WeightsError(
                f"{file}: {name}: expected finite weights, got {int(is_bad.sum())} of {tensor.numel()} that are not, "
                "as a training leaves them that diverged; train again at a lower learning rate"
            )


class _Kind(NamedTuple):
    """A kind of entry: what is expected, in words, and whether a value is it."""

    expected: str
    is_it: Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_sides(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and all(_is_count(side) and 0 < side <= _MOST_SIDE_PX for side in value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


_KINDS = {  # how JSON has the types of the settings
    int: _Kind("a whole number", _is_count),
    float: _Kind("a number", is_number),
    bool: _Kind("true or false", lambda value: isinstance(value, int)),
    str: _Kind("a text", lambda value: isinstance(value, str)),
    type(None): _Kind("null", lambda value: value is None),
    tuple[int, int]: _Kind(f"two sides of 1 to {_MOST_SIDE_PX} pixels", _are_sides),
    tuple[str, ...]: _Kind("dotted names", _are_names),
}
_TYPES = get_type_hints(ConversionSettings)


def _check_entries(config: Mapping[str, Any], file: Path) -> None:
    arguments = config["arguments"]
    if arguments.keys() - _TYPES.keys() or _REQUIRED - arguments.keys():
        raise RunError(
            f"{file}: expected the arguments of partcnn.convert, got {', '.join(sorted(arguments)) or 'none'}"
        )
    problems = [text for name, value in arguments.items() for text in _problems_of_setting(name, value)]
    problems += [*_problems_of_preprocessing(config["preprocessing"]), *_problems_of_classes(config)]
    problems += problems_of_answer(config.get("answer"))
    if problems:
        raise RunError(f"{file}: {'; '.join(problems)}")


def _problems_of_setting(name: str, value: Any) -> list[str]:
    wanted = _TYPES[name]
    kinds = [_KINDS[wanted]] if wanted in _KINDS else [_KINDS[kind] for kind in get_args(wanted)]  # a union
    if any(kind.is_it(value) for kind in kinds):
        return []
    return [f"{name}: expected {' or '.join(kind.expected for kind in kinds)}, got {value!r:.50}"]


def _problems_of_preprocessing(spec: Mapping[str, Any]) -> list[str]:
    problems = []
    sides = _KINDS[tuple[int, int]]
    if not sides.is_it(spec.get("input_size", [1, 1])):
        problems.append(f"preprocessing: input_size: expected {sides.expected}, got {spec['input_size']!r:.50}")
    for name in ("mean", "std"):
        values = spec.get(name, [])
        if not (isinstance(values, list) and all(is_number(value) for value in values)):
            problems.append(f"preprocessing: {name}: expected three numbers, got {values!r:.50}")
    return problems


def _problems_of_classes(config: Mapping[str, Any]) -> list[str]:
    problems, classes, num_classes = [], config["classes"], config["arguments"]["num_classes"]
    if not all(isinstance(name, str) for name in classes) or len(classes) != num_classes:
        problems.append(f"classes: expected {num_classes!r:.50} names, got {len(classes)} entries")
    num_outputs = (config["network"] or {}).get("num_classes", 1)
    if not (_is_count(num_outputs) and num_outputs <= _MOST_CLASSES):  # a trunk of timm's has none
        problems.append(f"network: num_classes: expected 0 to {_MOST_CLASSES}, got {num_outputs!r:.50}")
    return problems
