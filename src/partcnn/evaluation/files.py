"""Figures as JSON and CSV: numbers that are none become null, or an empty cell, and come back."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def json_text(figures: Any) -> str:
    """JSON of nested dicts and lists; nan and infinity become null."""
    return json.dumps(_without_nan(figures), indent=2, allow_nan=False)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per row; a dict in a row is a column for each of its keys; nan becomes empty."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def with_nan(value: Any) -> Any:
    """Null becomes nan again, but for the name of a best filter, where it means that there is none."""
    if isinstance(value, dict):
        return {
            key: None if key == "best_filter" and inner is None else with_nan(inner) for key, inner in value.items()
        }
    return math.nan if value is None else value


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= (
            {f"{name}[{key}]": number for key, number in value.items()} if isinstance(value, dict) else {name: value}
        )
    return {name: "" if isinstance(value, float) and math.isnan(value) else value for name, value in flat.items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
