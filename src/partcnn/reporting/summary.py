"""The figures of the summary as rows of the page, with differences and baselines."""

from dataclasses import dataclass

from partcnn.evaluation import Evaluation
from partcnn.foundation.number_text import NONE, decimal, is_number, percent, signed
from partcnn.metrics.measures import Measure, measures_for_people
from partcnn.reporting.unannotated import is_unannotated


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


def summary_rows(evaluation: Evaluation, compare: dict[str, Evaluation]) -> list[SummaryRow]:
    """One row per measure that the evaluation knows, with the same of every other network and the difference.

    Where no part was measured, rows that nobody has a figure of are left out.
    """
    is_brief, everyone = is_unannotated(evaluation), [evaluation, *compare.values()]
    return [
        SummaryRow(
            measure,
            _text(measure, evaluation.summary.get(measure.name)),
            [
                _comparison(measure, evaluation.summary.get(measure.name), other.summary.get(measure.name))
                for other in compare.values()
            ],
            _baselines(measure, evaluation),
        )
        for measure in measures_for_people()
        if measure.title
        and measure.name in evaluation.summary  # one of an earlier version lacks some
        and (not measure.is_optional or is_number(evaluation.summary[measure.name]))
        and not (is_brief and not any(is_number(one.summary.get(measure.name)) for one in everyone))
    ]


def count(number: int, one: str, many: str | None = None) -> str:
    """1 filter, 2 filters, no filter."""
    return f"{number or 'no'} {one if number in (0, 1) else many or one + 's'}"


def _text(measure: Measure, value: float | int | None) -> str:
    if measure.is_count and value is not None and is_number(value) and value == int(value):
        return str(int(value))
    return percent(value) if measure.is_percent else decimal(value, 3)


def _baselines(measure: Measure, evaluation: Evaluation) -> str:
    if not measure.is_beside_baselines:
        return ""
    found = {name: figures.get(measure.name) for name, figures in evaluation.baselines.items()}
    named = {"constant_point": "the middle of the picture", "random_filter": "random filters"}
    texts = [f"{named[name]}: {_text(measure, found[name])}" for name in named if found.get(name) is not None]
    blind = f"Without looking: {', '.join(texts)}." if texts else ""
    perfect = found.get("perfect_filter")
    return blind if perfect is None else f"{blind} One perfect filter alone: {_text(measure, perfect)}.".lstrip()


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
