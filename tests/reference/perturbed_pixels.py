"""What a cell sees, found the slow way: brighten one row or column of the picture after the other.

All weights are made positive, so brightening can only raise a cell, through maximum pooling and ReLU too.
Float64; imports nothing of partcnn.
"""

import copy

import torch
from torch import nn


def seen_range(
    network: nn.Module, cell: tuple[int, int], input_size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, first and last column (counted from 0) that change the network's map at the cell."""
    network = copy.deepcopy(network).double().eval()
    for parameter in network.parameters():
        parameter.data = parameter.data.abs() + 0.01
    picture = torch.rand(1, 3, *input_size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def value(changed: torch.Tensor) -> float:
        with torch.no_grad():
            return float(network(changed)[0, :, cell[0], cell[1]].sum())

    base = value(picture)
    ranges = []
    for axis in (2, 3):
        seen = []
        for pixel in range(input_size[axis - 2]):
            changed = picture.clone()
            changed.select(axis, pixel).add_(1000.0)
            if value(changed) != base:
                seen.append(pixel)
        ranges.append((seen[0], seen[-1]))
    return ranges[0], ranges[1]
