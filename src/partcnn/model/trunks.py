"""A network up to one of its layers, or up to several whose maps are joined."""

import copy
import logging
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.networks.probing.layer_shapes import LayerShape
from partcnn.networks.probing.probe import recorded_outputs

logger = logging.getLogger("partcnn")


class HookedTrunk(nn.Module):
    """A network up to some of its layers where it cannot be traced: the whole runs, the layers' outputs are taken."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network, self.layers = network, tuple(layers)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        with recorded_outputs(self.network, self.layers) as outputs:
            self.network(images)
        return _alone_or_all(tuple(outputs[layer][-1] for layer in self.layers))

    def extra_repr(self) -> str:
        return f"layers={self.layers!r}"


class JoinedMaps(nn.Module):
    """Maps of several layers → one, all channels side by side: the coarser ones bilinearly at the finest's cells.

    Args:
        are_channels_last: whether each layer gives [image, row, col, channel].
    """

    def __init__(self, are_channels_last: Sequence[bool]) -> None:
        super().__init__()
        self.are_channels_last = tuple(are_channels_last)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:  # [image, channel, row, col]
        first = [
            feature_map.permute(0, 3, 1, 2) if is_channels_last else feature_map
            for feature_map, is_channels_last in zip(maps, self.are_channels_last, strict=True)
        ]
        size = max((feature_map.shape[2:] for feature_map in first), key=lambda cells: cells[0] * cells[1])
        fine = [
            feature_map
            if feature_map.shape[2:] == size
            else F.interpolate(feature_map, size=size, mode="bilinear", align_corners=False)
            for feature_map in first
        ]
        return torch.cat(fine, dim=1)


def trunk_of(network: nn.Module, shapes: Sequence[LayerShape]) -> nn.Module:
    """The network up to these layers, its state-dict keys unchanged where it can be traced.

    Maps come out as [image, channel, row, col]; of several layers they are joined in the order of `shapes`.
    """
    layers = [shape.name for shape in shapes]
    runs_again = any(shape.num_calls > 1 for shape in shapes)
    trunk = HookedTrunk(network, layers) if runs_again else _traced_or_hooked(network, layers)
    are_channels_last = [shape.is_channels_last for shape in shapes]
    if len(shapes) > 1:
        return nn.Sequential(trunk, JoinedMaps(are_channels_last))
    return nn.Sequential(trunk, _ChannelsFirst()) if are_channels_last[0] else trunk


def _traced_or_hooked(network: nn.Module, layers: Sequence[str]) -> nn.Module:
    """A trace would end at a layer's first call: for those that run once."""
    from torchvision.models.feature_extraction import create_feature_extractor

    is_training = {module: module.training for module in network.modules()}
    try:
        names = {layer: str(number) for number, layer in enumerate(layers)}
        return _TracedTrunk(create_feature_extractor(network, names, tracer_kwargs=_leaves()))
    except Exception as error:  # torch.fx raises nearly anything on control flow it cannot follow
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.info("the network cannot be traced (%s): it runs whole, and its head is not used", reason)
        return HookedTrunk(network, layers)
    finally:
        for module, was_training in is_training.items():  # tracing sets one mode for all, and leaves it on an error
            module.training = was_training


def _leaves() -> dict[str, Any]:
    """What a trace must not look into: timm says it of its own modules and functions, where it is in use."""
    timm_layers = sys.modules.get("timm.layers")
    if timm_layers is None:
        return {}
    return {
        "leaf_modules": timm_layers.get_notrace_modules(),
        "autowrap_functions": timm_layers.get_notrace_functions(),
    }


def _alone_or_all(maps: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    return maps[0] if len(maps) == 1 else maps


class _ChannelsFirst(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:  # [image, row, col, channel] -> [image, channel, row, col]
        return maps.permute(0, 3, 1, 2).contiguous()


class _TracedTrunk(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = self.network(images)
        return _alone_or_all(tuple(outputs[str(number)] for number in range(len(outputs))))

    def __deepcopy__(self, memo: dict[int, Any]) -> "_TracedTrunk":
        """A copy in the mode of the original, with its hooks: torchvision's copies are all in training mode."""
        copied = _TracedTrunk(copy.deepcopy(self.network, memo))
        copied.network.train(self.network.training)  # takes the graph of that mode
        for name, module in self.named_modules():
            copied.get_submodule(name).training = module.training
        copied.__dict__.update({name: copy.copy(value) for name, value in vars(self).items() if "_hooks" in name})
        return copied
