"""A sample as torchvision tv_tensors, so that transforms v2 move a picture and its annotations together.

Points travel as boxes without area. torchvision's own KeyPoints mix two frames: a flip maps x to (W − 1) − x,
as if x counted pixels, and a resize multiplies x, as if it were measured from the edge. Boxes are measured
from the edge in both, as everything here is. No box is clamped to the picture (`clamping_mode=None`): a crop
would move the centre of a box that it cuts. SanitizeBoundingBoxes, which drops boxes without area, is of no
use here.
"""

from collections.abc import Sequence
from typing import TypeAlias, TypedDict

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from partcnn.datasets.samples import Box, MaskShape, Point, Sample, Shape

TVShape: TypeAlias = tv_tensors.BoundingBoxes | tv_tensors.Mask


class TVShapes(TypedDict):
    """The annotations of a sample.

    `object_box` is [0 or 1, 4]; a part is boxes [shape, 4] or masks [shape, H, W].
    """

    object_box: tv_tensors.BoundingBoxes
    parts: dict[str, TVShape]


def to_tv_tensors(sample: Sample) -> tuple[tv_tensors.Image, TVShapes]:
    """The picture and the annotations of a sample, ready for one call of a transform: `transform(*pair)`.

    Returns:
        The picture, uint8 [3, H, W], and its shapes. A part of masks only becomes a Mask; any other part
        becomes boxes, a point one without area.

    Raises:
        DataError: the picture cannot be read.
    """
    image = tv_tensors.Image(sample.load_image())
    size = (image.shape[-2], image.shape[-1])
    object_boxes = [] if sample.object_box is None else [sample.object_box]
    parts = {name: _to_tv_shapes(shapes, size) for name, shapes in sample.parts.items()}
    return image, {"object_box": edge_boxes(object_boxes, size), "parts": parts}


def from_tv_tensors(shapes: TVShapes) -> tuple[Box | None, dict[str, list[Shape]]]:
    """The object box and the parts of a sample, back from `to_tv_tensors`, in the frame of the picture now.

    Boxes and points are not clipped: what a crop has cut off lies outside the picture. Masks end at its edge,
    and one that left it altogether is dropped.
    """
    object_boxes = _from_boxes(shapes["object_box"])
    box = Box(*_corners(object_boxes[0])) if object_boxes else None
    parts = {name: _from_tv_shapes(part) for name, part in shapes["parts"].items()}
    return box, {name: found for name, found in parts.items() if found}


def edge_boxes(
    shapes: Sequence[Box | Point], size: tuple[int, int], annotated: tuple[int, int] | None = None
) -> tv_tensors.BoundingBoxes:
    """Boxes and points as float32 xyxy [shape, 4] that no transform clamps.

    Args:
        shapes: boxes and points.
        size: (height, width) of the picture.
        annotated: (height, width) that it had when the shapes were drawn; None: the same.
    """
    corners = torch.tensor([_corners(shape) for shape in shapes], dtype=torch.float32).reshape(-1, 4)
    if annotated is not None and annotated != size:
        corners *= torch.tensor([size[1] / annotated[1], size[0] / annotated[0]] * 2)
    return tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size, clamping_mode=None)


def box_centers(boxes: Tensor) -> Tensor:  # [shape, 4] -> [shape, 2]
    """The centres (x, y) of xyxy boxes."""
    corners = boxes.as_subclass(Tensor)
    return (corners[:, :2] + corners[:, 2:]) / 2


def _corners(shape: Box | Point) -> tuple[float, float, float, float]:
    return (shape.x, shape.y, shape.x, shape.y) if isinstance(shape, Point) else (*shape,)


def _to_tv_shapes(shapes: list[Shape], size: tuple[int, int]) -> TVShape:
    masks = [shape.mask for shape in shapes if isinstance(shape, MaskShape)]
    if len(masks) == len(shapes):
        return tv_tensors.Mask(torch.from_numpy(np.stack(masks)))
    return edge_boxes([shape.box if isinstance(shape, MaskShape) else shape for shape in shapes], size)


def _from_tv_shapes(shapes: TVShape) -> list[Shape]:
    if isinstance(shapes, tv_tensors.Mask):
        return [MaskShape(mask) for mask in shapes.as_subclass(Tensor).bool().numpy() if mask.any()]
    return list(_from_boxes(shapes))


def _from_boxes(boxes: tv_tensors.BoundingBoxes) -> list[Box | Point]:
    rows = [tuple(row) for row in boxes.as_subclass(Tensor).tolist()]
    return [Point(x0, y0) if (x0, y0) == (x1, y1) else Box(x0, y0, x1, y1) for x0, y0, x1, y1 in rows]
