"""How a picture becomes a network's input."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from partcnn.foundation.errors import ConfigError
from partcnn.foundation.pixels import to_rgb

_GREY = (0.2989, 0.587, 0.114)  # what red, green and blue add to it: ITU-R 601, as torchvision's and Pillow's


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input: RGB/255, resized, less the mean, over the std.

    Of one channel: its grey, less the mean's grey, over the std's. Pictures have no more than three channels, so that a
    network of another number takes tensors alone.

    Raises:
        ConfigError: `mean` or `std` has not three numbers.
    """

    input_size: tuple[int, int] = (224, 224)  # (height, width) in pixels
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet's, of RGB in 0–1
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channels: int = 3  # of the network's input

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3:
                raise ConfigError(f"{name}: expected three numbers, of red, green and blue, got {values!r:.50}")

    def transform(self) -> Callable[..., Any]:
        """The torchvision v2 transform: the whole picture stretched, float32, normalised. Boxes follow it.

        Raises:
            ConfigError: as of `normalisation`.
        """
        from torchvision.transforms import v2

        composed: Callable[..., Any] = v2.Compose([v2.Resize(self.input_size), self.normalisation()])
        return composed

    def normalisation(self) -> Callable[..., Any]:
        """The end of `transform`, of pictures that have the input's size: uint8 → float32, normalised.

        Raises:
            ConfigError: the network takes neither colour nor grey.
        """
        from torchvision.transforms import v2

        if self.channels not in (1, 3):
            raise ConfigError(
                f"preprocessing: pictures are RGB, and the network takes {self.channels} channels; give it tensors "
                f"[image, {self.channels}, row, col] in a loop of your own"
            )
        to_float = v2.ToDtype(torch.float32, scale=True)
        if self.channels == 3:
            steps = [to_float, v2.Normalize(self.mean, self.std)]
        else:
            steps = [to_float, v2.Grayscale(), v2.Normalize([_grey(self.mean)], [_grey(self.std)])]
        composed: Callable[..., Any] = v2.Compose(steps)
        return composed

    @property
    def pixels(self) -> str:
        """What the numbers are before the mean is taken off, in words."""
        return {3: "RGB / 255", 1: "grey of RGB / 255"}.get(self.channels, f"{self.channels} channels")

    def __call__(self, picture: Image.Image) -> Tensor:  # [channel, height, width]
        """One picture of any size and mode, `to_rgb` of it through `transform`.

        Raises:
            DataError: the range of its pixels is not known.
        """
        return self.of_rgb(to_rgb(picture))

    def of_rgb(self, picture: Image.Image) -> Tensor:  # [channel, height, width]
        """One picture that `to_rgb` gave: a large one is not copied once more."""
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        network_input: Tensor = self.transform()(pixels)
        return network_input

    def to_spec(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON. Channels are told where they are not three, as before there was more."""
        spec: dict[str, Any] = {key: list(value) for key, value in asdict(self).items() if key != "channels"}
        return spec if self.channels == 3 else {**spec, "channels": self.channels}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_spec`.

        Raises:
            ConfigError: an entry is unknown or has another number of values.
        """
        wanted = {"input_size": 2, "mean": 3, "std": 3}
        channels = spec.get("channels", 3)
        if type(channels) is not int or channels < 1:
            raise ConfigError(f"preprocessing: channels: expected a whole number from 1, got {channels!r:.50}")
        triples = {key: values for key, values in spec.items() if key != "channels"}
        for key, values in triples.items():
            if key not in wanted or len(values) != wanted[key]:
                raise ConfigError(f"preprocessing: expected {wanted} (number of values), got {key}: {values}")
        return cls(**{key: tuple(values) for key, values in triples.items()}, channels=channels)


def _grey(colour: tuple[float, float, float]) -> float:
    return sum(share * value for share, value in zip(_GREY, colour, strict=True))
