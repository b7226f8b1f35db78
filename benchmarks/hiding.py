"""Do the explained places matter? Hide the place of the largest contribution, and random places of equal size.

    python benchmarks/hiding.py RUN [RUN …] [--random 10] [--most 60] [--out docs/results/hiding]

Of every picture kept out that is classified right, the box around the peak of the filter that adds most to the logit of
the predicted class is covered with the picture's mean colour, and so are random boxes of the same size within it. The
share is of (picture, random box) pairs in which hiding the explained place lowers the logit more; a tie counts as lost.
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partcnn.app.runs import Run, open_run
from partcnn.explanation.attribution import attribute
from partcnn.explanation.occlusion import HIDDEN_FRAC, hiding_boxes, logits_when_hidden
from partcnn.foundation.files import write_text
from partcnn.model.network import conversion_of, layer_field
from partcnn.objectives.templates import map_peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--random", type=int, default=10, help="random places per picture")
    parser.add_argument("--frac", type=float, default=HIDDEN_FRAC, help="largest side of the box, share of the side")
    parser.add_argument("--most", type=int, default=60, help="pictures of each class; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write .json and .md here, without an ending")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for run in options.runs:
        found = measured(open_run(run), options)
        rows += found
        for row in found:
            print(line(row), flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        settings = {"random": options.random, "frac": options.frac, "most": options.most, "seed": options.seed}
        write_text(options.out.with_suffix(".json"), json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")
        write_text(options.out.with_suffix(".md"), table(rows, options))


def measured(run: Run, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per class, from the pictures classified right."""
    generator = torch.Generator().manual_seed(options.seed)
    classes = run.dataset("test").classes
    drops: dict[int, list[tuple[float, list[float]]]] = {label: [] for label in range(len(classes))}
    for label, own, others in picture_drops(run, options, generator):
        drops[label].append((own, others))
    return [summary(run, classes[label], found) for label, found in drops.items() if found]


def picture_drops(
    run: Run, options: argparse.Namespace, generator: torch.Generator
) -> Iterator[tuple[int, float, list[float]]]:
    """Class, fall of its logit when the explained place is hidden, and when random places are."""
    dataset, preprocessing = run.dataset("test"), conversion_of(run.model).preprocessing
    field = None
    left = {label: options.most or len(dataset) for label in range(len(dataset.classes))}
    for sample in dataset.samples:
        if not left[sample.label]:
            continue
        image = preprocessing(sample.load_image())
        found = attribute(run.model, image[None])
        prediction = int(found.logits[0].argmax())
        if prediction != sample.label:
            continue
        left[sample.label] -= 1
        field = field or layer_field(run.model, found.layer)
        fires = found.feature_maps[0].amax(dim=(1, 2)) > 0
        best = int(found.shares[0].where(fires, -math.inf).argmax())
        box = hiding_boxes(field, map_peaks(found.feature_maps)[0, best], largest_frac=options.frac)
        boxes = torch.cat([box[None], random_boxes(box, preprocessing.input_size, options.random, generator)])
        falls = found.logits[0, prediction] - logits_when_hidden(run.model, image, boxes)[:, prediction]
        yield sample.label, float(falls[0]), falls[1:].tolist()


def random_boxes(box: Tensor, size: tuple[int, int], count: int, generator: torch.Generator) -> Tensor:
    """[count, 4]: boxes of the same size, anywhere within the picture."""
    extent = box[2:] - box[:2]
    room = torch.tensor([size[1], size[0]]) - extent
    start = torch.rand(count, 2, generator=generator) * room
    return torch.cat([start, start + extent], dim=1)


def summary(run: Run, name: str, drops: list[tuple[float, list[float]]]) -> dict[str, Any]:
    pairs = [own > other for own, others in drops for other in others]
    return {
        "run": run.directory.name,
        "network": f"{run.settings['backbone']}, {', '.join(conversion_of(run.model).settings.layers)}",
        "class": name,
        "pictures": len(drops),
        "lowers_more": statistics.mean(pairs),
        "beats_the_mean_random": statistics.mean(own > statistics.mean(others) for own, others in drops),
        "fall": statistics.mean(own for own, _ in drops),
        "random_fall": statistics.mean(statistics.mean(others) for _, others in drops),
    }


def line(row: dict[str, Any]) -> str:
    return (
        f"| {row['run']} | {row['network']} | {row['class']} | {row['pictures']} | {row['lowers_more']:.1%} "
        f"| {row['beats_the_mean_random']:.1%} | {row['fall']:+.2f} | {row['random_fall']:+.2f} |"
    )


def table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    head = [
        "# Hiding what is explained",
        "",
        "Pictures kept out and classified right. The place of the largest contribution, a box of at most",
        f"{options.frac:g} of the picture's side around the filter's peak, is covered with the mean colour; so are",
        f"{options.random} random places of equal size. “Lowers more”: share of (picture, random place) pairs in",
        "which the explained place lowers the logit more; a tie counts as lost. Background owns no filter: there",
        "is no part to hide. The runs are of `partcnn train`, one seed each. Written by",
        "`benchmarks/hiding.py`.",
        "",
        "| run | network | class | pictures | lowers more | more than their mean | fall of the logit "
        "| of random places |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(line(row) for row in rows)]) + "\n"


if __name__ == "__main__":
    main()
