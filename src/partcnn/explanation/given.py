"""A picture that is to be explained: as it was given, and as the network takes it."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from partcnn.datasets.pictures import read_picture, told
from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.foundation.pixels import to_rgb
from partcnn.networks.preprocessing import Preprocessing


@dataclass(frozen=True)
class GivenPicture:
    """One picture, and the network's input that was made of it by stretching the whole of it.

    Args:
        picture: turned as its EXIF tag asks; None where the network's input itself was given.
        network_input: [1, channel, H, W], preprocessed.
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
    """From a file, a picture, or a network input [channel, H, W] or [1, channel, H, W].

    Raises:
        ConfigError: it is something else, or the network takes neither colour nor grey.
        ShapeError: the tensor has other axes, channels, or whole numbers.
        DataError: the picture cannot be read, or the range of its pixels is not known.
    """
    if isinstance(image, Tensor):
        return _given_tensor(image, preprocessing.channels)
    picture = _picture(image)
    return GivenPicture(picture, preprocessing.of_rgb(picture)[None], (picture.height, picture.width))


def _picture(image: object) -> Image.Image:
    """In RGB, turned as its EXIF tag asks."""
    if isinstance(image, Image.Image):
        with told("image"):  # its file may be read only now
            return to_rgb(image)
    if isinstance(image, (str, os.PathLike)):
        return read_picture(Path(image))
    is_array = hasattr(image, "__array_interface__")
    raise ConfigError(
        f"image: expected a path, a Pillow picture or a preprocessed tensor, got a {type(image).__name__}"
        + ("; PIL.Image.fromarray makes a picture of RGB pixels [row, col, 3]" if is_array else "")
    )


def _given_tensor(image: Tensor, num_channels: int) -> GivenPicture:
    batch = image[None] if image.ndim == 3 else image
    if batch.ndim != 4 or batch.shape[:2] != (1, num_channels):
        raise ShapeError(
            f"image: expected a tensor [{num_channels}, H, W] or [1, {num_channels}, H, W], got {tuple(image.shape)}"
        )
    if not batch.is_floating_point():
        raise ShapeError(
            f"image: expected a preprocessed tensor of floats, got {image.dtype}; give the picture or its file instead"
        )
    return GivenPicture(None, batch, (batch.shape[2], batch.shape[3]))
