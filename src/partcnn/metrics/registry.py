"""Every measure by its name in `Evaluation.summary`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchmetrics import Metric

from partcnn.metrics import functional as part_metrics
from partcnn.metrics.strongest import (
    Coverage,
    DisplacementScatter,
    LeastLocationInstability,
    LocationInstability,
    PartTracking,
)
from partcnn.metrics.sums import DeadFilters, FilterPurity, PartInterpretability, PointingGame


@dataclass(frozen=True)
class MetricEntry:
    """One measure: a name in `Evaluation.summary`, and where it is computed."""

    function: Callable[..., Any]  # of tensors
    metric: type[Metric]  # the same, batch by batch
    better: int  # 1: higher is better, −1: lower
    lowest: float
    highest: float
    by_filter: str | None  # its name in `FilterEvaluation`; None: one figure of all filters


_INFINITY = float("inf")

METRICS = {
    "part_tracking_r2": MetricEntry(part_metrics.part_tracking, PartTracking, 1, -_INFINITY, 1, "part_tracking_r2"),
    "coverage": MetricEntry(part_metrics.coverage, Coverage, 1, 0, 1, None),
    "displacement_scatter": MetricEntry(
        part_metrics.displacement_scatter, DisplacementScatter, -1, 0, _INFINITY, "displacement_scatter"
    ),
    "location_instability": MetricEntry(
        part_metrics.location_instability, LocationInstability, -1, 0, _INFINITY, "location_instability"
    ),
    "least_location_instability": MetricEntry(
        part_metrics.least_location_instability, LeastLocationInstability, -1, 0, _INFINITY, None
    ),
    "part_interpretability": MetricEntry(
        part_metrics.part_interpretability, PartInterpretability, 1, 0, 1, "part_interpretability"
    ),
    "pointing_game": MetricEntry(part_metrics.pointing_game, PointingGame, 1, 0, 1, "pointing_game"),
    "purity": MetricEntry(part_metrics.filter_purity, FilterPurity, 1, 0, 1, "purity"),
    "dead_filters": MetricEntry(part_metrics.dead_filters, DeadFilters, -1, 0, 1, "is_dead"),
}
