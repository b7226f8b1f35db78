"""Figures of whole runs: training curves, and how the R² of the filters are distributed."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from partcnn.foundation.errors import DataError
from partcnn.plot.lettering import drawable, letter_legend, points

# Okabe and Ito's colours, told apart with every common colour blindness; line styles tell them apart without colour.
_CYCLE = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-."), ("#cc79a7", ":"), ("#e69f00", "-"))
_LOWEST_R2 = -2.0  # filters below are counted in the first bar


@dataclass(frozen=True)
class Curve:
    """One quantity over the epochs of a training."""

    name: str  # as in the log
    title: str  # for people
    epochs: list[int]
    values: list[float]


_TITLES = {
    "task_loss": "task loss",
    "filter_loss": "filter loss, λ included",
    "spatial_entropy": "spatial entropy (nats)",
    "inter_category_entropy": "inter-category entropy (nats)",
    "prior_entropy": "prior entropy, constant (nats)",
    "equivariance": "equivariance (log of a ratio of variances)",
    "accuracy": "accuracy on training pictures",
}
LOSS_TERMS = ("prior_entropy", "inter_category_entropy", "spatial_entropy")


def read_curves(path: str | os.PathLike[str]) -> list[Curve]:
    """The curves of a run's log/metrics.csv, those that are there: losses, the filter loss's terms,
    equivariance, accuracy.

    Raises:
        DataError: the file is missing, or is no log of `partcnn train`.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        curves = []
        for name, title in _TITLES.items():
            points = [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
            points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
            if points:
                curves.append(Curve(name, title, [epoch for epoch, _ in points], [value for _, value in points]))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: expected the log/metrics.csv that partcnn train writes ({error})") from error
    if not curves:
        raise DataError(f"{path}: expected the log/metrics.csv that partcnn train writes, found none of its columns")
    return curves


def training_curves(
    curves: str | os.PathLike[str] | list[Curve], axis: Axes, *, names: tuple[str, ...] = ("task_loss", "filter_loss")
) -> Axes:
    """Curves over epochs on one axis, each with its name at its end.

    Args:
        curves: of `read_curves`, or the path of a log/metrics.csv.
        axis: drawn on and returned.
        names: which, as in the log; `LOSS_TERMS` are the filter loss's three terms. Those that are not there are
            left out.

    Raises:
        DataError: the file is no log, or has none of the names.
    """
    found = curves if isinstance(curves, list) else read_curves(curves)
    chosen = [curve for curve in found if curve.name in names]
    if not chosen:
        raise DataError(f"names: expected some of {', '.join(curve.name for curve in found)}, got {', '.join(names)}")
    for curve, (colour, style) in zip(chosen, _CYCLE * len(chosen), strict=False):
        axis.plot([e + 1 for e in curve.epochs], curve.values, style, color=colour, label=curve.title, linewidth=1.8)
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=points(0.8))
    return axis


class MeasuredFilter(Protocol):
    """What is drawn of `partcnn.evaluation.FilterEvaluation`."""

    @property
    def part_tracking_r2(self) -> float: ...


class Measured(Protocol):
    """What is drawn of `partcnn.Evaluation`, which stands above this room."""

    @property
    def filters(self) -> Sequence[MeasuredFilter]: ...


def r2_histogram(evaluations: Measured | Mapping[str, Measured], axis: Axes, *, num_bins: int = 24) -> Axes:
    """How many filters follow their best part how well, a line per network; the line at 0 is a fixed point.

    Args:
        evaluations: one, or several by name.
        axis: drawn on and returned.
        num_bins: between −2, where everything below is counted too, and 1.

    Raises:
        DataError: no filter of any network has an R²: no part is annotated.
    """
    named = dict(evaluations) if isinstance(evaluations, Mapping) else {"": evaluations}
    values = {
        name: [one.part_tracking_r2 for one in found.filters if not math.isnan(one.part_tracking_r2)]
        for name, found in named.items()
    }
    if not any(values.values()):
        raise DataError("evaluations: expected an R² for some filter, got none; the pictures have no annotated parts")
    edges = np.linspace(_LOWEST_R2, 1, num_bins + 1)
    for (name, found), (colour, style) in zip(values.items(), _CYCLE * len(values), strict=False):
        counts, _ = np.histogram(np.clip(found, _LOWEST_R2, 1), edges)
        axis.stairs(counts, edges, color=colour, linestyle=style, linewidth=1.8, label=drawable(name) or None)
        axis.stairs(counts, edges, color=colour, fill=True, alpha=0.15)
    axis.axvline(0, color="#555555", linewidth=0.8)
    axis.set_xlabel("part tracking R² of the best part (−2: and below)")
    axis.set_ylabel("filters")
    axis.spines[["top", "right"]].set_visible(False)
    if any(named):
        letter_legend(axis.legend(frameon=False))
    return axis
