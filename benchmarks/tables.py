"""Cells of the tables that comparisons print."""

import math
import statistics
from collections.abc import Iterable, Sequence


def measured_or_none(value: float | None) -> float | None:
    """As it is kept in a file: None where nothing was measured."""
    return None if value is None or math.isnan(value) else float(value)


def mean_or_none(values: Iterable[float | None]) -> float | None:
    """Of what was measured; None where nothing was."""
    known = _known(values)
    return statistics.mean(known) if known else None


def mean_of(values: Iterable[float | None], digits: int, scale: float) -> str:
    """Of what was measured; a dash where nothing was."""
    mean = mean_or_none(values)
    return "–" if mean is None else f"{scale * mean:.{digits}f}"


def mean_and_spread(values: Sequence[float | None], digits: int, scale: float) -> str:
    """The mean ± half of what lies between the least and the greatest."""
    known = _known(values)
    spread = f" ± {scale * (max(known) - min(known)) / 2:.{digits}f}" if len(known) > 1 else ""
    return mean_of(known, digits, scale) + spread


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in map(measured_or_none, values) if value is not None]
