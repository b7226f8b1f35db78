"""What if this place were hidden: logits after covering a box of the picture with its mean colour."""

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.networks.probing.probe import evaluation_mode
from partcnn.networks.probing.receptive_field import ReceptiveField

HIDDEN_FRAC = 0.3  # largest side of a hidden box, as a share of the picture's side
_BATCH = 16


def hiding_boxes(field: ReceptiveField, peaks: Tensor, *, largest_frac: float = HIDDEN_FRAC) -> Tensor:
    """What to cover to hide the part at each peak: its receptive field, or the middle of it where that is large.

    The receptive field of a deep layer is often the whole picture, and hiding that says nothing about a part.
    All boxes have one size: near the border a box is moved into the picture, not cut.

    Args:
        field: of the map's cells.
        peaks: [..., 2] (row, col).
        largest_frac: side of the box as a share of the picture's, per axis, above 0 and at most 1.

    Returns:
        [..., 4] xyxy in pixels of the network's input.

    Raises:
        ConfigError: the share is outside its range.
    """
    if not 0 < largest_frac <= 1:
        raise ConfigError(f"largest_frac: expected above 0 and at most 1, got {largest_frac}")
    limits = torch.tensor(field.input_size, dtype=torch.float32).flip(-1)  # (width, height)
    size = torch.tensor(field.size_px, dtype=torch.float32).flip(-1).minimum(limits * largest_frac)
    start = (field.centers_px(peaks).float().cpu() - size / 2).clamp(min=0).minimum(limits - size)
    return torch.cat([start, start + size], dim=-1)


def logits_when_hidden(model: nn.Module, image: Tensor, boxes_px: Tensor) -> Tensor:  # [box, class]
    """The logits of one picture with each box in turn covered by the picture's mean colour.

    Args:
        model: takes pictures [image, 3, H, W]; left in the mode it was in.
        image: [3, H, W], preprocessed.
        boxes_px: [box, 4] xyxy in pixels of `image`; a pixel is covered where its middle lies inside.

    Raises:
        ShapeError: the picture or the boxes have other axes.
    """
    if image.ndim != 3 or boxes_px.ndim != 2 or boxes_px.shape[1] != 4:
        raise ShapeError(f"image, boxes_px: expected [3, H, W] and [box, 4], got {list(image.shape)} and "
                         f"{list(boxes_px.shape)}")  # fmt: skip
    reference = next(model.parameters())
    logits = []
    with evaluation_mode(model), torch.inference_mode():
        for boxes in boxes_px.split(_BATCH):
            hidden = torch.stack([_covered(image, box) for box in boxes])
            logits.append(model(hidden.to(reference)).float().cpu())
    return torch.cat(logits) if logits else torch.empty(0, 0)


def _covered(image: Tensor, box: Tensor) -> Tensor:
    x = torch.arange(image.shape[2]) + 0.5
    y = torch.arange(image.shape[1]) + 0.5
    is_inside = ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))[None]
    return torch.where(is_inside.to(image.device), image.mean(dim=(1, 2), keepdim=True), image)
