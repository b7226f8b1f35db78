"""Cells of the tables that comparisons print."""

import statistics
from collections.abc import Sequence


def mean_of(values: Sequence[float | None], digits: int, scale: float) -> str:
    """Of what was measured; a dash where nothing was."""
    known = [value for value in values if value is not None]
    return f"{scale * statistics.mean(known):.{digits}f}" if known else "–"


def mean_and_spread(values: Sequence[float | None], digits: int, scale: float) -> str:
    """The mean ± half of what lies between the least and the greatest."""
    known = [value for value in values if value is not None]
    spread = f" ± {scale * (max(known) - min(known)) / 2:.{digits}f}" if len(known) > 1 else ""
    return mean_of(known, digits, scale) + spread
