"""A network with part filters: trunk, part layers and additive head; its record; and its maps."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.model.mask import PartMask, part_masks
from partcnn.model.modules import AdditiveHead, MapErasing, PartConv2d
from partcnn.networks.preprocessing import Preprocessing

_RECORD_NAME = "part_conversion"


@dataclass
class Conversion:
    """How a network was converted, and what its logits and inputs mean: all that a checkpoint needs beside weights.

    Args:
        arguments: of `convert`, the layers by name.
        network: the specification of the network it was made from, or None where no library names it.
        classes: names of the classes in the order of the logits.
        preprocessing: how a picture becomes an input.
        is_trained: `fit` has trained it, or it was loaded: its projection is set.
    """

    arguments: dict[str, Any]
    network: dict[str, Any] | None
    classes: list[str]
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    is_trained: bool = False


def conversion_of(model: nn.Module) -> Conversion:
    """The record that `convert` left on a network; also through DistributedDataParallel and torch.compile.

    Raises:
        LayerError: the network was not made by `convert`.
    """
    for module in (model, getattr(model, "module", None), getattr(model, "_orig_mod", None)):
        record = getattr(module, _RECORD_NAME, None)
        if isinstance(record, Conversion):
            return record
    raise LayerError("model: expected a network made by partcnn.convert, got another one")


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within DistributedDataParallel or torch.compile; another network is given back as it is."""
    inner: nn.Module = getattr(model, "module", getattr(model, "_orig_mod", model))
    return inner


class PartNetwork(nn.Module):
    """A trunk, part layers and an additive head: logits are a sum over the top layer's filters.

    Args:
        trunk: pictures [image, channel, row, col] → maps [image, channel, row, col].
        projection: a linear map of the trunk's channels, 1 × 1, to fewer. `fit` sets it to the principal
            components of the trunk's maps and treats it as the trunk's last layer.
        hidden: ordinary layers between the trunk and the part layers.
        part_layers: at least one.
        head: linear in the masked maps.
        dropout: share of the projected channels dropped in training.
        erasing: share of the projected maps that lose a rectangle in training.
        layer: dotted name, in the network it comes from, of the trunk's last layer.
    """

    def __init__(
        self,
        trunk: nn.Module,
        projection: nn.Module,
        hidden: nn.Module,
        part_layers: Sequence[PartConv2d],
        head: AdditiveHead,
        *,
        dropout: float,
        erasing: float,
        layer: str,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.projection = projection
        self.erasing = MapErasing(erasing)
        self.dropout = nn.Dropout2d(dropout)
        self.hidden = hidden
        self.part_layers = nn.ModuleList(part_layers)
        self.head = head
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:  # [image, channel, row, col] -> [image, class]
        """The logits."""
        return self.forward_from_features(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """The trunk's projected maps: the same in every epoch when the trunk is frozen."""
        return self.projection(self.trunk(images))  # type: ignore[no-any-return]

    def forward_from_features(self, features: Tensor) -> Tensor:
        """The logits from the projected maps."""
        maps = self.hidden(self.dropout(self.erasing(features)))
        for part_layer in self.part_layers:
            maps = part_layer(maps)
        return self.head(maps)  # type: ignore[no-any-return]


@contextmanager
def recorded_feature_maps(model: nn.Module) -> Iterator[Mapping[str, Tensor]]:
    """Within the context, the maps of the last forward pass by part layer name, before the mask; top layer last.

    The model is left as it was, also after an error; maps hold no more memory after the context.
    """
    masks = dict(part_masks(model))
    try:
        yield _RecordedMaps(masks)
    finally:
        for mask in masks.values():
            mask.feature_maps = None


class _RecordedMaps(Mapping[str, Tensor]):
    """A live view of the maps that the part masks recorded."""

    def __init__(self, masks: dict[str, PartMask]) -> None:
        self._masks = masks

    def __getitem__(self, layer: str) -> Tensor:
        maps = self._masks[layer].feature_maps
        if maps is None:
            raise ConfigError(f"feature maps of {layer}: expected a forward pass in this context, got none yet")
        return maps

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)


@dataclass(frozen=True)
class PictureFeatures:
    """Whole pictures of a data set, as a network above the trunk needs them to be measured.

    Args:
        maps: [picture, channel, row, col] float32, projected.
        sizes: [picture, 2] (height, width) of the pictures, the frame of their annotations.
    """

    maps: Tensor
    sizes: Tensor
