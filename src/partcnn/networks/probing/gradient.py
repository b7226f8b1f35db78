"""The receptive field by measurement: where a cell's gradient reaches in the picture.

A real network's gradient understates the field: silent units pass nothing, maximum pooling one cell of many,
weights cancel. So the network is first made positive and linear in effect, without being changed: every weight
is an average over its inputs, activations and normalisation statistics pass their input on, maximum pooling
averages. Then the gradient is above zero exactly where the cell looks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

_NUM_CELLS = 7  # per axis; two would do on a regular grid
_GRID_PX = 64  # pictures are enlarged by multiples of it, so that every stride up to it meets the same remainder
_ROUNDING = 6  # decimals: a fit of whole numbers is a whole number
_PASSING = {
    *("relu", "relu_", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "silu_"),
    *("hardtanh", "hardtanh_", "hardswish", "hardsigmoid", "mish", "softplus", "tanh", "sigmoid", "sigmoid_"),
    *("logsigmoid", "threshold", "clamp", "clamp_", "clip", "dropout", "dropout_"),
    *("group_norm", "instance_norm", "layer_norm", "normalize", "local_response_norm"),
}
_SPREADING = {"mul", "mul_", "__rmul__", "multiply", "div", "div_", "add", "add_", "__radd__", "sub", "sub_"}
_MULTIPLYING = {"mul", "__rmul__", "multiply"}
_ENLARGING = {"expand", "expand_as", "interpolate"}

MapOf = Callable[[Tensor], Tensor]  # [1, channel, height, width] -> the layer's map [1, filter, row, col]


@dataclass(frozen=True)
class MeasuredAxis:
    """Stride, and what the first cell sees, in pixels counted from 0; fitted, hence not whole in general."""

    stride: float
    low: float
    high: float


def measured_field(map_of: MapOf, model: nn.Module, picture: Tensor) -> tuple[MeasuredAxis, MeasuredAxis] | None:
    """Rows and columns of a layer's field, or None if its cells see the whole picture.

    Where the picture's edges cut every field, a picture about twice as large is tried, if the network takes it:
    fields larger than that count as the whole picture too.

    Args:
        map_of: runs the network on a picture and returns the layer's map, with its graph.
        model: the network whose weights are averaged meanwhile; they are the same afterwards.
        picture: only its size, data type and device are used.

    Raises:
        RuntimeError: as the network raises it for this picture, or the layer does not depend on the picture.
    """
    axes = _measured_axes(map_of, model, picture)
    if axes is None:
        sides = [side + _GRID_PX * (side // _GRID_PX + 1) for side in picture.shape[2:]]
        try:
            axes = _measured_axes(map_of, model, picture.new_ones(*picture.shape[:2], *sides))
        except (RuntimeError, ValueError, AssertionError, TypeError):  # a network of one input size
            axes = None
    return axes


def _measured_axes(map_of: MapOf, model: nn.Module, picture: Tensor) -> tuple[MeasuredAxis, MeasuredAxis] | None:
    picture = torch.ones_like(picture, dtype=torch.float64).requires_grad_()
    averaged = _averaging(model)
    with _LinearisedOperators(), torch.enable_grad():
        feature_map = functional_call(_Caller(map_of, model), averaged, (picture,))[0].sum(dim=0)
    num_cells = min(_NUM_CELLS, max(feature_map.shape))
    cells = [torch.linspace(0, side - 1, num_cells).round().long() for side in feature_map.shape]
    seen = [_seen(feature_map[row, col], picture) for row, col in zip(*cells, strict=True)]
    rows = _fitted(cells[0].tolist(), [rows for rows, _ in seen])
    cols = _fitted(cells[1].tolist(), [cols for _, cols in seen])
    return (rows, cols) if rows and cols else None


def _seen(value: Tensor, picture: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, first and last column that a value depends on."""
    (gradient,) = torch.autograd.grad(value, picture, retain_graph=True)
    rows, cols = torch.nonzero(gradient[0].sum(dim=0), as_tuple=True)
    if not len(rows):
        raise RuntimeError("the layer's output does not depend on the picture")
    return (int(rows.min()), int(rows.max())), (int(cols.min()), int(cols.max()))


def _fitted(cells: Sequence[int], seen: Sequence[tuple[int, int]]) -> MeasuredAxis | None:
    """Least squares of both ends with one slope.

    The fields at the border are cut off, all at the same pixel: the picture's last, or the last that an inner map
    without a remainder reaches. So the outermost ends are left out.
    """
    first, last = min(low for low, _ in seen), max(high for _, high in seen)
    lows = [(cell, low) for cell, (low, _) in zip(cells, seen, strict=True) if low > first]
    highs = [(cell, high) for cell, (_, high) in zip(cells, seen, strict=True) if high < last]
    if not lows or not highs:
        return None
    ends = [torch.tensor(end, dtype=torch.float64) for end in (lows, highs)]
    centred = torch.cat([end - end.mean(dim=0) for end in ends])
    spread = centred[:, 0].square().sum()
    if spread == 0:
        return None
    slope = float((centred[:, 0] * centred[:, 1]).sum() / spread)
    low, high = (float(end[:, 1].mean()) - slope * float(end[:, 0].mean()) for end in ends)
    return MeasuredAxis(round(slope, _ROUNDING), round(low, _ROUNDING), round(high, _ROUNDING))


def _averaging(model: nn.Module) -> dict[str, Tensor]:
    """Weights that average, in float64: the gradient falls to 1e-30 at the rim of a deep network's field."""
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        num_inputs = parameter[0].numel() if parameter.dim() > 1 else 1
        state[f"model.{name}"] = torch.full_like(parameter, 1 / num_inputs, dtype=torch.float64)
    for name, buffer in model.named_buffers(remove_duplicate=False):
        state[f"model.{name}"] = buffer.double() if buffer.is_floating_point() else buffer
    return state


class _Caller(nn.Module):
    """Lets `functional_call` put weights into the model while `map_of` runs it."""

    def __init__(self, map_of: MapOf, model: nn.Module) -> None:
        super().__init__()
        self.map_of, self.model = map_of, model

    def forward(self, picture: Tensor) -> Tensor:
        return self.map_of(picture)


class _LinearisedOperators(TorchFunctionMode):
    """Replaces activations, maximum pooling and gates by what lets the gradient through everywhere.

    An operand that is the same in every cell (1 × 1, spread over a larger map) is held constant: it says how
    much, not where.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _PASSING:
            return args[0] if args else kwargs["input"]
        if name == "max_pool2d":
            return _average_pool(*args, **kwargs)
        if name in _MULTIPLYING and _is_windowed(*args[:2]):
            return args[0] if args[0].requires_grad else args[1]
        if name in _SPREADING:
            size = torch.broadcast_shapes(*(arg.shape for arg in args if isinstance(arg, Tensor)))
            args = [_held(arg, size) for arg in args]
        if name in _ENLARGING and args:
            args = [args[0].detach() if args[0].shape[2:] == (1, 1) else args[0], *args[1:]]
        return func(*args, **kwargs)


def _is_windowed(first: Any, second: Any = None, *_: Any) -> bool:
    """Whether one of two maps of one size is a constant, as a part mask's window is: it says how much, not where."""
    are_maps = isinstance(first, Tensor) and isinstance(second, Tensor) and first.dim() == 4
    return are_maps and first.shape == second.shape and first.requires_grad != second.requires_grad


def _held(arg: Any, size: torch.Size) -> Any:
    if isinstance(arg, Tensor) and len(size) == 4 and arg.shape[-2:] == (1, 1) and size[-2:] != (1, 1):
        return arg.detach()
    return arg


def _average_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    if return_indices or dilation not in (1, (1, 1)):
        raise RuntimeError("maximum pooling with dilation or indices cannot be measured")
    return F.avg_pool2d(input, kernel_size, stride or kernel_size, padding, ceil_mode)
