"""Rows of `partcnn benchmark objectives` as a page of tables and a plot."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partcnn.app.experiments.objectives import CEILING, ObjectivesConfig
from partcnn.evaluation.figures import mean
from partcnn.foundation.files import replace_file

REACHED = 0.3  # R² of the ceiling from which a part counts as one that this trunk can find
COVERED = 0.75  # share of the ceiling's R² from which a part counts as covered
_PLAIN, _DEFAULT = "plain", "part filters"
_DRAWS = 2000
_READINGS = {
    "expected": "Places as expected over the whole map, the default",
    "peak": "Places as the map's peak, the paper's",
}

Rows = Sequence[dict[str, Any]]


def read_as(rows: Rows, places: str) -> list[dict[str, Any]]:
    """The rows with figures of places read so (`partcnn.objectives.part_places`); those that have none are left out."""
    if places == "peak":
        return list(rows)
    return [row | row[places] for row in rows if places in row]


def r2_of(row: dict[str, Any], part: str, key: str = "r2") -> float:
    """A row's R² on a part: "r2", mean over filters, or "best_r2", of the one chosen on training pictures."""
    return _number(row.get(key, {}).get(part))


def averages(rows: Rows, part: str) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Method → measure → mean over categories, of the mean over seeds, and its 95 % interval over categories."""
    measures = {
        "R² mean": lambda row: r2_of(row, part),
        "best filter": lambda row: r2_of(row, part, "best_r2"),
        "best part, mean": lambda row: _number(row.get("part_tracking_r2")),
        "instability": lambda row: _number(row.get("location_instability")),
        "constant point": lambda row: _number(row.get("constant_point_instability")),
        "dead": lambda row: _number(row.get("dead_filters")),
        "accuracy": lambda row: _number(row.get("accuracy")),
    }
    return {
        method: {
            name: interval(_over_seeds(own, value) for own in _grouped(_of(rows, method), "category").values())
            for name, value in measures.items()
        }
        for method in _values(rows, "method")
    }


def interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean and the 95 % bootstrap interval over these values, nan left out; nan where there is none. One value has no
    interval."""
    kept = np.array([value for value in values if not math.isnan(value)])
    if len(kept) < 2:
        return (float(kept[0]) if len(kept) else math.nan), math.nan, math.nan
    draws = np.random.default_rng(0).choice(kept, (_DRAWS, len(kept))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(kept.mean()), float(low), float(high)


def goals(rows: Rows, part: str) -> dict[str, float]:
    """What decides, over categories that have both the default and what it is compared with; nan where none has."""
    best, ceiling, plain = (_grouped(_of(rows, method), "category") for method in (_DEFAULT, CEILING, _PLAIN))
    mean_r2 = {category: _over_seeds(own, lambda row: r2_of(row, part)) for category, own in best.items()}
    top = {category: _over_seeds(own, lambda row: r2_of(row, part)) for category, own in ceiling.items()}
    within = [category for category in mean_r2 if top.get(category, math.nan) >= REACHED]
    chosen = {category: _over_seeds(best[category], lambda row: r2_of(row, part, "best_r2")) for category in within}
    loss = {
        category: _over_seeds(plain[category], _accuracy) - _over_seeds(best[category], _accuracy)
        for category in best.keys() & plain.keys()
    }
    return {
        "categories": len(best),
        f"categories where the ceiling reaches {REACHED} on the {part}": len(within) if ceiling else math.nan,
        "there: R² mean over filters, share of the ceiling's": _share(
            mean(mean_r2[category] for category in within), mean(top[category] for category in within)
        ),
        "there: R² of the best filter, share of the ceiling's": _share(
            mean(chosen.values()), mean(top[category] for category in within)
        ),
        "categories with R² mean of at least 0": sum(value >= 0 for value in mean_r2.values()),
        f"covered: parts whose ceiling reaches {REACHED} with a filter of {COVERED} of it": _covered(best, ceiling),
        "covered so by plain": _covered(plain, ceiling),
        "accuracy lost against plain, points": 100 * mean(loss.values()),
        "most lost in a category, points": 100 * max(loss.values(), default=math.nan),
    }


def _covered(method: Mapping[str, Rows], ceiling: Mapping[str, Rows]) -> float:
    """Share, of the parts that the ceiling finds, of those with a filter near it; each chosen on training pictures."""
    found = [
        _over_seeds(method[category], lambda row, part=part: r2_of(row, part, "best_r2")) >= COVERED * reached
        for category in method.keys() & ceiling.keys()
        for part in _parts(ceiling[category])
        if (reached := _over_seeds(ceiling[category], lambda row, part=part: r2_of(row, part))) >= REACHED
    ]
    return mean(float(flag) for flag in found)


def page(rows: Rows, config: ObjectivesConfig) -> str:
    """The Markdown page. Its heading names the trunks of the rows, which the file may have been given apart from the
    settings."""
    part = config.part
    trunks = dict.fromkeys((row["backbone"], row["layers"]) for row in rows)
    lines = [
        f"# Objectives: {', '.join(f'{backbone} at {layers}' for backbone, layers in trunks)}",
        "",
        f"Pictures kept out of training. R² on the {part}: mean over the top layer's filters, and of the best filter,",
        "chosen on training pictures; a constant point has 0. Means over seeds, then over categories, with the 95 %",
        "interval over categories. Location instability stands beside that of a constant point, the picture's centre.",
        "The ceiling is a detector trained with the labels of the parts. Settings were chosen on",
        f"{_chosen_on(rows, config)}. Written by",
        "`partcnn benchmark objectives`.",
    ]
    for places, title in _READINGS.items():
        own = read_as(rows, places)
        if own:
            lines += ["", f"## {title}", "", *_averages(own, part), *_in_pairs(own, part)]
            lines += ["", *_goals(own, config), "", *_by_category(own, config)]
    return "\n".join(lines) + "\n"


def _chosen_on(rows: Rows, config: ObjectivesConfig) -> str:
    if not config.chosen_on:
        return "other pictures than these"
    if set(_values(rows, "category")) <= set(config.chosen_on):
        return "these very categories, so that nothing confirms them"
    return f"{', '.join(config.chosen_on)}; the other categories confirm"


def _averages(rows: Rows, part: str) -> list[str]:
    lines = [
        "| method | categories | runs | R² mean | best filter | best part, mean | instability | constant point | dead "
        "| accuracy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method, found in averages(rows, part).items():
        own = _of(rows, method)
        figures = [_with_interval(found[name]) for name in ("R² mean", "best filter", "best part, mean")]
        figures += [_figure(found[name][0], 3) for name in ("instability", "constant point")]
        figures += [_percent(found["dead"][0]), _percent(found["accuracy"][0])]
        lines.append(f"| {method} | {len(_values(own, 'category'))} | {len(own)} | " + " | ".join(figures) + " |")
    return lines


def plot(rows: Rows, config: ObjectivesConfig, file: Path) -> None:
    """R² of every method, mean over filters and best filter, with 95 % intervals over its categories; a PNG.

    Of expected places, where rows have them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from partcnn.plot.lettering import drawable, lettering

    rows = read_as(rows, "expected") or rows
    found = averages(rows, config.part)
    figure = Figure(figsize=(7, 0.55 * len(found) + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    for offset, (name, colour) in zip((-0.15, 0.15), (("R² mean", "#0072b2"), ("best filter", "#d55e00")), strict=True):
        values = np.array([found[method][name] for method in found])
        errors = np.abs(values[:, 1:] - values[:, :1]).T
        places = np.arange(len(found)) + offset
        axis.errorbar(values[:, 0], places, xerr=errors, fmt="o", color=colour, capsize=3, label=name)
    axis.axvline(0, color="#888888", linewidth=1)
    axis.annotate(
        "a constant point", (0, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8
    )
    counts = [len(_values(_of(rows, method), "category")) for method in found]
    methods = [drawable(f"{method} ({count})") for method, count in zip(found, counts, strict=True)]
    axis.set_yticks(range(len(found)), methods, **lettering(methods))
    axis.invert_yaxis()
    label = drawable(f"R² on the {config.part}, pictures kept out; mean and 95 % interval over (categories)")
    # By the figure's width: methods with long names leave the axis less.
    figure.supxlabel(label, fontsize="medium", **lettering([label]))
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    replace_file(file, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _goals(rows: Rows, config: ObjectivesConfig) -> list[str]:
    """Over all categories, and apart over those that settings were chosen on and those that confirm."""
    chosen = [row for row in rows if row["category"] in config.chosen_on]
    confirm = [row for row in rows if row["category"] not in config.chosen_on]
    columns = {"all": rows} | ({"chosen on": chosen, "confirm": confirm} if chosen and confirm else {})
    figures = {name: goals(own, config.part) for name, own in columns.items()}
    lines = [
        "| part filters against the ceiling and plain | " + " | ".join(columns) + " |",
        "|" + "---|" * (1 + len(columns)),
    ]
    for name in figures["all"]:
        values = [found[name] for found in figures.values()]
        if not math.isnan(values[0]):
            lines.append(f"| {name} | " + " | ".join(_short(value) for value in values) + " |")
    return lines


def _in_pairs(rows: Rows, part: str) -> list[str]:
    """Each method beside the default on the categories that both have, where some lack categories."""
    names = ("R² mean", "best filter", "accuracy")
    whole = _values(rows, "category")
    partial = [name for name in _values(rows, "method") if _values(_of(rows, name), "category") != whole]
    if not partial or _DEFAULT not in _values(rows, "method"):
        return []
    lines = [
        "",
        f"Methods that were not trained on every category, each beside {_DEFAULT} on the categories that both have:",
        "",
        "| method | categories | " + " | ".join(f"{name} | {_DEFAULT}" for name in names) + " |",
        "|---|---|" + "---|---|" * len(names),
    ]
    for method in partial:
        shared = _values(_of(rows, method), "category")
        both = averages([row for row in rows if row["category"] in shared], part)
        cells = []
        for name in names:
            shown = _percent if name == "accuracy" else lambda value: _figure(value, 2)
            cells += [shown(both[one][name][0]) for one in (method, _DEFAULT)]
        lines.append(f"| {method} | {', '.join(shared)} | " + " | ".join(cells) + " |")
    return lines


def _by_category(rows: Rows, config: ObjectivesConfig) -> list[str]:
    methods = [name for name in (_DEFAULT, _PLAIN, CEILING) if name in _values(rows, "method")]
    parts = _parts(rows)
    lines = [
        "R² by category; in brackets the best filter, chosen on training pictures."
        + (" * Settings were chosen on it." if config.chosen_on else ""),
        "",
        "| category | " + " | ".join(f"{name}, {part}" for part in parts for name in methods) + " | accuracy | plain |",
        "|" + "---|" * (len(parts) * len(methods) + 3),
    ]
    for category, own in _grouped(rows, "category").items():
        cells = []
        for part in parts:
            for method in methods:
                of_method = _of(own, method)
                value = _over_seeds(of_method, lambda row, part=part: r2_of(row, part))
                best = _over_seeds(of_method, lambda row, part=part: r2_of(row, part, "best_r2"))
                cells.append(_figure(value, 2) + ("" if method == CEILING else f" ({_figure(best, 2)})"))
        cells += [_percent(_over_seeds(_of(own, method), _accuracy)) for method in (_DEFAULT, _PLAIN)]
        star = "*" if category in config.chosen_on else ""
        lines.append(f"| {category}{star} | " + " | ".join(cells) + " |")
    return lines


def _of(rows: Rows, method: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["method"] == method]


def _values(rows: Rows, key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def _grouped(rows: Rows, key: str) -> dict[str, list[dict[str, Any]]]:
    return {value: [row for row in rows if row[key] == value] for value in _values(rows, key)}


def _parts(rows: Rows) -> list[str]:
    return list(dict.fromkeys(part for row in rows for part in row.get("r2", {})))


def _over_seeds(rows: Rows, value: Any) -> float:
    return mean(value(row) for row in rows)


def _accuracy(row: dict[str, Any]) -> float:
    return _number(row.get("accuracy"))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _share(value: float, of: float) -> float:
    return value / of if of else math.nan


def _figure(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _short(value: float) -> str:
    return _figure(value, 0 if float(value).is_integer() else 2)


def _with_interval(found: tuple[float, float, float]) -> str:
    value, low, high = found
    return _figure(value, 2) + ("" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]")


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"
