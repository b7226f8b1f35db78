"""The measures of `metrics.functional` as torchmetrics, for a loop of one's own; and the table of all measures.

Every state either adds up or, for the measures on each filter's strongest images, is a table that merges: the figures
are those of all images at once, whatever the batches, also a short last one, and under distributed training.
Distributed samplers repeat images to give all processes the same number: the tables count an image once, by its
index; sums cannot tell, so take a sampler that does not repeat (Lightning's own does so in validation and test).
"""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.metrics.activation import ClassPurity, DeadFilters, FilterPurity
    from partcnn.metrics.agreement import FilterPartAgreement
    from partcnn.metrics.consistency import FilterConsistency, FilterStability
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
    from partcnn.metrics.part_purity import PartPurity
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
    "ClassPurity": "activation",
    "CrowdedFilters": "crowding",
    "DeadFilters": "activation",
    "EffectiveFilters": "map_statistics",
    "FilterConsistency": "consistency",
    "FilterPartAgreement": "agreement",
    "FilterPurity": "activation",
    "FilterStability": "consistency",
    "PartInterpretability": "interpretability",
    "PartPurity": "part_purity",
    "PointingGame": "pointing",
}

__all__ = [
    "METRICS",
    "ActivationThresholds",
    "ClassPurity",
    "Coverage",
    "CrowdedFilters",
    "DeadFilters",
    "DisplacementScatter",
    "EffectiveFilters",
    "FilterConsistency",
    "FilterPartAgreement",
    "FilterPurity",
    "FilterStability",
    "LeastLocationInstability",
    "LocationInstability",
    "MetricEntry",
    "PartInterpretability",
    "PartPurity",
    "PartTracking",
    "PointingGame",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
