"""What is said of filters where no part was measured: whether they move with their pictures and are known."""

import math

from partcnn.evaluation import Evaluation, FilterEvaluation
from partcnn.foundation.number_text import is_number

STEADY, PARTLY_STEADY = 0.9, 0.7  # steadiness: of filters with R² ≥ 0.5 nearly all have 0.9 (docs/metrics.md)
KNOWN = 0.5  # identity
SELDOM = 0.1  # presence below it


def is_unannotated(evaluation: Evaluation) -> bool:
    """No part was measured, but steadiness was."""
    filters = evaluation.filters
    return not any(is_number(one.part_tracking_r2) for one in filters) and any(
        is_number(one.steadiness) for one in filters
    )


def is_steady(one: FilterEvaluation) -> bool:
    """It moves with its pictures, and is not seldom there."""
    return not one.is_dead and _shown(one.steadiness) >= STEADY and not one.presence < SELDOM


def is_known(one: FilterEvaluation) -> bool:
    """It is told from the other filters by what it holds; nan, where that was not measured, is not known."""
    return not one.is_dead and one.identity >= KNOWN


def verdict(one: FilterEvaluation) -> tuple[str, str]:
    """A few words, and the level that sets their colour."""
    if math.isnan(one.steadiness):
        return "not measured", "unknown"
    if one.presence < SELDOM:
        return "seldom there", "seldom"
    if _shown(one.steadiness) < PARTLY_STEADY:
        return "wanders", "wanders"
    if _shown(one.steadiness) < STEADY:
        return "partly steady", "unsteady"
    if math.isnan(one.identity):
        return "steady", "steady"
    return ("steady, known", "steady") if is_known(one) else ("steady, like others", "alike")


def _shown(value: float) -> float:
    """As cards show it, so that words do not contradict digits."""
    return round(value, 2)
