"""One figure of every filter as dots on one axis, a row per network."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from partcnn.evaluation import COVERAGE_R2, Evaluation, FilterEvaluation
from partcnn.foundation.number_text import decimal
from partcnn.reporting.unannotated import STEADY, is_unannotated

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
    marks: list[tuple[str, float]]  # lines that mean something: class, place in percent
    rows: list[StripRow]


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    value: Callable[[FilterEvaluation], float]
    name: str
    digits: int

    def percent(self, value: float) -> float:
        return 100 * (min(self.high, max(self.low, value)) - self.low) / (self.high - self.low)


def make_strip(evaluations: dict[str, Evaluation]) -> Strip | None:
    """R² of the best part. Rows in the given order, the first linked to the cards; None where there is none."""
    measured = _measured(evaluations, lambda one: one.part_tracking_r2)
    if not measured:
        return None
    low = max(_LOWEST, min(-0.5, math.floor(min(measured) * 2) / 2))
    axis = _Axis(low, 1.0, lambda one: one.part_tracking_r2, "R²", 2)
    ticks = [low + step / 2 for step in range(round((1 - low) * 2) + 1)]
    return _strip(axis, ticks, [("zero", 0.0), ("threshold", COVERAGE_R2)], evaluations, "part_tracking_r2")


def make_steadiness_strip(evaluations: dict[str, Evaluation]) -> Strip | None:
    """Steadiness, where none of the networks was measured on a part; None where there is none."""
    if not all(map(is_unannotated, evaluations.values())):
        return None
    axis = _Axis(0.0, 1.0, lambda one: one.steadiness, "steadiness", 2)
    return _strip(axis, [step / 5 for step in range(6)], [("threshold", STEADY)], evaluations, "steadiness")


def make_instability_strip(evaluations: dict[str, Evaluation]) -> Strip | None:
    """Location instability, with a line at the constant point's."""
    measured = _measured(evaluations, lambda one: one.location_instability)
    if not measured:
        return None
    constant = next(iter(evaluations.values())).summary.get("constant_point_instability")
    constant = math.nan if constant is None else float(constant)
    high = math.ceil(20 * max([*measured, 0.1, *([] if math.isnan(constant) else [constant])])) / 20
    axis = _Axis(0.0, high, lambda one: one.location_instability, "instability", 3)
    ticks = [step / 20 for step in range(round(high * 20) + 1)]
    marks = [] if math.isnan(constant) else [("constant", constant)]
    return _strip(axis, ticks, marks, evaluations, "location_instability")


def _strip(
    axis: _Axis, ticks: list[float], marks: list[tuple[str, float]], evaluations: dict[str, Evaluation], key: str
) -> Strip:
    rows = [_row(axis, name, one, key, index == 0) for index, (name, one) in enumerate(evaluations.items())]
    places = [(tick, axis.percent(tick)) for tick in ticks]
    return Strip(axis.low, places, [(name, axis.percent(value)) for name, value in marks], rows)


def _row(axis: _Axis, name: str, evaluation: Evaluation, key: str, is_linked: bool) -> StripRow:
    filters = [one for one in evaluation.filters if not math.isnan(axis.value(one))]
    stacks: dict[int, list[FilterEvaluation]] = {}
    for one in sorted(filters, key=lambda one: -axis.value(one)):
        stacks.setdefault(round(axis.percent(axis.value(one)) / 100 * _BINS), []).append(one)
    tallest = max((len(stack) for stack in stacks.values()), default=1)
    step = min(_DOT_PX, _TALLEST_PX / tallest)
    height = max(2 * _DOT_PX, tallest * step)
    dots = [
        Dot(
            left_pct=axis.percent(axis.value(one)),
            top_px=height - step * (place + 0.5),
            label=f"filter {one.filter}: {axis.name} {decimal(axis.value(one), axis.digits)}"
            + (f", {one.best_part}" if one.best_part else ""),
            anchor=f"filter-{one.filter}" if is_linked else None,
            is_dead=one.is_dead,
        )
        for stack in stacks.values()
        for place, one in enumerate(stack)
    ]
    mean = evaluation.summary.get(key)
    mean = math.nan if mean is None else float(mean)
    return StripRow(
        name=name,
        dots=dots,
        height_px=height,
        radius_px=max(1.5, min(_DOT_PX, step) / 2 - 0.5),
        num_below=sum(axis.value(one) < axis.low for one in filters),
        num_unmeasured=len(evaluation.filters) - len(filters),
        mean_pct=None if math.isnan(mean) else axis.percent(mean),
        mean=mean,
    )


def _measured(evaluations: dict[str, Evaluation], value: Callable[[FilterEvaluation], float]) -> list[float]:
    found = [value(one) for evaluation in evaluations.values() for one in evaluation.filters]
    return [number for number in found if not math.isnan(number)]
