"""The objectives by name. One more is its function, in a file of its own, and a row here; see docs/extending.md."""

from partcnn.foundation.errors import ConfigError
from partcnn.objectives.information import exact, labelled
from partcnn.objectives.objective import Objective
from partcnn.objectives.one_template import assigned, centroid_slopes, official

OBJECTIVES: dict[str, Objective] = {
    "labelled": Objective(labelled, assignment="even", counts_earlier=True, joins_ranks=True),
    "exact": Objective(exact, joins_ranks=True),
    "assigned": Objective(assigned, joins_ranks=True),
    "official": Objective(official, slope_target=centroid_slopes, joins_ranks=True),
}


def default_objective(num_owners: int) -> str:
    """Of those in the table the best one, by the number of classes that own filters.

    One class: the paper's Eq. 1, which needs no label. Several: the one that ties each filter to its class.
    """
    return "exact" if num_owners == 1 else "labelled"


def objective_named(name: str) -> Objective:
    """A row of the table; a plain function that somebody put there is a row that asks for nothing.

    Raises:
        ConfigError: there is no such row.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"objective: expected competing, one of {', '.join(OBJECTIVES)}, or None, got {name!r}")
    row = OBJECTIVES[name]
    return row if isinstance(row, Objective) else Objective(row)
