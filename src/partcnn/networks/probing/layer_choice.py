"""Which layer part filters stand on: named ones are checked, "auto" takes the deepest map that is fine enough."""

import logging
from collections.abc import Collection, Sequence

from torch import nn

from partcnn.foundation.errors import LayerError
from partcnn.networks.probing.layer_shapes import LayerShape, layer_shapes

logger = logging.getLogger("partcnn")

AUTO = "auto"
_AUTO_MIN_SIDE = 12  # cells: coarser maps cannot tell neighbouring parts apart
_AUTO_MIN_JOINED_SIDE = 13  # the same, of a map that a deeper one may stand beside: 12 × 12 at 384 px is a deep one
_AUTO_MIN_DEEP_SIDE = 7  # cells, of a deeper map that is joined to a finer one
_MIN_SIDE = 2


def chosen_layers(
    network: nn.Module,
    layers: str | Sequence[str],
    input_size: tuple[int, int],
    *,
    in_place: bool,
    joins_depths: bool = False,
    among: Collection[str] | None = None,
) -> list[LayerShape]:
    """The layers that `partcnn.convert` was asked for.

    Args:
        in_place: masks will be put on the very maps: they may not be negative, nor have the channels last.
        joins_depths: "auto" takes a deeper, coarser map beside the fine one, where there is one.
        among: names that "auto" may take; None: all.

    Raises:
        LayerError: an unknown layer, or one whose maps cannot be used.
    """
    shapes = {shape.name: shape for shape in layer_shapes(network, input_size)}
    if layers == AUTO:
        allowed = [shape for shape in shapes.values() if among is None or shape.name in among]
        chosen = auto_depths(allowed) if joins_depths else [auto_layer(allowed, in_place=in_place)]
        return [announced(shape, input_size) for shape in chosen]
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise LayerError("layers: expected at least one name, or 'auto', got none")
    for name in names:
        if name not in shapes:
            raise LayerError(
                f"layers: expected names of layers that give a map, got {name!r}; there are: {', '.join(shapes)}"
            )
        _check(shapes[name], input_size, in_place=in_place)
    return [shapes[name] for name in names]


def auto_layer(shapes: Sequence[LayerShape], *, in_place: bool = False, min_side: int = _AUTO_MIN_SIDE) -> LayerShape:
    """The deepest layer with a map of at least `min_side` cells a side; where all are coarser, the deepest.

    Passed over: dropout and identities, maps of class scores, tables that are not laid over the picture, and layers
    in the middle of a block that makes the map coarser: they hold half a step, without the block's skip connection.

    Raises:
        LayerError: there is none.
    """
    maps = _usable(shapes)
    usable = [shape for shape in maps if not in_place or _can_be_masked(shape)]
    if maps and not usable:
        raise LayerError(
            "layers: every map of this network can be negative (GELU, SiLU, batch norm without a ReLU) or has its "
            "channels last, and a part mask in place needs maps from 0 up; take head='additive', or mask_skip=False"
        )
    if not usable:
        raise LayerError(f"layers: found no layer with a map of at least {_MIN_SIDE}×{_MIN_SIDE} cells; name one")
    for is_fit in (_is_laid_over_picture, lambda shape: min(shape.map_size) >= min_side, _ends_a_step):
        usable = [shape for shape in usable if is_fit(shape)] or usable
    return usable[-1]


def auto_depths(shapes: Sequence[LayerShape]) -> list[LayerShape]:
    """The deepest layer with a map of at least 13 × 13 cells, and a deeper block beside it where there is one.

    Raises:
        LayerError: as of `auto_layer`.
    """
    fine = auto_layer(shapes, min_side=_AUTO_MIN_JOINED_SIDE)
    return [fine, *_deeper_block(shapes, fine)]


def _deeper_block(shapes: Sequence[LayerShape], fine: LayerShape) -> list[LayerShape]:
    """The deepest block above `fine` whose map is coarser and has at least 7 × 7 cells; none where there is none.

    It has seen more of the network, and tells parts apart that look alike on the fine map. Passed over are the same
    layers as in `auto_layer`, and those above the last convolution of more than a cell, which widen for the classifier.
    """
    above = shapes[[shape.name for shape in shapes].index(fine.name) + 1 :]
    coarser = [
        shape
        for shape in _usable(above)
        if _AUTO_MIN_DEEP_SIDE <= min(shape.map_size) < min(fine.map_size)
        and _is_laid_over_picture(shape)
        and _ends_a_step(shape)
    ]
    mixing = [shape for shape in coarser if shape.is_spatial_convolution]
    return [
        shape
        for shape in coarser
        if mixing and not shape.is_within_block and f"{mixing[-1].name}.".startswith(f"{shape.name}.")
    ][:1]


def candidate_layers(shapes: Sequence[LayerShape]) -> list[LayerShape]:
    """The layers one would choose from by hand: blocks and what stands outside of blocks, not what they are made of."""
    return [shape for shape in _usable(shapes) if shape.is_laid_over_picture and not shape.is_within_block]


def _usable(shapes: Sequence[LayerShape]) -> list[LayerShape]:
    maps = [shape for shape in shapes if min(shape.map_size) >= _MIN_SIDE]
    return [shape for shape in maps if not shape.is_score_map and not shape.is_passed_through]


def announced(shape: LayerShape, input_size: tuple[int, int]) -> LayerShape:
    """The same layer, told to the logger."""
    logger.info(
        "layers='auto' took %s: %d channels, stride %g×%g px, map %s at input %s",
        shape.name,
        shape.num_channels,
        *shape.stride_px,
        _times(shape.map_size),
        _times(input_size),
    )
    return shape


def _can_be_masked(shape: LayerShape) -> bool:
    return shape.is_nonnegative and not shape.is_channels_last and shape.num_calls == 1


def _is_laid_over_picture(shape: LayerShape) -> bool:
    return shape.is_laid_over_picture


def _ends_a_step(shape: LayerShape) -> bool:
    return not shape.is_within_coarser_block


def _check(shape: LayerShape, input_size: tuple[int, int], *, in_place: bool) -> None:
    if min(shape.map_size) < _MIN_SIDE:
        raise LayerError(
            f"layers: {shape.name!r} gives a map of {_times(shape.map_size)} at input {_times(input_size)}; "
            f"expected at least {_MIN_SIDE}×{_MIN_SIDE} cells: take an earlier layer or a larger input"
        )
    if in_place:
        check_masks_in_place(shape)


def check_masks_in_place(shape: LayerShape, *, is_signed: bool = False) -> None:
    """Whether a mask can be hooked onto this very layer; one that `is_signed` takes maps below 0 too.

    Raises:
        LayerError: it cannot.
    """
    if not is_signed and not shape.is_nonnegative:
        raise LayerError(
            f"layers: {shape.name!r} gives negative values, or zeros alone, which a part mask cannot read with "
            "head='original'; take the ReLU after it, or head='additive'"
        )
    if shape.num_calls > 1:
        raise LayerError(
            f"layers: {shape.name!r} runs {shape.num_calls} times in one forward pass, and a mask in place would act "
            "on each; take the block around it, or head='additive'"
        )
    if shape.is_channels_last:
        raise LayerError(
            f"layers: {shape.name!r} gives maps [image, row, col, channel], which a part mask cannot read with "
            "head='original'; take head='additive', which turns them"
        )


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
