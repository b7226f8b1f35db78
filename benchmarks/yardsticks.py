"""The field's own yardsticks: filters that compete beside plain ones and others' methods, on the same frozen maps.

    python benchmarks/yardsticks.py --shared ../shared --out docs/results/yardsticks

Birds of CUB-200-2011, the ten species of `cub10`, as one class and told apart, cut out by their object boxes, and the
drawn animals, told apart. For every number of filters and seed each method of `parts.py` runs once, but for the
single filters, which have pages of their own. The detector has one filter for each annotated part, whatever the number.
Runs that are there already are read, so that an interrupted comparison goes on; the page is written after each.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parts import ALL, OWNED, SAYS, figures_of, measured
from rivals import CLASSIFIER, DETECTOR, RIVALS
from tables import mean_and_spread

from partcnn.foundation.files import write_text

WEIGHTS = "tf_efficientnet_lite0"
METHODS = ["competing", "plain", *(name for name in RIVALS if name != CLASSIFIER)]
TASKS: dict[str, dict[str, Any]] = {  # name → its pictures
    "birds as one class": {"data": "cub:{0}/cub10,{0}/animalpart/background", "category": "bird", "crop": "object"},
    "ten species told apart": {"data": "cub:{0}/cub10", "category": ALL, "crop": "object"},
    "drawn animals told apart": {"data": "demo:", "category": ALL, "crop": None},
}
COLUMNS = {  # heading → measure, its decimals and what it is shown in
    "NMI": ("nmi", 1, 100),
    "ARI": ("ari", 1, 100),
    "landmark error, %": ("landmark_error", 1, 1),
    "consistency": ("consistency", 0, 100),
    "stability": ("stability", 0, 100),
    "part purity": ("part_purity", 2, 1),
    "parts followed": ("parts_followed", 1, 1),
    "effective filters": ("effective_filters", 1, 1),
    "crowded pairs, %": ("crowded", 1, 100),
    "accuracy, %": ("accuracy", 1, 100),
}
PUBLISHED_ROWS = (
    ("method", "trunk", "landmark error, K = 4; 8; 16", "NMI", "ARI", "accuracy, %"),
    ("---",) * 6,
    ("deep feature factorisation, K = 4", "VGG-19, frozen", "22.4", "23.7", "13.1", "–"),
    (
        "Huang and Li (2020)",
        "ResNet-101, trained",
        "11.5; 11.6; 12.6 °",
        "29.7; 35.7; 43.9 °",
        "14.0; 15.9; 21.1 °",
        "87; 86; 86 °",
    ),
    ("Choudhury et al. (2021), with masks of the object, K = 4", "–", "9.2", "43.6", "19.5", "–"),
    (
        "PDiscoNet (2023), 448 px",
        "ResNet-101, trained",
        "9.1; 8.5; 7.7 °",
        "37.8; 50.1; 56.9 °",
        "15.3; 27.0; 38.1 °",
        "86; 87; 87.5 °",
    ),
    ("MPAE (2025), K = 16", "DINOv2 ViT-B", "–", "79.0", "66.6", "–"),
)
PUBLISHED = """\
## What others print

On CUB-200-2011 with labels of species only. **No row of it stands beside ours**: theirs are of all 200 species, of the
whole test set and, but for the first, of trunks that were trained on it; ours of ten species, of a frozen trunk that
knows ImageNet alone, and of pictures cut out by their object boxes. Landmark errors are in shares of the object's box
in both. Figures marked ° we know at second hand.

{table}

Consistency and stability in per cent, from Huang et al. (2023) and later work, with DINOv2 ViT-B: ProtoPNet 28 and 57,
Huang et al. 69 and 71, IVPT 75 and 76. Part purity from PIP-Net (2023), with 495 and 731 prototypes: ConvNeXt-T .93,
ResNet-50 .65; ProtoPNet .46, ProtoPool .36. These networks have hundreds of prototypes, ours 4 to 16 filters.
How each of these figures is gamed stands in [metrics.md](../metrics.md).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="holds data/cub10, data/animalpart and weights")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--filters", nargs="+", type=int, default=[16, 8, 4])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/yardsticks"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/yardsticks"), help="without an ending")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows: list[dict[str, Any]] = []
    for asked in _runs(options):
        rows.append(asked | _row(options, **asked))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out.with_suffix(".json"), json.dumps(rows, indent=1) + "\n")
        write_text(options.out.with_suffix(".md"), page(rows))


def _runs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A whole seed first, so that an interrupted comparison has every row."""
    for seed in options.seeds:
        for task in options.tasks:
            for filters in options.filters:
                for method in METHODS:
                    if method != DETECTOR or filters == options.filters[0]:
                        yield {"task": task, "filters": filters, "seed": seed, "method": method}


def _row(options: argparse.Namespace, task: str, filters: int, seed: int, method: str) -> dict[str, Any]:
    chosen = TASKS[task]
    of_run = argparse.Namespace(
        data=chosen["data"].format(options.shared / "data"),
        crop=chosen["crop"],
        backbone=f"timm:{WEIGHTS}",
        weights=str(options.shared / "weights" / f"{WEIGHTS}.safetensors"),
        epochs=None,
        filters=filters,
        runs=options.runs / task.replace(" ", "-") / str(filters),
    )
    evaluation = measured(of_run, chosen["category"], seed, method)
    summary = evaluation.summary
    found = figures_of(evaluation, method, [measure for measure, *_ in COLUMNS.values()])
    return found | {"num_images": summary["num_images"], "num_filters": summary["num_filters"]}


def page(rows: list[dict[str, Any]]) -> str:
    seeds = sorted({row["seed"] for row in rows})
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    lines = [
        "# The field's own yardsticks",
        "",
        f"`timm:{WEIGHTS}`, frozen, the defaults of `partcnn train`, seeds {', '.join(map(str, seeds))}, pictures kept",
        "out. Means over the seeds; behind ± half of what lies between the least and the greatest. Written by",
        "`benchmarks/yardsticks.py`. Measures are those of [metrics.md](../metrics.md); NMI, ARI, consistency and",
        "stability in per cent, as the field prints them. **Compare at one number of filters**: more of them lower the",
        "landmark error by themselves.",
        OWNED,
        "",
        *(f"- *{method}*: {SAYS[method]}." for method in methods),
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        lines += [
            "",
            f"## {task[0].upper()}{task[1:]}, {of_task[0]['num_images']:.0f} pictures",
            "",
            f"| filters | method | seeds | {' | '.join(COLUMNS)} |",
            f"|---|---|---|{'---|' * len(COLUMNS)}",
        ]
        for filters, method in sorted(
            {(row["num_filters"], row["method"]) for row in of_task}, key=lambda key: (key[0], METHODS.index(key[1]))
        ):
            found = [row for row in of_task if (row["num_filters"], row["method"]) == (filters, method)]
            cells = [mean_and_spread([row[measure] for row in found], *shown) for measure, *shown in COLUMNS.values()]
            lines.append(f"| {filters:.0f} | {method} | {len(found)} | {' | '.join(cells)} |")
    table = "\n".join(f"| {' | '.join(row)} |" for row in PUBLISHED_ROWS)
    return "\n".join([*lines, "", PUBLISHED.format(table=table)])


if __name__ == "__main__":
    main()
