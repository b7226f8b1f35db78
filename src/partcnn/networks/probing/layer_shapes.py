"""What each layer of a network gives for a picture: channels, map, sign, and where in the network it lies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from partcnn.networks.probing.probe import probed, watched

# Whatever one picture shows, these can give values below 0; classes of their own may hold an activation too.
_LINEAR = {nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm}
_PASSED_THROUGH = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity)


@dataclass(frozen=True)
class LayerShape:
    """What a layer gives for a picture of the input size."""

    name: str
    num_channels: int
    map_size: tuple[int, int]  # (rows, cols)
    stride_px: tuple[float, float]  # input pixels per cell, (down, across)
    is_nonnegative: bool  # and not 0 everywhere, as is what a batch norm of weight 0 gives
    is_passed_through: bool  # dropout or identity: the name of the layer before it says more
    is_score_map: bool  # one channel per output: class scores before a global pooling, not features
    is_channels_last: bool  # [image, row, col, channel], as in Swin and inside ConvNeXt's blocks
    is_within_block: bool  # a block, no mere sequence, that gives a map itself
    is_within_coarser_block: bool  # one that takes a map of this size and gives a coarser one: half a step
    is_spatial_convolution: bool  # of more than one cell
    num_calls: int  # in one forward pass; what is told is of the last one

    @property
    def is_laid_over_picture(self) -> bool:
        """Whether rows and columns share a stride; attention's tables of tokens do not."""
        height, width = (cells * stride for cells, stride in zip(self.map_size, self.stride_px, strict=True))
        return _is_laid_over(self.map_size, (height, width))


@dataclass
class _Call:
    """The last run of a module in the probe."""

    size: tuple[int, ...]
    input_size: tuple[int, ...]  # of its first tensor
    is_nonnegative: bool
    num_calls: int


def layer_shapes(cnn: nn.Module, input_size: tuple[int, int] = (224, 224)) -> list[LayerShape]:
    """Every module that gives a map of one picture, in the order of the forward pass.

    One picture of noise is passed through in eval mode; the network and its statistics stay as they were.

    Raises:
        LayerError: the network does not take pictures of this size.
    """
    calls: dict[str, _Call] = {}
    names = [name for name, _ in cnn.named_modules() if name]
    with watched(cnn, names, lambda name, inputs, output: _note(calls, name, inputs, output)):
        num_outputs = num_logits(cnn, input_size)
    if any(isinstance(module, nn.Linear) and module.out_features == num_outputs for module in cnn.modules()):
        num_outputs = None  # the scores come from a linear layer, not from a map
    maps = {name: call for name, call in calls.items() if len(call.size) == 4 and call.size[0] == 1}
    blocks = {name: call for name, call in maps.items() if not isinstance(cnn.get_submodule(name), nn.Sequential)}
    maps = {name: call for name, call in maps.items() if not _is_token_table(name, call, blocks, input_size)}
    shapes = []
    for name, call in maps.items():
        num_channels, *size = _channels_first(call.size, input_size)
        shapes.append(
            LayerShape(
                name,
                num_channels,
                (size[0], size[1]),
                (input_size[0] / size[0], input_size[1] / size[1]),
                call.is_nonnegative and type(cnn.get_submodule(name)) not in _LINEAR,
                isinstance(cnn.get_submodule(name), _PASSED_THROUGH),
                num_channels == num_outputs,
                _is_channels_last(call.size, input_size),
                bool(_around(name, blocks)),
                _is_within_coarser(name, call, blocks, input_size),
                _is_spatial_convolution(cnn.get_submodule(name)),
                call.num_calls,
            )
        )
    return shapes


def num_logits(cnn: nn.Module, input_size: tuple[int, int]) -> int | None:
    """How many logits one picture of noise gives in eval mode; None where the output is not [image, class].

    Raises:
        LayerError: the network does not take pictures of this size.
    """
    logits = probed(cnn, input_size)
    return logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 else None


def _is_spatial_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1


def _note(calls: dict[str, _Call], name: str, inputs: tuple[Any, ...], output: Any) -> None:
    if not isinstance(output, Tensor):
        return
    before = calls.pop(name, None)  # a module called twice counts where it was called last
    first = next((value for value in inputs if isinstance(value, Tensor)), None)
    calls[name] = _Call(
        tuple(output.shape),
        () if first is None else tuple(first.shape),
        bool((output >= 0).all() and (output > 0).any()),
        1 if before is None else before.num_calls + 1,
    )


def _is_channels_last(size: tuple[int, ...], input_size: tuple[int, int]) -> bool:
    """Whether axes 1 and 2 have the picture's proportions, and axes 2 and 3 have them less well."""
    first, last = size[2:4], size[1:3]
    if not _is_laid_over(last, input_size):
        return False
    return not _is_laid_over(first, input_size) or _distortion(last, input_size) < _distortion(first, input_size)


def _is_laid_over(cells: Sequence[int], input_size: tuple[float, float]) -> bool:
    """Whether one stride, up to the cell that padding adds or takes at an edge, makes these cells of the picture."""
    (rows, cols), (height, width) = cells, input_size
    return max(rows - 1, 0) * width <= (cols + 1) * height and max(cols - 1, 0) * height <= (rows + 1) * width


def _distortion(cells: Sequence[int], input_size: tuple[float, float]) -> float:
    return abs(cells[0] * input_size[1] - cells[1] * input_size[0])


def _channels_first(size: tuple[int, ...], input_size: tuple[int, int]) -> tuple[int, ...]:
    """(channels, rows, cols)."""
    return (size[3], size[1], size[2]) if _is_channels_last(size, input_size) else size[1:]


def _around(name: str, blocks: dict[str, _Call]) -> list[_Call]:
    """The blocks that a layer lies in, outermost first. A sequence is a path, not a block: cut anywhere, it is one."""
    outer = [name[:end] for end, character in enumerate(name) if character == "."]
    return [blocks[block] for block in outer if block in blocks]


def _is_token_table(name: str, call: _Call, blocks: dict[str, _Call], input_size: tuple[int, int]) -> bool:
    """Whether it is attention's table, every cell of a block's map against every other, and no map itself."""
    rows, cols = call.size[2:]
    if rows != cols:
        return False
    around = [block for block in _around(name, blocks) if len(block.input_size) == 4]
    cells = [[_channels_first(size, input_size)[1:] for size in (block.input_size, block.size)] for block in around]
    return any(before == after and math.prod(after) == rows > 1 for before, after in cells)


def _is_within_coarser(name: str, call: _Call, blocks: dict[str, _Call], input_size: tuple[int, int]) -> bool:
    """Whether a block around the layer takes a map of the layer's size and gives a coarser one."""
    cells = _channels_first(call.size, input_size)[1:]
    return any(
        len(block.input_size) == 4
        and _channels_first(block.input_size, input_size)[1:] == cells
        and min(_channels_first(block.size, input_size)[1:]) < min(cells)
        for block in _around(name, blocks)
    )
