"""Save a converted network to a directory and load it again: safetensors and JSON, nothing that runs.

    model.safetensors   all parameters and buffers
    config.json         format version, how the network was converted, classes, preprocessing, and what it gives for a
                        picture of noise
    names.yaml          what filters are called, where they have names
    README.md           a model card, with the figures of metrics.json once the network was measured

A run directory of `partcnn train` holds these and more.
"""

import json
import logging
import os
from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from partcnn.foundation.errors import ConfigError, PartCNNError, RunError
from partcnn.foundation.files import as_path, file_digest, save_tensors, write_text
from partcnn.foundation.version import package_version
from partcnn.model.conversion import check_unconverted, converted
from partcnn.model.copying import copied
from partcnn.model.naming import num_filters
from partcnn.model.network import conversion_of, unwrapped
from partcnn.model.saving.answers import answer_of, other_answer
from partcnn.model.saving.checkpoint_files import (
    CONFIG_FILE,
    FORMAT,
    WEIGHTS_FILE,
    check_categories,
    check_finite,
    check_sizes,
    check_tensors,
    read_config,
    read_headers,
)
from partcnn.model.saving.halving import STORED_IN, halved
from partcnn.model.saving.model_card import MARK, model_card
from partcnn.model.saving.names_file import NAMES_FILE, read_names, write_names
from partcnn.model.saving.shipped import check_not_shipped, run_directory
from partcnn.model.settings import ConversionSettings
from partcnn.networks.backbones import build_network
from partcnn.networks.preprocessing import Preprocessing

_log = logging.getLogger("partcnn")

CARD_FILE = "README.md"
METRICS_FILE = "metrics.json"


def save(model: nn.Module, path: str | os.PathLike[str], *, half: bool = False) -> Path:
    """Write a converted network to a directory, which is made where missing. Files there are replaced whole.

    Args:
        model: a network made by `partcnn.convert`, trained or not.
        path: the directory. Other files in it stay.
        half: keep the large tensors in 16 bits: half the bytes. What `load` gives computes in 32 bits,
            with weights that were rounded to some 3 digits. `model` stays as it is.

    Returns:
        The directory.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        RunError: the path is none, is or passes through a file, or is the package's own network.
        WeightsError: with `half`, weights are too large or too small for 16 bits.
    """
    record = conversion_of(model)
    directory = as_path(path, RunError, "path: expected a directory")
    check_not_shipped(directory, "path")
    file = next((place for place in (directory, *directory.parents) if place.exists() and not place.is_dir()), None)
    if file is not None:
        raise RunError(f"path: expected a directory, got the file {file}")
    directory.mkdir(parents=True, exist_ok=True)
    inner = unwrapped(model)
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in inner.state_dict().items()}
    if half:
        tensors = halved(tensors, {name for name, _ in inner.named_parameters()})
        model = copied(inner, "model", "save with half=False").float()
        model.load_state_dict(tensors)
    config = {
        "format": FORMAT,
        "partcnn": package_version(),
        "network": record.network,
        "arguments": record.arguments,
        "classes": record.classes,
        "preprocessing": record.preprocessing.to_spec(),
        "answer": answer_of(model),
        **({STORED_IN: "float16"} if half else {}),
    }
    before = file_digest(directory / WEIGHTS_FILE)
    save_tensors(tensors, directory / WEIGHTS_FILE)
    write_text(directory / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    write_names(record.filter_names, directory / NAMES_FILE)
    # Figures that lie there are of the network that lay there.
    write_card(directory, is_measured=before == file_digest(directory / WEIGHTS_FILE))
    return directory


def save_names(model: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Write the names of the network's filters (`partcnn.model.naming`) into the directory that it lies in.

    names.yaml is replaced whole, and removed where no filter has a name; the model card lists them.

    Args:
        model: the network.
        path: a directory that `save` or `partcnn train` wrote.

    Returns:
        The file.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        RunError: no network was saved there, or it is the package's own.
        OSError: it cannot be written.
    """
    directory = as_path(path, RunError, "path: expected a directory written by partcnn.save")
    check_not_shipped(directory, "path")
    read_config(directory)
    write_names(conversion_of(model).filter_names, directory / NAMES_FILE)
    write_card(directory)
    return directory / NAMES_FILE


def write_card(directory: Path, *, is_measured: bool = True) -> None:
    """Write README.md from config.json and, where `is_measured`, the figures of metrics.json beside it.

    A README.md that `save` did not write stays.
    """
    card = directory / CARD_FILE
    if card.exists() and not is_own_card(card):
        return
    config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
    write_text(card, model_card(config, _summary(directory) if is_measured else None, _names(directory)))


def is_own_card(card: Path) -> bool:
    """Whether a README.md is one that `save` wrote."""
    return card.is_file() and MARK in card.read_text(encoding="utf-8", errors="replace")


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """The network of a directory written by `save`, in evaluation mode, on the CPU.

    Args:
        path: the directory; "demo:" is the network that comes with the package.
        model: the unconverted network, where it is of your own making: its code is not in the directory. It is
            copied, and its weights are replaced by the saved ones.

    Raises:
        RunError: the directory or its files are missing, malformed, or of a later format; or the network has no
            library name and `model` is None; or the network computes something else than the saved one.
        ConfigError, LayerError: the network that config.json names, or a layer of it, does not exist; `model` is no
            network, a converted one, or one that cannot be copied.
        WeightsError: the weights do not fit the network, or are not finite.
    """
    directory = run_directory(path)
    file = directory / WEIGHTS_FILE
    config, headers = read_config(directory), read_headers(file)
    is_passed = model is not None
    if is_passed:
        check_unconverted(model, "model")
    if model is None and config["network"] is None:
        raise RunError(f"model: {directory} holds a network of your own; pass it, load(path, model=MyNetwork())")
    try:
        settings = ConversionSettings.from_spec(config["arguments"])
    except ConfigError as error:
        raise RunError(f"{directory / CONFIG_FILE}: {error}") from error
    check_sizes(settings, headers, file)
    try:
        whole = build_network(config["network"]) if model is None else model
        names_of_whole = set(whole.state_dict())
        network = _rebuilt(config, settings, whole, is_own=model is not None)
    except PartCNNError:
        raise
    except (TypeError, ValueError, AttributeError, KeyError, RuntimeError, OverflowError) as error:
        if is_passed:  # the fault may be the given network's: its own words say more
            raise
        raise RunError(f"{directory / CONFIG_FILE}: no network can be built from it ({error})") from error
    expected = network.state_dict()
    unused = _above_the_trunk(headers, expected, names_of_whole)
    check_tensors(expected, {name: header for name, header in headers.items() if name not in unused}, file)
    tensors = {name: tensor for name, tensor in load_file(file).items() if name not in unused}
    check_categories(tensors, settings.num_classes, file)
    check_finite(tensors, {name for name, _ in network.named_parameters()}, file)
    network.load_state_dict(tensors)
    dtypes = {value.dtype for value in tensors.values() if value.is_floating_point()} - {torch.float32}
    if dtypes and STORED_IN not in config:
        network.to(dtypes.pop())
    _check_answer(network.eval(), config, directory, is_passed=is_passed)
    conversion_of(network).filter_names = read_names(directory / NAMES_FILE, num_filters(network))
    return network


def _check_answer(network: nn.Module, config: dict[str, Any], directory: Path, *, is_passed: bool) -> None:
    """The network computes what the saved one did. Directories of before hold no answer to compare with."""
    answer = config.get("answer")
    found = None if answer is None else other_answer(network, answer)
    if found is None:
        return
    if is_passed:
        raise RunError(
            f"model: expected a network that computes what the one saved in {directory} does, got one that gives "
            f"{found}; build it with the same settings, code and hooks"
        )
    raise RunError(
        f"{directory} holds a network that was made from {config['network'].get('name')!r:.50} and then changed: as "
        f"its library builds it, it gives {found}; pass the changed one, load(path, model=MyNetwork())"
    )


def _above_the_trunk(names: Iterable[str], expected: Container[str], whole: Container[str]) -> set[str]:
    """Weights of the network that its trunk does not use: a network that could not be traced was once kept whole.

    Args:
        names: in the file.
        expected: of the converted network.
        whole: of the network before.
    """
    of_trunk = {name for name in names if name.startswith("trunk.") and name not in expected}
    return {name for name in of_trunk if name.partition("network.")[2] in whole}


def _rebuilt(config: dict[str, Any], settings: ConversionSettings, network: nn.Module, *, is_own: bool) -> nn.Module:
    """The network that config.json describes, with whatever weights it starts from; one's own is copied."""
    if is_own:
        network = copied(network, "model", "give a new one, as it is before its first forward pass")
    rebuilt = converted(network, settings, inplace=True)
    record = conversion_of(rebuilt)
    record.network = config["network"]
    record.classes, record.is_trained = list(config["classes"]), True
    channels = record.preprocessing.channels  # as the network takes them; files of before do not tell
    record.preprocessing = replace(Preprocessing.from_spec(config["preprocessing"]), channels=channels)
    return rebuilt


def _names(directory: Path) -> dict[int, str]:
    """Those of names.yaml; none where it cannot be read."""
    try:
        return read_names(directory / NAMES_FILE)
    except RunError as error:
        _log.warning("the names are left out of the model card: %s", error)
        return {}


def _summary(directory: Path) -> dict[str, Any] | None:
    """The summary of metrics.json; None where there is none that can be read, or it is of other weights."""
    file = directory / METRICS_FILE
    try:
        figures = json.loads(file.read_text(encoding="utf-8"))
        summary, run = figures["summary"], figures.get("run") or {}
        measured = run.get("weights")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _log.warning("%s is left out of the model card: %s", file, error)
        return None
    is_other = measured is not None and measured != file_digest(directory / WEIGHTS_FILE)
    return summary if isinstance(summary, dict) and not is_other else None
