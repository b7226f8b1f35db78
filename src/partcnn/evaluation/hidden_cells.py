"""Pictures of which cells are hidden: a grid over the input, orders of its cells, and what is shown at each step."""

import torch
from torch import Tensor

GRID = 14  # cells along each side


def grid_of(size: tuple[int, int]) -> tuple[int, int]:
    """(rows, cols) of the cells over an input of (height, width) pixels: 14 × 14, at most one a pixel."""
    return min(GRID, size[0]), min(GRID, size[1])


def blurred(images: Tensor) -> Tensor:  # [image, channel, row, col] → the same
    """What is put in a hidden cell's place: the picture through a Gaussian whose σ is a cell's side, along each axis.

    Weights of pixels beyond the picture are left out and the others scaled to a sum of 1, so that a picture of one
    colour stays as it is.
    """
    down, across = (
        _gaussian(side, cells) for side, cells in zip(images.shape[2:], grid_of(_size(images)), strict=True)
    )
    return down.to(images) @ images @ across.to(images).T


def cell_means(pixels: Tensor) -> Tensor:  # [image, row, col] → [image, cell]
    """The mean of each cell of the grid, row by row."""
    rows, cols = (_members(*one).double() for one in zip(pixels.shape[1:], grid_of(_size(pixels)), strict=True))
    rows, cols = rows / rows.sum(dim=1, keepdim=True), cols / cols.sum(dim=1, keepdim=True)
    return (rows @ pixels.double().cpu() @ cols.T).flatten(1)


def strongest_first(values: Tensor, ties: Tensor) -> Tensor:  # [image, cell], [image, cell] → [image, cell]
    """Numbers of the cells by falling value; equal ones stand as in `ties`, which holds an order of all cells."""
    order = values.gather(1, ties).argsort(dim=1, descending=True, stable=True)
    return ties.gather(1, order)


def shown_cells(orders: Tensor, steps: int) -> Tensor:  # [order, cell] → [order, step, cell] bool
    """Whether a cell is among the first k · cells / steps of an order, for k = 1 … steps − 1."""
    counts = torch.arange(1, steps) * orders.shape[1] // steps
    return orders.argsort(dim=1)[:, None] < counts[None, :, None]


def with_hidden(image: Tensor, hidden: Tensor, shown: Tensor) -> Tensor:
    """One picture, seen through each of several choices of cells.

    Args:
        image, hidden: [channel, row, col], the picture and what stands in the place of hidden cells.
        shown: [view, cell] bool.

    Returns:
        [view, channel, row, col].
    """
    size = _size(image)
    rows, cols = (_members(*one).long().argmax(dim=0) for one in zip(size, grid_of(size), strict=True))
    is_shown = shown.view(len(shown), *grid_of(size))[:, rows][:, :, cols]
    return torch.where(is_shown[:, None].to(image.device), image, hidden)


def _gaussian(side: int, cells: int) -> Tensor:  # [to, from]
    pixels = torch.arange(side, dtype=torch.float64)
    return (-((pixels[:, None] - pixels) ** 2) / (2 * (side / cells) ** 2)).softmax(dim=1)


def _members(side: int, cells: int) -> Tensor:  # [cell, pixel] bool: pixel i lies in cell floor(i · cells / side)
    return torch.arange(cells)[:, None] == torch.arange(side) * cells // side


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
