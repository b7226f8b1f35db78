"""The figures of the summary, each with its direction, its companion and one sentence."""

from dataclasses import dataclass

from partcnn.evaluation import COVERAGE_R2, Evaluation
from partcnn.foundation.number_text import NONE, decimal, is_number, percent, signed


@dataclass(frozen=True)
class Measure:
    key: str  # in Evaluation.summary
    name: str
    sentence: str
    is_percent: bool = False
    better: int = 0  # 1: higher is better, −1: lower, 0: neither
    is_companion: bool = False  # belongs to the row above


@dataclass(frozen=True)
class Comparison:
    value: str
    difference: str
    verdict: str  # "better", "worse", "equal" or ""; seen from this network


@dataclass(frozen=True)
class SummaryRow:
    measure: Measure
    value: str
    comparisons: list[Comparison]
    baselines: str  # what filters get that do not look; "" where it was not measured, or stands in a row of its own


MEASURES = (
    Measure("accuracy", "accuracy", "Pictures whose class is named right.", True, 1),
    Measure(
        "part_tracking_r2",
        "part tracking R²",
        "Mean over all filters, each with its best part. 1 follows the part exactly, 0 is a point that never moves, "
        "below 0 is worse than not looking.",
        better=1,
    ),
    Measure(
        "part_tracking_r2_top_quarter",
        "… best quarter of the filters",
        "Chosen on training pictures, measured on these.",
        better=1,
        is_companion=True,
    ),
    Measure(
        "part_tracking_r2_best",
        "… the one best filter",
        "Of each category; chosen on training pictures, measured on these.",
        better=1,
        is_companion=True,
    ),
    Measure("coverage", "coverage", f"Parts that some filter follows with R² of {COVERAGE_R2} or more.", True, 1),
    Measure(
        "location_instability",
        "location instability",
        "The paper's measure: how much the distance from peak to part varies, as a share of the picture's diagonal. "
        "Lower is better, but a point that never moves does well too:",
        better=-1,
    ),
    Measure(
        "constant_point_instability",
        "… of the middle of the picture",
        "The same measure for a “filter” that always points at the centre.",
        is_companion=True,
    ),
    Measure(
        "displacement_scatter",
        "displacement scatter",
        "Spread of the arrow from peak to part, as a share of the diagonal; mean of each filter's best part.",
        better=-1,
    ),
    Measure(
        "part_interpretability",
        "part interpretability",
        "On how many pictures of its best part what a filter fires on overlaps the part, mean over all filters. It "
        "depends on the radius of the discs: compare no other radius.",
        True,
        1,
    ),
    Measure(
        "pointing_game",
        "pointing game",
        "On how many pictures of its best part a filter's peak lies in the part, mean over all filters.",
        True,
        1,
    ),
    Measure("purity", "purity", "Share of a filter's activation that falls on its category, mean over all.", True, 1),
    Measure(
        "dead_filters", "dead filters", "Silent on more than half of their category's pictures; their R² counts as 0.",
        True, -1,
    ),
)  # fmt: skip


def summary_rows(evaluation: Evaluation, compare: dict[str, Evaluation]) -> list[SummaryRow]:
    """One row per measure that the evaluation knows, with the same of every other network and the difference."""
    return [
        SummaryRow(
            measure,
            _text(measure, evaluation.summary.get(measure.key)),
            [
                _comparison(measure, evaluation.summary.get(measure.key), other.summary.get(measure.key))
                for other in compare.values()
            ],
            _baselines(measure, evaluation),
        )
        for measure in MEASURES
        if measure.key in evaluation.summary  # one of an earlier version lacks some
    ]


def count(number: int, one: str, many: str | None = None) -> str:
    """1 filter, 2 filters, no filter."""
    return f"{number or 'no'} {one if number in (0, 1) else many or one + 's'}"


_WITH_BASELINES = ("part_tracking_r2", "displacement_scatter", "part_interpretability", "pointing_game", "purity")


def _text(measure: Measure, value: float | None) -> str:
    return percent(value) if measure.is_percent else decimal(value, 3)


def _baselines(measure: Measure, evaluation: Evaluation) -> str:
    if measure.key not in _WITH_BASELINES:
        return ""
    found = {name: figures.get(measure.key) for name, figures in evaluation.baselines.items()}
    named = {"constant_point": "the middle of the picture", "random_filter": "random filters"}
    texts = [f"{named[name]}: {_text(measure, value)}" for name, value in found.items() if name in named]
    return f"Without looking: {', '.join(texts)}." if texts else ""


def _comparison(measure: Measure, value: float | None, other: float | None) -> Comparison:
    shown = _text(measure, other)
    if value is None or other is None or not (is_number(value) and is_number(other)):
        return Comparison(shown, NONE, "")
    difference = value - other
    text = f"{signed(100 * difference, 1)} points" if measure.is_percent else signed(difference, 3)
    if not measure.better:
        return Comparison(shown, text, "")
    if not any(digit in text for digit in "123456789"):
        return Comparison(shown, text, "equal")
    return Comparison(shown, text, "better" if difference * measure.better > 0 else "worse")
