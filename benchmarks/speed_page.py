"""The table of `benchmarks/speed.py`: a row for each measure, with its goal and whether it is met."""

import os
import platform
from dataclasses import dataclass
from typing import Any

import torch
from alternation import Timings

import partcnn

INTRODUCTION = """\
Made by `make bench` (`benchmarks/speed.py`). Ratios are medians over rounds in which what is compared runs in turns in
one process, with the least and the largest round in brackets; seconds are the processor's. *Naive* is the same formula
with the bank of templates and autograd (`tests/reference/naive_torch.py`). Networks have random weights, pictures are
224 × 224. Beside `labelled` at each size stand the floors, each alone at the rate that this machine reaches on it: the
maps read and the gradient written once, two exponentials a cell, and the products of the two sums with cones.
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


def page(found: dict[str, Any], order: list[str]) -> str:
    marks = {True: "yes", False: "**no**", None: ""}
    order = [name for name in order if name in found]
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
