"""A converted network as one file that runs without this package: ONNX, or a program of torch.export.

Inputs and outputs by name, the number of images free:

    images                [image, channel, row, col], preprocessed; the size the network was converted for
    logits                [image, class]
    masked_feature_maps   [image, filter, row, col] of the top part layer    (these only with `parts`)
    peaks                 [image, filter, 2], the cell (row, col) of each filter's part, read as `PartMask.places` says
    contributions         [image, class, filter]; logits = bias + their sum over filters. Additive head only
    surroundings          [image, class], one more term of that sum, where filters compete

The file's metadata says under "partcnn", as JSON, how pictures become inputs, what the logits are called, their bias,
what filters are called, and where cells lie in the picture.
"""

import importlib
import importlib.util
import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.foundation.files import as_path, replace_file
from partcnn.foundation.version import package_version
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.copying import copied
from partcnn.model.mask import PartMask, part_masks, top_mask
from partcnn.model.network import PartNetwork, conversion_of, layer_field, unwrapped

FORMATS = ("onnx", "torch-export")
METADATA_KEY = "partcnn"
PART_OUTPUTS = ("masked_feature_maps", "peaks", "contributions", "surroundings")

_TRACED_BATCH = 2  # torch.export takes a size of 1 for a constant
_NEEDED = {"onnx": ("onnx", "onnxscript"), "onnxruntime": ("onnxruntime",)}


def export(model: nn.Module, path: str | os.PathLike[str], *, format: str | None = None, parts: bool = False) -> Path:
    """Write a converted network to a file that runs without partcnn, with any number of images at once.

    Args:
        model: made by `partcnn.convert`; it is copied, and the copy is exported in evaluation mode from the CPU.
        path: of the file, which is replaced whole. Its folder is made where missing.
        format: "onnx" (needs the extra `onnx`) or "torch-export"; None takes "torch-export" for a path that ends
            in .pt2, else "onnx".
        parts: also give the top part layer's masked maps, peaks and, with the additive head, contributions; where
            filters compete, surroundings too.

    Returns:
        The file.

    Raises:
        LayerError: the network was not made by `partcnn.convert`, or the exporter cannot follow it.
        ConfigError: an unknown format, a package is missing, or the path is a directory or none.
    """
    path = as_path(path, ConfigError, "path: expected the file to write")
    if format is None:
        format = "torch-export" if path.suffix == ".pt2" else "onnx"
    if format not in FORMATS:
        raise ConfigError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    if path.is_dir():
        raise ConfigError(f"path: expected a file name, got the directory {path}; add model.onnx")
    if format == "onnx":
        _require("onnx")
    network = _ExportedNetwork(model, has_parts=parts)
    metadata = json.dumps(file_metadata(model))
    images = torch.randn(_TRACED_BATCH, *_input_shape(model), generator=torch.Generator().manual_seed(0))
    try:
        with _quiet(), torch.no_grad():
            write = _onnx_writer(network, images, metadata) if format == "onnx" else _program(network, images, metadata)
    except Exception as error:  # both exporters raise errors of many kinds on code that they cannot follow
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LayerError(f"model: {format} cannot be made of this network ({reason})") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, write)
    return path


def output_names(model: nn.Module, *, parts: bool) -> list[str]:
    """The names of the exported file's outputs, in their order."""
    if not parts:
        return ["logits"]
    network = unwrapped(model)
    number = 4 if isinstance(network, CompetingNetwork) else 3 if isinstance(network, PartNetwork) else 2
    return ["logits", *PART_OUTPUTS[:number]]


def file_metadata(model: nn.Module) -> dict[str, Any]:
    """What the exported file says about itself: preprocessing, classes, bias, and where cells lie in the picture."""
    record, inner = conversion_of(model), unwrapped(model)
    layer, _ = top_mask(inner)
    field = layer_field(inner, layer)
    return {
        "partcnn": package_version(),
        "classes": record.classes,
        "multilabel": record.settings.multilabel,
        "preprocessing": {
            **record.preprocessing.to_spec(),
            "pixels": f"{record.preprocessing.pixels}, stretched to input_size, - mean, / std",
        },
        "bias": inner.bias.tolist() if isinstance(inner, PartNetwork) else None,
        "part_layer": layer,
        "filter_names": {str(number): name for number, name in record.filter_names.items()},  # of those that have one
        "cells": {  # centre of cell (row, col) = first_center_px + 0.5 + (row, col) * stride_px, pixels from the edge
            "first_center_px": list(field.first_center_px),
            "stride_px": list(field.stride_px),
            "size_px": list(field.size_px),
            "map_size": list(field.map_size),
        },
    }


def onnx_differences(model: nn.Module, path: str | os.PathLike[str], images: Tensor) -> dict[str, float]:
    """Run an exported ONNX file by onnxruntime beside the network: output → largest absolute difference.

    Peaks are compared in cells. A file of other pictures' size, or one that lacks an output, raises what onnxruntime
    raises.

    Raises:
        ConfigError: onnxruntime is not installed.
    """
    _require("onnxruntime")
    runtime: Any = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"images": images.numpy()})
    network = _ExportedNetwork(model, has_parts=len(names) > 1)
    with torch.no_grad():
        given = network(images)
    expected = dict(zip(output_names(model, parts=len(names) > 1), given, strict=True))
    return {
        name: float((torch.from_numpy(one).double() - expected[name].double()).abs().max())
        for name, one in zip(names, found, strict=True)
    }


class _ExportedNetwork(nn.Module):
    """A copy of the network, in evaluation mode, that gives all outputs and records nothing."""

    def __init__(self, model: nn.Module, *, has_parts: bool) -> None:
        super().__init__()
        conversion_of(model)  # raises for another network
        way_out = "load it anew, and export that"
        self.network = copied(unwrapped(model), "model", way_out).cpu().float().eval()
        self.has_parts = has_parts
        self._masked: list[tuple[Tensor, Tensor]] = []
        masks = [mask for _, mask in part_masks(self.network)]
        for mask in masks:
            mask.forward = mask.masked  # type: ignore[method-assign] # a program has no place to record maps in
        self._top = masks[-1]
        self._top.register_forward_hook(self._keep)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        self._masked.clear()
        logits = self.network(images)
        if not self.has_parts:
            return (logits,)
        feature_maps, masked = self._masked[-1]
        outputs = (logits, masked, self._top.part_cells(feature_maps))
        if isinstance(self.network, PartNetwork):
            return (*outputs, *(term for term in self.network.logit_terms(masked) if term is not None))
        return outputs

    def _keep(self, mask: PartMask, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._masked.append((inputs[0], output))


def _onnx_writer(network: _ExportedNetwork, images: Tensor, metadata: str) -> Any:
    program = torch.onnx.export(
        network,
        (images,),
        input_names=["images"],
        output_names=output_names(network.network, parts=network.has_parts),
        dynamic_shapes=_free_batch(),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props[METADATA_KEY] = metadata
    return program.save


def _program(network: _ExportedNetwork, images: Tensor, metadata: str) -> Any:
    program = torch.export.export(network, (images,), dynamic_shapes=_free_batch(), strict=False)
    content = io.BytesIO()  # a temporary file's ending would be warned of
    torch.export.save(program, content, extra_files={METADATA_KEY: metadata})
    return lambda file: file.write_bytes(content.getvalue())


def _free_batch() -> dict[str, dict[int, Any]]:
    return {"images": {0: torch.export.Dim("image", min=1)}}


def _input_shape(model: nn.Module) -> tuple[int, int, int]:
    preprocessing = conversion_of(model).preprocessing
    return (preprocessing.channels, *preprocessing.input_size)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' remarks on their own future are no business of the caller's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _require(kind: str) -> None:
    missing = [name for name in _NEEDED[kind] if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"format: onnx needs {', '.join(missing)}; pip install 'partcnn[onnx]'")
