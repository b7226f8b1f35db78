"""What the page says of one filter."""

import math
from dataclasses import dataclass

from partcnn.evaluation import COVERAGE_R2, Evaluation, FilterEvaluation
from partcnn.foundation.number_text import is_number

_BAR_LOW = -0.5  # left end of the R² bar; what is below is said in digits
_MOST_WEIGHTS = 4  # classes named on the card; the view of one filter has all
_MOST_PARTS = 3  # beside the best


@dataclass(frozen=True)
class Bar:
    """A bar from the zero line, in percent of its axis from −0.5 to 1."""

    zero_pct: float
    left_pct: float
    width_pct: float
    is_negative: bool
    is_cut: bool  # the value lies left of the axis


@dataclass(frozen=True)
class Card:
    figures: FilterEvaluation
    verdict: str
    level: str  # "follows", "partly", "none", "dead" or "unknown": sets the colour beside the words
    bar: Bar | None
    part: str | None  # that the R² is of; None for a dead filter, whose R² is 0 for every part
    other_parts: list[tuple[str, float]]  # their R², the highest first
    own_weight: float  # nan without an additive head
    weights: list[tuple[str, float]]  # to each class's logit; the filter's own category first, then by magnitude
    num_more_weights: int


def make_cards(evaluation: Evaluation) -> list[Card]:
    """One per filter, by falling R² of the best part, filters without one last."""
    cards = [_card(one) for one in evaluation.filters]
    return sorted(cards, key=lambda card: (math.isnan(card.figures.part_tracking_r2), -_or_zero(card)))


def _card(one: FilterEvaluation) -> Card:
    verdict, level = _verdict(one)
    part = None if one.is_dead else one.best_part
    parts = [(name, r2) for name, r2 in one.r2_by_part.items() if is_number(r2) and name != part and not one.is_dead]
    parts.sort(key=lambda entry: -entry[1])
    weights = sorted(one.class_weight.items(), key=lambda entry: (entry[0] != one.category, -abs(entry[1])))
    return Card(
        figures=one,
        verdict=verdict,
        level=level,
        bar=_bar(one.part_tracking_r2),
        part=part,
        other_parts=parts[:_MOST_PARTS],
        own_weight=one.class_weight.get(one.category, math.nan),
        weights=weights[:_MOST_WEIGHTS],
        num_more_weights=max(0, len(weights) - _MOST_WEIGHTS),
    )


def _verdict(one: FilterEvaluation) -> tuple[str, str]:
    if one.is_dead:
        return "dead", "dead"
    if math.isnan(one.part_tracking_r2):
        return "no annotated part", "unknown"
    if one.part_tracking_r2 >= COVERAGE_R2:
        return f"follows the {one.best_part}", "follows"
    if one.part_tracking_r2 > 0:
        return f"partly follows the {one.best_part}", "partly"
    return "follows no part", "none"


def _bar(value: float) -> Bar | None:
    if math.isnan(value):
        return None
    zero, end = (100 * (place - _BAR_LOW) / (1 - _BAR_LOW) for place in (0.0, max(_BAR_LOW, min(1.0, value))))
    return Bar(zero, min(zero, end), abs(end - zero), value < 0, value < _BAR_LOW)


def _or_zero(card: Card) -> float:
    value = card.figures.part_tracking_r2
    return 0.0 if math.isnan(value) else value
