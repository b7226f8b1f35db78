"""The ceiling: a detector of one part that is trained with that part's labels, on the same maps as the filters."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.objectives.equivariance import mean_positions
from partcnn.objectives.templates import cell_distances

_WIDTH = 32
_DILATIONS = (1, 2, 4)
_DROPOUT = 0.2  # of the maps' channels
_EPOCHS = 60
_BATCH = 32
_LR = 3e-3
_WEIGHT_DECAY = 0.05
_TARGET_STD_CELLS = 1.0


def train_detector(
    maps: Tensor,  # [image, view, channel, row, col]
    frames: Tensor,  # [image, view, 2, 3]
    landmarks: Tensor,  # [image, 2]
    field: ReceptiveField,
    *,
    seed: int,
) -> nn.Sequential:
    """Three 3 × 3 layers of 32 filters, dilated by 1, 2 and 4, and one of a single filter, trained to fire at the part.

    Cross-entropy over the map's cells against a Gaussian of one cell's standard deviation around the cell whose centre
    is nearest to the part; AdamW, one cycle up to 3e-3, 60 epochs, one random view of every picture an epoch; a
    picture counts where its view holds the part.

    Args:
        maps: of the trunk, through the projection.
        frames: of the views: (x, y, 1) in fractions of the view's sides → (x, y) in fractions of the picture's.
        landmarks: (x, y) of the part in fractions of the picture's sides, nan where absent.
        field: of the maps' cells.
        seed: of weights, views, order and dropout.

    Returns:
        Maps [image, channel, row, col] → scores [image, 1, row, col].
    """
    torch.manual_seed(seed)
    detector = _detector(maps.shape[2])
    cells = target_cells(frames, landmarks, field)  # [image, view], −1 where the view does not hold the part
    shown = (cells >= 0).any(dim=1).nonzero().squeeze(1)
    if len(shown) == 0:
        return detector.eval()
    targets = _gaussians(field.map_size)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=_LR, weight_decay=_WEIGHT_DECAY)
    num_steps = _EPOCHS * -(-len(shown) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=num_steps)
    for _ in range(_EPOCHS):
        for chosen in shown[torch.randperm(len(shown))].split(_BATCH):
            views = torch.multinomial((cells[chosen] >= 0).float(), 1).squeeze(1)
            scores = detector(maps[chosen, views].float()).flatten(1)
            loss = F.cross_entropy(scores, targets[cells[chosen, views]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return detector.eval()


def _detector(num_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Dropout2d(_DROPOUT)]
    for dilation in _DILATIONS:
        layers += [nn.Conv2d(num_channels, _WIDTH, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        num_channels = _WIDTH
    return nn.Sequential(*layers, nn.Conv2d(_WIDTH, 1, 3, padding=1))


def _gaussians(map_size: tuple[int, int]) -> Tensor:  # [cell, cell], each row a distribution around its own cell
    return (-(cell_distances(map_size, norm="l2") ** 2) / (2 * _TARGET_STD_CELLS**2)).softmax(dim=1)


def target_cells(
    frames: Tensor,  # [image, view, 2, 3]
    landmarks: Tensor,  # [image, 2]
    field: ReceptiveField,
) -> Tensor:  # [image, view]
    """The row-major index of the cell whose centre is nearest to the part in each view; −1 where it is not in it."""
    offset = (landmarks[:, None] - frames[..., 2]).unsqueeze(-1)
    places = torch.linalg.solve(frames[..., :2], offset).squeeze(-1)  # [image, view, 2], fractions of the view
    is_inside = ((places >= 0) & (places <= 1)).all(dim=-1)  # nan is not
    side_px = places.new_tensor(field.input_size).flip(-1)
    cells = field.cells_at(places.nan_to_num() * side_px)
    return torch.where(is_inside, cells[..., 0] * field.map_size[1] + cells[..., 1], -1)


def mean_cells(scores: Tensor) -> Tensor:  # [image, filter, row, col] -> [image, filter, 2] (row, col)
    """The mean cell under the softmax of a detector's scores, as sure as its training made it of each."""
    shares = scores.flatten(2).softmax(dim=2).unflatten(2, scores.shape[2:])
    height, width = scores.shape[2:]
    return mean_positions(shares, (torch.arange(height), torch.arange(width))).flip(-1)
