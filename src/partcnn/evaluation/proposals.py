"""Names for filters that follow an annotated part."""

from typing import NamedTuple

from partcnn.evaluation.result import Evaluation
from partcnn.foundation.errors import ConfigError
from partcnn.model.naming import checked_name


class Proposal(NamedTuple):
    """Of one filter."""

    name: str
    r2: float  # with which it follows that part, 0.5 or more


def proposed_names(evaluation: Evaluation) -> dict[int, Proposal]:
    """Filter → the part it is called by in an explanation, see `FilterEvaluation.part_name`, where that can be a name.

    Filters that follow the same part get the same name. Nothing is proposed for others.
    """
    found = {}
    for one in evaluation.filters:
        if one.named_part is None or one.part_name is None:
            continue
        try:
            name = checked_name(one.part_name, "part")
        except ConfigError:
            continue
        found[one.filter] = Proposal(name, one.r2_by_part[one.named_part[0]])
    return found
