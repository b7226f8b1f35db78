"""The numbers that measures depend on: they stand in every evaluation, since figures of others cannot be compared."""

from dataclasses import dataclass

from partcnn.foundation.errors import ConfigError
from partcnn.metrics.functional.arguments import check_fraction, check_positive, check_top
from partcnn.metrics.functional.interpretability import IOU_THRESHOLD
from partcnn.metrics.functional.pointing import TOLERANCE_PX
from partcnn.metrics.functional.quantile import QUANTILE
from partcnn.objectives.part_places import check_places

_PAPER_SIDE_PX = 224


@dataclass(frozen=True)
class Protocol:
    """How filters are measured.

    Args:
        top: images per filter and part, as in the paper.
        places: how a filter's place is read from its map: "peak", as in the paper, or "expected"
            (`partcnn.objectives.part_places`). None takes the network's own; an evaluation says which that is.
        quantile: share of cells above a filter's threshold.
        radius_px: of the disc around a cell above the threshold, in pixels of the input, and of the disc that stands
            for a part given as a point. The paper gives none; None takes two strides of the layer.
        iou_threshold: a part is hit above it.
        tolerance_px: of the pointing game; None takes 15 of 224 pixels.
        grid_step_px: regions and discs are sampled once every so many pixels of the input.
        resamples: of the bootstrap; 0: no intervals.
        confidence: of the intervals.
        most_recorded: pictures that the bootstrap of shares looks at, drawn beforehand; of a larger data set its
            intervals are those of so many pictures, wider than they need be.
        num_random_filters: of the baseline.

    Raises:
        ConfigError: a number is outside what it may be.
    """

    top: int = 100
    places: str | None = None
    quantile: float = QUANTILE
    radius_px: float | None = None
    iou_threshold: float = IOU_THRESHOLD
    tolerance_px: float | None = None
    grid_step_px: int = 4
    resamples: int = 1000
    confidence: float = 0.95
    most_recorded: int = 4096
    num_random_filters: int = 16

    def __post_init__(self) -> None:
        check_top(self.top)
        if self.places is not None:
            check_places(self.places)
        check_fraction("quantile", self.quantile)
        check_fraction("iou_threshold", self.iou_threshold)
        check_fraction("confidence", self.confidence)
        for name in ("grid_step_px", "most_recorded", "num_random_filters"):
            check_positive(name, getattr(self, name))
        if self.radius_px is not None:
            check_positive("radius_px", self.radius_px)
        if self.tolerance_px is not None and not 0 <= self.tolerance_px < float("inf"):
            raise ConfigError(f"tolerance_px: expected a number of at least 0, got {self.tolerance_px}")
        if self.resamples < 0:
            raise ConfigError(f"resamples: expected at least 0, got {self.resamples}")

    def grid(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the points at which regions are sampled."""
        rows, cols = (max(1, round(side / self.grid_step_px)) for side in input_size)
        return rows, cols

    def radius(self, stride_px: tuple[float, float]) -> float:
        """Of the discs, in pixels of the input."""
        return sum(stride_px) if self.radius_px is None else self.radius_px  # two strides: their mean, twice

    def tolerance(self, input_size: tuple[int, int]) -> float:
        """Of the pointing game, in pixels of the input."""
        return TOLERANCE_PX * min(input_size) / _PAPER_SIDE_PX if self.tolerance_px is None else self.tolerance_px
