"""Map cells ↔ picture pixels, for any network.

Pictures are measured from their top left edge: the first pixel covers 0 to 1, its middle is 0.5. A pixel's number,
counted from 0, is half a pixel less than its middle.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.foundation.errors import ConfigError, LayerError, ShapeError
from partcnn.networks.probing.gradient import measured_field
from partcnn.networks.probing.probe import left_as_it_was, num_input_channels
from partcnn.networks.probing.tracing import WHOLE, Field, FieldTracer, Place


@dataclass(frozen=True)
class ReceptiveField:
    """What the cells of a layer's map see of the picture. All pairs are (vertical, horizontal).

    A field that is the whole picture (global pooling, attention) is given the picture's size, and its cells are
    taken to lie evenly over it.
    """

    size_px: tuple[float, float]  # height and width; may exceed the picture, whose padding is then seen
    stride_px: tuple[float, float]  # between neighbouring cells
    first_center_px: tuple[float, float]  # pixel (y, x) in the middle of what cell (0, 0) sees, counted from 0
    map_size: tuple[int, int]  # rows and columns
    input_size: tuple[int, int]  # height and width of the picture
    method: Literal["traced", "gradient"]

    def centers_px(self, peaks: Tensor) -> Tensor:
        """Cells [..., 2] (row, col) → (x, y) [..., 2], the middle of what they see, in pixels from the edge.

        Fractions of cells are allowed. Near the border a centre may lie outside the picture.

        Raises:
            ShapeError: the last axis does not hold two numbers.
        """
        peaks = _pairs(peaks, "peaks")
        first, stride = (peaks.new_tensor(pair) for pair in (self.first_center_px, self.stride_px))
        return (first + peaks * stride + 0.5).flip(-1)

    def boxes_px(self, peaks: Tensor) -> Tensor:
        """Cells [..., 2] (row, col) → xyxy [..., 4], what they see within the picture, in pixels from the edge.

        Raises:
            ShapeError: the last axis does not hold two numbers.
        """
        centers = self.centers_px(peaks)
        half = centers.new_tensor(self.size_px).flip(-1) / 2
        corners = torch.stack([centers - half, centers + half], dim=-2).clamp(min=0)
        limits = centers.new_tensor(self.input_size).flip(-1)
        return corners.minimum(limits).flatten(-2)

    def cells_at(self, points_px: Tensor) -> Tensor:
        """Points [..., 2] (x, y) in pixels from the edge → the cell [..., 2] (row, col) whose centre is nearest.

        Points beyond the outermost centres belong to the outermost cells; halfway, the higher cell is taken.

        Raises:
            ShapeError: the last axis does not hold two numbers, or one of them is not finite.
        """
        points = _pairs(points_px, "points_px")
        if not points.isfinite().all():
            raise ShapeError("points_px: expected finite numbers, got nan or infinity; leave absent landmarks out")
        first, stride = (points.new_tensor(pair) for pair in (self.first_center_px, self.stride_px))
        cells = ((points.flip(-1) - 0.5 - first) / stride + 0.5).floor().long()
        return cells.clamp(min=0).minimum(cells.new_tensor(self.map_size) - 1)


def receptive_field(model: nn.Module, layer: str, input_size: tuple[int, int] = (224, 224)) -> ReceptiveField:
    """The receptive field of the cells of a layer's output map.

    The network runs once on noise in evaluation mode, and the geometry of each operator is added up ("traced",
    exact). If one of unknown geometry lies below the layer, the field is measured instead from the gradient of a
    linearised run ("gradient"; stride and centre from a linear fit over several cells).

    What is the same in every cell says how much, not where, and is left aside: the gates of squeeze-and-excitation,
    pooled context, and the statistics of group and layer normalisation. Branches that join count with their union.

    Args:
        model: any network from pictures [image, channel, row, col]; weights, modes and attributes (such as
            the maps that hooks record) are left as they were. Hooks run.
        layer: a dotted module name. Of a module that runs several times, the last run counts, and the output
            is taken before hooks change it.
        input_size: (height, width) of the pictures in pixels; the number of channels is that of the model's
            first convolution.

    Raises:
        LayerError: there is no such layer, its output is not [image, filter, row, col], it does not run, or the
            network does not take pictures of this size.
        ConfigError: a side is below 1.
    """
    names = [name for name, _ in model.named_modules(remove_duplicate=False)]
    if layer not in names:
        close = ", ".join(difflib.get_close_matches(layer, names)) or ", ".join(name for name in names[1:4])
        raise LayerError(f"layer: expected the dotted name of a module, got {layer!r}; close: {close}")
    if min(input_size) < 1:
        raise ConfigError(f"input_size: expected (height, width) of at least 1, got {input_size}")
    picture = _noise(model, input_size)
    with torch.inference_mode(False), left_as_it_was(model):  # inference mode records neither way
        model.eval()
        try:
            place, shape = _traced(model, layer, picture)
            if isinstance(place, Field):
                return _from_trace(place, shape, input_size)
            map_size = (shape[2], shape[3])
            measured = (
                None if place == WHOLE else measured_field(lambda images: _map_of(model, layer, images), model, picture)
            )
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            if isinstance(error, LayerError):
                raise
            raise LayerError(
                f"layer: the receptive field of {layer!r} cannot be found; the network stops on a picture of "
                f"{input_size[0]} × {input_size[1]} pixels: {error}"
            ) from error
    if measured is None:
        method: Literal["traced", "gradient"] = "traced" if place == WHOLE else "gradient"
        return _whole(map_size, input_size, method)
    rows, cols = measured
    return ReceptiveField(
        size_px=(rows.high - rows.low + 1, cols.high - cols.low + 1),
        stride_px=(rows.stride, cols.stride),
        first_center_px=((rows.low + rows.high) / 2, (cols.low + cols.high) / 2),
        map_size=map_size,
        input_size=input_size,
        method="gradient",
    )


def traced_fields(
    model: nn.Module, layers: Sequence[str], input_size: tuple[int, int] = (224, 224)
) -> dict[str, ReceptiveField]:
    """`receptive_field` of several layers by one run; those that would have to be measured are left out.

    Raises:
        LayerError: one of the layers does not exist, does not run or gives no map.
    """
    tracer = FieldTracer()
    picture = _noise(model, input_size)
    with torch.inference_mode(False), left_as_it_was(model), torch.no_grad(), tracer:
        model.eval()
        tracer.start(picture)
        maps = _maps_of(model, layers, picture)
        places = {layer: (tracer.place(feature_map), feature_map.shape) for layer, feature_map in maps.items()}
    fields = {}
    for layer, (place, shape) in places.items():
        if isinstance(place, Field):
            fields[layer] = _from_trace(place, shape, input_size)
        elif place == WHOLE:
            fields[layer] = _whole((shape[2], shape[3]), input_size, "traced")
    return fields


def _traced(model: nn.Module, layer: str, picture: Tensor) -> tuple[Place, torch.Size]:
    tracer = FieldTracer()
    with torch.no_grad(), tracer:
        tracer.start(picture)
        feature_map = _map_of(model, layer, picture)
    return tracer.place(feature_map), feature_map.shape


def _map_of(model: nn.Module, layer: str, picture: Tensor) -> Tensor:
    return _maps_of(model, [layer], picture)[layer]


def _maps_of(model: nn.Module, layers: Sequence[str], picture: Tensor) -> dict[str, Tensor]:
    """What the layers give, before hooks change it; of one that runs several times, the last."""
    outputs: dict[str, Any] = {}

    def recorder(layer: str) -> Any:
        return lambda module, inputs, output: outputs.update({layer: output})

    handles = [model.get_submodule(layer).register_forward_hook(recorder(layer), prepend=True) for layer in layers]
    try:
        model(picture)
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        output = outputs.get(layer)
        if layer not in outputs:
            raise LayerError(f"layer: {layer!r} does not run in the network's forward pass; choose one that does")
        if not isinstance(output, Tensor) or output.dim() != 4:
            got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise LayerError(f"layer: expected {layer!r} to give maps [image, filter, row, col], got {got}")
    return outputs


def _from_trace(field: Field, shape: torch.Size, input_size: tuple[int, int]) -> ReceptiveField:
    rows, cols = (shape[axis] for axis in field.axes)  # the last two, or the two before the channels
    axes = (field.rows, field.cols)
    height, width = (axis.high - axis.low + 1 for axis in axes)
    y, x = ((axis.low + axis.high) / 2 for axis in axes)
    return ReceptiveField((height, width), (axes[0].jump, axes[1].jump), (y, x), (rows, cols), input_size, "traced")


def _whole(
    map_size: tuple[int, int], input_size: tuple[int, int], method: Literal["traced", "gradient"]
) -> ReceptiveField:
    stride_y, stride_x = (side / cells for side, cells in zip(input_size, map_size, strict=True))
    first_center = ((stride_y - 1) / 2, (stride_x - 1) / 2)
    return ReceptiveField(input_size, (stride_y, stride_x), first_center, map_size, input_size, method)


def _noise(model: nn.Module, input_size: tuple[int, int]) -> Tensor:
    num_channels = num_input_channels(model, input_size)
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    noise = torch.rand(1, num_channels, *input_size, generator=torch.Generator().manual_seed(0))
    return noise.to(weight)


def upsample_map(feature_map: Tensor, size: tuple[int, int], field: ReceptiveField | None = None) -> Tensor:
    """A map [row, col] at every pixel of a picture [height, width], bilinearly.

    Args:
        feature_map: [row, col].
        size: (height, width) of the picture, to which the network's input was stretched or from which it came.
        field: of the map's cells. Each cell's value then stands at the middle of what the cell sees, where its
            peak is reported too; with stride and padding that can be half a cell from where an even division
            of the picture would put it. None divides evenly. Beyond the outermost cells their values go on.
    """
    rows, cols = feature_map.shape
    if field is None:
        return F.interpolate(feature_map[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    down = _cells(size[0], field.input_size[0], field.first_center_px[0], field.stride_px[0], rows)
    across = _cells(size[1], field.input_size[1], field.first_center_px[1], field.stride_px[1], cols)
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None].to(feature_map)
    sampled = F.grid_sample(feature_map[None, None], grid, mode="bilinear", padding_mode="border", align_corners=True)
    return sampled[0, 0]


def _cells(num_px: int, input_px: int, first: float, stride: float, num_cells: int) -> Tensor:
    """Of each pixel's middle: its cell on an axis from −1, the first cell's value, to 1, the last one's."""
    middle = (torch.arange(num_px) + 0.5) * (input_px / num_px) - 0.5
    cell = (middle - first) / stride
    return cell * 2 / (num_cells - 1) - 1 if num_cells > 1 else torch.zeros(num_px)


def cell_centers(field: ReceptiveField) -> tuple[Tensor, Tensor]:  # [row], [col]
    """The middle of what each row (y) and each column (x) of a map sees, in fractions of the picture's sides."""
    return tuple(  # type: ignore[return-value]
        (first + 0.5 + stride * torch.arange(count)) / side
        for first, stride, count, side in zip(
            field.first_center_px, field.stride_px, field.map_size, field.input_size, strict=True
        )
    )


def _pairs(values: Tensor, name: str) -> Tensor:
    if values.dim() == 0 or values.shape[-1] != 2:
        raise ShapeError(f"{name}: expected [..., 2], got {list(values.shape)}")
    return values if values.is_floating_point() else values.to(torch.get_default_dtype())
