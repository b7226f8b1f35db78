"""What the page says of one filter."""

import math
from dataclasses import dataclass

from partcnn.evaluation import COVERAGE_R2, Evaluation, FilterEvaluation
from partcnn.foundation.number_text import is_number
from partcnn.reporting.unannotated import is_unannotated
from partcnn.reporting.unannotated import verdict as unannotated_verdict

_BAR_LOW = -0.5  # left end of the R² bar; what is below is said in digits
_STEADINESS_LOW = 0.0  # of the bar of steadiness
_MOST_WEIGHTS = 4  # classes named on the card; the view of one filter has all
_MOST_PARTS = 3  # beside the best


@dataclass(frozen=True)
class Bar:
    """A bar from the zero line, in percent of its axis, which ends at 1."""

    zero_pct: float
    left_pct: float
    width_pct: float
    is_negative: bool
    is_cut: bool  # the value lies left of the axis


@dataclass(frozen=True)
class Card:
    figures: FilterEvaluation
    verdict: str
    level: str  # "follows", "partly", "none", "dead" or "unknown", or of `unannotated.verdict`: sets a colour
    bar: Bar | None  # of R², or of steadiness where no part was measured
    part: str | None  # that the R² is of; None for a dead filter, whose R² is 0 for every part
    other_parts: list[tuple[str, float]]  # their R², the highest first
    own_weight: float  # nan without an additive head
    weights: list[tuple[str, float]]  # to each class's logit; the filter's own category first, then by magnitude
    num_more_weights: int


def make_cards(evaluation: Evaluation) -> list[Card]:
    """One per filter, by falling R² of the best part, or standing where no part was measured; without one last."""
    has_parts = not is_unannotated(evaluation)
    cards = [_card(one, has_parts) for one in evaluation.filters]
    rank = {
        card.figures.filter: card.figures.part_tracking_r2 if has_parts else card.figures.standing for card in cards
    }
    return sorted(cards, key=lambda card: _falling(rank[card.figures.filter]))


def _falling(value: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, -value)


def _card(one: FilterEvaluation, has_parts: bool) -> Card:
    verdict, level = _verdict(one, has_parts)
    part = None if one.is_dead else one.best_part
    parts = [(name, r2) for name, r2 in one.r2_by_part.items() if is_number(r2) and name != part and not one.is_dead]
    parts.sort(key=lambda entry: -entry[1])
    weights = sorted(one.class_weight.items(), key=lambda entry: (entry[0] != one.category, -abs(entry[1])))
    return Card(
        figures=one,
        verdict=verdict,
        level=level,
        bar=_bar(one.part_tracking_r2, _BAR_LOW) if has_parts else _bar(one.steadiness, _STEADINESS_LOW),
        part=part,
        other_parts=parts[:_MOST_PARTS],
        own_weight=one.class_weight.get(one.category, math.nan),
        weights=weights[:_MOST_WEIGHTS],
        num_more_weights=max(0, len(weights) - _MOST_WEIGHTS),
    )


def _verdict(one: FilterEvaluation, has_parts: bool) -> tuple[str, str]:
    if one.is_dead:
        return "dead", "dead"
    if not has_parts:
        return unannotated_verdict(one)
    if math.isnan(one.part_tracking_r2):
        return "no annotated part", "unknown"
    if one.part_tracking_r2 >= COVERAGE_R2:
        return _followed(one), "follows"
    if one.part_tracking_r2 > 0:
        return f"partly follows the {one.best_part}", "partly"
    return "follows no part", "none"


def _followed(one: FilterEvaluation) -> str:
    """Where it is called by another place than the part that it follows best, both."""
    if one.named_part is None or one.part_name == one.best_part:
        return f"follows the {one.best_part}"
    part, lies_on = one.named_part
    return f"follows the {one.best_part} from {'' if lies_on else 'by '}the {part}"


def _bar(value: float, low: float) -> Bar | None:
    if math.isnan(value):
        return None
    zero, end = (100 * (place - low) / (1 - low) for place in (0.0, max(low, min(1.0, value))))
    return Bar(zero, min(zero, end), abs(end - zero), value < 0, value < low)
