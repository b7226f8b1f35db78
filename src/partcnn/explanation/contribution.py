"""What one filter adds to a logit, and where it looks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partcnn.explanation.placed_map import PlacedMap
from partcnn.plot.tiling import Outline

_NOT_OF_JSON = ("placed_map", "image_size", "outline")


@dataclass(frozen=True)
class Contribution:
    """What one filter of the top part layer adds to the logit, and where it looks.

    It keeps the filter's map as the network made it; `heatmap_at` upsamples that to the size in which it is shown.
    """

    filter: int
    value: float  # share of the logit, in its units; negative where the filter speaks against the class
    score: float  # largest activation; 0: its part is not seen, and its position means nothing
    position_px: tuple[float, float]  # (x, y) of its `part_places`, in continuous pixels of the given picture
    box_px: tuple[float, float, float, float]  # its receptive field there, clipped to the picture
    category: str  # that the filter serves
    placed_map: PlacedMap  # the masked map, and where its cells lie
    image_size: tuple[int, int]  # (height, width) of the given picture in pixels
    hidden_change: float | None = None  # of the logit when `hidden_box_px` is covered; None: not asked for
    hidden_box_px: tuple[float, float, float, float] | None = None  # around the position; see `hiding_boxes`
    outline: Outline | None = None  # of its region, where filters compete; see `partcnn.plot.region_outlines`

    @property
    def heatmap(self) -> npt.NDArray[np.float32]:  # [height, width] of the given picture
        """The masked map, upsampled to the picture's size anew at each call; `heatmap_at` gives a smaller one."""
        return self.heatmap_at(self.image_size)

    def heatmap_at(self, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """The masked map, upsampled to the (height, width) in which the picture is shown."""
        heat: npt.NDArray[np.float32] = self.placed_map.at(size).numpy()
        return heat

    def to_dict(self) -> dict[str, Any]:
        """Everything but the map and the outline, for JSON."""
        entry = {key: value for key, value in vars(self).items() if key not in _NOT_OF_JSON}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in entry.items()}
