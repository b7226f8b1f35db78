"""Numbers as text for people, on the page and in figures: a true minus, no minus zero, a dash for nothing."""

import math
from typing import Any

NONE = "–"
NOT_SEEN = "not seen"  # of a part that a filter does not find in a picture
_MINUS = "\N{MINUS SIGN}"


def is_number(value: Any) -> bool:
    """Whether there is a figure: neither None nor nan."""
    return value is not None and not math.isnan(value)


def decimal(value: float | None, digits: int = 2) -> str:
    """0.41, −0.02, or a dash where there is none."""
    if value is None or math.isnan(value):
        return NONE
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", _MINUS)


def signed(value: float | None, digits: int = 2) -> str:
    """+0.41, −0.02, 0.00, or a dash."""
    text = decimal(value, digits)
    return f"+{text}" if is_number(value) and text[0] != _MINUS and float(text) else text


def percent(value: float | None) -> str:
    """97.4 %, with one decimal; a dash where there is none."""
    return f"{decimal(100 * value, 1)} %" if value is not None and is_number(value) else NONE
