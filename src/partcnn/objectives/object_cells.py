"""What is done with an object map's shares: cells well within the object, and shares in views of a picture."""

import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.foundation.errors import ShapeError
from partcnn.objectives.equivariance import in_pictures


def eroded(share: Tensor) -> Tensor:  # [image, row, col] → the same
    """The smallest share of a cell and its eight neighbours: high well within the object, low on its outline.

    Beyond the border there is nothing: a border cell has its neighbours within the map alone.

    Raises:
        ShapeError: shares do not have three axes.
    """
    if share.ndim != 3:
        raise ShapeError(f"share: expected [image, row, col], got {list(share.shape)}")
    return -F.max_pool2d(-share[:, None], 3, stride=1, padding=1)[:, 0]


def carried_into_views(
    share: Tensor,  # [image, row, col], of whole pictures
    frames: Tensor,  # [image, view, 2, 3]
    centers: tuple[Tensor, Tensor],  # [row], [col]
) -> Tensor:  # [image, view, row, col]
    """The shares of pictures at the cells of their views: each cell's centre is carried by its view's frame into the
    picture, where the map is read between its four nearest cells, bilinearly.

    Args:
        share: of the pictures as they are measured, in the frame [[1, 0, 0], [0, 1, 0]].
        frames: A of every view: (x, y, 1) in fractions of the view's sides → (x, y) in fractions of the picture's.
        centers: y of each row and x of each column, evenly spaced, in fractions of the sides, of pictures and of views.

    Returns:
        Shares in the range of the given ones; beyond the outermost centres the border goes on.

    Raises:
        ShapeError: frames of other images, or centers that do not fit the map.
    """
    _check(share, frames, centers)
    height, width = share.shape[1:]
    rows, cols = (center.to(share) for center in centers)
    y, x = torch.meshgrid(rows, cols, indexing="ij")
    in_view = torch.stack([x, y], dim=-1).flatten(0, 1).expand(frames[:, :, 0, 0].numel(), -1, -1)
    points = in_pictures(in_view, frames.flatten(0, 1))  # [image · view, cell, 2]
    grid = torch.stack([_of_grid(points[..., 0], cols), _of_grid(points[..., 1], rows)], dim=-1)
    grid = grid.unflatten(0, frames.shape[:2]).flatten(1, 2)[:, :, None]  # [image, view · cell, 1, 2]
    read = F.grid_sample(share[:, None], grid, padding_mode="border", align_corners=True)
    in_views: Tensor = read.view(*frames.shape[:2], height, width)
    return in_views


def _of_grid(points: Tensor, centers: Tensor) -> Tensor:
    """From the units of the centres to `grid_sample`'s: −1 at the first centre and 1 at the last."""
    if len(centers) == 1:
        return torch.zeros_like(points)
    return 2 * (points - centers[0]) / (centers[-1] - centers[0]) - 1


def _check(share: Tensor, frames: Tensor, centers: tuple[Tensor, Tensor]) -> None:
    if share.ndim != 3 or frames.ndim != 4 or len(frames) != len(share) or frames.shape[2:] != (2, 3):
        raise ShapeError(
            "share, frames: expected [image, row, col] and [image, view, 2, 3], "
            f"got {tuple(share.shape)} and {tuple(frames.shape)}"
        )
    sizes = (len(centers[0]), len(centers[1]))
    if share.shape[1:] != sizes:
        raise ShapeError(f"centers: expected {tuple(share.shape[1:])} rows and columns as the map, got {sizes}")
