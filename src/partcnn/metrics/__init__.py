"""The measures of `metrics.functional` as torchmetrics, for a loop of one's own; and the table of all measures.

Every state either adds up or, for the measures on each filter's strongest images, is a table that merges: the figures
are those of all images at once, whatever the batches, also a short last one, and under distributed training.
Distributed samplers repeat images to give all processes the same number: the tables count an image once, by its
index; sums cannot tell, so take a sampler that does not repeat (Lightning's own does so in validation and test).
"""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.metrics.activation import DeadFilters, FilterPurity
    from partcnn.metrics.agreement import FilterPartAgreement
    from partcnn.metrics.crowding import CrowdedFilters
    from partcnn.metrics.displacement import (
        Coverage,
        DisplacementScatter,
        LeastLocationInstability,
        LocationInstability,
        PartTracking,
    )
    from partcnn.metrics.interpretability import PartInterpretability
    from partcnn.metrics.map_statistics import EffectiveFilters
    from partcnn.metrics.measures import METRICS, MetricEntry
    from partcnn.metrics.pointing import PointingGame
    from partcnn.metrics.quantile import ActivationThresholds

_HOMES = {
    "METRICS": "measures",
    "MetricEntry": "measures",
    "Coverage": "displacement",
    "DisplacementScatter": "displacement",
    "LeastLocationInstability": "displacement",
    "LocationInstability": "displacement",
    "PartTracking": "displacement",
    "ActivationThresholds": "quantile",
    "CrowdedFilters": "crowding",
    "DeadFilters": "activation",
    "EffectiveFilters": "map_statistics",
    "FilterPartAgreement": "agreement",
    "FilterPurity": "activation",
    "PartInterpretability": "interpretability",
    "PointingGame": "pointing",
}

__all__ = [
    "METRICS",
    "ActivationThresholds",
    "Coverage",
    "CrowdedFilters",
    "DeadFilters",
    "DisplacementScatter",
    "EffectiveFilters",
    "FilterPartAgreement",
    "FilterPurity",
    "LeastLocationInstability",
    "LocationInstability",
    "MetricEntry",
    "PartInterpretability",
    "PartTracking",
    "PointingGame",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
