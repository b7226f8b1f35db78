"""Turn any CNN into one with part filters, take it back, and read its maps.

Two ways. `head="additive"`: the network up to the chosen layer becomes a trunk, new part layers and an additive
head stand on it. `head="original"`: masks are hooked onto the chosen layers, everything else stays as it was.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.model.mask import PartMask, num_owners
from partcnn.model.modules import AdditiveHead, PartConv2d
from partcnn.model.network import _RECORD_NAME, Conversion, PartNetwork
from partcnn.model.trunks import _trunk
from partcnn.networks.identification import identify_network
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.probing.layer_choice import check_masks_in_place, chosen_layers
from partcnn.networks.probing.layer_shapes import LayerShape
from partcnn.networks.probing.probe import probed
from partcnn.networks.probing.skip_connections import branch_below, residual_branches

HEADS = ("additive", "original")
MASK_NAME = "part_mask"  # the child that head="original" adds to a layer

_MAX_HIDDEN = 128  # filters of the ordinary layer, unless they are asked for


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
    mask_skip: bool = True,
    objective: str | None = "auto",
    background: int | None = None,
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

    Args:
        cnn: any network that takes pictures [image, channel, row, col].
        layers: dotted module names, or "auto": the deepest layer with a map of at least 12 × 12 cells, not in the
            middle of a block that makes it coarser. The additive head takes one layer.
        num_classes: of the task. With `head="original"` the number of outputs the network has.
        new_layers: part layers, at least 1 (this and the next three: additive head only).
        filters: per part layer; None takes 32 filters a class that owns any, at most the trunk's channels.
        projection: channels that the trunk's maps are projected to, at most as many as they have; None or 0
            leaves them as they are. Fewer weights follow parts better on few pictures, and cost less.
        hidden: filters of an ordinary 3 × 3 layer below the part layers; None takes twice `filters`, at most 128;
            0 leaves it out.
        head: "additive" replaces what lies above the layer by part layers and a head that is linear in the masked
            maps; "original" puts masks in place, the network above and all its state-dict keys stay.
        mask_skip: original head only. True masks a layer's whole output; of a residual block that is the sum of
            its branch and its skip connection. False masks the branch alone, in the last residual block of the
            layer: what the skip connection carries passes beside the mask.
        objective: a name in `partcnn.objectives.OBJECTIVES`, or "auto": "exact", the paper's Eq. 1, where one class
            owns all filters, else "labelled", which ties each filter to a class. None for no filter loss.
        background: the class that owns no filter, or None.
        input_size: (height, width) in pixels, to choose and check layers by.
        grid: cells per side that the additive head pools each map to.
        dropout: share of the projected channels dropped in training.
        erasing: share of the projected maps that lose a rectangle in training.
        masks: False leaves maps unmasked. With `objective=None` this is the plain network to compare with.
        places: how the place of a filter's part is read from its map: "peak", as in the paper, or "expected", the mean
            over all templates, for maps without masks (`objectives.part_places`). Nothing is trained differently.
        loss_weight: λ of each part layer.
        inplace: True changes `cnn` itself; otherwise it stays untouched.

    Returns:
        `PartNetwork` for the additive head, else the network itself with masks.

    Raises:
        LayerError: unknown layer, a map smaller than 2 × 2, or (original head) maps that can be negative or have
            the channels last, or no skip connection for `mask_skip=False`.
        ConfigError: an argument is outside what it may be, or (original head) the network gives no logits.
    """
    _check_arguments(num_classes, new_layers, filters, head, background, projection, hidden)
    specification = identify_network(cnn)
    network = cnn if inplace else copy.deepcopy(cnn)
    chosen, masked = _layers(network, layers, input_size, head=head, mask_skip=mask_skip)
    owners = num_owners(num_classes, background)
    if objective == "auto":
        objective = "exact" if owners == 1 else "labelled"
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
            "mask_skip": mask_skip,
            "objective": objective,
            "background": background,
            "input_size": list(input_size),
            "grid": grid,
            "dropout": dropout,
            "erasing": erasing,
            "masks": masks,
            "places": places,
            "loss_weight": loss_weight,
        },
        network=specification,
        classes=[str(label) for label in range(num_classes)],
        preprocessing=Preprocessing(input_size=input_size),
    )
    mask_settings: dict[str, Any] = {
        "objective": objective,
        "enabled": masks,
        "places": places,
        "background": background,
        "loss_weight": loss_weight,
    }
    if head == "original":
        _check_logits(network, num_classes, input_size)
        for shape in masked:
            _attach_mask(network, shape, num_classes, {**mask_settings, "is_signed": not mask_skip})
        setattr(network, _RECORD_NAME, record)
        return network
    if len(chosen) != 1:
        raise ConfigError(f"layers: expected one layer with head='additive', got {[shape.name for shape in chosen]}")
    shape = chosen[0]
    num_channels = min(projection or shape.num_channels, shape.num_channels)
    width = min(2 * num_filters, _MAX_HIDDEN) if hidden is None else hidden
    converted = PartNetwork(
        _trunk(network, shape),
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


def _layers(
    network: nn.Module, layers: str | Sequence[str], input_size: tuple[int, int], *, head: str, mask_skip: bool
) -> tuple[list[LayerShape], list[LayerShape]]:
    """The layers that are meant, and those whose output is to be masked."""
    if head == "additive" or mask_skip:
        chosen = chosen_layers(network, layers, input_size, in_place=head == "original")
        return chosen, chosen
    branches = residual_branches(network, input_size)
    if not branches:
        raise LayerError("mask_skip: False needs a network with skip connections that are added, got one without")
    chosen = chosen_layers(network, layers, input_size, in_place=False, among=branches)
    names = [branch_below(shape.name, branches) for shape in chosen]
    masked = chosen_layers(network, names, input_size, in_place=False)
    for shape in masked:
        check_masks_in_place(shape, is_signed=True)
    return chosen, masked


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


def _attach_mask(network: nn.Module, shape: LayerShape, num_classes: int, settings: dict[str, Any]) -> None:
    module = network.get_submodule(shape.name)
    while isinstance(module, nn.Sequential):  # a child added to a Sequential would run as its last layer
        module = module[-1]
    if MASK_NAME in module._modules:
        raise LayerError(f"layers: {shape.name!r} has a part mask already; see partcnn.model.conversion.remove_masks")
    mask = PartMask(shape.num_channels, num_classes, **settings)
    reference = next(network.parameters(), torch.zeros(()))
    module.add_module(MASK_NAME, mask.to(reference.device))
    module.register_forward_hook(mask.hook)


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
