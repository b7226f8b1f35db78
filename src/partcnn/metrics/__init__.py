"""The measures of `part_metrics` as torchmetrics, for a loop of one's own; and the registry of all of them.

Every state either adds up or, for the measures on each filter's strongest images, is a table that merges: the figures
are those of all images at once, whatever the batches, also a short last one, and under distributed training.
Distributed samplers repeat images to give all processes the same number: the tables count an image once, by its
index; sums cannot tell, so take a sampler that does not repeat (Lightning's own does so in validation and test).
"""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.metrics.registry import METRICS, MetricEntry
    from partcnn.metrics.strongest import (
        Coverage,
        DisplacementScatter,
        LeastLocationInstability,
        LocationInstability,
        PartTracking,
    )
    from partcnn.metrics.sums import ActivationThresholds, DeadFilters, FilterPurity, PartInterpretability, PointingGame

_HOMES = {
    "METRICS": "registry",
    "MetricEntry": "registry",
    "Coverage": "strongest",
    "DisplacementScatter": "strongest",
    "LeastLocationInstability": "strongest",
    "LocationInstability": "strongest",
    "PartTracking": "strongest",
    "ActivationThresholds": "sums",
    "DeadFilters": "sums",
    "FilterPurity": "sums",
    "PartInterpretability": "sums",
    "PointingGame": "sums",
}

__all__ = [
    "METRICS",
    "ActivationThresholds",
    "Coverage",
    "DeadFilters",
    "DisplacementScatter",
    "FilterPurity",
    "LeastLocationInstability",
    "LocationInstability",
    "MetricEntry",
    "PartInterpretability",
    "PartTracking",
    "PointingGame",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
