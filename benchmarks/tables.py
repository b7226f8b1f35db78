"""Cells of the tables that comparisons print."""

import math
import statistics
from collections.abc import Sequence


def measured_or_none(value: float | None) -> float | None:
    """As it is kept in a file: None where nothing was measured."""
    return None if value is None or math.isnan(value) else float(value)


def mean_of(values: Sequence[float | None], digits: int, scale: float) -> str:
    """Of what was measured; a dash where nothing was."""
    known = _known(values)
    return f"{scale * statistics.mean(known):.{digits}f}" if known else "–"


def mean_and_spread(values: Sequence[float | None], digits: int, scale: float) -> str:
    """The mean ± half of what lies between the least and the greatest."""
    known = _known(values)
    spread = f" ± {scale * (max(known) - min(known)) / 2:.{digits}f}" if len(known) > 1 else ""
    return mean_of(known, digits, scale) + spread


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in map(measured_or_none, values) if value is not None]
