"""Evaluations side by side: values, intervals, and whether the difference from the first one is more than chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from partcnn.evaluation.result import Evaluation, is_optional, shown
from partcnn.foundation.errors import ConfigError
from partcnn.metrics.measures import MEASURES
from partcnn.metrics.significance import paired_p_value

# Numbers of the protocol that figures depend on.
_DECISIVE = {
    "iou_threshold": "IoU threshold",
    "places": "reading of places",
    "quantile": "quantile",
    "radius_px": "radius of the discs",
    "regions": "kind of part annotations",
    "tolerance_px": "tolerance",
    "top": "number of strongest pictures",
}


@dataclass(frozen=True)
class Difference:
    """Of one measure from the first evaluation's."""

    value: float | None  # other − first; None where one of them has no figure
    is_better: bool | None  # than the first; None: equal, or the measure has no better
    p_value: float  # two-sided; nan where there is nothing to pair
    paired_over: str  # "filters", "categories", "runs" or ""
    num_pairs: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON: nan becomes None."""
        return {key: None if value != value else value for key, value in asdict(self).items()}  # nan is not itself


@dataclass(frozen=True)
class Comparison:
    """Several evaluations of the same pictures.

    Args:
        evaluations: by the name to show, the first being compared with.
        differences: name → measure → difference from the first; for all but the first.
    """

    evaluations: dict[str, Evaluation]
    differences: dict[str, dict[str, Difference]]

    def table(self, title: str = "on the pictures kept out") -> Table:
        """One row per measure; below a value its interval, beside it the p-value of the difference from the first."""
        first = next(iter(self.evaluations))
        table = Table(title=title, caption=self._caption())
        table.add_column("measure", no_wrap=True)
        for name in self.evaluations:
            table.add_column(name, justify="right")
            if name != first:
                table.add_column("p", justify="right")
        for measure in self.evaluations[first].summary:
            values = [shown(evaluation.summary.get(measure)) for evaluation in self.evaluations.values()]
            if is_optional(measure) and set(values) == {shown(None)}:
                continue
            cells: list[str] = []
            for name, evaluation in self.evaluations.items():
                interval = _interval(evaluation.intervals.get(measure))
                cells.append("\n".join([shown(evaluation.summary.get(measure)), *([interval] if interval else [])]))
                if name != first:
                    cells.append(_p_value(self.differences[name].get(measure)))
            table.add_row(measure, *cells)
        return table

    def to_dict(self) -> dict[str, Any]:
        """name → measure → difference, for JSON."""
        return {
            name: {measure: one.to_dict() for measure, one in found.items()} for name, found in self.differences.items()
        }

    def cautions(self) -> list[str]:
        """What makes an evaluation not comparable with the first: other pictures, or other numbers of the measures."""
        (name, first), *others = self.evaluations.items()
        found = [f"{other}: other pictures than {name}" for other, one in others if _pictures(one) != _pictures(first)]
        for other, one in others:
            both = one.protocol.keys() & first.protocol.keys() & _DECISIVE.keys()
            differing = [_DECISIVE[key] for key in sorted(both) if one.protocol[key] != first.protocol[key]]
            found += [f"{other}: another {', '.join(differing)} than {name}"] if differing else []
        return found

    def _caption(self) -> str | None:
        pairings = {one.paired_over for found in self.differences.values() for one in found.values()} - {""}
        sentences = (
            [f"p, against the first: permutation test, paired over {' or '.join(sorted(pairings))}"] if pairings else []
        )
        return "\n".join(sentences + self.cautions()) or None


def compare(evaluations: Mapping[str, Evaluation]) -> Comparison:
    """Put any number of evaluations side by side, each compared with the first.

    The p-value pairs the filters of two networks by number, where both have as many, and all serve every category in
    both or in neither: runs of one seed start alike. Else, and for measures of the whole network, it pairs categories,
    of which there must be two. Over filters it speaks of these two networks, not of how they were trained.

    Args:
        evaluations: by the name to show; at least one.

    Raises:
        ConfigError: there is none.
    """
    if not evaluations:
        raise ConfigError("evaluations: expected at least one to show, got none")
    (_, first), *others = evaluations.items()
    differences = {
        name: {measure: _difference(measure, first, other) for measure in _decided(first)} for name, other in others
    }
    return Comparison(dict(evaluations), differences)


def compare_methods(first: Sequence[Evaluation], second: Sequence[Evaluation]) -> dict[str, Difference]:
    """One way of training against another over several runs of each, such as one per category or seed.

    Args:
        first, second: evaluations in the same order: each pair is of the same pictures, category and seed.

    Returns:
        measure → mean of second − first, and the p-value with the runs as pairs.

    Raises:
        ConfigError: the numbers of runs differ, or there is none; a pair is of different pictures.
    """
    if len(first) != len(second) or not first:
        raise ConfigError(f"second: expected as many runs as in first, {len(first)} and at least 1, got {len(second)}")
    for number, pair in enumerate(zip(first, second, strict=True), start=1):
        one, other = map(_pictures, pair)
        if one != other:
            raise ConfigError(
                f"second: expected run {number} to be measured on the pictures of its partner, {one}, got {other}; "
                "give both methods' runs in one order"
            )
    found = {}
    for measure in _decided(first[0]):
        before, after = ([_number(one.summary.get(measure)) for one in side] for side in (first, second))
        found[measure] = _paired(measure, before, after, "runs", _mean_difference(before, after))
    return found


def methods_table(differences: Mapping[str, Difference]) -> Table:
    """What `compare_methods` found: mean difference and p-value of every measure."""
    num_runs = max((one.num_pairs for one in differences.values()), default=0)
    table = Table(title="mean difference over the runs", caption=f"p: permutation test, paired over {num_runs} runs")
    for name in ("measure", "difference", "p"):
        table.add_column(name, justify="left" if name == "measure" else "right")
    for measure, one in differences.items():
        table.add_row(measure, shown(one.value), _p_value(one))
    return table


def _decided(evaluation: Evaluation) -> list[str]:
    """The measures of its summary of which one value is better than another."""
    return [name for name in evaluation.summary if name in MEASURES and MEASURES[name].better]


def _difference(measure: str, first: Evaluation, other: Evaluation) -> Difference:
    change = _number(other.summary.get(measure)) - _number(first.summary.get(measure))
    difference = None if math.isnan(change) else change
    row = MEASURES[measure]
    same = _who_serves_all(first) == _who_serves_all(other)
    if row.by_filter and same and len(first.filters) > 1:
        before, after = ([float(one.figure(row)) for one in side.filters] for side in (first, other))
        return _paired(measure, before, after, "filters", difference)
    categories = [name for name in first.by_category if name in other.by_category]
    before, after = ([_number(side.by_category[name].get(measure)) for name in categories] for side in (first, other))
    return _paired(measure, before, after, "categories", difference)


def _who_serves_all(evaluation: Evaluation) -> list[tuple[int, bool]]:
    """Each filter's number, and whether it serves all categories: its figures are then of other pictures."""
    return [(one.filter, one.category not in evaluation.classes) for one in evaluation.filters]


def _paired(
    measure: str, first: Sequence[float], other: Sequence[float], over: str, difference: float | None
) -> Difference:
    num_pairs = sum(not math.isnan(a + b) for a, b in zip(first, other, strict=True))
    is_better = None if not difference else difference * MEASURES[measure].better > 0
    if num_pairs < 2:
        return Difference(difference, is_better, math.nan, "", 0)
    return Difference(difference, is_better, paired_p_value(first, other), over, num_pairs)


def _mean_difference(first: Sequence[float], other: Sequence[float]) -> float | None:
    differences = [b - a for a, b in zip(first, other, strict=True) if not math.isnan(b - a)]
    return sum(differences) / len(differences) if differences else None


def _pictures(one: Evaluation) -> tuple[Any, ...]:
    """What tells pictures apart, but for the place, which is written in several ways."""
    kind = str(one.data.get("spec")).partition(":")[0]
    return (kind, *(one.data.get(key) for key in ("category", "split", "num_images")))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} … {interval[1]:.3f}"


def _p_value(difference: Difference | None) -> str:
    if difference is None or math.isnan(difference.p_value):
        return "–"
    verdict = "" if difference.is_better is None else ("better" if difference.is_better else "worse")
    return f"{difference.p_value:.4f} {verdict}".rstrip()
