"""Boxes and points as torchvision tv_tensors, so that transforms v2 move a picture and its annotations together.

Points travel as boxes without area. torchvision's own KeyPoints mix two frames: a flip maps x to (W − 1) − x,
as if x counted pixels, and a resize multiplies x, as if it were measured from the edge. Boxes are measured
from the edge in both, as everything here is. No box is clamped to the picture (`clamping_mode=None`): a crop
would move the centre of a box that it cuts. SanitizeBoundingBoxes, which drops boxes without area, is of no
use here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision import tv_tensors

from partcnn.datasets.samples import Box, Point


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
