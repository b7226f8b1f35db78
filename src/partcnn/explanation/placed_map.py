"""Maps at their own resolution: upsampled to what is drawn, when it is drawn."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from partcnn.networks.probing.receptive_field import ReceptiveField, upsample_map
from partcnn.plot.tiling import filter_regions


@dataclass(frozen=True, eq=False)
class PlacedMap:
    """A map, and where its cells lie in a picture.

    Args:
        values: [row, col].
        field: of the cells; None: they divide the picture evenly.
    """

    values: Tensor
    field: ReceptiveField | None = None

    def at(self, size: tuple[int, int]) -> Tensor:  # [height, width]
        """The map at every pixel of the picture, when that is shown at (height, width); see `upsample_map`."""
        return upsample_map(self.values, size, self.field)


@dataclass(frozen=True, eq=False)
class PlacedShares:
    """Of filters that compete: the share that each has of every cell, and where the cells lie in a picture.

    Args:
        values: [filter, row, col] in 0–1.
        field: of the cells; None: they divide the picture evenly.
    """

    values: Tensor
    field: ReceptiveField | None = None

    def regions_at(self, size: tuple[int, int]) -> npt.NDArray[np.int16]:  # [height, width]
        """The filter that holds each pixel, when the picture is shown at (height, width); see `filter_regions`."""
        return filter_regions(self.values, size, self.field)
