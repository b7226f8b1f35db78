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


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input: RGB/255, resized, less the mean, over the std."""

    input_size: tuple[int, int] = (224, 224)  # (height, width) in pixels
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet's, of RGB in 0–1
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def transform(self) -> Callable[..., Any]:
        """The torchvision v2 transform: the whole picture stretched, float32, normalised. Boxes follow it."""
        from torchvision.transforms import v2

        composed: Callable[..., Any] = v2.Compose([v2.Resize(self.input_size), self.normalisation()])
        return composed

    def normalisation(self) -> Callable[..., Any]:
        """The end of `transform`, of pictures that have the input's size: uint8 → float32, normalised."""
        from torchvision.transforms import v2

        steps = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std)]
        composed: Callable[..., Any] = v2.Compose(steps)
        return composed

    def __call__(self, picture: Image.Image) -> Tensor:  # [3, height, width]
        """One picture of any size and mode, `to_rgb` of it through `transform`.

        Raises:
            DataError: the range of its pixels is not known.
        """
        pixels = torch.from_numpy(np.array(to_rgb(picture))).permute(2, 0, 1)
        network_input: Tensor = self.transform()(pixels)
        return network_input

    def to_spec(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_spec`.

        Raises:
            ConfigError: an entry is unknown or has another number of values.
        """
        wanted = {"input_size": 2, "mean": 3, "std": 3}
        for key, values in spec.items():
            if key not in wanted or len(values) != wanted[key]:
                raise ConfigError(f"preprocessing: expected {wanted} (number of values), got {key}: {values}")
        return cls(**{key: tuple(values) for key, values in spec.items()})
