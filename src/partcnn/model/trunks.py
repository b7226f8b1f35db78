"""A network up to one of its layers."""

import copy
import logging
from typing import Any

from torch import Tensor, nn

from partcnn.networks.probing.layer_shapes import LayerShape
from partcnn.networks.probing.probe import recorded_output

logger = logging.getLogger("partcnn")


class HookedTrunk(nn.Module):
    """A network up to one of its layers where it cannot be traced: the whole runs, the layer's output is taken."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, images: Tensor) -> Tensor:
        with recorded_output(self.network, self.layer) as outputs:
            self.network(images)
        return outputs[-1]

    def extra_repr(self) -> str:
        return f"layer={self.layer!r}"


def _trunk(network: nn.Module, shape: LayerShape) -> nn.Module:
    """The network up to a layer, its state-dict keys unchanged where it can be traced; maps have channels first."""
    trunk = HookedTrunk(network, shape.name) if shape.num_calls > 1 else _traced_or_hooked(network, shape.name)
    return nn.Sequential(trunk, _ChannelsFirst()) if shape.is_channels_last else trunk


def _traced_or_hooked(network: nn.Module, layer: str) -> nn.Module:
    """A trace would end at a layer's first call: for those that run once."""
    from torchvision.models.feature_extraction import create_feature_extractor

    is_training = {module: module.training for module in network.modules()}
    try:
        return _TracedTrunk(create_feature_extractor(network, {layer: "maps"}))
    except Exception as error:  # torch.fx raises nearly anything on control flow it cannot follow
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.info("the network cannot be traced (%s): it runs whole, and its head is not used", reason)
        return HookedTrunk(network, layer)
    finally:
        for module, was_training in is_training.items():  # tracing sets one mode for all, and leaves it on an error
            module.training = was_training


class _ChannelsFirst(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:  # [image, row, col, channel] -> [image, channel, row, col]
        return maps.permute(0, 3, 1, 2).contiguous()


class _TracedTrunk(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)["maps"]  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> "_TracedTrunk":
        """A copy in the mode of the original, with its hooks: torchvision's copies are all in training mode."""
        copied = _TracedTrunk(copy.deepcopy(self.network, memo))
        copied.network.train(self.network.training)  # takes the graph of that mode
        for name, module in self.named_modules():
            copied.get_submodule(name).training = module.training
        copied.__dict__.update({name: copy.copy(value) for name, value in vars(self).items() if "_hooks" in name})
        return copied
