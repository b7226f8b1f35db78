"""The table of `benchmarks/speed.py` and `startup.py`: a row for each measure, with its goal and whether it is met."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from alternation import Timings

import partcnn
from partcnn.foundation.files import write_text

ORDER = (  # of the rows, by what measures them
    "loss", "memory", "pixels", "fitness", "mask", "resnet18", "inference", "inference_compiled", "importing",
    "startup", "vgg16", "cuda",
)  # fmt: skip
INTRODUCTION = """\
Made by `make bench` (`benchmarks/speed.py`). Ratios are medians over rounds in which what is compared runs in turns in
one process, with the least and the largest round in brackets; seconds are the processor's. *Naive* is the same formula
with the bank of templates and autograd (`tests/reference/naive_torch.py`). Networks have random weights, pictures are
224 × 224. Beside `labelled` at each size stand the floors, each alone at the rate that this machine reaches on it: the
maps read and the gradient written once, two exponentials a cell, and the products of the two sums with cones.
What a command costs before it works is measured in processes of their own (`benchmarks/startup.py`).
What the cache of a frozen trunk saves is in `cache.json` (`benchmarks/cache.py`), what an evaluation costs beside
forward passes in `evaluation_cost_categories.json` (`benchmarks/evaluation_cost.py`).
"""


@dataclass
class Row:
    """One line of the table."""

    measure: str
    goal: str
    measured: str
    is_met: bool | None  # None: a figure without a goal


def below(measure: str, timings: Timings, task: str, to: str, goal: float) -> Row:
    ratios, ratio = timings.ratios(task, to), timings.ratio(task, to)
    spread = f"{ratio:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    return Row(measure, f"≤ {goal:g}", spread, ratio <= goal)


def machine(threads: int, repeats: int) -> str:
    """Without the machine's name."""
    load = f", load {os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores{load}; {threads} thread(s), {repeats} rounds; "
        f"Python {platform.python_version()}, torch {torch.__version__}, partcnn {partcnn.__version__}"
    )


def write_rows(file: Path, name: str, told: str, rows: Sequence[Row]) -> None:
    """Write what was measured under one name, on a machine, into the file and its page; other rows stay."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    found[name] = {"machine": told, "rows": [asdict(row) for row in rows]}
    write_text(file, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    write_text(file.with_suffix(".md"), page(found))


def page(found: dict[str, Any]) -> str:
    marks = {True: "yes", False: "**no**", None: ""}
    order = [name for name in ORDER if name in found]
    lines = [
        "# Speed",
        "",
        INTRODUCTION,
        "| measure | goal | measured | met |",
        "|---|---|---|---|",
        *(
            f"| {row['measure']} | {row['goal']} | {row['measured']} | {marks[row['is_met']]} |"
            for name in order
            for row in found[name]["rows"]
        ),
        "",
        "Machines:",
        "",
        *(
            f"- {', '.join(n for n in order if found[n]['machine'] == text)}: {text}"
            for text in dict.fromkeys(found[name]["machine"] for name in order)
        ),
        "",
    ]
    return "\n".join(lines)
