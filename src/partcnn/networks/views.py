"""A random view of a picture: a crop, flipped half of the time, and the frame that carries its points back."""

import math

import torch
from torch import Tensor
from torchvision.transforms import v2

MIN_CROP_FRAC = 0.7
_ROOM_TO_CROP = 8 / 7  # pictures are resized to 256 px before a crop of 224, the custom for ImageNet


def roomy_size(input_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the picture that crops are cut from: 8/7 of the network's input."""
    height, width = input_size
    return round(height * _ROOM_TO_CROP), round(width * _ROOM_TO_CROP)


def random_view(
    picture: Tensor,  # uint8 [3, height, width]
    input_size: tuple[int, int],
    generator: torch.Generator,
    *,
    min_crop_frac: float = MIN_CROP_FRAC,
) -> tuple[Tensor, Tensor]:
    """A crop of the picture's own shape, its area uniform, flipped half of the time; and its frame.

    Args:
        picture: of `roomy_size`.
        input_size: (height, width) that the crop is resized to.
        generator: four numbers are drawn of it.
        min_crop_frac: smallest side of the crop, as a share of the picture's side, in (0, 1].

    Returns:
        uint8 [3, *input_size], and [2, 3]: (x, y, 1) in fractions of the view's sides → (x, y) in fractions of the
        picture's.
    """
    share, left, top, flip = torch.rand(4, generator=generator).tolist()
    side = math.sqrt(min_crop_frac**2 + share * (1 - min_crop_frac**2))
    height, width = picture.shape[1:]
    crop_height, crop_width = round(side * height), round(side * width)
    y, x = round(top * (height - crop_height)), round(left * (width - crop_width))
    view = v2.functional.resized_crop(picture, y, x, crop_height, crop_width, list(input_size), antialias=True)
    x0, y0, across, down = x / width, y / height, crop_width / width, crop_height / height
    if flip < 0.5:
        view, x0, across = v2.functional.horizontal_flip(view), x0 + across, -across
    return view, torch.tensor([[across, 0.0, x0], [0.0, down, y0]])
