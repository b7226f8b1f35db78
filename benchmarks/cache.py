"""What the cache of a frozen trunk's features saves: an epoch on it against one without, and `partcnn train` with it.

    python benchmarks/cache.py --data animalpart:PATH --category cat --weights resnet18=FILE squeezenet1_1=FILE

An epoch without the cache decodes every picture, makes two random views of it and runs the trunk on them; an epoch on
the cache reads two views' maps. Both then take the same training steps, in turn in one process with one thread, on the
first pictures of each class, and count processor time: other work on the machine does not decide the ratio.
`partcnn train` runs as a process of its own, once to fill the cache, then as often as asked.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from alternation import alternate
from torch import Tensor, nn

from partcnn.app.runs import RunSettings, built_network
from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.files import write_text
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.training.batches import EpochBatches, EpochLoader
from partcnn.training.cached_features import trunk_features
from partcnn.training.module import PartTraining
from partcnn.training.recipe import Recipe
from partcnn.training.views import PictureViews

EPOCH_GOAL = 15.0
ROUNDING_GOAL = 2**-7  # of the largest logit; bfloat16 keeps 8 bits of each map value
TRAIN_GOAL_S = 30.0


def rows(
    data: str, category: str, weights: dict[str, str], *, num_pictures: int = 64, repeats: int = 7, train: int = 7
) -> list[dict[str, Any]]:
    """Each with `measure`, `goal`, `measured` (a median), `met`, and what it was computed from.

    Args:
        data, category: pictures, as `partcnn train` takes them.
        weights: backbone → file.
        num_pictures: of the epochs; of `partcnn train` all.
        repeats: of each epoch.
        train: runs of `partcnn train` on the warm cache, of the first backbone; 0 for none.
    """
    found: list[dict[str, Any]] = []
    for backbone, file in weights.items():
        found += epoch_rows(data, category, backbone, file, num_pictures, repeats)
    if train:
        backbone, file = next(iter(weights.items()))
        found.append(train_row(data, category, backbone, file, train))
    return found


def epoch_rows(
    data: str, category: str, backbone: str, file: str, num_pictures: int, repeats: int
) -> list[dict[str, Any]]:
    """The ratio of the two epochs, and how far logits from the cache are off."""
    torch.set_num_threads(1)
    dataset = first_pictures(load_dataset(data, category=category), num_pictures)
    recipe = Recipe()
    model, _ = built_network(RunSettings(data, "", category, backbone, file), dataset, recipe)
    assert isinstance(model, PartNetwork)
    preprocessing = conversion_of(model).preprocessing
    views = PictureViews(dataset, preprocessing, num_views=recipe.num_views, min_crop_frac=recipe.min_crop_frac)
    with tempfile.TemporaryDirectory() as folder:
        features = [trunk_features(model, views, cache=FeatureCache(Path(folder))) for _ in range(2)][
            1
        ]  # the second is mapped from the disk
        two = PictureViews(dataset, preprocessing, num_views=2, min_crop_frac=recipe.min_crop_frac, is_random=True)
        loader = EpochLoader(two, batch_size=recipe.batch_size)
        fast = nn.Sequential(model.trunk, model.projection).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        step = training_step(model, recipe)
        batches = EpochBatches(features, batch_size=recipe.batch_size, seed=0)

        def with_cache() -> None:
            for batch in batches:
                step(batch)

        def without() -> None:
            for pictures, frames, labels, _ in loader:
                with torch.no_grad():
                    inputs = pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)
                    maps = torch.cat([fast(batch) for batch in inputs.split(8)])
                step((maps.unflatten(0, pictures.shape[:2]), frames, labels))

        timings = alternate({"on it": with_cache, "without": without}, repeats)
        off = logit_error(model, views, features.maps)
    ratio = timings.ratio("without", "on it")
    return [
        {
            "measure": f"epoch without the cache / on it, {backbone}",
            "goal": f"≥ {EPOCH_GOAL:g}",
            "measured": round(ratio, 2),
            "met": ratio >= EPOCH_GOAL,
            "ms_per_picture_on_cache": round(1000 * timings.median_s("on it") / len(dataset), 2),
            "ms_per_picture_without": round(1000 * timings.median_s("without") / len(dataset), 2),
            "num_pictures": len(dataset),
            "repeats": repeats,
        },
        {
            "measure": f"logits from the cache: largest difference / largest logit, {backbone}",
            "goal": f"≤ {ROUNDING_GOAL:g}",
            "measured": round(off, 6),
            "met": off <= ROUNDING_GOAL,
        },
    ]


def first_pictures(dataset: PartDataset, count: int) -> PartDataset:
    """As many of each class."""
    share = count // len(dataset.classes)
    few = dataset.with_split(dataset.split)
    few.samples = [
        sample
        for label in range(len(dataset.classes))
        for sample in [sample for sample in dataset.samples if sample.label == label][:share]
    ]
    return few


def training_step(model: PartNetwork, recipe: Recipe) -> Callable[[Any], None]:
    """What `fit` does with a batch, without its loop."""
    model.trunk.requires_grad_(False)
    model.projection.requires_grad_(False)
    module = PartTraining(model, recipe, is_trunk_frozen=True, takes_features=True)
    module.train()
    optimizer = torch.optim.AdamW(module._parameter_groups(), weight_decay=recipe.weight_decay)

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        optimizer.step()

    return step


def logit_error(model: PartNetwork, views: PictureViews, kept: Tensor) -> float:
    """Largest difference of a logit from the cache's maps and from the trunk's own, over the largest logit."""
    model.eval()
    off = largest = 0.0
    with torch.no_grad():
        for index in range(0, len(views), 8):
            exact = model(views[index][0])
            off = max(off, float((model.forward_from_features(kept[index].float()) - exact).abs().max()))
            largest = max(largest, float(exact.abs().max()))
    return off / largest


def train_row(data: str, category: str, backbone: str, file: str, repeats: int) -> dict[str, Any]:
    """`partcnn train` with the default recipe, from the start of the process to its end; the first fills the cache."""
    seconds, processor = [], []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "partcnn", "train", "--data", data, "--category", category]
        command += ["--backbone", backbone, "--weights", file, "--out", f"{folder}/run", "--force", "--json"]
        environment = os.environ | {"PARTCNN_CACHE": f"{folder}/cache"}
        for _ in range(repeats + 1):
            began, used = time.monotonic(), _processor_of_children()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            seconds.append(time.monotonic() - began)
            processor.append(_processor_of_children() - used)
    warm = statistics.median(seconds[1:])
    return {
        "measure": f"partcnn train, one category, default recipe, cache warm, {backbone}, s",
        "goal": f"≤ {TRAIN_GOAL_S:g}",
        "measured": round(warm, 1),
        "met": warm <= TRAIN_GOAL_S,
        "processor_s": round(statistics.median(processor[1:]), 1),
        "cold_s": round(seconds[0], 1),
        "cold_processor_s": round(processor[0], 1),
        "repeats": repeats,
    }


def _processor_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--category", required=True)
    parser.add_argument("--weights", nargs="+", required=True, help="BACKBONE=FILE")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--train", type=int, default=7, help="runs of partcnn train; 0 for none")
    parser.add_argument("--out", type=Path, default=Path("docs/results/cache.json"))
    options = parser.parse_args()
    weights = dict(pair.split("=", 1) for pair in options.weights)
    found = rows(
        options.data,
        options.category,
        weights,
        num_pictures=options.pictures,
        repeats=options.repeats,
        train=options.train,
    )
    versions = {"torch": torch.__version__, "processors": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    write_text(options.out, json.dumps({"rows": found, **versions}, indent=1) + "\n")
    for row in found:
        print(f"{row['measure']:<90} {row['goal']:>10} {row['measured']:>10} {'met' if row['met'] else 'NOT met'}")


if __name__ == "__main__":
    main()
