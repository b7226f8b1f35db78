"""Masks on a residual network: over the skip connection, or on the branch alone? Measured on pictures kept out.

    python benchmarks/skip_masks.py --data animalpart:PATH --weights resnet18.safetensors [--categories bird cat]

For every category and seed one network is trained three times with `head="original"`, everything above the layer kept:
without masks and filter loss, with masks over the whole sum, with masks on the branch alone (`mask_skip=False`). Runs
that are there already are read, so that an interrupted comparison goes on.
"""

import argparse
import json
import logging
import statistics
from pathlib import Path
from typing import Any

from finished_runs import trained_or_read

from partcnn.app.runs import NetworkSettings, RunSettings
from partcnn.evaluation import Evaluation
from partcnn.foundation.files import write_text
from partcnn.training.recipe import Recipe

WAYS = {  # name -> plain, mask_skip
    "no masks": (True, True),
    "masks over the sum": (False, True),
    "masks on the branch": (False, False),
}
MEASURES = ("part_tracking_r2", "part_tracking_r2_top_quarter", "location_instability", "dead_filters", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True, help="of the backbone: a file, or none")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--layer", default="layer3", help="a residual block, or what ends in one")
    parser.add_argument("--categories", nargs="+", default=["bird", "cat"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, help="the default is the recipe's")
    parser.add_argument("--views", type=int, help="of each training picture; the default is the recipe's")
    parser.add_argument("--input-size", type=int, help="side in pixels; the default is the backbone's own")
    parser.add_argument("--runs", type=Path, default=Path("runs/skip-masks"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/skip_masks"), help="without an ending")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows: list[dict[str, Any]] = []
    for category in options.categories:
        for seed in options.seeds:
            for way in WAYS:
                summary = measured(options, category, seed, way).summary
                found = {key: summary[key] for key in (*MEASURES, "num_images")}
                rows.append({"category": category, "seed": seed, "way": way} | found)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                write_text(options.out.with_suffix(".json"), json.dumps(rows, indent=1) + "\n")
                write_text(options.out.with_suffix(".md"), table(options, rows))
    print(table(options, rows))


def measured(options: argparse.Namespace, category: str, seed: int, way: str) -> Evaluation:
    directory = options.runs / f"{category}-{seed}-{way.replace(' ', '-')}"
    is_plain, mask_skip = WAYS[way]
    settings = RunSettings(
        data=options.data,
        out=str(directory),
        category=category,
        backbone=options.backbone,
        weights=options.weights,
        layers=options.layer,
        head="original",
        plain=is_plain,
        seed=seed,
        epochs=options.epochs,
        workers=0,
        recipe=Recipe() if options.views is None else Recipe(num_views=options.views),
        network=NetworkSettings(mask_skip=mask_skip, input_size=options.input_size),
    )
    return trained_or_read(settings)


def table(options: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    head = [
        "# Masks over the skip connection, or beside it",
        "",
        f'{options.backbone}, `{options.layer}`, `head="original"`, trained whole{told(options)}.',
        "Means over seeds, on pictures kept out (the split by a hash of the photograph's name). Written by",
        "`benchmarks/skip_masks.py`.",
        "",
        "| category, pictures | seeds | way | R², mean | best quarter | instability | dead filters | accuracy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(line(rows, *group) for group in groups(rows))]) + "\n"


def told(options: argparse.Namespace) -> str:
    """How training differs from the recipe."""
    changes = {"epochs": options.epochs, "views of each picture": options.views, "input side": options.input_size}
    return "".join(f"; {name}: {value}" for name, value in changes.items() if value is not None)


def groups(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["category"], row["way"]) for row in rows))


def line(rows: list[dict[str, Any]], category: str, way: str) -> str:
    found = [row for row in rows if (row["category"], row["way"]) == (category, way)]
    r2, quarter, instability, dead, accuracy = (statistics.mean(row[key] for row in found) for key in MEASURES)
    seeds = ", ".join(str(row["seed"]) for row in found)
    return (
        f"| {category}, {found[0]['num_images']} | {seeds} | {way} | {r2:+.2f} | {quarter:+.2f} | {instability:.3f} "
        f"| {dead:.0%} | {accuracy:.1%} |"
    )


if __name__ == "__main__":
    main()
