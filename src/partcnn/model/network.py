"""A network with part filters: trunk, part layers and additive head; its record; and its maps."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, LayerError, ShapeError
from partcnn.foundation.row_shards import Rows
from partcnn.model.mask import PartMask, check_tensor, part_masks
from partcnn.model.modules import MapErasing
from partcnn.model.settings import ConversionSettings
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.probing.field_memory import FieldMemory
from partcnn.networks.probing.receptive_field import ReceptiveField

RECORD_NAME = "part_conversion"  # of the attribute that holds a network's `Conversion`

_CHECKPOINT = "torch.distributed.algorithms._checkpoint.checkpoint_wrapper"
# Modules that pass their inputs on to one other: by where their type is, and the attribute that holds the other.
_WRAPPERS = (
    ("torch.nn.parallel.data_parallel", "DataParallel", "module"),
    ("torch.nn.parallel.distributed", "DistributedDataParallel", "module"),
    ("torch.distributed.fsdp.fully_sharded_data_parallel", "FullyShardedDataParallel", "module"),
    ("torch.optim.swa_utils", "AveragedModel", "module"),
    ("torch._dynamo.eval_frame", "OptimizedModule", "_orig_mod"),
    ("lightning.fabric.wrappers", "_FabricModule", "module"),
    ("lightning_fabric.wrappers", "_FabricModule", "module"),
    (_CHECKPOINT, "ActivationWrapper", "_checkpoint_wrapped_module"),
    ("timm.utils.model_ema", "ModelEmaV2", "module"),
    ("timm.utils.model_ema", "ModelEmaV3", "module"),
    ("deepspeed.runtime.engine", "DeepSpeedEngine", "module"),
    ("apex.parallel.distributed", "DistributedDataParallel", "module"),
    ("fairscale.nn.data_parallel.sharded_ddp", "ShardedDataParallel", "module"),
    ("opacus.grad_sample.grad_sample_module", "GradSampleModule", "_module"),
)


@dataclass
class Conversion:
    """How a network was converted, and what its logits and inputs mean: all that a checkpoint needs beside weights.

    Args:
        settings: of the conversion, with the layers by name.
        network: the specification of the network it was made from, or None where no library names it.
        classes: names of the classes in the order of the logits.
        preprocessing: how a picture becomes an input.
        is_trained: `fit` has trained it, or it was loaded: its projection is set.
        drops_filters: `fit` is to drop filters that are no parts (`partcnn.training.needed_filters`): they were asked
            for by `filters="auto"`, and are still as many as at the start.
        filter_names: what filters of the top part layer are called, see `partcnn.model.naming`.

    Attributes:
        fields: receptive fields that were found of it; see `layer_field`.
    """

    settings: ConversionSettings
    network: dict[str, Any] | None
    classes: list[str]
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    is_trained: bool = False
    drops_filters: bool = False
    filter_names: dict[int, str] = field(default_factory=dict)
    fields: FieldMemory = field(default_factory=lambda: FieldMemory((PartMask,)), init=False, repr=False, compare=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """The settings by name, in the plain lists, numbers and texts of config.json."""
        return self.settings.to_spec()


def conversion_of(model: nn.Module) -> Conversion:
    """The record that `convert` left on a network; also through wrappers, see `unwrapped`.

    Raises:
        LayerError: the network was not made by `convert`.
    """
    inner = unwrapped(model)
    record = _record(inner)
    if record is None:
        raise LayerError(f"model: expected a network made by partcnn.convert, got {_another(inner)}")
    return record


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within DataParallel, DistributedDataParallel, torch.compile, AveragedModel and their like.

    Wrappers are known by their type, not by what they call what they hold, and are taken off one after the other, down
    to the network that `convert` made; what it holds itself is never taken for a wrapped network.
    """
    while _record(model) is None and (inner := wrapped_in(model)) is not None:
        model = inner
    return model


def wrapped_in(model: nn.Module) -> nn.Module | None:
    """What a wrapper holds; None of any other module."""
    for home, name, attribute in _WRAPPERS:
        kind = getattr(sys.modules.get(home), name, None)  # not imported: nothing can be of that type
        if kind is not None and isinstance(model, kind):
            return getattr(model, attribute)  # type: ignore[no-any-return]
    return None


def _another(model: object) -> str:
    """What came in place of a converted network, and where in it one is."""
    if not isinstance(model, nn.Module):
        is_compiled = hasattr(model, "_torchdynamo_orig_callable")
        return f"a {type(model).__name__}{', as torch.compile gives; pass the network itself' if is_compiled else ''}"
    within = next((name for name, child in model.named_modules() if name and _record(child) is not None), None)
    if within is None:
        return f"a {type(model).__name__} that was not"
    return f"a {type(model).__name__} that holds one and may compute something else; pass its {within}"


def layer_field(model: nn.Module, layer: str, input_size: tuple[int, int] | None = None) -> ReceptiveField:
    """The receptive field of the cells of a layer of a converted network, traced once and then remembered.

    It is traced anew once the network's layers, their settings or hooks have changed; a copy of the network traces its
    own. It is not saved, and goes with the record when the network is converted anew.

    Args:
        model: made by `convert`; it may be wrapped.
        layer: dotted name of a module of `model`.
        input_size: (height, width) of the pictures in pixels; None: those of its preprocessing.

    Raises:
        LayerError: the network was not made by `convert`, or as of
            `partcnn.networks.probing.receptive_field.receptive_field`.
        ConfigError: a side is below 1.
    """
    record, inner = conversion_of(model), unwrapped(model)
    if inner is not model and layer in dict(model.named_modules(remove_duplicate=False)):
        module = model.get_submodule(layer)
        layer = next((name for name, candidate in inner.named_modules() if candidate is module), layer)
    return record.fields.field(inner, layer, input_size or record.preprocessing.input_size)


def _record(model: object) -> Conversion | None:
    record = getattr(model, "__dict__", {}).get(RECORD_NAME)  # not what a wrapper gives as if it were its own
    return record if isinstance(record, Conversion) else None


class PartNetwork(nn.Module):
    """A trunk, part layers and an additive head: logits are a sum over the top layer's filters.

    Args:
        trunk: pictures [image, channel, row, col] → maps [image, channel, row, col].
        projection: a linear map of the trunk's channels, 1 × 1, to fewer. `fit` sets it to the principal
            components of the trunk's maps and treats it as the trunk's last layer.
        hidden: ordinary layers between the trunk and the part layers.
        part_layers: `PartConv2d`, at least one.
        head: `AdditiveHead`, linear in the masked maps.
        dropout: share of the projected channels dropped in training.
        erasing: share of the projected maps that lose a rectangle in training.
        layers: dotted names, in the network it comes from, of the layers whose maps the trunk gives.
        trunk_channels: of each of these layers' maps, in the order in which the trunk joins them.
    """

    def __init__(
        self,
        trunk: nn.Module,
        projection: nn.Module,
        hidden: nn.Module,
        part_layers: Sequence[nn.Module],
        head: nn.Module,
        *,
        dropout: float,
        erasing: float,
        layers: Sequence[str],
        trunk_channels: Sequence[int],
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.projection = projection
        self.erasing = MapErasing(erasing)
        self.dropout = nn.Dropout2d(dropout)
        self.hidden = hidden
        self.part_layers = nn.ModuleList(part_layers)
        self.head = head
        self.layers, self.trunk_channels = tuple(layers), tuple(trunk_channels)
        self.num_channels: int | None = None  # of the pictures; `convert` sets it

    def forward(self, images: Tensor) -> Tensor:  # [image, channel, row, col] -> [image, class]
        """The logits."""
        return self.forward_from_features(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """The trunk's projected maps: the same in every epoch when the trunk is frozen.

        Raises:
            ShapeError: a list, an array or a number stands in place of the tensor; or it has other axes, or channels
                or a precision that the network does not take.
        """
        check_tensor(images, "images", "[image, channel, row, col]")
        if isinstance(images, Tensor) and images.ndim != 4:  # not of what stands for one while torch.fx traces
            way_out = "; images[None] makes a batch of one picture" if images.ndim == 3 else ""
            raise ShapeError(
                f"images: expected a tensor [image, channel, row, col], got one of shape {tuple(images.shape)}{way_out}"
            )
        return self.projection(self._trunk_maps(images))  # type: ignore[no-any-return]

    def _trunk_maps(self, images: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self.trunk(images)  # type: ignore[no-any-return]
        try:
            return self.trunk(images)  # type: ignore[no-any-return]
        except RuntimeError as error:  # torch's own words speak of a layer
            dtype = next((weight.dtype for weight in self.parameters()), images.dtype)
            misfit = _misfit(images, self.num_channels, dtype)
            if misfit is None:
                raise
            raise ShapeError(f"images: {misfit}") from error

    def forward_from_features(self, features: Tensor) -> Tensor:
        """The logits from the projected maps."""
        maps = self.hidden(self.dropout(self.erasing(features)))
        for part_layer in self.part_layers:
            maps = part_layer(maps)
        return self.head(maps)  # type: ignore[no-any-return]

    @property
    def bias(self) -> Tensor:  # [class]
        """What no filter adds to a logit."""
        return self.head.bias  # type: ignore[return-value]

    def contributions(self, masked_feature_maps: Tensor) -> Tensor:  # → [image, class, filter]
        """What each filter of the top layer adds to each logit: the first of `logit_terms`."""
        return self.logit_terms(masked_feature_maps)[0]

    def logit_terms(self, masked_feature_maps: Tensor) -> tuple[Tensor, Tensor | None]:
        """What adds up to each logit beside the bias, by the top layer's masked maps.

        logit = bias + surroundings + Σ_filter contributions.

        Args:
            masked_feature_maps: [image, filter, row, col] of the last forward pass.

        Returns:
            Contributions [image, class, filter], what each filter adds; and the surroundings [image, class], what the
            cells add that no filter holds, None where they add nothing, as with a grid head.
        """
        return self.head.contributions(masked_feature_maps), None  # type: ignore[operator]

    def logit_maps(self, masked_feature_maps: Tensor) -> tuple[Tensor, Tensor | None]:
        """`logit_terms` cell by cell: what each cell adds to each logit through each filter, or through none.

        Args:
            masked_feature_maps: [image, filter, row, col] of the last forward pass.

        Returns:
            Contributions [image, class, filter, row, col] and surroundings [image, class, row, col] or None; summed
            over the cells they are those of `logit_terms`.
        """
        return self.head.contribution_maps(masked_feature_maps), None  # type: ignore[operator]


def _misfit(images: Tensor, num_channels: int | None, dtype: torch.dtype) -> str | None:
    """Why a network may fail on such pictures, in words."""
    if num_channels not in (None, images.shape[1]):
        return f"expected a tensor [image, {num_channels}, row, col], got one of shape {tuple(images.shape)}"
    if images.dtype != dtype:
        return f"expected a preprocessed tensor of {dtype}, as the weights are, got {images.dtype}"
    return None


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
            mask.release()


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
class SecondFeatures:
    """The items of a `partcnn.model.second_views.SecondLooks`, in its order.

    Args:
        maps: [picture, channel, row, col] float32, projected.
        frames: [picture, 2, 3].
    """

    maps: Tensor
    frames: Tensor


@dataclass(frozen=True)
class PictureFeatures:
    """Whole pictures of a data set, as a network above the trunk needs them to be measured.

    Args:
        maps: [picture, channel, row, col] float32, projected; of many pictures shards in files.
        sizes: [picture, 2] (height, width) of the pictures, the frame of their annotations.
        second: of another view of some of the pictures; None: they are not known.
        noisy: of some of the pictures with noise; None: they are not known.
    """

    maps: Rows
    sizes: Tensor
    second: SecondFeatures | None = None
    noisy: SecondFeatures | None = None
