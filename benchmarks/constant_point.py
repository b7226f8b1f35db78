"""What filters that do not look get on a data set's annotations: no network, no training.

    python benchmarks/constant_point.py --data animalpart:PATH

For every category: a "filter" that answers the middle of the picture on each, and filters that answer a point drawn
anew. All annotated pictures, as the paper measured them, stretched to 224 × 224. The last row is the mean over
categories, to hold against the means of the paper's tables.
"""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation.observation.pictures import ObservedPictures, describe_shapes
from partcnn.foundation.files import write_text
from partcnn.metrics.functional import constant_peaks, measure_baseline, random_peaks

SIDE, GRID, RADIUS_PX, TOP = 224, 56, 32.0, 100
# Location instability, means over the 30 animal categories as the paper prints them (Zhang, Wu & Zhu 2018, Table 3).
PAPER = {
    "AlexNet": (0.146, 0.091),
    "VGG-16": (0.144, 0.085),
    "VGG-M": (0.147, 0.090),
    "VGG-S": (0.145, 0.090),
}
MEASURES = {
    "location_instability": "instability",
    "part_tracking_r2": "R²",
    "displacement_scatter": "scatter",
    "pointing_game": "pointing game",
    "part_interpretability": "interpretability",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--num-random", type=int, default=16, help="random filters")
    parser.add_argument("--out", type=Path, default=Path("docs/results/constant_point"), help="without an ending")
    options = parser.parse_args()
    dataset = load_dataset(options.data, split="all")
    landmarks, regions, labels, kinds = annotations(dataset)
    rows: list[dict[str, Any]] = []
    for label, category in enumerate(dataset.classes):
        own = labels == label
        if not own.any():
            continue
        rows.append(measured(category, landmarks[own], regions[own], options.num_random))
        print(category, {name: round(value, 3) for name, value in rows[-1]["constant point"].items()}, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"regions": kinds, "radius_px": RADIUS_PX, "top": TOP, "rows": rows}
    write_text(options.out.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    write_text(options.out.with_suffix(".md"), table(rows, kinds))
    print(table(rows, kinds))


def annotations(dataset: PartDataset) -> tuple[Tensor, Tensor, Tensor, str]:
    """Landmarks in pixels of 224 × 224, regions, labels of the annotated pictures, and what parts are given as."""
    pictures = ObservedPictures(
        dataset,
        lambda image, boxes: (image, boxes),
        grid=(GRID, GRID),
        input_size=(SIDE, SIDE),
        point_radius_px=RADIUS_PX,
    )
    landmarks, regions, labels, counts = [], [], [], torch.zeros(3, dtype=torch.int64)
    for index, sample in enumerate(dataset.samples):
        if not sample.parts:
            continue
        picture = pictures[index]
        height, width = picture.example.image.shape[1:]
        landmarks.append(picture.example.landmarks * torch.tensor([SIDE / width, SIDE / height]))
        regions.append(picture.regions)
        labels.append(sample.label)
        counts += picture.num_shapes
    kinds = describe_shapes(dict(zip(("mask", "box", "point"), counts.tolist(), strict=True)))
    return torch.stack(landmarks).double(), torch.stack(regions), torch.tensor(labels), kinds


def measured(category: str, landmarks: Tensor, regions: Tensor, num_random: int) -> dict[str, Any]:
    size = (SIDE, SIDE)
    generator = torch.Generator().manual_seed(0)
    peaks = {
        "constant point": constant_peaks(landmarks, size),
        "random filter": random_peaks(landmarks, size, generator=generator, num_filters=num_random),
    }
    found = {
        name: asdict(measure_baseline(points, landmarks, regions, size, radius_px=RADIUS_PX, top=TOP))
        for name, points in peaks.items()
    }
    return {"category": category, "pictures": len(landmarks), **found}


def table(rows: list[dict[str, Any]], kinds: str) -> str:
    columns = [(baseline, name) for baseline in ("constant point", "random filter") for name in MEASURES]
    lines = [
        "# What filters that do not look get",
        "",
        f"All annotated pictures, parts as {kinds}, stretched to {SIDE} × {SIDE}; discs of {RADIUS_PX:g} px, the first "
        f"{TOP} pictures that show a part.",
        "Written by `benchmarks/constant_point.py`.",
        "",
        "| category | pictures | " + " | ".join(f"{base}: {MEASURES[name]}" for base, name in columns) + " |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for row in rows:
        cells = [f"{row[baseline][name]:.3f}" for baseline, name in columns]
        lines.append(f"| {row['category']} | {row['pictures']} | " + " | ".join(cells) + " |")
    means = [mean([row[baseline][name] for row in rows]) for baseline, name in columns]
    lines.append("| **mean** | | " + " | ".join(f"**{value:.3f}**" for value in means) + " |")
    best = min(interpretable for _, interpretable in PAPER.values())
    lines += [
        "",
        "The paper's location instability on its 30 animal categories, ordinary → interpretable: "
        + ", ".join(f"{name} {plain:.3f} → {parts:.3f}" for name, (plain, parts) in PAPER.items())
        + f". The constant point's mean here: **{means[0]:.3f}**, the best network's there: **{best:.3f}**.",
    ]
    return "\n".join(lines) + "\n"


def mean(values: list[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


if __name__ == "__main__":
    main()
