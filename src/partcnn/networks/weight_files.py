"""Files of weights: read one without executing anything in it, and fit it into a network.

A safetensors file may say in its metadata how its network wants to be fed. Two kinds of entries are read:

    preprocess   free text, of which three things are recognised: "RGB/127.5-1" (mean and std 0.5),
                 "mean=R,G,B std=R,G,B" (of RGB/255), and "TF SAME" or "TensorFlow SAME" (padding)
    padding      "torch" or "tensorflow"; wins over the text

Nothing is ever concluded from the name of a file.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from partcnn.foundation.errors import WeightsError
from partcnn.foundation.files import as_path
from partcnn.foundation.streams import printable
from partcnn.networks.weight_content import CONTAINERS, other_kind, tensors_in, unreadable

_log = logging.getLogger("partcnn")
_AUXILIARY = (
    "AuxLogits.",
    "aux1.",
    "aux2.",
)  # training heads of Inception and GoogLeNet, which we build without
_NAMED_AT_MOST = 3
_NUMBERS = r"\s*=\s*\(?\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)"
_MINUS_ONE_TO_ONE = re.compile(r"RGB\s*/\s*127\.5\s*-\s*1\b")
_TENSORFLOW = re.compile(r"\b(TF|TensorFlow)\s+SAME\b", re.IGNORECASE)
_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")  # .tar: of .pth.tar


@dataclass(frozen=True)
class FeedingRecipe:
    """What a file says about its network's input; None where it says nothing."""

    padding: str | None = None  # "torch" or "tensorflow"
    mean: tuple[float, float, float] | None = None  # of RGB/255, with its std
    std: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class WeightFile:
    """Named tensors in the file's own precision, and the recipe of its metadata."""

    path: Path
    tensors: Mapping[str, Tensor]
    recipe: FeedingRecipe


def read_weights(path: str | Path) -> WeightFile:
    """Read .safetensors, or what torch.save wrote (.pt, .pth, .pth.tar, .ckpt, .bin), on the CPU; nothing in it runs.

    Dictionaries that nest the tensors, as trainings do, are unwrapped: `partcnn.networks.weight_content`.

    Raises:
        WeightsError: there is no such file, its ending is another one, or it cannot be read as weights; the path is
            no path.
    """
    path = as_path(path, WeightsError, "weights: expected a file of weights")
    if path.suffix not in _SUFFIXES:
        raise WeightsError(f"weights: expected a file ending in {', '.join(_SUFFIXES)}, got {str(path)!r}")
    if not path.is_file():
        raise WeightsError(f"weights: no file at {path}")
    if path.suffix != ".safetensors":
        return WeightFile(path, tensors_in(path), FeedingRecipe())
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            recipe = _feeding_recipe(file.metadata() or {}, path)
    except (SafetensorError, RuntimeError, OSError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise unreadable(path, other_kind(path) or "it is damaged, cut short, or no safetensors file") from error
    return WeightFile(path, tensors, recipe)


def fit_weights(network: nn.Module, file: WeightFile) -> tuple[str, ...]:
    """Copy the file's tensors into the network, in place and in the network's own precision.

    A classifier of another number of classes is left out, since partcnn replaces it; so are the auxiliary
    training heads of Inception and GoogLeNet.

    Returns:
        The dotted names of the modules that keep their present values because the file lacks them, each as
        far up as that holds for all below: ("layer4", "fc").

    Raises:
        WeightsError: a tensor has no place in the network or another shape, or is quantized, sparse, complex or
            without values; the network is then unchanged.
    """
    expected = network.state_dict()
    at_home = _at_home(file.tensors, expected, file.path)
    tensors = {name: tensor for name, tensor in at_home.items() if not name.startswith(_AUXILIARY)}
    _drop_other_classifier(network, tensors, file.path)
    strangers = [name for name in tensors if name not in expected]
    if strangers or not tensors:
        what = _named(strangers) if strangers else "the file holds no tensors"
        raise WeightsError(
            f"weights: {file.path} is not of this {type(network).__name__}; "
            f"{len(strangers)} of {len(tensors)} tensors have no place in it: {what}"
        )
    misfits = [
        f"{name} has {list(tensor.shape)}, expected {list(expected[name].shape)}"
        for name, tensor in tensors.items()
        if tensor.shape != expected[name].shape
    ]
    if misfits:
        raise WeightsError(f"weights: {file.path}: {len(misfits)} shapes do not fit: {_named(misfits)}")
    others = [f"{name} ({kind})" for name, tensor in tensors.items() if (kind := _other_than_numbers(tensor))]
    if others:
        raise WeightsError(f"weights: {file.path} holds tensors of another kind than plain numbers: {_named(others)}")
    network.load_state_dict(tensors, strict=False)  # copies, so half precision becomes the network's float32
    missing = _missing_layers(network, set(tensors))
    if missing:
        _log.warning("%s holds no weights for %s: untrained there", file.path, ", ".join(missing))
    return missing


def _feeding_recipe(metadata: Mapping[str, str], path: Path) -> FeedingRecipe:
    text = metadata.get("preprocess", "")
    padding = metadata.get("padding") or ("tensorflow" if _TENSORFLOW.search(text) else None)
    if padding not in (None, "torch", "tensorflow"):
        raise WeightsError(f"weights: {path}: metadata padding: expected torch or tensorflow, got {padding!r}")
    mean, std = (_triple(word, text) for word in ("mean", "std"))
    if _MINUS_ONE_TO_ONE.search(text):
        mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    if mean is None or std is None:
        mean = std = None
        if text:
            _log.warning("%s: no mean and std recognised in its metadata %r", path, text)
    return FeedingRecipe(padding, mean, std)


def _triple(word: str, text: str) -> tuple[float, float, float] | None:
    found = re.search(word + _NUMBERS, text)
    return (float(found[1]), float(found[2]), float(found[3])) if found else None


def _at_home(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors by the network's names: without those of what it was a part of in training.

    A beginning ("module.", "model.backbone.") under which most of the tensors have a place is taken off. What stands
    beside it, a loss or another head, is left out.

    Raises:
        WeightsError: several networks like this one are in the file.
    """
    prefix = _prefix(tensors, expected, path)
    left_out = [name for name in tensors if not name.startswith(prefix)]
    if left_out:
        _log.info("%s: %d tensors beside %s are left out: %s", path, len(left_out), prefix, _named(left_out))
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _prefix(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> str:
    num_placed: dict[str, int] = {}
    for name in tensors:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in expected:
                prefix = "".join(f"{part}." for part in parts[:start])
                num_placed[prefix] = num_placed.get(prefix, 0) + 1
    most = max(num_placed.values(), default=0)
    best = [prefix for prefix, count in num_placed.items() if count == most]
    if "" in best or not best:
        return ""
    if len(best) > 1 and len(best) * most > len(tensors) / 2:
        own = [prefix.removeprefix(_common_start(best)).split(".")[0] for prefix in best]
        known = [best[own.index(name)] for name in ("", *CONTAINERS) if name in own]
        if not known:
            raise WeightsError(f"weights: {path} holds several networks: {', '.join(best)}; keep the tensors of one")
        return known[0]
    return best[0] if most > len(tensors) / 2 else ""


def _common_start(prefixes: list[str]) -> str:
    """What all of them begin with, up to a dot: "module." of "module.student." and "module.teacher."."""
    parts = zip(*(prefix.split(".") for prefix in prefixes), strict=False)
    return "".join(f"{each[0]}." for each in takewhile(lambda each: len(set(each)) == 1, parts))


def _drop_other_classifier(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    name, classifier = layers[-1]  # the last layer with weights of its own
    weight = tensors.get(f"{name}.weight")
    if weight is None or weight.shape[1:] != classifier.weight.shape[1:]:
        return
    if len(weight) != len(classifier.weight):
        _log.info("%s: its classifier %s of %d classes is left out", path, name, len(weight))
        for parameter in ("weight", "bias"):
            tensors.pop(f"{name}.{parameter}", None)


def _missing_layers(module: nn.Module, given: set[str], name: str = "") -> tuple[str, ...]:
    """Names of the topmost modules of which the file gives nothing, or not all that is their own."""
    prefix = f"{name}." if name else ""
    keys = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    own_missing = [key for key in keys if "." not in key and prefix + key not in given]
    if keys and name and (own_missing or not any(prefix + key in given for key in keys)):
        return (name,)
    below = [_missing_layers(child, given, prefix + key) for key, child in module.named_children()]
    return (*own_missing, *(layer for layers in below for layer in layers))


def _other_than_numbers(tensor: Tensor) -> str | None:
    """What a tensor is that cannot be copied into weights, in a word."""
    kinds = {
        "without values": tensor.is_meta,
        "quantized": tensor.is_quantized,
        "sparse": tensor.layout is not torch.strided,
        "complex": tensor.is_complex(),
    }
    return next((kind for kind, is_so in kinds.items() if is_so), None)


def _named(names: list[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return printable("; ".join(names[:_NAMED_AT_MOST])) + (f"; and {more} more" if more > 0 else "")
