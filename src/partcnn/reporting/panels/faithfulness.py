"""The panel of faithfulness: the logit as cells are shown, or hidden, in the order of an explanation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from partcnn.evaluation.faithfulness_result import Area, Faithfulness, OrderAreas, shown_ends
from partcnn.foundation.number_text import decimal, percent, signed
from partcnn.reporting.panels.panel import PageContent
from partcnn.reporting.templates import rendered

WIDTH, HEIGHT = 320, 160  # of the box the curves are drawn in
_MOST_ORDERS = 6  # in a chart: of as many there are strokes


@dataclass(frozen=True)
class Line:
    """Of one order of the cells."""

    order: str
    number: int  # of its stroke
    points: str  # of an SVG polyline


@dataclass(frozen=True)
class CurveChart:
    """The mean logit of every order against the share of cells."""

    title: str
    note: str
    lines: list[Line]
    label: str  # alternative text


@dataclass(frozen=True)
class AreaRow:
    """Of an order, or of the difference of two: value, interval and the same normalised, of either curve."""

    name: str
    insertion: tuple[str, str, str]
    deletion: tuple[str, str, str]


def faithfulness(content: PageContent) -> Markup:
    """Two charts and the table of areas; nothing where explanations were not put to the test."""
    found = content.evaluation.faithfulness
    if found is None:
        return Markup()
    low, high = _range(found)
    return rendered(
        "faithfulness.html",
        found=found,
        charts=[] if low is None or high is None else _charts(found, low, high),
        chart_size=(WIDTH, HEIGHT),
        ends=(decimal(low), decimal(high)),
        areas=_rows(found.areas, is_difference=False),
        differences=_rows(found.differences, is_difference=True),
        remarks=found.remarks(),
        confidence=percent(found.confidence).replace(".0", ""),
    )


def _range(found: Faithfulness) -> tuple[float | None, float | None]:
    """Of all curves that are drawn; None where there is none."""
    values = [value for name in _drawn(found) for curve in _both(found, name) for value in curve]
    return (min(values), max(values)) if values and math.isfinite(max(values) - min(values)) else (None, None)


def _drawn(found: Faithfulness) -> list[str]:
    """The first few orders, of those whose logits are numbers throughout."""
    finite = [name for name in found.curves if all(math.isfinite(value) for one in _both(found, name) for value in one)]
    return finite[:_MOST_ORDERS]


def _both(found: Faithfulness, name: str) -> tuple[Sequence[float], Sequence[float]]:
    return found.curves[name].insertion, found.curves[name].deletion


def _charts(found: Faithfulness, low: float, high: float) -> list[CurveChart]:
    charts = []
    for kind, title, note in (
        (
            "insertion",
            "Insertion",
            "From all cells hidden on the left to the whole picture on the right: higher is better.",
        ),
        (
            "deletion",
            "Deletion",
            "From the whole picture on the left to all cells hidden on the right: lower is better.",
        ),
    ):
        lines, told = [], []
        for number, name in enumerate(_drawn(found)):
            lines.append(Line(name, number, _points(found.shares, getattr(found.curves[name], kind), low, high)))
            if name in found.areas:
                told.append(f"{name} {decimal(getattr(found.areas[name], kind).logit, 3)}")
        label = f"{title}: mean logit by share of the cells, between {decimal(low)} and {decimal(high)}"
        charts.append(CurveChart(title, note, lines, f"{label}; areas: {', '.join(told)}"))
    return charts


def _points(shares: Sequence[float], values: Sequence[float], low: float, high: float) -> str:
    room = high - low
    places = [
        (WIDTH * share, HEIGHT * (1 - (value - low) / room) if room > 0 else HEIGHT / 2)
        for share, value in zip(shares, values, strict=True)
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _rows(figures: Mapping[str, OrderAreas], *, is_difference: bool) -> list[AreaRow]:
    text = signed if is_difference else decimal

    def told(area: Area) -> tuple[str, str, str]:
        normalised = "" if math.isnan(area.normalised) else text(area.normalised, 3)
        ends = shown_ends(area.normalised_interval)
        return text(area.logit, 3), shown_ends(area.interval), f"{normalised} ({ends})" if normalised else ""

    return [AreaRow(name, told(one.insertion), told(one.deletion)) for name, one in figures.items()]
