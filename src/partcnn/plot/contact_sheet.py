"""Some pictures of each class with their annotated parts, to see at a glance what a data set holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from partcnn.datasets import Box, MaskShape, PartDataset, Point, Sample, Shape
from partcnn.foundation.errors import ConfigError
from partcnn.foundation.files import replace_file
from partcnn.plot.lettering import drawable, letter_legend, lettering

_MOST_CLASSES = 12
_NUM_PICTURES = 6
_TILE_INCHES = 1.9
_MOST_PX = 480  # of a picture's side on the sheet
_Colour: TypeAlias = tuple[float, float, float]
_ENDINGS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".pdf": "pdf", ".svg": "svg"}


def contact_sheet(
    dataset: PartDataset, *, num_pictures: int = _NUM_PICTURES, most_classes: int = _MOST_CLASSES
) -> Figure:
    """A row of pictures for each class, with object boxes (black and white) and parts (one colour each).

    Boxes are drawn as boxes, points as dots, masks as areas.

    Args:
        dataset: its split is drawn.
        num_pictures: of each class, spread evenly over its pictures; those with parts where there are any.
        most_classes: of more, so many are drawn, spread evenly.

    Raises:
        ConfigError: a number is below 1.
        DataError: a picture cannot be read.
    """
    if num_pictures < 1 or most_classes < 1:
        raise ConfigError(f"num_pictures, most_classes: expected at least 1, got {num_pictures} and {most_classes}")
    present = sorted({label for sample in dataset.samples for label in sample.labels})
    labels = _spread(present, most_classes)
    inches = num_pictures * _TILE_INCHES, len(labels) * (_TILE_INCHES + 0.1) + 0.9
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.subplots(len(labels), num_pictures, squeeze=False)
    colours = _part_colours(dataset.parts)
    for row, label in zip(axes, labels, strict=True):
        chosen = _chosen([sample for sample in dataset.samples if label in sample.labels], num_pictures)
        for axis in row:
            axis.set_axis_off()
        for axis, sample in zip(row, chosen, strict=False):
            _draw(sample, axis, colours)
        name = drawable(dataset.classes[label])
        row[0].set_title(name, loc="left", fontsize=9, **lettering([name]))
    names = "" if len(labels) == len(present) else f" ({len(labels)} of {len(present)} classes)"
    title = drawable(f"{dataset.spec}{names}")
    figure.suptitle(title, fontsize=8, **lettering([title]))
    handles = [Line2D([], [], color=colour, linewidth=4, label=drawable(part)) for part, colour in colours.items()]
    if handles:
        legend = figure.legend(
            handles=handles, loc="outside lower center", ncols=min(8, len(handles)), fontsize=8, frameon=False
        )
        letter_legend(legend)
    return figure


def save_contact_sheet(dataset: PartDataset, path: Path) -> Path:
    """Write `contact_sheet` (.png, .jpg, .pdf, .svg). The file is replaced whole.

    Raises:
        ConfigError: another ending.
        DataError: a picture cannot be read.
    """
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise ConfigError(f"out: expected an ending of {', '.join(_ENDINGS)}, got {path.name!r}")
    figure = contact_sheet(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: figure.savefig(file, format=_ENDINGS[ending], dpi=120))
    return path


def _part_colours(parts: Sequence[str]) -> dict[str, _Colour]:
    palette = colormaps["tab10" if len(parts) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    return {part: palette[index % len(palette)] for index, part in enumerate(parts)}


def _spread(items: Sequence[int], most: int) -> list[int]:
    if len(items) <= most:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _chosen(samples: Sequence[Sample], num: int) -> list[Sample]:
    with_parts = [sample for sample in samples if sample.parts]
    pool = with_parts or list(samples)
    return [pool[index] for index in _spread(range(len(pool)), num)]


def _draw(sample: Sample, axis: Axes, colours: dict[str, _Colour]) -> None:
    picture = sample.load_image()
    small = picture.copy()
    small.thumbnail((_MOST_PX, _MOST_PX))  # a sheet of large photographs would not fit into memory
    # Edges of the picture at 0 and its size: annotations are continuous pixels.
    axis.imshow(np.asarray(small), extent=(0, picture.width, picture.height, 0))
    if sample.object_box is not None:
        axis.add_patch(_frame(sample.object_box, "black", linewidth=0.8))
        axis.add_patch(_frame(sample.object_box, "white", linestyle=(0, (4, 4)), linewidth=0.8))
    for part, shapes in sample.parts.items():
        for shape in shapes:
            _draw_shape(shape, axis, colours[part])
    axis.set_xlim(0, picture.width)
    axis.set_ylim(picture.height, 0)


def _draw_shape(shape: Shape, axis: Axes, colour: _Colour) -> None:
    if isinstance(shape, Point):
        axis.plot([shape.x], [shape.y], "o", color=colour, markeredgecolor="black", markersize=4, markeredgewidth=0.5)
    elif isinstance(shape, Box):
        axis.add_patch(_frame(shape, colour, linewidth=1.5))
    else:
        _draw_mask(shape, axis, colour)


def _draw_mask(shape: MaskShape, axis: Axes, colour: _Colour) -> None:
    step = max(1, max(shape.mask.shape) // _MOST_PX)
    covered = np.asarray(Image.fromarray(shape.mask.astype(np.uint8) * 255).reduce(step)) / 255
    height, width = covered.shape
    layer = np.zeros((height, width, 4))
    layer[..., :3], layer[..., 3] = colour, 0.6 * covered
    axis.imshow(layer, extent=(0, width * step, height * step, 0), interpolation="nearest")


def _frame(box: Box, colour: str | _Colour, **style: Any) -> Rectangle:
    corner, width, height = (box.x0, box.y0), box.x1 - box.x0, box.y1 - box.y0
    return Rectangle(corner, width, height, fill=False, edgecolor=colour, **style)
