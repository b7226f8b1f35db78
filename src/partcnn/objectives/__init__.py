"""Filter objectives: what a filter of a part layer is asked to do, as functions of its maps.

Notation of Zhang, Wu & Zhu (2018): x is one filter's map on one image, T a part template,
s_T(x) = Σ_ij x_ij t_ij the fitness of x to T, p(x|T) = exp s_T(x) / Z_T with Z_T summed over the images of
the call, and p(x) = Σ_T p(T) p(x|T). All is computed in logs: exp s_T(x) overflows float32 on large maps.

Every objective has the signature of `FilterObjective` and stands in `OBJECTIVES`, with what it asks of a mask. Maps
are taken as they are given; `partcnn.model.mask.PartMask` gives the τ that fits their scale.
"""

from partcnn.objectives.fitness import template_fitness
from partcnn.objectives.information import MutualInformation, exact, labelled, mutual_information
from partcnn.objectives.objective import Objective
from partcnn.objectives.one_template import assigned, centroid_slopes, official
from partcnn.objectives.registry import OBJECTIVES, default_objective, objective_named
from partcnn.objectives.values import FilterObjective, ObjectiveValue

__all__ = [
    "OBJECTIVES",
    "FilterObjective",
    "MutualInformation",
    "Objective",
    "ObjectiveValue",
    "assigned",
    "centroid_slopes",
    "default_objective",
    "exact",
    "labelled",
    "mutual_information",
    "objective_named",
    "official",
    "template_fitness",
]
