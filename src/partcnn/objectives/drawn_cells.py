"""Cells of maps drawn at random, so that a fit costs the same however many pictures there are."""

import torch
from torch import Tensor

from partcnn.foundation.row_shards import Rows
from partcnn.objectives.fitness import at_least_float32


def drawn_cells(
    maps: Rows,  # [image, channel, row, col]
    is_allowed: Tensor,  # [row, col] bool
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # [cell, channel], [cell]
    """At most so many different cells of all images, on the processor, and their row-major numbers in a map.

    The maps themselves are not copied; half precision comes back as float32.
    """
    allowed = is_allowed.flatten().nonzero()[:, 0]
    drawn = torch.randperm(len(maps) * len(allowed), generator=generator)[:count]
    images, numbers = drawn // len(allowed), allowed[drawn % len(allowed)]
    rows, cols = numbers // maps.shape[3], numbers % maps.shape[3]
    images, rows, cols = (index.to(maps.device) for index in (images, rows, cols))
    found: Tensor = maps[images, :, rows, cols]
    return at_least_float32(found).cpu(), numbers


def everywhere(maps: Rows) -> Tensor:  # [row, col]
    return torch.ones(maps.shape[2:], dtype=torch.bool)


def border(maps: Rows) -> Tensor:  # [row, col]
    """The first and the last row and column."""
    is_border = everywhere(maps)
    is_border[1:-1, 1:-1] = False
    return is_border
