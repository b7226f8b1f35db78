"""Recognise a network built by torchvision, timm or partcnn, so that a checkpoint can name it.

A checkpoint holds no code. It can rebuild a network on its own only where its library's name is known; others
are passed to `partcnn.load` as `model=`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from partcnn.networks.backbones import BACKBONES, TIMM, WITH_AUXILIARY_HEADS, build_network
from partcnn.networks.tensorflow_padding import with_padding


def identify_network(network: nn.Module) -> dict[str, Any] | None:
    """The specification that `partcnn.networks.backbones.build_network` turns into a network of this structure.

    Candidates are built without memory for weights and compared layer by layer, settings and shapes included.

    Returns:
        {"name", "num_classes", "padding"}, with "aux_logits" where it has training heads; or None: no named
        network has this structure.
    """
    timm_name = getattr(network, "default_cfg", {}).get("architecture")
    if timm_name is not None:
        spec = {"name": f"{TIMM}{timm_name}", "num_classes": network.num_classes, "padding": "torch"}
        return spec if _has_shapes_of(network, spec) else None
    structure = _structure(network)
    for name, build, options in _builders_in(type(network).__module__):
        for num_classes in _possible_num_classes(network):
            with _WithoutWeights():
                candidate = build(num_classes=num_classes, **options)
            if candidate.state_dict().keys() != network.state_dict().keys():
                break  # other classes will not make it the same
            for padding in ("torch", "tensorflow"):
                if _structure(with_padding(candidate, padding)) == structure:
                    named = {"name": name, "num_classes": num_classes, "padding": padding}
                    return named | ({"aux_logits": True} if options.get("aux_logits") else {})
    return None


def _has_shapes_of(network: nn.Module, spec: dict[str, Any]) -> bool:
    """Whether timm's network of this name has the same weights; its options that add none (drop path) may differ."""
    with _WithoutWeights():
        candidate = build_network(spec)
    return _structure(candidate)[1] == _structure(network)[1]


class _WithoutWeights(TorchFunctionMode):
    """Weights, which modules make empty and then fill, take no memory and no time; other tensors are real.

    `torch.device("meta")` would also catch the small tensors from which RegNets compute their widths.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


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


def _builders_in(module: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, builder and its options beside the number of classes, of the networks that a module defines."""
    for name, network_class in BACKBONES.items():
        if network_class.__module__ == module:
            yield name, network_class, {}
    if not module.startswith("torchvision."):
        return
    import torchvision

    for name in torchvision.models.list_models(module=torchvision.models):
        builder = torchvision.models.get_model_builder(name)
        if builder.__module__ != module:
            continue
        if name not in WITH_AUXILIARY_HEADS:
            yield name, builder, {}
            continue
        for aux_logits in (False, True):
            yield name, builder, {"aux_logits": aux_logits, "init_weights": False}
