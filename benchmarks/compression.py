"""Does the filter loss make filters redundant, so that they can be cut? The same cut of two runs, side by side.

    python benchmarks/compression.py RUN PLAIN_RUN [--keep 1 .5 .25 .125 .0625] [--finetune 3] [--out PATH]

Both networks are cut by `partcnn.prune` to each share of their filters, and measured on the pictures kept out, before
and after a short training by the run's own recipe at 0.3 of its learning rate. The trunk's maps are computed once.
Results are written as they come; those of other data that are in the file already stay.
"""

import argparse
import json
import logging
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.app.experiments.trunk_maps import measured_pictures
from partcnn.app.pruned_runs import finetuning_recipe
from partcnn.app.runs import Run, open_run
from partcnn.evaluation.figures import LayerFigures, means
from partcnn.evaluation.observation.layers import observed_maps
from partcnn.foundation.files import write_text
from partcnn.model.mask import top_mask
from partcnn.model.network import PartNetwork, conversion_of, layer_field, recorded_feature_maps
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.training.features import FeatureViews, compute_features
from partcnn.training.fitting import fit
from partcnn.training.pruning import num_parameters, prune
from partcnn.training.views import PictureViews

GOAL_KEEP, GOAL_LOSS = 0.125, 0.005  # 8 times fewer filters, at most 0.5 points of accuracy


@dataclass(frozen=True)
class KeptOut:
    """The pictures that are measured on, as both networks' trunk sees them."""

    features: Tensor  # [image, channel, row, col] float32
    labels: Tensor  # [image]
    landmarks: Tensor  # [image, part, 2] in pixels of the input
    field: ReceptiveField


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("plain")
    parser.add_argument("--keep", nargs="+", type=float, default=[1.0, 0.5, 0.25, 0.125, 0.0625])
    parser.add_argument("--finetune", type=int, default=3, help="epochs")
    parser.add_argument("--views", type=int, default=2, help="of each training picture, for these epochs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results/compression"), help="without an ending")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    runs = {"part filters": open_run(options.run), "plain": open_run(options.plain)}
    check_pair(*runs.values())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    file = options.out.with_suffix(".json")
    data = str(runs["plain"].settings.category or "all categories")
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    rows = [row for row in rows if row["data"] != data]
    began = time.monotonic()
    train, kept_out = computed(runs["part filters"], options.views)
    print(f"maps of the trunk: {time.monotonic() - began:.0f} s", flush=True)
    for name, run in runs.items():
        for keep in options.keep:
            for row in measured(run, keep, train, kept_out, options.finetune):
                rows.append({"data": data, "network": name} | trained_by(run) | row)
                print(json.dumps(rows[-1]), flush=True)
        settings = {"keep": options.keep, "finetune": options.finetune, "views": options.views}
        write_text(file, json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")
        write_text(options.out.with_suffix(".md"), page(rows, settings))


def trained_by(run: Run) -> dict[str, Any]:
    recipe = run.settings.recipe
    told = {"epochs": recipe.epochs, "num_views": recipe.num_views}
    return {"seed": run.settings.seed, "places": conversion_of(run.model).settings.places} | told


def check_pair(run: Run, plain: Run) -> None:
    """Both see the same maps: trunks and projections are equal, and so are data and split."""
    for name in ("data", "category"):
        values = [getattr(each.settings, name) for each in (run, plain)]
        assert values[0] == values[1], f"{name} differs: {values[0]}"
    for part in ("trunk", "projection"):
        pair = [getattr(one.model, part).state_dict() for one in (run, plain)]
        assert all(torch.equal(value, pair[1][key]) for key, value in pair[0].items()), f"the {part}s differ"


def computed(run: Run, num_views: int) -> tuple[FeatureViews, KeptOut]:
    """Maps of the training pictures' views, and of the pictures kept out with their landmarks."""
    model, recipe = run.model, finetuning_recipe(run, 1)
    assert isinstance(model, PartNetwork)
    preprocessing = conversion_of(model).preprocessing
    trunk = nn.Sequential(model.trunk, model.projection)
    views = PictureViews(run.dataset("train"), preprocessing, num_views=num_views, min_crop_frac=recipe.min_crop_frac)
    train = compute_features(trunk, views)
    test = measured_pictures(trunk, preprocessing, run.dataset("test"))
    field = layer_field(model, top_mask(model)[0])
    return train, KeptOut(test.maps, test.labels, test.landmarks, field)


def measured(run: Run, keep: float, train: FeatureViews, kept_out: KeptOut, epochs: int) -> list[dict[str, Any]]:
    """Two rows: cut, and cut and trained."""
    dataset = run.dataset("train")
    model = prune(run.model, dataset, keep=keep, features=train)
    rows = [row(model, keep, 0, kept_out)]
    fit(
        model,
        dataset,
        finetuning_recipe(run, epochs),
        seed=run.settings.seed,
        features=train,
        is_progress_shown=False,
    )
    return [*rows, row(model, keep, epochs, kept_out)]


def row(model: PartNetwork, keep: float, epochs: int, kept_out: KeptOut) -> dict[str, Any]:
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        logits = model.forward_from_features(kept_out.features)
        found = list(maps.values())[-1]
    return {
        "keep": keep,
        "finetune": epochs,
        "filters": found.shape[1],
        "parameters": num_parameters(model),
        "accuracy": float((logits.argmax(dim=1) == kept_out.labels).double().mean()),
        "num_images": len(logits),
        "part_tracking_r2": tracking(model, found, kept_out),
        "ms_per_picture": milliseconds(model, kept_out.features),
    }


def tracking(model: PartNetwork, maps: Tensor, kept_out: KeptOut) -> float:
    """Mean over filters of each one's best part, on the pictures of its own category, as `partcnn evaluate` has it."""
    mask = top_mask(model)[1]
    sizes = {"num_classes": mask.num_classes, "background": mask.background}
    observed = observed_maps(maps, mask.part_cells(maps), kept_out.labels, kept_out.landmarks, kept_out.field, **sizes)
    diagonal = math.hypot(*kept_out.field.input_size)
    figures = LayerFigures(observed, mask.filter_category, diagonal, kept_out.landmarks.shape[1])
    return means(figures.of_filters)["part_tracking_r2"]


def milliseconds(model: PartNetwork, features: Tensor, repeats: int = 7) -> float:
    """Median time of all that stands on the trunk, per picture in batches of 32, of this process's own clock."""
    batch, seconds = features[:32], []
    with torch.inference_mode():
        for _ in range(repeats):
            began = time.process_time()
            model.forward_from_features(batch)
            seconds.append(time.process_time() - began)
    return 1000 * statistics.median(seconds) / len(batch)


def page(rows: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    lines = [
        "# Compression",
        "",
        "Does the filter loss make filters redundant, so that they can be cut? Two runs of `partcnn train` of one",
        "seed, with part filters and plain, lose the same share of the filters of their ordinary and their part",
        f"layer by `partcnn.prune`, and are then trained for {settings['finetune']} epochs more. Pictures kept out",
        "(the split by a hash of the photograph's name); R² is the mean over filters. Parameters and milliseconds",
        "(per picture, one thread) are of all that stands on the frozen trunk. Written by `benchmarks/compression.py`.",
        "",
    ]
    for data in dict.fromkeys(one["data"] for one in rows):
        own = [one for one in rows if one["data"] == data]
        lines += [*table(data, own), "", *verdict(own), ""]
    return "\n".join(lines[:-1]) + "\n"


def table(data: str, rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"## {data}, {rows[0]['num_images']} pictures",
        "",
        *told_training(rows[0]),
        "| network | keep | filters | parameters | ms | accuracy, cut | and trained | R², cut | and trained |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cut, trained in zip(rows[::2], rows[1::2], strict=True):
        lines.append(
            f"| {cut['network']} | {cut['keep']:g} | {cut['filters']} | {cut['parameters']} "
            f"| {cut['ms_per_picture']:.2f} | {cut['accuracy']:.1%} | {trained['accuracy']:.1%} "
            f"| {cut['part_tracking_r2']:+.2f} | {trained['part_tracking_r2']:+.2f} |"
        )
    return lines


def told_training(row: dict[str, Any]) -> list[str]:
    """Of the runs; rows of an earlier version do not say."""
    if "seed" not in row:
        return []
    runs = f"Runs of seed {row['seed']}, {row['epochs']} epochs, {row['num_views']} views of each picture"
    return [f"{runs}; places: {row.get('places', 'peak')}.", ""]


def verdict(rows: list[dict[str, Any]]) -> list[str]:
    """The goal, computed from the table: 8 times fewer filters, at most 0.5 points lost, less than the plain one."""
    lines = [f"One picture is {1 / rows[0]['num_images']:.2%}. Points of accuracy lost with 8 times fewer filters:", ""]
    for name, is_trained in (("cut", False), ("cut and trained", True)):
        losses = {one["network"]: loss(rows, one["network"], is_trained) for one in rows}
        if None in losses.values() or len(losses) < 2:
            continue
        ours, plain = 100 * losses["part filters"], 100 * losses["plain"]  # type: ignore[operator]
        is_reached = ours <= 100 * GOAL_LOSS + 1e-9 and ours < plain
        lines.append(
            f"- {name}: {ours:+.1f} with part filters, {plain:+.1f} plain. The goal, at most {100 * GOAL_LOSS:g} and "
            f"less than the plain network, is {'reached' if is_reached else 'not reached'}."
        )
    return lines


def loss(rows: list[dict[str, Any]], network: str, is_trained: bool) -> float | None:
    """Against the uncut network, trained as long."""
    own = {
        one["keep"]: one["accuracy"]
        for one in rows
        if one["network"] == network and bool(one["finetune"]) == is_trained
    }
    return own[1.0] - own[GOAL_KEEP] if {1.0, GOAL_KEEP} <= own.keys() else None


if __name__ == "__main__":
    main()
