"""Places of a picture as bool grids [row, col]: boxes, points, and the discs around map cells.

A grid of R rows and C columns lies evenly over a frame of (height, width) pixels; a place is sampled at the middle of
each of its cells. A grid as large as the frame is the picture's own pixels.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional.arguments import check_positive, check_regions, checked_diagonal


def grid_points(grid: tuple[int, int], image_size: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """[row, col, 2]: (x, y) of the middle of each cell of a grid, in pixels of the frame.

    Raises:
        ShapeError, ConfigError: a size is not above 0.
    """
    checked_diagonal(image_size)
    if min(grid) < 1:
        raise ConfigError(f"grid: expected (rows, columns) of at least 1, got {grid}")
    y, x = (
        (torch.arange(cells, dtype=torch.float64, device=device) + 0.5) * (side / cells)
        for cells, side in zip(grid, image_size, strict=True)
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def box_region(box: tuple[float, float, float, float], grid: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """[row, col] bool: the grid's points in a box xyxy of the frame; the nearest one where there is none in it."""
    points = grid_points(grid, image_size)
    x0, y0, x1, y1 = box
    is_inside = (points[..., 0] >= x0) & (points[..., 0] < x1) & (points[..., 1] >= y0) & (points[..., 1] < y1)
    return is_inside if is_inside.any() else _nearest(points, (x0 + x1) / 2, (y0 + y1) / 2)


def disc_region(
    point: tuple[float, float], radius_px: float, grid: tuple[int, int], image_size: tuple[int, int]
) -> Tensor:
    """[row, col] bool: the grid's points within a radius of a point (x, y): what stands for a part given as a point."""
    points = grid_points(grid, image_size)
    is_inside = (points - points.new_tensor(point)).square().sum(dim=-1) <= radius_px**2
    return is_inside if is_inside.any() else _nearest(points, *point)


def cell_discs(centers_px: Tensor, radius_px: float, grid: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """The disc around what each map cell sees.

    Args:
        centers_px: [row, col, 2], (x, y) of each cell's receptive-field centre in pixels of the frame.
        radius_px: of the discs, above 0.
        grid, image_size: see the top of this file.

    Returns:
        [row, col, grid row, grid col] bool: the grid's points within the radius.

    Raises:
        ShapeError, ConfigError: the centres have other axes; the radius or a size is not above 0.
    """
    if centers_px.ndim != 3 or centers_px.shape[2] != 2:
        raise ShapeError(f"centers_px: expected [row, col, 2] with (x, y) last, got {tuple(centers_px.shape)}")
    check_positive("radius_px", radius_px)
    points = grid_points(grid, image_size, centers_px.device)
    offsets = points - centers_px.to(torch.float64)[:, :, None, None, :]
    return offsets.square().sum(dim=-1) <= radius_px**2


def grown_regions(regions: Tensor, margin_px: float, image_size: tuple[int, int]) -> Tensor:
    """Regions [image, part, row, col] with every grid point that lies within a margin of one of theirs.

    Raises:
        ShapeError: not bool of four axes.
        ConfigError: the margin is negative.
    """
    check_regions(regions)
    if not 0 <= margin_px < math.inf:
        raise ConfigError(f"margin_px: expected a number of at least 0, got {margin_px}")
    steps = [side / cells for side, cells in zip(image_size, regions.shape[2:], strict=True)]
    reach = [min(int(margin_px / step), cells - 1) for step, cells in zip(steps, regions.shape[2:], strict=True)]
    if max(reach) == 0 or regions.numel() == 0:
        return regions
    rows, cols = (
        torch.arange(-most, most + 1, dtype=torch.float64) * step for most, step in zip(reach, steps, strict=True)
    )
    disc = (rows[:, None].square() + cols.square() <= margin_px**2).to(regions.device, torch.float32)
    flat = regions.flatten(0, 1)[:, None].float()
    return (F.conv2d(flat, disc[None, None], padding=(reach[0], reach[1])) > 0.5).view(regions.shape)


def _nearest(points: Tensor, x: float, y: float) -> Tensor:
    distance = (points - points.new_tensor((x, y))).square().sum(dim=-1)
    nearest = torch.zeros(distance.numel(), dtype=torch.bool)
    nearest[distance.argmin()] = True
    return nearest.view(distance.shape)
