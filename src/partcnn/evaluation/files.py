"""An evaluation as JSON, of this version or an earlier one, and as CSV."""

import csv
import io
import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from partcnn.errors import DataError
from partcnn.evaluation.result import SCHEMA_VERSION, Evaluation, FilterEvaluation, TopImage
from partcnn.files import write_text

_NOT_IN_CSV = ("top_images",)


def write_json(evaluation: Evaluation, path: Path) -> Path:
    write_text(path, json_text(evaluation) + "\n")
    return path


def json_text(evaluation: Evaluation) -> str:
    return json.dumps(_without_nan(asdict(evaluation)), indent=2, allow_nan=False)


def read_json(path: Path) -> Evaluation:
    """See `Evaluation.from_json`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
        if version > SCHEMA_VERSION:
            raise DataError(f"{path}: written by a later partcnn; upgrade to read it")
        filters = [_filter_from(entry) for entry in content.pop("filters")]
        intervals = {name: tuple(interval) for name, interval in content.pop("intervals", {}).items()}
        for name in ("by_category", "by_part", "confusion", "baselines"):
            content[name] = _with_nan(content.get(name, {}))
        content["protocol"] = {"places": "peak"} | content.get("protocol", {})  # an earlier version read no others
        return Evaluation(filters=filters, intervals=intervals, **content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected the JSON that Evaluation.to_json writes ({error})") from error


def write_csv(evaluation: Evaluation, path: Path) -> Path:
    """One row per filter; what a filter has by part or class is a column for each."""
    rows = [_row(one) for one in evaluation.filters]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path


def _row(one: FilterEvaluation) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in fields(one):
        value = getattr(one, field.name)
        if isinstance(value, dict):
            row |= {f"{field.name}[{key}]": number for key, number in value.items()}
        elif field.name not in _NOT_IN_CSV:
            row[field.name] = value
    return {name: "" if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _filter_from(entry: dict[str, Any]) -> FilterEvaluation:
    images = [
        TopImage(**{**image, "peak_px": tuple(image["peak_px"]), "peak_cell": tuple(image["peak_cell"])})
        for image in entry.pop("top_images")
    ]
    best_part = entry.pop("best_part")  # the one entry that may be nothing rather than no number
    return FilterEvaluation(best_part=best_part, top_images=images, **_with_nan(entry))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: None if key == "best_filter" and inner is None else _with_nan(inner) for key, inner in value.items()
        }
    return math.nan if value is None else value
