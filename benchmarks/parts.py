"""Filters that compete beside filters that are trained each for itself, and plain ones: what do they say together?

    python benchmarks/parts.py --data animalpart:PATH --weights tf_efficientnet_lite0.safetensors --categories cat dog
    python benchmarks/parts.py --data cub:PATH,BACKGROUND --categories bird --crop object --filters 16 --parts \
        --weights tf_efficientnet_lite0.safetensors --out docs/results/parts_of_birds
    python benchmarks/parts.py --data cub:PATH --categories all --crop object --filters 16 --parts --seeds 0 1 2 \
        --methods competing single plain linear --weights tf_efficientnet_lite0.safetensors \
        --out docs/results/parts_of_species

    python benchmarks/parts.py --data animalpart:PATH --weights tf_efficientnet_lite0.safetensors --methods all

For every category and seed one network is trained three times by the defaults of `partcnn train`, with as many filters
each, on the same frozen maps: filters compete; an objective of single filters with the equivariance term, the paper's
Eq. 1 or, with several categories, "labelled", whose filters are of one category each; no filter loss. `--methods` adds
what others do on these maps (`rivals.py`). Figures are of pictures kept out. Runs that are there already are read, so
that an interrupted comparison goes on.
"""

import argparse
import json
import logging
import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from finished_runs import trained_or_read
from rivals import RIVALS, rival_evaluation
from scipy.stats import spearmanr
from tables import mean_of, mean_or_none, measured_or_none

from partcnn.app.runs import NetworkSettings, RunSettings
from partcnn.evaluation import Evaluation
from partcnn.foundation.files import write_text
from partcnn.model.mask import ALL_CATEGORIES
from partcnn.model.saving.checkpoint import METRICS_FILE

ALL = "all"  # in place of a category: they are told apart
SINGLE = {True: "labelled, equivariance", False: "exact, equivariance"}  # by whether several are told apart
OURS = ("competing", "single", "plain")
SAYS = {
    "competing": "filters share every cell among them, the default of `partcnn train`",
    "exact, equivariance": "each filter for itself: the paper's loss, and that it moves with its picture",
    "labelled, equivariance": "each filter for itself, for one category: by labels, and that it moves with its picture",
    "plain": "a network with as many filters, without a loss of filters",
    **{name: rival.says for name, rival in RIVALS.items()},
}
OWNED = (
    "Told apart, a filter that does not compete belongs to one class (of plain ones: on whose training pictures it\n"
    "fires most) and is measured on its pictures: what such filters say together is said by the few of a class."
)
HIGHEST_OF_EACH = (
    "The highest R² is within each class that has filters, of these, on its pictures; then the mean over these classes."
)
COLUMNS = {  # heading → measure, its decimals and what it is shown in
    "parts followed": ("parts_followed", 1, 1),
    "landmark error, %": ("landmark_error", 1, 1),
    "NMI": ("nmi", 2, 1),
    "ARI": ("ari", 2, 1),
    "effective filters": ("effective_filters", 1, 1),
    "crowded pairs, %": ("crowded", 0, 100),
    "mean R²": ("part_tracking_r2", 2, 1),
    "accuracy, %": ("accuracy", 1, 100),
    "steadiness": ("steadiness", 2, 1),
    "identity, %": ("identity", 0, 100),
    "points held, %": ("landmarks_held", 0, 100),
    "held outside, %": ("held_outside", 0, 100),
    "fires on hidden, %": ("hidden_firing", 0, 100),
}
UNANNOTATED = ("steadiness", "identity")  # which need no parts, of each filter beside its R²
MEASURES = [measure for measure, *_ in COLUMNS.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True, help="of the backbone: a file")
    parser.add_argument("--backbone", default="timm:tf_efficientnet_lite0")
    parser.add_argument(
        "--categories", nargs="+", default=["cat", "dog"], help=f"each against background; {ALL}: all, told apart"
    )
    parser.add_argument(
        "--methods", nargs="+", choices=[*OURS, *RIVALS, ALL], default=[*OURS], help=f"rows; {ALL}: every one"
    )
    parser.add_argument("--crop", choices=["object"], help="cut pictures to their object boxes")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--filters", type=int, default=8)
    parser.add_argument("--parts", nargs="*", default=["head", "leg"], help="whose highest R² has a column")
    parser.add_argument("--epochs", type=int, help="the default is the recipe's")
    parser.add_argument("--runs", type=Path, help="where runs are kept; the default is runs/ and the name of --out")
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts"), help="without an ending")
    options = parser.parse_args()
    options.runs = options.runs or Path("runs", options.out.name)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows: list[dict[str, Any]] = []
    for category in options.categories:
        for seed in options.seeds:
            for method in methods_of(category, options.methods):
                rows.append(row(options, measured(options, category, seed, method), category, seed, method))
                options.out.parent.mkdir(parents=True, exist_ok=True)
                write_text(options.out.with_suffix(".json"), json.dumps(rows, indent=1) + "\n")
                write_text(options.out.with_suffix(".md"), page(options, rows))
    print(page(options, rows))


def methods_of(category: str, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
    """Row → what differs from the defaults."""
    single = SINGLE[category == ALL]
    ours: dict[str, tuple[str, dict[str, Any]]] = {
        "competing": ("competing", {}),
        "single": (single, {"objective": single.partition(",")[0]}),
        "plain": ("plain", {"plain": True}),
    }
    rows = ours | {name: (name, {}) for name in RIVALS}
    return dict(row for name, row in rows.items() if name in wanted or ALL in wanted)


def measured(options: argparse.Namespace, category: str, seed: int, method: str) -> Evaluation:
    directory = options.runs / f"{category}-{seed}-{method.replace(', ', '-')}"
    settings = RunSettings(
        data=options.data,
        out=str(directory),
        category=None if category == ALL else category,
        crop=options.crop,
        backbone=options.backbone,
        weights=options.weights,
        seed=seed,
        epochs=options.epochs,
        workers=0,
        network=NetworkSettings(filters=options.filters),
        **methods_of(category, [ALL])[method],
    )
    return _rival(settings, method) if method in RIVALS else trained_or_read(settings, MEASURES)


def _rival(settings: RunSettings, name: str) -> Evaluation:
    """Measured, or read: of a rival no network is kept."""
    file = Path(settings.out, METRICS_FILE)
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        rival_evaluation(settings, name).to_json(file)
    return Evaluation.from_json(file)


def unmeasured_of(method: str) -> tuple[str, ...]:
    """Measures that mean nothing of it."""
    return RIVALS[method].unmeasured if method in RIVALS else ()


def figures_of(evaluation: Evaluation, method: str, measures: Iterable[str]) -> dict[str, float | None]:
    """Of the summary; None where a measure means nothing of this method, or was not taken."""
    left_out = unmeasured_of(method)
    return {name: None if name in left_out else measured_or_none(evaluation.summary.get(name)) for name in measures}


def row(options: argparse.Namespace, evaluation: Evaluation, category: str, seed: int, method: str) -> dict[str, Any]:
    unmeasured = unmeasured_of(method)
    highest = {
        one: {part: measured_or_none(parts.get(part, {}).get("part_tracking_r2")) for part in options.parts}
        for one, parts in evaluation.by_part.items()
        if one != ALL_CATEGORIES and "part_tracking_r2" not in unmeasured
    }
    return {
        "category": category,
        "seed": seed,
        "method": method,
        **figures_of(evaluation, method, MEASURES),
        "highest": {part: mean_or_none(of_one[part] for of_one in highest.values()) for part in options.parts},
        "highest_by_category": highest if len(highest) > 1 else {},
        "num_images": evaluation.summary["num_images"],
        "filters": [
            {name: measured_or_none(getattr(one, name)) for name in ("part_tracking_r2", *UNANNOTATED)}
            for one in evaluation.filters
            if "part_tracking_r2" not in unmeasured
        ],
    }


def page(options: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    categories = list(dict.fromkeys(one["category"] for one in rows))
    seeds = sorted({one["seed"] for one in rows})
    methods = list(dict.fromkeys(one["method"] for one in rows))
    headings = [*COLUMNS, *(f"highest R² on the {part}" for part in options.parts)]
    head = [
        "# Filters that compete, beside filters trained each for itself",
        "",
        f"`{options.backbone}`, frozen, {options.filters} filters, {_task(categories)}, the defaults of",
        f"`partcnn train`; seeds {', '.join(map(str, seeds))}; pictures kept out. Written by `benchmarks/parts.py`.",
        "Measures are those of [metrics.md](../metrics.md). The highest R² is that of the filter that is best on these",
        "very pictures; for parts followed it was chosen on training pictures. Where only two parts are annotated,",
        "NMI and ARI fall with every further place that filters tell apart: filters that all fire at one",
        "place, or hardly anywhere, do well by them.",
        *(["", OWNED, HIGHEST_OF_EACH] if ALL in categories else []),
        "",
        *(f"- *{method}*: {SAYS[method]}." for method in methods),
        "",
        f"| category, pictures | method | {' | '.join(headings)} |",
        f"|---|---|{'---|' * len(headings)}",
    ]
    lines = [_line(options, rows, [category], method) for category in categories for method in methods]
    if len(categories) > 1:
        lines += [_line(options, rows, categories, method) for method in methods]
    return "\n".join([*head, *(line for line in lines if line), *_agreement(rows)]) + "\n"


def _agreement(rows: list[dict[str, Any]]) -> list[str]:
    """How the measures that need no annotation rank filters beside R², which needs it."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    lines = [
        "",
        "Measures without annotations beside the one with: Spearman's rank correlation with part tracking R², over the",
        "filters of all categories and seeds.",
        "",
        f"| method | filters | {' | '.join(UNANNOTATED)} |",
        f"|---|---|{'---|' * len(UNANNOTATED)}",
    ]
    for name, methods in [*((method, [method]) for method in names), ("all of these", names)]:
        filters = [one for row in rows if row["method"] in methods for one in row["filters"]]
        cells = [_rank_correlation(filters, measure) for measure in UNANNOTATED]
        if filters:
            lines.append(f"| {name} | {len(filters)} | {' | '.join(cells)} |")
    return lines


def _rank_correlation(filters: list[dict[str, float | None]], measure: str) -> str:
    pairs = [(one[measure], one["part_tracking_r2"]) for one in filters]
    known = [(value, r2) for value, r2 in pairs if value is not None and r2 is not None]
    columns = list(zip(*known, strict=True))
    is_ranked = len(known) > 2 and all(len(set(column)) > 1 for column in columns)
    found = spearmanr(*columns).statistic if is_ranked else math.nan
    return "–" if math.isnan(found) else f"{found:.2f}"


def _task(categories: list[str]) -> str:
    return "categories told apart" if ALL in categories else "each category against background"


def _line(options: argparse.Namespace, rows: list[dict[str, Any]], categories: list[str], method: str) -> str:
    found = [one for one in rows if one["category"] in categories and one["method"] == method]
    if not found:
        return ""
    name = f"mean of {len(categories)}" if len(categories) > 1 else f"{categories[0]}, {found[0]['num_images']}"
    cells = [mean_of([one[measure] for one in found], digits, scale) for measure, digits, scale in COLUMNS.values()]
    cells += [mean_of([one["highest"][part] for one in found], 2, 1) for part in options.parts]
    return f"| {name} | {method} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
