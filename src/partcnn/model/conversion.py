"""Turn any CNN into one with part filters, take it back, and read its maps.

Two ways. `head="additive"`: the network up to the chosen layer becomes a trunk, new part layers and an additive
head stand on it. `head="original"`: masks are hooked onto the chosen layers, everything else stays as it was.
"""

import logging
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.model.competing import SumOfParts
from partcnn.model.competing_network import CompetingLayer, CompetingNetwork
from partcnn.model.copying import check_network, copied
from partcnn.model.mask import PartMask
from partcnn.model.modules import AdditiveHead, PartConv2d
from partcnn.model.network import RECORD_NAME, Conversion, PartNetwork, unwrapped, wrapped_in
from partcnn.model.settings import HEADS, MANY_CLASSES, ConversionSettings, layers_named, sides
from partcnn.model.trunks import trunk_of
from partcnn.networks.identification import identify_network
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.probing.layer_choice import AUTO, check_masks_in_place, chosen_layers
from partcnn.networks.probing.layer_shapes import LayerShape
from partcnn.networks.probing.probe import num_input_channels, probed
from partcnn.networks.probing.skip_connections import branch_below, residual_branches

__all__ = ["HEADS", "MASK_NAME", "convert", "converted", "remove_masks"]

_Model = TypeVar("_Model", bound=nn.Module)
_log = logging.getLogger("partcnn")
_BYTES_TO_TRAIN = 16  # a weight: itself, its gradient, and AdamW's two means, in float32

MASK_NAME = "part_mask"  # the child that head="original" adds to a layer


def convert(
    cnn: nn.Module,
    layers: str | Sequence[str] = AUTO,
    *,
    num_classes: int,
    new_layers: int = 1,
    filters: int | str | None = None,
    projection: int | None = 128,
    hidden: int | None = None,
    head: str = "additive",
    mask_skip: bool = True,
    objective: str | None = "auto",
    background: int | None = None,
    multilabel: bool = False,
    input_size: tuple[int, int] = (224, 224),
    grid: int = 7,
    dropout: float = 0.2,
    erasing: float = 0.5,
    masks: bool = True,
    places: str = "peak",
    loss_weight: float = 0.2,
    inplace: bool = False,
) -> nn.Module:
    """A network whose high filters can be trained to detect one part each; `forward(images)` gives logits.

    All arguments but the first and the last are `partcnn.model.settings.ConversionSettings`, where each is described.
    The ones to know are these.

    Args:
        cnn: any network that takes pictures [image, channel, row, col].
        layers: dotted module names, or "auto": the deepest layer with a fine map, and, for the additive head, a coarser
            block above it.
        num_classes: of the task. With `head="original"` the number of outputs the network has.
        filters: per part layer; None takes 8 that compete for one class and 16 for several, else 32 a class that owns
            any. "auto", where filters compete: `partcnn.training.fit` starts with more and keeps those that are parts.
        head: "additive" replaces what lies above the layer by part layers and a head that is linear in the masked
            maps; "original" puts masks in place, the network above and all its state-dict keys stay.
        objective: "competing", a name in `partcnn.objectives.OBJECTIVES`, or None for no filter loss; "auto" is
            "competing" with the additive head.
        background: the class that owns no filter (pictures without an object), or None.
        multilabel: whether a picture may show several classes or none: each logit stands for itself (sigmoid).
        input_size: (height, width) in pixels, to choose and check layers by.
        inplace: True changes `cnn` itself; otherwise it is copied and stays untouched.

    Returns:
        `PartNetwork` for the additive head, else the network itself with masks.

    Raises:
        LayerError: unknown layer, a map smaller than 2 × 2, or (original head) maps that can be negative or have
            the channels last, or no skip connection for `mask_skip=False`.
        ConfigError: an argument is outside what it may be; `cnn` is no network of Python modules, was converted
            already, or cannot be copied; or (original head) the network gives no logits.
    """
    settings = ConversionSettings(
        layers=layers_named(layers),
        num_classes=num_classes,
        new_layers=new_layers,
        filters=filters,
        projection=projection,
        hidden=hidden,
        head=head,
        mask_skip=mask_skip,
        objective=objective,
        background=background,
        multilabel=multilabel,
        input_size=sides(input_size),
        grid=grid,
        dropout=dropout,
        erasing=erasing,
        masks=masks,
        places=places,
        loss_weight=loss_weight,
    )
    return converted(cnn, settings, inplace=inplace)


def converted(cnn: nn.Module, settings: ConversionSettings, *, inplace: bool = False) -> nn.Module:
    """`convert`, its settings in one object."""
    check_unconverted(cnn, "cnn")
    cnn = _without_wrappers(cnn, settings.layers)
    specification = identify_network(cnn)
    network = cnn if inplace else copied(cnn, "cnn", "change it itself with inplace=True")
    channels = num_input_channels(network, settings.input_size)
    chosen, masked = _layers(network, settings)
    num_channels = (
        sum(shape.num_channels for shape in chosen) if settings.head == "additive" else chosen[0].num_channels
    )
    drops_filters = settings.filters == AUTO
    settings = settings.resolved(tuple(shape.name for shape in chosen), num_channels)
    if settings.head == "original":
        model = _masked_in_place(network, masked, settings)
    elif settings.is_competing:
        model = _competing_network(network, chosen, settings)
    else:
        model = _part_network(network, chosen, settings)
    if isinstance(model, PartNetwork):
        model.num_channels = channels
        if settings.num_classes > MANY_CLASSES:
            _tell_cost(model, settings)
    classes = [str(label) for label in range(settings.num_classes)]
    preprocessing = Preprocessing(input_size=settings.input_size, channels=channels)
    record = Conversion(settings, specification, classes, preprocessing, drops_filters=drops_filters)
    setattr(model, RECORD_NAME, record)
    return model


def _tell_cost(model: PartNetwork, settings: ConversionSettings) -> None:
    above = [model.hidden, *model.part_layers, model.head]
    num_weights = sum(weight.numel() for part in above for weight in part.parameters())
    _log.info(
        "%d classes: %d filters; %.1f million weights above the trunk, %d MiB with their gradients and AdamW's means",
        settings.num_classes,
        settings.num_filters,
        num_weights / 1e6,
        num_weights * _BYTES_TO_TRAIN >> 20,
    )


def check_unconverted(network: object, argument: str) -> None:
    """Whether `convert` can take it.

    Raises:
        ConfigError: it is no network, or one that was converted already, as a whole or in part.
    """
    check_network(network, argument)
    assert isinstance(network, nn.Module)  # just checked
    whole = unwrapped(network)
    within = next((name for name, module in whole.named_modules() if isinstance(module, PartNetwork)), None)
    if within is not None:
        found = f"a {type(whole).__name__} with a converted one in it, {within}" if within else "one that was converted"
        raise ConfigError(
            f"{argument}: expected a network as it is before partcnn.convert, got {found}; give the one that it was "
            "made from"
        )


def _without_wrappers(cnn: nn.Module, layers: Sequence[str]) -> nn.Module:
    """The network within torch.compile, DataParallel and their like, unless layers are named as the wrapper does."""
    inner = wrapped_in(cnn)
    while inner is not None and not set(layers) <= {name for name, _ in cnn.named_modules()}:
        cnn, inner = inner, wrapped_in(inner)
    return cnn


def _layers(network: nn.Module, settings: ConversionSettings) -> tuple[list[LayerShape], list[LayerShape]]:
    """The layers that are meant, and those whose output is to be masked."""
    layers: str | tuple[str, ...] = AUTO if settings.layers == (AUTO,) else settings.layers
    size = settings.input_size
    if settings.head == "additive" or settings.mask_skip:
        in_place = settings.head == "original"
        chosen = chosen_layers(network, layers, size, in_place=in_place, joins_depths=not in_place)
        return chosen, chosen
    branches = residual_branches(network, size)
    if not branches:
        raise LayerError("mask_skip: False needs a network with skip connections that are added, got one without")
    chosen = chosen_layers(network, layers, size, in_place=False, among=branches)
    names = [branch_below(shape.name, branches) for shape in chosen]
    masked = chosen_layers(network, names, size, in_place=False)
    for shape in masked:
        check_masks_in_place(shape, is_signed=True)
    return chosen, masked


def _masked_in_place(network: nn.Module, masked: list[LayerShape], settings: ConversionSettings) -> nn.Module:
    """The network with a mask hooked onto each of these layers."""
    _check_logits(network, settings.num_classes, settings.input_size)
    for shape in masked:
        _attach_mask(network, shape, settings)
    return network


def _part_network(network: nn.Module, shapes: Sequence[LayerShape], settings: ConversionSettings) -> PartNetwork:
    """Part layers and an additive head on the network up to its layers, in its type and on its device."""
    trunk, projection, num_channels = _below_the_parts(network, shapes, settings)
    num_hidden = settings.num_hidden
    model = PartNetwork(
        trunk,
        projection,
        _hidden_layer(num_channels, num_hidden) if num_hidden else nn.Identity(),
        _part_layers(num_hidden or num_channels, settings),
        AdditiveHead(settings.num_filters, settings.num_classes, grid=settings.grid),
        dropout=settings.dropout,
        erasing=settings.erasing,
        layers=settings.layers,
        trunk_channels=[shape.num_channels for shape in shapes],
    )
    return _like(network, model)


def _competing_network(
    network: nn.Module, shapes: Sequence[LayerShape], settings: ConversionSettings
) -> CompetingNetwork:
    """A layer of filters that compete, and a head that sums them, on the network up to its layers."""
    trunk, projection, num_channels = _below_the_parts(network, shapes, settings)
    num_filters, num_classes = settings.num_filters, settings.num_classes
    model = CompetingNetwork(
        trunk,
        projection,
        CompetingLayer(
            num_channels,
            num_filters,
            num_classes,
            background=settings.background,
            loss_weight=settings.loss_weight,
            multilabel=settings.multilabel,
        ),
        SumOfParts(num_channels, num_filters, num_classes, dropout=settings.dropout),
        dropout=settings.dropout,
        erasing=settings.erasing,
        layers=settings.layers,
        trunk_channels=[shape.num_channels for shape in shapes],
    )
    return _like(network, model)


def _below_the_parts(
    network: nn.Module, shapes: Sequence[LayerShape], settings: ConversionSettings
) -> tuple[nn.Module, nn.Module, int]:
    """The trunk, its projection, and how many channels come out of it."""
    of_trunk = sum(shape.num_channels for shape in shapes)
    num_channels = min(settings.projection or of_trunk, of_trunk)
    projection = _projection(of_trunk, num_channels) if settings.projection else nn.Identity()
    return trunk_of(network, shapes), projection, num_channels


def _like(network: nn.Module, model: _Model) -> _Model:
    """In the network's type and on its device."""
    reference = next(network.parameters(), None)
    return model if reference is None else model.to(reference.device, reference.dtype)


def _part_layers(num_channels: int, settings: ConversionSettings) -> list[PartConv2d]:
    num_filters = settings.num_filters
    num_inputs = [num_channels, *[num_filters] * (settings.new_layers - 1)]
    return [PartConv2d(number, num_filters, settings.num_classes, **settings.of_masks) for number in num_inputs]


def _check_logits(network: nn.Module, num_classes: int, input_size: tuple[int, int]) -> None:
    output = probed(network, input_size)
    if not isinstance(output, Tensor) or output.ndim != 2:
        got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError(
            f"cnn: head='original' needs a network that gives logits [image, class], got {got}; wrap it in a module "
            "that returns them, or take head='additive'"
        )
    if output.shape[1] != num_classes:
        raise ConfigError(f"num_classes: expected {output.shape[1]}, the network's own logits, got {num_classes}")


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
    """Take the masks of `convert(..., head="original")` off again, in place; returns the network as it was.

    Raises:
        ConfigError: it is no network.
    """
    check_network(model, "model")
    for module in list(model.modules()):
        mask = module._modules.get(MASK_NAME)
        if isinstance(mask, PartMask):
            for key, hook in list(module._forward_hooks.items()):
                if getattr(hook, "__self__", None) is mask:
                    del module._forward_hooks[key]
            delattr(module, MASK_NAME)
    vars(unwrapped(model)).pop(RECORD_NAME, None)
    return model


def _attach_mask(network: nn.Module, shape: LayerShape, settings: ConversionSettings) -> None:
    module = network.get_submodule(shape.name)
    while isinstance(module, nn.Sequential):  # a child added to a Sequential would run as its last layer
        module = module[-1]
    if MASK_NAME in module._modules:
        raise LayerError(f"layers: {shape.name!r} has a part mask already; see partcnn.model.conversion.remove_masks")
    of_mask = {**settings.of_masks, "is_signed": not settings.mask_skip}
    mask = PartMask(shape.num_channels, settings.num_classes, **of_mask)
    reference = next(network.parameters(), torch.zeros(()))
    module.add_module(MASK_NAME, mask.to(reference.device))
    module.register_forward_hook(mask.hook)
