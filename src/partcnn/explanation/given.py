"""A picture that is to be explained: as it was given, and as the network takes it."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from partcnn.datasets import read_picture
from partcnn.foundation.errors import ShapeError
from partcnn.networks.preprocessing import Preprocessing


@dataclass(frozen=True)
class GivenPicture:
    """One picture, and the network's input that was made of it by stretching the whole of it.

    Args:
        picture: turned as its EXIF tag asks; None where the network's input itself was given.
        network_input: [1, 3, H, W], preprocessed.
        size: (height, width) in pixels of what was given.
    """

    picture: Image.Image | None
    network_input: Tensor
    size: tuple[int, int]

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return self.network_input.shape[2], self.network_input.shape[3]

    def from_input(self, positions_px: Tensor) -> Tensor:
        """Points [..., 2] or boxes [..., 4] in pixels of the network's input → in pixels of what was given."""
        (height, width), (input_height, input_width) = self.size, self.input_size
        scale = torch.tensor([width / input_width, height / input_height])  # of x and y
        return positions_px * scale.repeat(positions_px.shape[-1] // 2)


def given_picture(image: str | os.PathLike[str] | Image.Image | Tensor, preprocessing: Preprocessing) -> GivenPicture:
    """From a file, a picture, or a network input [3, H, W] or [1, 3, H, W].

    Raises:
        ShapeError: the tensor has other axes.
        DataError: the file cannot be read.
    """
    if isinstance(image, Tensor):
        return _given_tensor(image)
    if isinstance(image, Image.Image):
        picture = ImageOps.exif_transpose(image).convert("RGB")  # as the same picture read from its file
    else:
        picture = read_picture(Path(image))
    return GivenPicture(picture, preprocessing(picture)[None], (picture.height, picture.width))


def _given_tensor(image: Tensor) -> GivenPicture:
    batch = image[None] if image.ndim == 3 else image
    if batch.ndim != 4 or batch.shape[0] != 1:
        raise ShapeError(f"image: expected a tensor [3, H, W] or [1, 3, H, W], got {tuple(image.shape)}")
    return GivenPicture(None, batch, (batch.shape[2], batch.shape[3]))
