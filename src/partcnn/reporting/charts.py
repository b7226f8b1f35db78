"""Training curves as small charts: the places of their points within a box, for the template to draw."""

from dataclasses import dataclass

from partcnn.foundation.number_text import decimal
from partcnn.plot import Curve

WIDTH, HEIGHT = 240, 84  # of the box a curve is drawn in
_NOTES = {
    "task_loss": "Cross-entropy of the labels.",
    "filter_loss": "What is added to it: λ · mean over filters.",
    "spatial_entropy": "How unsure it is where in a picture the part is; training lowers it.",
    "inter_category_entropy": "How unsure it is whether a picture shows the category; training lowers it.",
    "prior_entropy": "A constant of the map's size, for the sum of the three terms.",
    "equivariance": "Log ratio of how a part's place varies within a picture, over two views, and between pictures.",
    "accuracy": "On training pictures; the table above has those kept out.",
}


@dataclass(frozen=True)
class Chart:
    name: str
    title: str
    note: str
    points: str  # of an SVG polyline
    last: tuple[float, float]  # place of the last point
    first_text: str
    last_text: str
    label: str  # alternative text
    num_epochs: int


def make_charts(curves: list[Curve]) -> list[Chart]:
    """One per curve, in their order."""
    return [_chart(curve) for curve in curves]


def _chart(curve: Curve) -> Chart:
    low, high = min(curve.values), max(curve.values)
    room = high - low
    steps = max(1, len(curve.values) - 1)
    places = [
        (WIDTH * index / steps, HEIGHT * (1 - (value - low) / room) if room > 1e-9 else HEIGHT / 2)
        for index, value in enumerate(curve.values)
    ]
    first, last = (_digits(value) for value in (curve.values[0], curve.values[-1]))
    return Chart(
        name=curve.name,
        title=curve.title,
        note=_NOTES.get(curve.name, ""),
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places),
        last=places[-1],
        first_text=first,
        last_text=last,
        label=f"{curve.title}: first {first}, last {last}, between {_digits(low)} and {_digits(high)}",
        num_epochs=len(curve.values),
    )


def _digits(value: float) -> str:
    return decimal(value, 2 if abs(value) >= 1 else 3 if abs(value) >= 0.01 else 4)
