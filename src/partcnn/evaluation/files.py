"""Figures as JSON and CSV: numbers that are none become null, or an empty cell, and come back."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

_MOST = 2**63  # of whole numbers: a float holds them


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
    if isinstance(value, list):
        return [with_nan(inner) for inner in value]
    return math.nan if value is None else value


def check_kinds(record: Any) -> None:
    """Raises TypeError where a field of a data class is not what its annotation says; a float may be a whole number."""
    for name, kind in get_type_hints(type(record)).items():
        if not _is_of(getattr(record, name), kind):
            raise TypeError(f"{name}: expected {kind if get_args(kind) else kind.__name__}")


def _is_of(value: Any, kind: Any) -> bool:
    outer, inner = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return value is None or isinstance(value, (str, float, int, dict, list, tuple))
    if outer is UnionType:
        return any(_is_of(value, one) for one in inner)
    if kind is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) < _MOST)
    if kind is int:
        return isinstance(value, int) and abs(value) < _MOST
    if not isinstance(value, outer):
        return False
    if outer is dict:
        return all(_is_of(name, inner[0]) and _is_of(one, inner[1]) for name, one in value.items())
    if outer is list:
        return all(_is_of(one, inner[0]) for one in value)
    if outer is tuple:
        return len(value) == len(inner) and all(_is_of(one, of) for one, of in zip(value, inner, strict=True))
    if is_dataclass(value):
        check_kinds(value)
    return True


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
