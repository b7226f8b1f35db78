"""The pictures of a data set as a network takes them, with the parts as regions of a grid over the network's input."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from partcnn.datasets import Box, MaskShape, PartDataset, Point
from partcnn.datasets.part_dataset import Example
from partcnn.metrics.functional import box_region, disc_region

SHAPE_KINDS = ("mask", "box", "point")
_Shape = Box | Point | MaskShape


class ObservedPicture(NamedTuple):
    """An example and its part regions; default collation stacks it."""

    example: Example
    regions: Tensor  # [part, grid row, grid col] bool; empty where the picture does not show the part
    num_shapes: Tensor  # [3] int64, of each of SHAPE_KINDS


class ObservedPictures(Dataset[ObservedPicture]):
    """A data set, each picture decoded once for the network and the regions, or not at all.

    Args:
        dataset: any.
        transform: the network's own, which stretches the whole picture to the input.
        grid: (rows, columns) over the input.
        input_size: (height, width) in pixels.
        point_radius_px: of the disc that stands for a part given as a point.
        sizes: [picture, 2] (height, width) of the pictures where they are not to be decoded: examples then lack them.
    """

    def __init__(
        self,
        dataset: PartDataset,
        transform: Callable[..., Any],
        *,
        grid: tuple[int, int],
        input_size: tuple[int, int],
        point_radius_px: float,
        sizes: Tensor | None = None,
    ) -> None:
        self._sizes = sizes
        self._dataset = dataset.with_transform(transform, resized_to=input_size)
        self._grid, self._input_size, self._point_radius_px = grid, input_size, point_radius_px

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> ObservedPicture:
        if self._sizes is None:
            example, size = self._dataset.example_and_size(index)
        else:
            height, width = self._sizes[index].tolist()
            size = (height, width)
            example = self._dataset.example_without_picture(index, size, self._input_size)
        regions = torch.zeros(len(self._dataset.parts), *self._grid, dtype=torch.bool)
        counts = dict.fromkeys(SHAPE_KINDS, 0)
        parts = self._dataset.samples[index].parts
        for number, part in enumerate(self._dataset.parts):
            for shape in parts.get(part, []):
                counts[_kind(shape)] += 1
                regions[number] |= self._region(shape, size)
        return ObservedPicture(example, regions, torch.tensor(list(counts.values())))

    def _region(self, shape: _Shape, size: tuple[int, int]) -> Tensor:
        height, width = size
        across, down = self._input_size[1] / width, self._input_size[0] / height
        if isinstance(shape, Point):
            point = (shape.x * across, shape.y * down)
            return disc_region(point, self._point_radius_px, self._grid, self._input_size)
        if isinstance(shape, MaskShape):
            rows, cols = (
                ((np.arange(cells) + 0.5) * (side / cells)).astype(int)
                for cells, side in zip(self._grid, shape.mask.shape, strict=True)
            )
            sampled = torch.from_numpy(shape.mask[rows[:, None], cols])
            if sampled.any():
                return sampled
            shape = shape.box  # too small to hold a point of the grid: the nearest one
        box = (shape.x0 * across, shape.y0 * down, shape.x1 * across, shape.y1 * down)
        return box_region(box, self._grid, self._input_size)


def _kind(shape: _Shape) -> str:
    if isinstance(shape, MaskShape):
        return "mask"
    return "point" if isinstance(shape, Point) else "box"


def describe_shapes(num_shapes: dict[str, int]) -> str:
    """What the parts are given as: "masks", "boxes", "points", several of them, or "nothing"."""
    names = {"mask": "masks", "box": "boxes", "point": "points"}
    return " and ".join(names[kind] for kind, count in num_shapes.items() if count) or "nothing"
