"""Turn any CNN into one with part filters, take it back, and read its maps.

Two ways. `head="additive"`: the network up to the chosen layer becomes a trunk, new part layers and an additive
head stand on it. `head="original"`: masks are hooked onto the chosen layers, everything else stays as it was.
"""

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from partcnn import _torchvision  # noqa: F401
from partcnn.architectures import identify_network
from partcnn.backbones import Preprocessing
from partcnn.errors import ConfigError, LayerError
from partcnn.layers import AdditiveHead, MapErasing, PartConv2d, PartMask, part_masks

logger = logging.getLogger("partcnn")

HEADS = ("additive", "original")
MASK_NAME = "part_mask"  # the child that head="original" adds to a layer
_RECORD_NAME = "part_conversion"

_AUTO_MIN_SIDE = 12  # cells: coarser maps cannot tell neighbouring parts apart
_MIN_SIDE = 2
_MAX_HIDDEN = 128  # filters of the ordinary layer, unless they are asked for
_PASSED_THROUGH = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity)


@dataclass(frozen=True)
class LayerShape:
    """What a layer gives for a picture of the input size."""

    name: str
    num_channels: int
    map_size: tuple[int, int]  # (rows, cols)
    stride_px: tuple[float, float]  # input pixels per cell, (down, across)
    is_nonnegative: bool
    is_passed_through: bool  # dropout or identity: the name of the layer before it says more
    is_score_map: bool  # one channel per output: class scores before a global pooling, not features


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


class HookedTrunk(nn.Module):
    """A network up to one of its layers where it cannot be traced: the whole runs, the layer's output is taken."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, images: Tensor) -> Tensor:
        with _recorded_outputs(self.network, [self.layer]) as outputs:
            self.network(images)
        return outputs[self.layer]


def convert(
    cnn: nn.Module,
    layers: str | Sequence[str] = "auto",
    *,
    num_classes: int,
    new_layers: int = 1,
    filters: int | None = None,
    projection: int | None = 128,
    hidden: int | None = None,
    head: str = "additive",
    objective: str | None = "labelled",
    background: int | None = None,
    input_size: tuple[int, int] = (224, 224),
    grid: int = 7,
    dropout: float = 0.2,
    erasing: float = 0.5,
    masks: bool = True,
    loss_weight: float = 0.2,
    inplace: bool = False,
) -> nn.Module:
    """A network whose high filters can be trained to detect one part each; `forward(images)` gives logits.

    Args:
        cnn: any network that takes pictures [image, channel, row, col].
        layers: dotted module names, or "auto": the deepest layer with a map of at least 12 × 12 cells. The
            additive head takes one layer.
        num_classes: of the task. With `head="original"` the number of outputs the network has.
        new_layers: part layers, at least 1 (this and the next three: additive head only).
        filters: per part layer; None takes 32 filters a class that owns any, at most the trunk's channels.
        projection: channels that the trunk's maps are projected to, at most as many as they have; None or 0
            leaves them as they are. Fewer weights follow parts better on few pictures, and cost less.
        hidden: filters of an ordinary 3 × 3 layer below the part layers; None takes twice `filters`, at most 128;
            0 leaves it out.
        head: "additive" replaces what lies above the layer by part layers and a head that is linear in the masked
            maps; "original" puts masks in place, the network above and all its state-dict keys stay.
        objective: see `partcnn.objectives.OBJECTIVES`; None for no filter loss.
        background: the class that owns no filter, or None.
        input_size: (height, width) in pixels, to choose and check layers by.
        grid: cells per side that the additive head pools each map to.
        dropout: share of the projected channels dropped in training.
        erasing: share of the projected maps that lose a rectangle in training.
        masks: False leaves maps unmasked. With `objective=None` this is the plain network to compare with.
        loss_weight: λ of each part layer.
        inplace: True changes `cnn` itself; otherwise it stays untouched.

    Returns:
        `PartNetwork` for the additive head, else the network itself with masks.

    Raises:
        LayerError: unknown layer, a map smaller than 2 × 2, or (original head) maps that can be negative.
        ConfigError: an argument is outside what it may be.
    """
    _check_arguments(num_classes, new_layers, filters, head, background, projection, hidden)
    specification = identify_network(cnn)
    network = cnn if inplace else copy.deepcopy(cnn)
    chosen = _chosen_layers(network, layers, input_size, needs_nonnegative=head == "original")
    owners = num_classes - (background is not None)
    num_filters = filters or min(32 * owners, max(chosen[0].num_channels, owners))
    if head == "additive" and objective == "labelled" and num_filters < owners:  # it shares filters out evenly
        raise ConfigError(f"filters: expected at least one for each of {owners} classes, got {num_filters}")
    record = Conversion(
        arguments={
            "layers": [shape.name for shape in chosen],
            "num_classes": num_classes,
            "new_layers": new_layers,
            "filters": num_filters,
            "projection": projection,
            "hidden": hidden,
            "head": head,
            "objective": objective,
            "background": background,
            "input_size": list(input_size),
            "grid": grid,
            "dropout": dropout,
            "erasing": erasing,
            "masks": masks,
            "loss_weight": loss_weight,
        },
        network=specification,
        classes=[str(label) for label in range(num_classes)],
        preprocessing=Preprocessing(input_size=input_size),
    )
    mask_settings: dict[str, Any] = {
        "objective": objective,
        "enabled": masks,
        "background": background,
        "loss_weight": loss_weight,
    }
    if head == "original":
        num_logits = _num_logits(network, input_size)
        if num_logits not in (None, num_classes):
            raise ConfigError(f"num_classes: expected {num_logits}, the network's own logits, got {num_classes}")
        for shape in chosen:
            _attach_mask(network, shape, num_classes, mask_settings)
        setattr(network, _RECORD_NAME, record)
        return network
    if len(chosen) != 1:
        raise ConfigError(f"layers: expected one layer with head='additive', got {[shape.name for shape in chosen]}")
    shape = chosen[0]
    num_channels = min(projection or shape.num_channels, shape.num_channels)
    width = min(2 * num_filters, _MAX_HIDDEN) if hidden is None else hidden
    converted = PartNetwork(
        _trunk(network, shape.name, input_size),
        _projection(shape.num_channels, num_channels) if projection else nn.Identity(),
        _hidden_layer(num_channels, width) if width else nn.Identity(),
        [
            PartConv2d(
                (width or num_channels) if index == 0 else num_filters, num_filters, num_classes, **mask_settings
            )
            for index in range(new_layers)
        ],
        AdditiveHead(num_filters, num_classes, grid=grid),
        dropout=dropout,
        erasing=erasing,
        layer=shape.name,
    )
    setattr(converted, _RECORD_NAME, record)
    reference = next(network.parameters(), None)
    return converted if reference is None else converted.to(reference.device, reference.dtype)


def _projection(num_channels: int, num_kept: int) -> nn.Conv2d:
    """1 × 1, orthonormal rows: distances between cells are kept as well as chance allows."""
    layer = nn.Conv2d(num_channels, num_kept, 1)
    nn.init.orthogonal_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _hidden_layer(num_channels: int, width: int) -> nn.Sequential:
    layer = nn.Conv2d(num_channels, width, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.ReLU())


def remove_masks(model: nn.Module) -> nn.Module:
    """Take the masks of `convert(..., head="original")` off again, in place; returns the network as it was."""
    for module in list(model.modules()):
        mask = module._modules.get(MASK_NAME)
        if isinstance(mask, PartMask):
            for key, hook in list(module._forward_hooks.items()):
                if getattr(hook, "__self__", None) is mask:
                    del module._forward_hooks[key]
            delattr(module, MASK_NAME)
    if hasattr(model, _RECORD_NAME):
        delattr(model, _RECORD_NAME)
    return model


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


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Within the context all modules are in evaluation mode; each gets its own mode back, also after an error."""
    was_training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True


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


def layer_shapes(cnn: nn.Module, input_size: tuple[int, int] = (224, 224)) -> list[LayerShape]:
    """Every module that gives a map [image, channel, row, col], in the order of the forward pass.

    One picture of noise is passed through in eval mode; the network and its statistics stay as they were.
    """
    names = [name for name, _ in cnn.named_modules() if name]
    with _recorded_outputs(cnn, names) as outputs:
        num_outputs = _num_logits(cnn, input_size)
    if any(isinstance(module, nn.Linear) and module.out_features == num_outputs for module in cnn.modules()):
        num_outputs = None  # the scores come from a linear layer, not from a map
    return [
        LayerShape(
            name,
            output.shape[1],
            (output.shape[2], output.shape[3]),
            (input_size[0] / output.shape[2], input_size[1] / output.shape[3]),
            bool((output >= 0).all()),
            isinstance(cnn.get_submodule(name), _PASSED_THROUGH),
            output.shape[1] == num_outputs,
        )
        for name, output in outputs.items()
        if output.ndim == 4
    ]


def _num_logits(cnn: nn.Module, input_size: tuple[int, int]) -> int | None:
    """How many logits one picture of noise gives in eval mode; None where the output is not [image, class]."""
    reference = next(cnn.parameters(), torch.zeros(()))
    num_channels = next((m.in_channels for m in cnn.modules() if isinstance(m, nn.Conv2d)), 3)
    probe = torch.randn(1, num_channels, *input_size, generator=torch.Generator().manual_seed(0))
    with evaluation_mode(cnn), torch.no_grad():
        logits = cnn(probe.to(reference.device, reference.dtype))
    return logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 else None


def _chosen_layers(
    network: nn.Module, layers: str | Sequence[str], input_size: tuple[int, int], *, needs_nonnegative: bool
) -> list[LayerShape]:
    shapes = {shape.name: shape for shape in layer_shapes(network, input_size)}
    if layers == "auto":
        return [_auto_layer(list(shapes.values()), input_size, needs_nonnegative)]
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise LayerError("layers: expected at least one name, or 'auto', got none")
    for name in names:
        if name not in shapes:
            raise LayerError(
                f"layers: expected names of layers that give a map, got {name!r}; there are: {', '.join(shapes)}"
            )
        if min(shapes[name].map_size) < _MIN_SIDE:
            raise LayerError(
                f"layers: {name!r} gives a map of {_times(shapes[name].map_size)} at input {_times(input_size)}; "
                f"expected at least {_MIN_SIDE}×{_MIN_SIDE} cells: take an earlier layer or a larger input"
            )
        if needs_nonnegative and not shapes[name].is_nonnegative:
            raise LayerError(
                f"layers: {name!r} gives negative values, which a part mask cannot read with head='original'; "
                "take the ReLU after it, or head='additive'"
            )
    return [shapes[name] for name in names]


def _auto_layer(shapes: list[LayerShape], input_size: tuple[int, int], needs_nonnegative: bool) -> LayerShape:
    usable = [shape for shape in shapes if min(shape.map_size) >= _MIN_SIDE and not shape.is_score_map]
    usable = [shape for shape in usable if not shape.is_passed_through]
    if needs_nonnegative:
        usable = [shape for shape in usable if shape.is_nonnegative]
    if not usable:
        raise LayerError(f"layers: found no layer with a map of at least {_MIN_SIDE}×{_MIN_SIDE} cells; name one")
    fine = [shape for shape in usable if min(shape.map_size) >= _AUTO_MIN_SIDE]
    deepest = (fine or usable)[-1]
    logger.info(
        "layers='auto' took %s: %d channels, stride %g×%g px, map %s at input %s",
        deepest.name,
        deepest.num_channels,
        *deepest.stride_px,
        _times(deepest.map_size),
        _times(input_size),
    )
    return deepest


def _attach_mask(network: nn.Module, shape: LayerShape, num_classes: int, settings: dict[str, Any]) -> None:
    module = network.get_submodule(shape.name)
    while isinstance(module, nn.Sequential):  # a child added to a Sequential would run as its last layer
        module = module[-1]
    if MASK_NAME in module._modules:
        raise LayerError(f"layers: {shape.name!r} has a part mask already; see partcnn.conversion.remove_masks")
    mask = PartMask(shape.num_channels, num_classes, **settings)
    reference = next(network.parameters(), torch.zeros(()))
    module.add_module(MASK_NAME, mask.to(reference.device))
    module.register_forward_hook(mask.hook)


def _trunk(network: nn.Module, layer: str, input_size: tuple[int, int]) -> nn.Module:
    """The network up to a layer, its state-dict keys unchanged where it can be traced."""
    from torchvision.models.feature_extraction import create_feature_extractor

    if _is_called_again(network, layer, input_size):
        return HookedTrunk(network, layer)  # a trace would end at its first call
    is_training = {module: module.training for module in network.modules()}
    try:
        return _TracedTrunk(create_feature_extractor(network, {layer: "maps"}))
    except Exception as error:  # torch.fx raises nearly anything on control flow it cannot follow
        logger.info("the network cannot be traced (%s): it runs whole, and its head is not used", error)
        return HookedTrunk(network, layer)
    finally:
        for module, was_training in is_training.items():  # tracing sets one mode for all, and leaves it on an error
            module.training = was_training


def _is_called_again(network: nn.Module, layer: str, input_size: tuple[int, int]) -> bool:
    calls: list[None] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *_: calls.append(None))
    try:
        _num_logits(network, input_size)
    finally:
        handle.remove()
    return len(calls) > 1


class _TracedTrunk(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)["maps"]  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> "_TracedTrunk":
        """A copy in the mode of the original: torchvision's copies are all in training mode."""
        copied = _TracedTrunk(copy.deepcopy(self.network, memo))
        copied.network.train(self.network.training)  # takes the graph of that mode
        for name, module in self.named_modules():
            copied.get_submodule(name).training = module.training
        return copied


@contextmanager
def _recorded_outputs(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within the context, copies of the tensors that the named modules gave last, in the order they gave them."""
    outputs: dict[str, Tensor] = {}

    def recorder(name: str) -> Any:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs.pop(name, None)  # a module called twice counts where it was called last
                outputs[name] = output.clone()  # a ReLU in place behind the module would change the tensor itself

        return record

    handles = [network.get_submodule(name).register_forward_hook(recorder(name)) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _check_arguments(
    num_classes: int,
    new_layers: int,
    filters: int | None,
    head: str,
    background: int | None,
    projection: int | None,
    hidden: int | None,
) -> None:
    if head not in HEADS:
        raise ConfigError(f"head: expected one of {', '.join(HEADS)}, got {head!r}")
    if num_classes < 2:
        raise ConfigError(f"num_classes: expected at least 2, got {num_classes}")
    if new_layers < 1:
        raise ConfigError(f"new_layers: expected at least 1, got {new_layers}")
    if filters is not None and filters < 1:
        raise ConfigError(f"filters: expected at least 1 per layer, or None, got {filters}")
    if (projection or 0) < 0 or (hidden or 0) < 0:
        raise ConfigError(f"projection, hidden: expected channels, 0 or None, got {projection}, {hidden}")
    if background is not None and not 0 <= background < num_classes:
        raise ConfigError(f"background: expected a class index below {num_classes}, or None, got {background}")


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
