"""Pictures that show several classes: filters that compete beside a plain network, on mosaics of real pictures.

    python benchmarks/multilabel.py --data animalpart:PATH --weights tf_efficientnet_lite0.safetensors

A mosaic has 2 × 2 tiles. None to three of them are animals of six kinds, each kind once, cut out by their object boxes;
the others are pictures without one. Mosaics for training are made of the training pictures, those kept out of the
others. They are read as anyone's own pictures are, from a table of labels (`multilabel:`).
"""

import argparse
import csv
import logging
import random
from pathlib import Path
from typing import Any

from finished_runs import trained_or_read
from PIL import Image

from partcnn.app.runs import RunSettings
from partcnn.datasets import Sample, load_dataset
from partcnn.foundation.files import write_text

KINDS = ("dog", "domestic cat", "fox", "bird", "zebra", "frog")
SIDE = 320
NUM_MOSAICS = {"train": 600, "test": 300}
NUM_ANIMALS = (0, 1, 1, 2, 2, 3)  # drawn from
METHODS: dict[str, dict[str, Any]] = {"competing": {}, "plain": {"plain": True}}
COLUMNS = {  # heading → measure, its decimals and what it is shown in
    "mean average precision, %": ("mean_average_precision", 1, 100),
    "right answers, %": ("accuracy", 1, 100),
    "effective filters": ("effective_filters", 1, 1),
    "crowded pairs, %": ("crowded", 1, 100),
    "steadiness": ("steadiness", 2, 1),
    "identity, %": ("identity", 0, 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="animalpart:PATH")
    parser.add_argument("--weights", required=True, help="of the backbone: a file")
    parser.add_argument("--backbone", default="timm:tf_efficientnet_lite0")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/multilabel"), help="where mosaics and runs are kept")
    parser.add_argument("--out", type=Path, default=Path("docs/results/multilabel.md"))
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    pictures = options.runs / "pictures"
    if not (pictures / "labels.csv").is_file():
        make_mosaics(options.data, pictures)
    found = {method: [_measured(options, pictures, method, seed) for seed in options.seeds] for method in METHODS}
    write_text(options.out, page(options, found))
    print(page(options, found))


def make_mosaics(data: str, folder: Path) -> None:
    """The pictures, and the table of what they show, which is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str]] = []
    for split, number in NUM_MOSAICS.items():
        drawn = random.Random(f"{split}, 0")  # noqa: S311 - no secret
        animals = {kind: _shuffled(data, kind, split, drawn, is_object=True) for kind in KINDS}
        others = _shuffled(data, KINDS[0], split, drawn, is_object=False)
        for index in range(number):
            shown = drawn.sample(KINDS, drawn.choice(NUM_ANIMALS))
            tiles = [animals[kind][index % len(animals[kind])] for kind in shown]
            tiles += [others[(4 * index + place) % len(others)] for place in range(4 - len(shown))]
            drawn.shuffle(tiles)
            file = folder / f"{split}-{index}.jpg"
            _mosaic(tiles).save(file, quality=90)
            rows.append((file.name, ";".join(shown), split))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("image", "labels", "split"), *rows])


def _shuffled(data: str, kind: str, split: str, drawn: random.Random, *, is_object: bool) -> list[Sample]:
    dataset = load_dataset(data, category=kind, split=split, crop="object" if is_object else None)
    samples = [sample for sample in dataset.samples if dataset.shows_object(sample) == is_object]
    drawn.shuffle(samples)
    return samples


def _mosaic(tiles: list[Sample]) -> Image.Image:
    whole, half = Image.new("RGB", (SIDE, SIDE)), SIDE // 2
    for place, sample in enumerate(tiles):
        row, col = divmod(place, 2)
        whole.paste(sample.load_image().resize((half, half), Image.Resampling.LANCZOS), (col * half, row * half))
    return whole


def _measured(options: argparse.Namespace, pictures: Path, method: str, seed: int) -> dict[str, Any]:
    settings = RunSettings(
        data=f"multilabel:{pictures}",
        out=str(options.runs / f"{method}-{seed}"),
        backbone=options.backbone,
        weights=options.weights,
        seed=seed,
        workers=0,
        **METHODS[method],
    )
    evaluation = trained_or_read(settings)
    return evaluation.summary | {"by_class": evaluation.by_category}


def page(options: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        "# Pictures that show several classes",
        "",
        f"`{options.backbone}`, frozen, the defaults of `partcnn train`, 16 filters; seeds "
        f"{', '.join(map(str, options.seeds))}, means over them. {NUM_MOSAICS['train']} mosaics to learn from,",
        f"{NUM_MOSAICS['test']} kept out, of other photographs; each has 2 × 2 tiles, none to three of them animals of",
        f"{len(KINDS)} kinds. Written by `benchmarks/multilabel.py`. *Right answers* are to whether a mosaic shows a",
        f"kind, of all kinds and mosaics; always to say no is right on {100 * (1 - _mean_shown(found)):.1f} %.",
        "",
        f"| method | {' | '.join(COLUMNS)} |",
        f"|---|{'---|' * len(COLUMNS)}",
    ]
    for method, rows in found.items():
        cells = [_cell([row.get(measure) for row in rows], *shown) for measure, *shown in COLUMNS.values()]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    classes = list(next(iter(found.values()))[0]["by_class"])
    lines += ["", "Average precision of each kind, %:", "", f"| method | {' | '.join(classes)} |"]
    lines.append(f"|---|{'---|' * len(classes)}")
    for method, rows in found.items():
        of_classes = [[row["by_class"][name]["mean_average_precision"] for row in rows] for name in classes]
        lines.append(f"| {method} | {' | '.join(_cell(values, 1, 100) for values in of_classes)} |")
    return "\n".join(lines) + "\n"


def _mean_shown(found: dict[str, list[dict[str, Any]]]) -> float:
    """The share of kinds that a mosaic kept out shows."""
    first = next(iter(found.values()))[0]
    shown = [one["num_images"] for one in first["by_class"].values()]
    return sum(shown) / len(shown) / first["num_images"]


def _cell(values: list[float | None], digits: int, scale: float) -> str:
    known = [value for value in values if value is not None]
    return f"{scale * sum(known) / len(known):.{digits}f}" if known else "–"


if __name__ == "__main__":
    main()
