"""Our figures in the form of the paper's Tables 1–7, beside the figures that the paper prints.

The paper trains other networks on other numbers of pictures, and measures location instability on all pictures,
those trained on included; ours are measured on pictures kept out. The columns stand beside each other to compare the
step from plain to interpretable. The constant point shows what an answer that never looks gets.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partcnn.app.experiments import paper_figures
from partcnn.app.experiments.paper_figures import AVERAGE, NETWORKS, Printed, Rows
from partcnn.app.experiments.paper_runs import PLAIN, RunFigures
from partcnn.foundation.files import write_text

_DASH = "–"
_NAMES = {"animalpart": "Animal-Part", "pascal-part": "VOC Part", "cub": "CUB"}
_R2, _ACCURACY = "part_tracking_r2", "accuracy"


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Args:
        number: in the paper.
        title: what it shows.
        measure: key of `Evaluation.summary`.
        printed: the paper's figures.
        row_of: our run → its row, of the printed ones or another; None where it belongs in another table.
        has_r2: whether R² stands beside it.
    """

    number: int
    title: str
    measure: str
    printed: Rows
    row_of: Callable[[RunFigures], str | None]
    has_r2: bool = False

    @property
    def has_constant_point(self) -> bool:
        """Whether a filter that never looks can be measured by it."""
        return self.measure != _ACCURACY


def paper_tables(runs: Sequence[RunFigures]) -> dict[str, Any]:
    """All seven tables as plain values, ready for JSON.

    Args:
        runs: finished ones; several of one network, variant and row, such as seeds, are averaged.

    Returns:
        "runs", the figures of each, and "tables", each with `columns` of ours, `rows` with `ours`, `num_runs`,
        `r2`, `constant_point` and `printed`, and `average`: over the rows of ours, the paper's over the same ones.
    """
    return {"runs": [run.to_json() for run in runs], "tables": [_filled(table, runs) for table in TABLES]}


def write_tables(runs: Sequence[RunFigures], out: Path) -> str:
    """Write paper.json and paper.md into a folder, each replaced whole; returns the text of paper.md."""
    tables = paper_tables(runs)
    text = _markdown(tables)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "paper.json", json.dumps(tables, indent=1, allow_nan=False) + "\n")
    write_text(out / "paper.md", text)
    return text


def _filled(table: PaperTable, runs: Sequence[RunFigures]) -> dict[str, Any]:
    rows: dict[str, list[RunFigures]] = {}
    for run in runs:
        row = table.row_of(run)
        if row is not None:
            rows.setdefault(row, []).append(run)
    order = list(table.printed)
    names = sorted(rows, key=lambda row: (order.index(row) if row in order else len(order), row))
    columns = _columns(run for found in rows.values() for run in found)
    entries = [_row(table, name, rows[name], columns) for name in names]
    is_averaged = len(entries) > 1 and table.number != 7
    return {
        "number": table.number,
        "title": table.title,
        "measure": table.measure,
        "has_r2": table.has_r2,
        "has_constant_point": table.has_constant_point,
        "columns": columns,
        "rows": entries,
        "average": _average(entries, columns) if is_averaged else None,
        "paper_average": _plain_figures(table.printed.get(AVERAGE)),
    }


def _columns(runs: Iterable[RunFigures]) -> list[list[str]]:
    """Network and variant of every column of ours, plain first."""
    found = {(run.network, run.variant) for run in runs}
    return [list(pair) for pair in sorted(found, key=lambda pair: (pair[0], pair[1] != PLAIN, pair[1]))]


def _row(table: PaperTable, name: str, runs: Sequence[RunFigures], columns: list[list[str]]) -> dict[str, Any]:
    def known(measure: str, column: list[str]) -> list[float]:
        return _known(run.summary.get(measure) for run in runs if [run.network, run.variant] == column)

    return {
        "row": name,
        "ours": [_mean(known(table.measure, column)) for column in columns],
        "num_runs": [len(known(table.measure, column)) for column in columns],
        "r2": [_mean(known(_R2, column)) for column in columns] if table.has_r2 else [],
        "constant_point": _mean(run.constant_point.get(table.measure) for run in runs),
        "printed": _plain_figures(table.printed.get(name)),
    }


def _average(rows: list[dict[str, Any]], columns: list[list[str]]) -> dict[str, Any] | None:
    """Over the rows that every column has: an average over other rows for each network would compare nothing."""
    whole = [row for row in rows if None not in row["ours"]]
    if not whole:
        return None
    printed = [row["printed"] for row in whole if row["printed"]]
    return {
        "num_rows": len(whole),
        "ours": [_mean(row["ours"][index] for row in whole) for index in range(len(columns))],
        "r2": [_mean(row["r2"][index] for row in whole) for index in range(len(rows[0]["r2"]))],
        "constant_point": _mean(row["constant_point"] for row in whole),
        "num_printed": len(printed),
        "printed": {
            network: [_mean(row[network][index] for row in printed) for index in range(2)] for network in NETWORKS
        }
        if printed
        else None,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return statistics.fmean(known) if known else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _plain_figures(figures: dict[str, Printed] | None) -> dict[str, list[float | None]] | None:
    return None if figures is None else {network: list(pair) for network, pair in figures.items()}


# ---------------------------------------------------------------- markdown


def _markdown(tables: dict[str, Any]) -> str:
    parts = [
        "# The paper's tables, filled with our runs",
        "Ours are measured on pictures kept out of training; (n) stands behind the mean of n runs. The paper's "
        "figures (plain → interpretable) are those it prints, on its own networks and, for location instability, on "
        f"all pictures. {_DASH}: not measured, not printed, or not defined. Location instability: lower is better; of "
        "several categories each filter counts on its most stable one, as in the paper. R², part interpretability and "
        "accuracy: higher is better. The constant point is a filter that always answers the picture's centre.",
        "Kept out is what the data set's authors keep for testing (CUB), or 30 % by a hash of the photograph's name. "
        "How each run was trained stands at the end.",
    ]
    parts += [_markdown_table(table) for table in tables["tables"]]
    return "\n\n".join([*parts, _markdown_runs(tables["runs"])]) + "\n"


def _markdown_table(table: dict[str, Any]) -> str:
    title = f"## Table {table['number']}: {table['title']}"
    if not table["rows"]:
        return f"{title}\n\nNo run belongs here."
    header = [" "] + [" ".join(column) for column in table["columns"]]
    header += ["constant point"] * table["has_constant_point"]
    header += [f"R² {' '.join(column)}" for column in table["columns"] if table["has_r2"]]
    header += [f"paper {network}" for network in NETWORKS]
    lines = [_line(row["row"], row, table) for row in table["rows"]]
    average = table["average"]
    if average is not None:
        lines.append(_line(f"average of {average['num_rows']}", average, table))
    if table["paper_average"] is not None:
        blank = {"ours": [None] * len(table["columns"]), "r2": [None] * len(table["columns"]), "constant_point": None}
        lines.append(_line("the paper's average", blank | {"printed": table["paper_average"]}, table))
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join([title, "", *(f"| {' | '.join(line)} |" for line in (header, rule, *lines))])


def _markdown_runs(runs: list[dict[str, Any]]) -> str:
    header = ["run", "network", "data", "category", "seed", "epochs", "views", "places", "pictures kept out"]
    lines = [header, ["---"] * 4 + ["---:"] * 3 + ["---", "---:"]]
    for run in runs:
        options = run["options"]
        told = [run["place"], f"{run['network']} {run['variant']}", run["kind"], run["category"] or "several"]
        split = {"test": "", None: ""}.get(options.get("split"), f" ({options.get('split')})")
        told += [_told(options.get(name)) for name in ("seed", "epochs", "num_views")]
        told.append(options.get("places", "peak"))  # how they were read; the paper reads peaks
        lines.append([*told, _told(options.get("num_images")) + split])
    return "\n".join(["## Runs", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _told(value: Any) -> str:
    return _DASH if value is None else str(value)


def _line(name: str, row: dict[str, Any], table: dict[str, Any]) -> list[str]:
    is_percent = table["measure"] == _ACCURACY
    cells = [name] + [_shown(value, is_percent) for value in row["ours"]]
    for index, num_runs in enumerate(row.get("num_runs", []), start=1):
        if num_runs > 1:
            cells[index] += f" ({num_runs})"
    if table["has_constant_point"]:
        cells.append(_shown(row["constant_point"]))
    if table["has_r2"]:
        cells += [_shown(value, is_signed=True) for value in row["r2"]]
    for network in NETWORKS:
        pair = (row["printed"] or {}).get(network, [None, None])
        is_empty = pair[0] is None and pair[1] is None
        cells.append(_DASH if is_empty else " → ".join(_shown(value, is_percent) for value in pair))
    return cells


def _shown(value: float | None, is_percent: bool = False, *, is_signed: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return _DASH
    if is_percent:
        return f"{value:.1%}"
    return (f"{value:+.2f}" if is_signed else f"{value:.3f}").replace("-", "\N{MINUS SIGN}")


# ---------------------------------------------------------------- which run belongs where


def _one_category(run: RunFigures) -> str | None:
    """Of VOC Part under the printed name, of other data with its kind."""
    if run.category is None:
        return None
    return run.category if run.kind == "pascal-part" else f"{run.category} ({_NAMES.get(run.kind, run.kind)})"


def _one_of(*kinds: str) -> Callable[[RunFigures], str | None]:
    return lambda run: run.category if run.kind in kinds else None


def _one_of_others(run: RunFigures) -> str | None:
    """Animal-Part, and every data set that is not in the paper."""
    if run.category is None or run.kind in ("pascal-part", "cub"):
        return None
    return run.category if run.kind == "animalpart" else f"{run.category} ({run.kind})"


def _several(printed: Rows, suffix: str = "") -> Callable[[RunFigures], str | None]:
    """partcnn train tells several categories apart by softmax; of Animal-Part the paper has logistic loss only."""

    def row_of(run: RunFigures) -> str | None:
        name = _NAMES.get(run.kind, run.kind) + suffix
        other = f"{name} (paper: logistic loss)"
        return None if run.category is not None else other if other in printed else f"{name}, softmax"

    return row_of


def _accuracy_row(run: RunFigures) -> str | None:
    if run.category is not None:
        return f"{_NAMES.get(run.kind, run.kind)}, one category"
    return _several(paper_figures.TABLE_7, ", several")(run)


TABLES = (
    PaperTable(1, "part interpretability, one category", "part_interpretability", paper_figures.TABLE_1, _one_category),
    PaperTable(
        2,
        "part interpretability, several categories",
        "part_interpretability",
        paper_figures.TABLE_2,
        _several(paper_figures.TABLE_2),
    ),
    PaperTable(
        3,
        "location instability, one category, Animal-Part and data sets not in the paper",
        "location_instability",
        paper_figures.TABLE_3,
        _one_of_others,
        has_r2=True,
    ),
    PaperTable(
        4,
        "location instability, one category, VOC Part",
        "location_instability",
        paper_figures.TABLE_4,
        _one_of("pascal-part"),
        has_r2=True,
    ),
    PaperTable(
        5,
        "location instability, CUB-200-2011",
        "location_instability",
        paper_figures.TABLE_5,
        _one_of("cub"),
        has_r2=True,
    ),
    PaperTable(
        6,
        "location instability, several categories",
        "least_location_instability",
        paper_figures.TABLE_6,
        _several(paper_figures.TABLE_6),
        has_r2=True,
    ),
    PaperTable(7, "accuracy", _ACCURACY, paper_figures.TABLE_7, _accuracy_row),
)
