"""Recognise a network built by torchvision, timm or partcnn, so that a checkpoint can name it.

A checkpoint holds no code. It can rebuild a network on its own only where it is a library's, unchanged, which is proved
and not guessed; others are passed to `partcnn.load` as `model=`.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from partcnn.networks.backbones import BACKBONES, TIMM, WITH_AUXILIARY_HEADS, build_network
from partcnn.networks.likeness import difference
from partcnn.networks.tensorflow_padding import with_padding

_log = logging.getLogger("partcnn")


def identify_network(network: nn.Module) -> dict[str, Any] | None:
    """The specification that `partcnn.networks.backbones.build_network` turns into a network like this one.

    Candidates are built without memory for weights and compared in all that says what they compute
    (`partcnn.networks.likeness.difference`). What is not proved to be a library's network is one's own.

    Returns:
        {"name", "num_classes", "padding"}, with "aux_logits" where it has training heads; or None: no named
        network is like it.
    """
    for spec, candidate in _candidates(network):
        if _shapes(candidate) != _shapes(network):
            continue
        for padding in ("torch", "tensorflow"):
            place = difference(network, with_padding(candidate, padding))
            if place is None:
                return {**spec, "padding": padding}
            if padding == "torch":
                _log.debug("cnn: not %s as its library builds it: %s is another", spec["name"], place)
    return None


def _candidates(network: nn.Module) -> Iterator[tuple[dict[str, Any], nn.Module]]:
    """What a network may be, with as many classes as it has: specifications without padding, and what they build."""
    config = getattr(network, "default_cfg", None)
    timm_name = config.get("architecture") if isinstance(config, Mapping) else None
    if timm_name is not None:
        spec = {"name": f"{TIMM}{timm_name}", "num_classes": getattr(network, "num_classes", None)}
        candidate = _built_by_timm(spec)
        if candidate is not None:
            yield spec, candidate
        return
    for name, build, options in _builders_in(type(network).__module__):
        for num_classes in _possible_num_classes(network):
            with _WithoutWeights():
                candidate = build(num_classes=num_classes, **options)
            if candidate.state_dict().keys() != network.state_dict().keys():
                break  # other classes will not make it the same
            aux_logits = {"aux_logits": True} if options.get("aux_logits") else {}
            yield {"name": name, "num_classes": num_classes, **aux_logits}, candidate


def _built_by_timm(spec: dict[str, Any]) -> nn.Module | None:
    """None: timm, as it is installed, does not build a network of this name and number of classes."""
    if not isinstance(spec["num_classes"], int):
        return None
    try:
        with _WithoutWeights():
            candidate = build_network(spec)
        if not any(buffer.is_meta for buffer in _unsaved_buffers(candidate)):
            return candidate
        with torch.random.fork_rng(devices=[]):  # what no file will hold must be compared by value
            return build_network(spec)
    except Exception:  # whatever a library raises for a name that some other code gave its network
        return None


def _unsaved_buffers(network: nn.Module) -> Iterator[Tensor]:
    for module in network.modules():
        kept = (module._buffers.get(name) for name in module._non_persistent_buffers_set)
        yield from (buffer for buffer in kept if buffer is not None)


class _WithoutWeights(TorchFunctionMode):
    """Weights, which modules make empty and then fill, take no memory and no time; other tensors are real.

    `torch.device("meta")` would also catch the small tensors from which RegNets compute their widths.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _shapes(network: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(key, value.shape) for key, value in network.state_dict().items()]


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
