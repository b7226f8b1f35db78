"""The R² of every filter as dots on one axis, a row per network."""

import math
from dataclasses import dataclass

from partcnn.evaluation import Evaluation, FilterEvaluation

_LOWEST = -2.0  # dots below pile up at the left end, and are counted in words
_BINS = 70
_DOT_PX = 9.0
_TALLEST_PX = 120.0


@dataclass(frozen=True)
class Dot:
    left_pct: float  # of the axis
    top_px: float
    label: str
    anchor: str | None  # of the card, for filters of this page
    is_dead: bool


@dataclass(frozen=True)
class StripRow:
    name: str
    dots: list[Dot]
    height_px: float
    radius_px: float
    num_below: int  # filters left of the axis
    num_unmeasured: int  # without annotated parts
    mean_pct: float | None  # where the mean lies on the axis
    mean: float


@dataclass(frozen=True)
class Strip:
    low: float
    ticks: list[tuple[float, float]]  # value, place in percent
    rows: list[StripRow]


def make_strip(evaluations: dict[str, Evaluation]) -> Strip | None:
    """Rows in the given order, the first linked to the cards; None where no filter of any network has an R²."""
    values = [one.part_tracking_r2 for evaluation in evaluations.values() for one in evaluation.filters]
    measured = [value for value in values if not math.isnan(value)]
    if not measured:
        return None
    low = max(_LOWEST, min(-0.5, math.floor(min(measured) * 2) / 2))
    ticks = [low + step / 2 for step in range(round((1 - low) * 2) + 1)]
    rows = [_row(name, one, low, index == 0) for index, (name, one) in enumerate(evaluations.items())]
    return Strip(low, [(tick, _percent(tick, low)) for tick in ticks], rows)


def _row(name: str, evaluation: Evaluation, low: float, is_linked: bool) -> StripRow:
    filters = [one for one in evaluation.filters if not math.isnan(one.part_tracking_r2)]
    stacks: dict[int, list[FilterEvaluation]] = {}
    for one in sorted(filters, key=lambda one: -one.part_tracking_r2):
        stacks.setdefault(round(_percent(one.part_tracking_r2, low) / 100 * _BINS), []).append(one)
    tallest = max((len(stack) for stack in stacks.values()), default=1)
    step = min(_DOT_PX, _TALLEST_PX / tallest)
    height = max(2 * _DOT_PX, tallest * step)
    dots = [
        Dot(
            left_pct=_percent(one.part_tracking_r2, low),
            top_px=height - step * (place + 0.5),
            label=f"filter {one.filter}: R² {one.part_tracking_r2:.2f}, {one.best_part}",
            anchor=f"filter-{one.filter}" if is_linked else None,
            is_dead=one.is_dead,
        )
        for stack in stacks.values()
        for place, one in enumerate(stack)
    ]
    mean = evaluation.summary.get("part_tracking_r2")
    mean = math.nan if mean is None else float(mean)
    return StripRow(
        name=name,
        dots=dots,
        height_px=height,
        radius_px=max(1.5, min(_DOT_PX, step) / 2 - 0.5),
        num_below=sum(one.part_tracking_r2 < low for one in filters),
        num_unmeasured=len(evaluation.filters) - len(filters),
        mean_pct=None if math.isnan(mean) else _percent(mean, low),
        mean=mean,
    )


def _percent(value: float, low: float) -> float:
    return 100 * (min(1.0, max(low, value)) - low) / (1 - low)
