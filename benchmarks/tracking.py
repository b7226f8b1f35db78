"""Do the filters follow parts on pictures kept out, and what does it cost in accuracy? The table of the README.

    python benchmarks/tracking.py --data animalpart:PATH --weights PATH [--categories bird cat] [--seeds 0 1 2]

For every category and seed the same network is trained twice on the same features, with part filters and plain, by the
default recipe of `partcnn train`, and measured on the 30 % of pictures kept out. Writes results as they come, so that a
run that is cut short can be read; a category and seed that is there already is not trained again.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partcnn.backbones import load_backbone
from partcnn.benchmarks.trunk_maps import RememberingTrunk
from partcnn.checkpoint import write_text
from partcnn.conversion import PartNetwork, conversion_of, convert
from partcnn.datasets import load_dataset
from partcnn.evaluation import evaluate
from partcnn.feature_views import FeatureViews, PictureViews, compute_features, set_projection
from partcnn.runs import NetworkSettings
from partcnn.training import Recipe, fit

MEASURES = (
    "part_tracking_r2",
    "part_tracking_r2_top_quarter",
    "part_tracking_r2_best",
    "location_instability",
    "constant_point_instability",
    "dead_filters",
    "accuracy",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--layer", default="layer3")
    parser.add_argument("--categories", nargs="+", default=["bird", "cat", "dog", "fox"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--masks", action="store_true", help="with the paper's masks, which the default recipe leaves off"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/tracking"), help="without an ending")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    file = options.out.with_suffix(".json")
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    done = {(row["category"], row["seed"]) for row in rows}
    # Networks are measured on the same pictures, and background pictures come first: the same views in every category.
    trunk = RememberingTrunk(converted(options, Recipe(), is_plain=True).trunk)
    for category in options.categories:
        seeds = [seed for seed in options.seeds if (category, seed) not in done]
        if seeds:
            for pair in pairs(options, category, seeds, trunk):
                rows += pair
                write_text(file, json.dumps({"settings": settings(options), "rows": rows}, indent=1) + "\n")
                write_text(options.out.with_suffix(".md"), table(options, rows))
    print(table(options, rows))


def pairs(
    options: argparse.Namespace, category: str, seeds: list[int], trunk: RememberingTrunk
) -> Iterator[list[dict[str, Any]]]:
    """Both networks of one category, seed by seed: two rows each. The random views are the same for all."""
    train = load_dataset(options.data, category=category)
    test = train.with_split("test")
    recipe = Recipe()
    preprocessing = load_backbone(options.backbone, options.weights).preprocessing
    first = converted(options, recipe, is_plain=True)
    first.trunk = trunk
    set_projection(first, PictureViews(train, preprocessing))
    views = PictureViews(train, preprocessing, num_views=recipe.num_views, min_crop_frac=recipe.min_crop_frac)
    computed = compute_features(
        nn.Sequential(first.trunk, first.projection), views, batch_size=recipe.batch_size, seed=0
    )
    for seed in seeds:
        began = time.monotonic()
        rows = []
        for name in ("part filters", "plain"):
            torch.manual_seed(seed)
            model = converted(options, recipe, is_plain=name == "plain")
            conversion_of(model).preprocessing = preprocessing
            model.projection.load_state_dict(first.projection.state_dict())
            model.trunk = trunk
            features = FeatureViews(
                computed.maps, computed.frames, computed.labels, batch_size=recipe.batch_size, seed=seed
            )
            fit(model, train, recipe, seed=seed, features=features, is_progress_shown=False)
            summary = evaluate(model, test, selection=train).summary
            rows.append({"category": category, "seed": seed, "network": name} | {key: summary[key] for key in MEASURES})
        print(f"{category}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
        yield rows


def converted(options: argparse.Namespace, recipe: Recipe, *, is_plain: bool) -> PartNetwork:
    """The network as `partcnn train` builds it."""
    model = convert(
        load_backbone(options.backbone, options.weights).network,
        options.layer,
        num_classes=2,
        background=0,
        objective=None if is_plain else "labelled",
        masks=(options.masks or NetworkSettings().masks) and not is_plain,
        loss_weight=recipe.loss_weight,
    )
    assert isinstance(model, PartNetwork)
    return model


def settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "backbone": options.backbone,
        "layer": options.layer,
        "recipe": Recipe().__dict__,
        "network": NetworkSettings().__dict__ | {"masks": options.masks or NetworkSettings().masks},
        "split": "test (30 %)",
    }


def table(options: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    """Means over seeds; the standard deviation over seeds in brackets for the two that decide."""
    lines = [
        f"# Tracking of parts, {options.backbone} at {options.layer}",
        "",
        "Pictures kept out (30 %), object against background; means over seeds, ± standard deviation over seeds. Best",
        "quarter and best filter are chosen on training pictures. Written by `benchmarks/tracking.py`.",
        "",
        "| category | network | seeds | R² mean | best quarter | best | location instability | constant point "
        "| dead | accuracy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for category in dict.fromkeys(row["category"] for row in rows):
        for network in ("part filters", "plain"):
            own = [row for row in rows if (row["category"], row["network"]) == (category, network)]
            means = {key: statistics.mean(row[key] for row in own) for key in MEASURES}
            lines.append(
                f"| {category} | {network} | {len(own)} | {means['part_tracking_r2']:+.2f} ± "
                f"{_deviation(own, 'part_tracking_r2'):.2f} | {means['part_tracking_r2_top_quarter']:+.2f} "
                f"| {means['part_tracking_r2_best']:+.2f} | {means['location_instability']:.3f} "
                f"| {means['constant_point_instability']:.3f} | {means['dead_filters']:.1%} "
                f"| {means['accuracy']:.1%} ± {_deviation(own, 'accuracy'):.1%} |"
            )
    return "\n".join(lines) + "\n"


def _deviation(rows: list[dict[str, Any]], key: str) -> float:
    return statistics.stdev(row[key] for row in rows) if len(rows) > 1 else 0.0


if __name__ == "__main__":
    main()
