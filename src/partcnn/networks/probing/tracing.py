"""The receptive field by arithmetic: follow a picture through the network's operators and add up their geometry.

Per axis, cell i of a map sees the pixels from low + i·jump to high + i·jump, counted from 0; padding makes them
run past the picture. An operator of kernel k, stride s, padding p, dilation d turns (jump, low, high) into

    (jump·s,  low − p·jump,  high + (d·(k − 1) − p)·jump)

which is Araujo, Norris & Sim (2019), "Computing receptive fields of convolutional neural networks", Eq. 2–4,
with both ends kept. The operators are those that the forward pass really calls, so loops, branches and hooks
need no symbolic tracing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten
_CHANNELS_FIRST = (-2, -1)  # the map's axes, counted from the end
_CHANNELS_LAST = (-3, -2)


@dataclass(frozen=True)
class Axis:
    """What the first cell of a map sees along one axis of the picture, in pixels counted from 0."""

    jump: int = 1  # pixels between neighbouring cells
    low: int = 0  # first pixel seen
    high: int = 0  # last pixel seen

    def resized(self, num_before: int, num_after: int) -> "Axis | None":
        """After bilinear resizing to a whole multiple of the cells, corners not aligned; None of any other number.

        A new cell reads the two old ones beside its middle, which are less than a cell away from it.
        """
        if num_after == num_before:
            return self
        factor = num_after // num_before
        if num_after % num_before or self.jump % (2 * factor):
            return None
        jump = self.jump // factor
        first = (jump - self.jump) // 2  # of the middle of the first new cell, before the middle of the first old one
        reach = self.jump - jump // 2
        return Axis(jump, self.low + first - reach, self.high + first + reach)

    def slid(self, kernel: int, stride: int, before: int, dilation: int = 1) -> "Axis":
        """After a sliding window with `before` cells of padding at the low end."""
        low = self.low - before * self.jump
        return Axis(self.jump * stride, low, low + self.high - self.low + dilation * (kernel - 1) * self.jump)


@dataclass(frozen=True)
class Field:
    """Rows and columns of a map that is laid over the picture."""

    rows: Axis = Axis()
    cols: Axis = Axis()
    axes: tuple[int, int] = _CHANNELS_FIRST  # which of the tensor's are the rows and the columns
    folded: tuple[int, ...] = ()  # sizes of the axes before the channels, where a matrix has them as its rows

    def grid(self, size: torch.Size) -> tuple[int, ...]:
        """Number of rows and columns in a tensor of this size."""
        return self.folded or tuple(size[axis] for axis in self.axes)


WHOLE = "whole"  # every cell sees the whole picture
UNKNOWN = "unknown"  # an operator whose geometry is not known here lies below
Place = Field | str
_Input = tuple[torch.Size, Place]
_Call = Mapping[str, Any]  # arguments by the names of the operator's schema


class FieldTracer(TorchDispatchMode):
    """While active, keeps the place of every tensor that depends on those given to `start`.

    Whole numbers computed from the picture (the peak of a map, an index) carry no place: what is chosen by them
    is a constant. Of several inputs, those that are the same in every cell (squeeze-and-excitation gates, pooled
    context) are left aside, and so are the statistics of group and layer normalisation: they say how much,
    not where.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._places: Any = WeakTensorKeyDictionary()
        self._is_lost = False

    def start(self, picture: Tensor) -> None:
        """Lay `picture` [image, channel, row, col] over itself."""
        self._places[picture] = Field()

    def place(self, tensor: Tensor) -> Place:
        """Where the tensor's cells look; unknown also if it does not depend on the picture."""
        place: Place = UNKNOWN if self._is_lost else self._places.get(tensor, UNKNOWN)
        return place

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tracked = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        inputs: list[_Input] = [(tensor.shape, self._places[tensor]) for tensor in tracked if tensor in self._places]
        result = func(*args, **kwargs)
        if func.overloadpacket in _CONSTANTS:
            return result
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if inputs and outputs:
            place = _moved(func, _named_arguments(func, args, kwargs), inputs, outputs[0].shape)
            for output in outputs:
                if output.is_floating_point():
                    self._places[output] = place
            # What is written into a part of a tensor does not reach the whole: give up on this network.
            is_known = _keeps_place(func) or func.overloadpacket in _RULES
            self._is_lost |= func._schema.is_mutable and not is_known
        return result


def _moved(func: Any, call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    if all(place == WHOLE for _, place in inputs):
        return WHOLE
    if _keeps_place(func):
        return _merged(inputs, shape)
    rule = _RULES.get(func.overloadpacket)
    return rule(call, inputs, shape) if rule else UNKNOWN


def _keeps_place(func: Any) -> bool:
    if func.overloadpacket is aten.copy_:  # torch calls it pointwise, but it fills parts of larger tensors
        return False
    return torch.Tag.pointwise in func.tags or func.overloadpacket in _PLACE_KEEPING


def _merged(inputs: list[_Input], shape: torch.Size) -> Place:
    """The union of fields that lie on the same grid."""
    union: Field | None = None
    for size, place in inputs:
        if place == WHOLE:
            continue
        if not isinstance(place, Field) or place.folded or place.grid(size) != place.grid(shape):
            return UNKNOWN
        union = union or place
        if (union.rows.jump, union.cols.jump, union.axes) != (place.rows.jump, place.cols.jump, place.axes):
            return UNKNOWN
        union = replace(union, rows=_union(union.rows, place.rows), cols=_union(union.cols, place.cols))
    return union or WHOLE


def _union(a: Axis, b: Axis) -> Axis:
    return Axis(a.jump, min(a.low, b.low), max(a.high, b.high))


def _window(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    """Convolution and pooling in two dimensions."""
    size, field = inputs[0]
    if not _is_channels_first(field) or len(inputs) > 1 or call.get("transposed") or len(size) not in (3, 4):
        return UNKNOWN
    kernel = call["weight"].shape[2:] if "weight" in call else _pair(call["kernel_size"])
    stride = _pair(call["stride"]) if call["stride"] else kernel  # pooling's default is its kernel
    before, dilation = _pair(call["padding"]), _pair(call.get("dilation", 1))
    if len(kernel) != 2:
        return UNKNOWN
    return Field(
        field.rows.slid(kernel[0], stride[0], before[0], dilation[0]),
        field.cols.slid(kernel[1], stride[1], before[1], dilation[1]),
    )


def _resized(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    """Bilinear resizing."""
    size, field = inputs[0]
    if not _is_channels_first(field) or call["align_corners"]:
        return UNKNOWN
    axes = [axis.resized(size[dim], shape[dim]) for axis, dim in ((field.rows, -2), (field.cols, -1))]
    rows, cols = axes
    return UNKNOWN if rows is None or cols is None else Field(rows, cols)


def _pad(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    _, field = inputs[0]
    margins = call.get("pad", call.get("padding"))
    if not _is_channels_first(field) or margins is None:
        return UNKNOWN
    left, _, top, _ = (*margins, 0, 0, 0, 0)[:4]  # the last axis comes first; channels may follow
    return Field(field.rows.slid(1, 1, top), field.cols.slid(1, 1, left))


def _reduction(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    """Mean, maximum and adaptive pooling: over everything, or over equal tiles."""
    size, field = inputs[0]
    dims = call.get("dim")
    if len(shape) < len(size):  # keepdim=False
        dims = range(len(size)) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
        return WHOLE if {len(size) - 2, len(size) - 1} <= {dim % len(size) for dim in dims} else UNKNOWN
    if tuple(shape[-2:]) == (1, 1) and tuple(size[-2:]) != (1, 1):
        return WHOLE
    if not _is_channels_first(field):
        return UNKNOWN
    tiles = [(before // after, before % after) for before, after in zip(size[-2:], shape[-2:], strict=True)]
    if any(rest for _, rest in tiles) or len(inputs) > 1:
        return UNKNOWN
    (height, _), (width, _) = tiles
    return Field(field.rows.slid(height, height, 0), field.cols.slid(width, width, 0))


def _view(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    """Other axes for the same numbers; in row-major order equal last sizes mean the same rows and columns."""
    size, place = inputs[0]
    if not isinstance(place, Field):
        return UNKNOWN
    if place.folded:
        return replace(place, folded=()) if shape[:-1] == place.folded else UNKNOWN
    if size[place.axes[0] :] == shape[place.axes[0] :]:
        return place
    if place.axes == _CHANNELS_LAST and len(shape) == 2 and shape[-1] == size[-1]:
        return replace(place, folded=tuple(size[:-1]))
    return UNKNOWN


def _restrided(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    """Other strides in memory, as convolutions set them; other sizes would be another map."""
    size, place = inputs[0]
    return place if size == shape else UNKNOWN


def _linear(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    """A matrix of weights over the channels of every cell, which are the matrix's rows."""
    _, place = inputs[0]
    return place if isinstance(place, Field) and place.folded and len(inputs) == 1 else UNKNOWN


def _along_channels(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    """Operators along one axis, which is to be neither of the map's two."""
    size, place = inputs[0]
    from_end = call["dim"] % len(size) - len(size)
    if isinstance(place, Field) and from_end not in place.axes and place.axes == _CHANNELS_FIRST:
        return _merged(inputs, shape)
    return UNKNOWN


def _transposition(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    size, place = inputs[0]
    num_axes = len(size)
    order = list(range(num_axes))
    if "dims" in call:
        order = [dim % num_axes for dim in call["dims"]]
    else:
        a, b = call["dim0"] % num_axes, call["dim1"] % num_axes
        order[a], order[b] = order[b], order[a]
    if not isinstance(place, Field) or place.folded:
        return UNKNOWN
    axes = tuple(order.index(axis % num_axes) - num_axes for axis in place.axes)
    return replace(place, axes=axes) if axes in (_CHANNELS_FIRST, _CHANNELS_LAST) else UNKNOWN


def _is_channels_first(place: Place) -> TypeGuard[Field]:
    return isinstance(place, Field) and place.axes == _CHANNELS_FIRST and not place.folded


def _pool_over_channels(call: _Call, inputs: list[_Input], shape: torch.Size) -> Place:
    """The average pooling in three dimensions of which local response normalisation is made."""
    return _view(call, inputs, shape) if list(call["kernel_size"])[-2:] == [1, 1] else UNKNOWN


def _pair(value: int | Sequence[int]) -> tuple[int, ...]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * 2 if len(values) == 1 else values)


def _named_arguments(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Call:
    schema = func._schema.arguments
    defaults = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    given = {argument.name: value for argument, value in zip(schema, args, strict=False)}
    return {**defaults, **given, **kwargs}


_CONSTANTS = {  # take sizes from a tensor, not its values
    aten.empty_like,
    aten.full_like,
    aten.new_empty,
    aten.new_full,
    aten.new_ones,
    aten.new_zeros,
    aten.ones_like,
    aten.zeros_like,
}
_PLACE_KEEPING = {
    # pointwise, but torch does not tag them so
    aten._prelu_kernel,
    aten.gelu_,
    aten.hardswish,
    aten.hardswish_,
    aten.masked_fill,
    aten.masked_fill_,
    aten.mish_,
    aten.relu6_,
    aten.rsub,
    aten.threshold_,
    aten.where,
    # normalisations, their statistics left aside
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_no_training,
    aten.cudnn_batch_norm,
    aten.native_group_norm,
    aten.native_layer_norm,
}
_RULES: dict[Any, Callable[[_Call, list[_Input], torch.Size], Place]] = {
    aten.convolution: _window,
    aten.max_pool2d_with_indices: _window,
    aten.avg_pool2d: _window,
    aten.avg_pool3d: _pool_over_channels,
    aten.constant_pad_nd: _pad,
    aten.reflection_pad2d: _pad,
    aten.replication_pad2d: _pad,
    **dict.fromkeys(
        (
            aten._adaptive_avg_pool2d,
            aten.adaptive_max_pool2d,
            aten.mean,
            aten.sum,
            aten.amax,
            aten.amin,
            aten.max,
            aten.std,
            aten.var,
        ),
        _reduction,
    ),
    **dict.fromkeys(
        (
            aten.channel_shuffle,
            aten.native_channel_shuffle,
            aten.view,
            aten._unsafe_view,
            aten.clone,
            aten.alias,
            aten.detach,
            aten._to_copy,
            aten.unsqueeze,
            aten.squeeze,
        ),
        _view,
    ),
    **dict.fromkeys(
        (
            aten.cat,
            aten.slice,
            aten.select,
            aten.split,
            aten.split_with_sizes,
            aten.unbind,
            aten.index_select,
            aten._softmax,
            aten._log_softmax,
        ),
        _along_channels,
    ),
    aten.upsample_bilinear2d: _resized,
    aten.as_strided_: _restrided,
    aten.addmm: _linear,
    aten.mm: _linear,
    aten.transpose: _transposition,
    aten.permute: _transposition,
}
