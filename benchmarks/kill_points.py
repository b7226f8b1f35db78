"""Kill trainings at random moments, let them go on, and compare what they end with, bit by bit.

    python benchmarks/kill_points.py --points 200

Every training is a process of its own, killed by signal 9 after a random share of the time that a whole one takes; it
is resumed, and killed again with a chance of one in three, until it is whole. Weights, logs and figures must be those
of a training that nobody killed. The kinds take turns: a frozen trunk with and without kept features, a trunk that
learns on pictures in memory and on pictures decoded anew, filters by data, and filters of several classes that remember
earlier batches.
"""

import argparse
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from partcnn import convert, load
from partcnn.datasets import load_dataset
from partcnn.evaluation import evaluate
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.files import write_text
from partcnn.model.saving.checkpoint_files import STATE_FOLDER
from partcnn.networks.demo_net import DemoNet
from partcnn.training import Recipe, fit, fitting
from partcnn.training.resuming import Keeper

_SIZE = (48, 48)
_RECIPE = Recipe(epochs=4, head_epochs=2, batch_size=8, num_views=2, lr=1e-2, memory=4)
KINDS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "frozen, cached": {"is_cached": True},
    "filters by data": {"filters": "auto"},
    "fine-tuned": {"trunk": "finetune"},
    "fine-tuned, decoded anew": {"trunk": "finetune", "in_memory": 0},
    "several classes": {"objective": "labelled", "category": None, "filters": 8},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200, help="times that a training is killed")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _draw_pictures(root / "pictures")
        whole, seconds = {}, {}
        for kind in KINDS:
            began = time.monotonic()
            assert _in_process(lambda kind=kind: _train(kind, root, root / "whole" / kind)) == 0
            seconds[kind] = time.monotonic() - began
            whole[kind] = _left_behind(root / "whole" / kind)
        killed = different = trainings = 0
        while killed < options.points:
            kind = list(KINDS)[trainings % len(KINDS)]
            place = root / "run" / str(trainings)
            trainings += 1
            is_killed = True
            while True:
                after = draw.uniform(0, seconds[kind]) if is_killed else None
                status = _in_process(lambda kind=kind, place=place: _train(kind, root, place), after)
                killed += status == -signal.SIGKILL
                if status == 0:
                    break
                assert status == -signal.SIGKILL, f"{kind}: the training failed with {status}"
                is_killed = draw.random() < 1 / 3
            if _left_behind(place) != whole[kind]:
                different += 1
                print(f"{kind}, training {trainings}: another end", flush=True)
            shutil.rmtree(place)
        print(f"{killed} kills of {trainings} trainings of {len(KINDS)} kinds, seed {options.seed}: {different} differ")
        sys.exit(different > 0)


def _in_process(work: Callable[[], None], killed_after: float | None = None) -> int:
    """A copy of this process does the work → its exit status; the negative signal where it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _train(kind: str, root: Path, directory: Path) -> None:
    settings = {"trunk": "frozen", "objective": "competing", "category": "square", "filters": 4, **KINDS[kind]}
    Keeper.SECONDS = 0.05
    fitting._PICTURES_IN_MEMORY_BYTES = settings.get("in_memory", 2**30)
    data, category = f"folder:{root / 'pictures'}", settings["category"]
    pictures = {split: load_dataset(data, category=category, split=split) for split in ("train", "test")}
    torch.manual_seed(0)
    model = convert(
        DemoNet(len(pictures["train"].classes)),
        "features",
        num_classes=len(pictures["train"].classes),
        filters=settings["filters"],
        objective=settings["objective"],
        background=pictures["train"].background,
        input_size=_SIZE,
    )
    cache = FeatureCache(directory.parent / f"{directory.name} cache") if settings.get("is_cached") else None
    trained: dict[str, Any] = {"trunk": settings["trunk"], "cache": cache, "is_progress_shown": False}
    if not (directory / "model.safetensors").exists() or (directory / STATE_FOLDER).exists():
        fit(model, pictures["train"], _RECIPE, directory=directory, resume=True, **trained)
    figures = evaluate(load(directory), pictures["test"]).dumps()
    write_text(directory / "figures.json", figures)


def _draw_pictures(root: Path) -> None:
    """Of noise, a square or a disc somewhere on some."""
    generator = np.random.default_rng(0)
    for index in range(36):
        kind = ("clutter", "disc", "square")[index % 3]
        pixels = generator.integers(60, 130, size=(40, 40, 3), dtype=np.uint8)
        row, col = generator.integers(6, 34, size=2)
        rows, cols = np.mgrid[:40, :40]
        distances = {"square": np.maximum(abs(rows - row), abs(cols - col)), "disc": np.hypot(rows - row, cols - col)}
        if kind in distances:
            pixels[distances[kind] < 6] = (255, 30, 20)
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / kind / f"{index:02d}.png")


def _left_behind(directory: Path) -> dict[str, str]:
    """Name of a file → the hash of its bytes."""
    files = ("model.safetensors", "config.json", "figures.json", "log/metrics.csv")
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in files}


if __name__ == "__main__":
    main()
