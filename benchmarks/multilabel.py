"""Pictures that show several classes: filters that compete beside a plain network, on real pictures of animals.

    python benchmarks/multilabel.py --data animalpart:PATH --weights tf_efficientnet_lite0.safetensors

Two tasks. *Traits*: pictures of six kinds of animals, one each, and others; a picture's classes are the animal's kind
and its traits, such as "pet". *Mosaics*: 2 × 2 tiles, none to three of them animals of these kinds, each kind once, cut
out by their object boxes, the others pictures without one. What is kept out is made of other photographs. All are read
as anyone's own pictures are, from a table of labels (`multilabel:`).
"""

import argparse
import csv
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finished_runs import trained_or_read
from PIL import Image
from tables import mean_of

from partcnn.app.runs import RunSettings
from partcnn.datasets import Sample, load_dataset
from partcnn.foundation.files import write_text

TRAITS = {  # kind → what else it is
    "dog": ("furry", "pet", "predator"),
    "domestic cat": ("furry", "pet", "predator"),
    "fox": ("furry", "predator"),
    "bird": ("feathered",),
    "zebra": ("furry", "hoofed"),
    "frog": ("predator",),
}
KINDS = tuple(TRAITS)
SIDE = 320
NUM_PICTURES = {"train": 600, "test": 300}
ONE_IN_OTHERS = 4  # of the pictures of traits, those without an animal
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
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for task, make in TASKS.items():
        pictures = options.runs / task
        if not (pictures / "labels.csv").is_file():
            make_pictures(options.data, pictures, make)
        found[task] = {
            method: [_measured(options, pictures, method, seed) for seed in options.seeds] for method in METHODS
        }
        write_text(options.out, page(options, found))
    print(page(options, found))


def make_pictures(data: str, folder: Path, make: Callable[..., tuple[Image.Image, list[str]]]) -> None:
    """The pictures of a task, and the table of what they show, which is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str]] = []
    for split, number in NUM_PICTURES.items():
        drawn = random.Random(f"{split}, 0")  # noqa: S311 - no secret
        animals = {kind: _shuffled(data, kind, split, drawn, is_object=True) for kind in KINDS}
        others = _shuffled(data, KINDS[0], split, drawn, is_object=False)
        for index in range(number):
            file = folder / f"{split}-{index}.jpg"
            picture, shown = make(index, animals, others, drawn)
            picture.save(file, quality=90)
            rows.append((file.name, ";".join(shown), split))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("image", "labels", "split"), *rows])


def _shuffled(data: str, kind: str, split: str, drawn: random.Random, *, is_object: bool) -> list[Sample]:
    dataset = load_dataset(data, category=kind, split=split)
    samples = [sample for sample in dataset.samples if dataset.shows_object(sample) == is_object]
    drawn.shuffle(samples)
    return samples


def one_animal(
    index: int, animals: dict[str, list[Sample]], others: list[Sample], drawn: random.Random
) -> tuple[Image.Image, list[str]]:
    """A picture as it is, and the animal's kind and traits."""
    if index % ONE_IN_OTHERS == 0:
        return others[index // ONE_IN_OTHERS % len(others)].load_image(), []
    kind = KINDS[index % len(KINDS)]
    return animals[kind][index // len(KINDS) % len(animals[kind])].load_image(), [kind, *TRAITS[kind]]


def mosaic(
    index: int, animals: dict[str, list[Sample]], others: list[Sample], drawn: random.Random
) -> tuple[Image.Image, list[str]]:
    """Four tiles, and the kinds that are on them."""
    shown = drawn.sample(KINDS, drawn.choice(NUM_ANIMALS))
    tiles = [_cut(animals[kind][index % len(animals[kind])]) for kind in shown]
    tiles += [others[(4 * index + place) % len(others)].load_image() for place in range(4 - len(shown))]
    drawn.shuffle(tiles)
    whole, half = Image.new("RGB", (SIDE, SIDE)), SIDE // 2
    for place, tile in enumerate(tiles):
        row, col = divmod(place, 2)
        whole.paste(tile.resize((half, half), Image.Resampling.LANCZOS), (col * half, row * half))
    return whole, shown


def _cut(sample: Sample) -> Image.Image:
    assert sample.object_box is not None  # every animal has one
    return sample.load_image().crop(tuple(round(edge) for edge in sample.object_box))


TASKS = {"traits": one_animal, "mosaics": mosaic}


def _measured(options: argparse.Namespace, pictures: Path, method: str, seed: int) -> dict[str, Any]:
    settings = RunSettings(
        data=f"multilabel:{pictures}",
        out=f"{pictures}-{method}-{seed}",
        backbone=options.backbone,
        weights=options.weights,
        seed=seed,
        workers=0,
        **METHODS[method],
    )
    evaluation = trained_or_read(settings)
    return evaluation.summary | {"by_class": evaluation.by_category}


def page(options: argparse.Namespace, found: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    lines = [
        "# Pictures that show several classes",
        "",
        f"`{options.backbone}`, frozen, the defaults of `partcnn train`, 16 filters; seeds "
        f"{', '.join(map(str, options.seeds))}, means over them. Of each task {NUM_PICTURES['train']}",
        f"pictures to learn from and {NUM_PICTURES['test']} kept out, of other photographs. *Right answers*",
        "are to whether a picture shows a class, of all classes and pictures. Written by `benchmarks/multilabel.py`,",
        "which says what the tasks are.",
    ]
    for task, of_task in found.items():
        lines += ["", f"## {task[0].upper()}{task[1:]}", "", f"| method | {' | '.join(COLUMNS)} |"]
        lines.append(f"|---|{'---|' * len(COLUMNS)}")
        for method, rows in of_task.items():
            cells = [mean_of([row.get(measure) for row in rows], *shown) for measure, *shown in COLUMNS.values()]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        lines.append(f"| always no | – | {100 * (1 - _mean_shown(of_task)):.1f} |{' – |' * (len(COLUMNS) - 2)}")
        classes = list(next(iter(of_task.values()))[0]["by_class"])
        lines += [
            "",
            "Average precision, %:",
            "",
            f"| method | {' | '.join(classes)} |",
            f"|---|{'---|' * len(classes)}",
        ]
        for method, rows in of_task.items():
            by_class = [row["by_class"] for row in rows]
            of_classes = [[one.get(name, {}).get("mean_average_precision") for one in by_class] for name in classes]
            lines.append(f"| {method} | {' | '.join(mean_of(values, 1, 100) for values in of_classes)} |")
    return "\n".join(lines) + "\n"


def _mean_shown(of_task: dict[str, list[dict[str, Any]]]) -> float:
    """The share of the classes that a picture kept out shows."""
    first = next(iter(of_task.values()))[0]
    shown = [one["num_images"] for one in first["by_class"].values()]
    return sum(shown) / len(shown) / first["num_images"]


if __name__ == "__main__":
    main()
