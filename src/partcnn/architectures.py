"""Recognise a network built by torchvision, timm or partcnn, so that a checkpoint can name it.

A checkpoint holds no code. It can rebuild a network on its own only where its library's name is known; others
are passed to `partcnn.load` as `model=`.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from partcnn import _torchvision  # noqa: F401

# isort: split
import torchvision

from partcnn.backbones import BACKBONES
from partcnn.tensorflow_padding import with_padding


def identify_network(network: nn.Module) -> dict[str, Any] | None:
    """The specification that `partcnn.backbones.build_network` turns into a network of this structure.

    Candidates are built without memory for weights and compared layer by layer, settings and shapes included.

    Returns:
        {"name", "num_classes", "padding"}, or None: no named network has this structure.
    """
    timm_name = getattr(network, "default_cfg", {}).get("architecture")
    if timm_name is not None:
        return {"name": f"timm:{timm_name}", "num_classes": network.num_classes, "padding": "torch"}
    structure = _structure(network)
    for name, build in _builders_in(type(network).__module__):
        for num_classes in _possible_num_classes(network):
            with torch.device("meta"):
                candidate = build(num_classes)
            for padding in ("torch", "tensorflow"):
                if _structure(with_padding(candidate, padding)) == structure:
                    return {"name": name, "num_classes": num_classes, "padding": padding}
    return None


def _structure(network: nn.Module) -> tuple[str, list[tuple[str, torch.Size]]]:
    shapes = [(key, value.shape) for key, value in network.state_dict().items()]
    return repr(network), shapes


def _possible_num_classes(network: nn.Module) -> list[int]:
    """The widths of the last layers: torchvision's classifiers end in one of them."""
    widths = [
        module.out_features if isinstance(module, nn.Linear) else module.out_channels
        for module in network.modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    ]
    return list(dict.fromkeys(widths[::-1][:2]))


def _builders_in(module: str) -> Iterator[tuple[str, Any]]:
    for name, network_class in BACKBONES.items():
        if inspect.getmodule(network_class).__name__ == module:  # type: ignore[union-attr]
            yield name, lambda num_classes, build=network_class: build(num_classes=num_classes)
    for name in torchvision.models.list_models(module=torchvision.models):
        builder = torchvision.models.get_model_builder(name)
        if builder.__module__ == module:
            options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            yield name, lambda num_classes, build=builder, options=options: build(num_classes=num_classes, **options)
