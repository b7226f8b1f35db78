"""What a step's filter losses send between devices: bytes by objective, filters, cells and pictures.

    python benchmarks/devices.py

Two processes of gloo take one training step of each row, forward and backward, in float32, and every collective of
`partcnn.foundation.ranks` is counted: what an all-reduce carries, and what each rank gives to an all-gather. The
gradients of the weights, which DistributedDataParallel sends as for any network, are not in it. Then the same by
arithmetic for 1,024 devices. Writes docs/results/devices.md and devices.json.
"""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from partcnn.foundation.files import write_text
from partcnn.model.competing_mask import CompetingMask
from partcnn.model.mask import PartMask

RESULTS = Path(__file__).parents[1] / "docs" / "results"
OBJECTIVES = ("exact", "labelled", "labelled, 16 remembered", "assigned", "official", "competing")
# filters, cells of a side, pictures of a rank in two views: each of them doubled once
SIZES = ((8, 14, 16), (16, 14, 16), (8, 28, 16), (8, 14, 32))
CHANNELS, CLASSES = 128, 2
MANY = 1024


class Counted:
    """Bytes of the collectives within it."""

    def __enter__(self) -> "Counted":
        self.reduced = self.gathered = self.calls = 0
        self._before = distributed.all_reduce, distributed.all_gather
        reduce, gather = self._before

        def all_reduce(tensor: Tensor, *settings: Any) -> None:
            self.reduced, self.calls = self.reduced + tensor.nbytes, self.calls + 1
            reduce(tensor, *settings)

        def all_gather(rows: list[Tensor], tensor: Tensor) -> None:
            self.gathered, self.calls = self.gathered + tensor.nbytes, self.calls + 1
            gather(rows, tensor)

        distributed.all_reduce, distributed.all_gather = all_reduce, all_gather
        return self

    def __exit__(self, *_: object) -> None:
        distributed.all_reduce, distributed.all_gather = self._before


def step(name: str, num_filters: int, side: int, pictures: int) -> Callable[[], None]:
    """A training step's losses of one layer: the filter loss and equivariance, forward and backward."""
    generator = torch.Generator().manual_seed(distributed.get_rank())
    labels = (torch.arange(pictures) % CLASSES).repeat(2)
    frames = torch.eye(2, 3).expand(2 * pictures, 2, 3)
    centers = ((torch.arange(side) + 0.5) / side,) * 2
    if name == "competing":
        mask: PartMask = CompetingMask(num_filters, CLASSES, CHANNELS, background=0)
    else:
        objective, _, memory = name.partition(", ")
        mask = PartMask(num_filters, CLASSES, objective=objective, enabled=False, memory=16 if memory else 0)
    mask.num_views = 2

    def losses() -> None:
        count = num_filters + (name == "competing")
        maps = torch.rand(2 * pictures, count, side, side, generator=generator).requires_grad_()
        if isinstance(mask, CompetingMask):
            mask.compete(maps, torch.rand(2 * pictures, CHANNELS, side, side, generator=generator))
        else:
            mask(maps)
        loss = mask.filter_objective(labels).loss.mean() + mask.equivariance(labels, frames, centers).mean()
        loss.backward()

    return losses


def _in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    rows = []
    for name in OBJECTIVES:
        for num_filters, side, pictures in SIZES:
            losses = step(name, num_filters, side, pictures)
            losses()
            losses()  # the memory is full of what it will be
            with Counted() as counted:
                losses()
            rows.append(
                {
                    "objective": name,
                    "filters": num_filters,
                    "cells": side * side,
                    "pictures": pictures,
                    "reduced_bytes": counted.reduced,
                    "gathered_bytes": counted.gathered,
                    "collectives": counted.calls,
                    "maps_bytes": 2 * pictures * num_filters * side * side * 4,
                }
            )
    if rank == 0:
        Path(folder, "rows.json").write_text(json.dumps(rows))
    distributed.destroy_process_group()


def measured_rows() -> list[dict[str, Any]]:
    """Of every objective and size."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(_in_process, (folder,), nprocs=2, start_method="spawn")
        rows: list[dict[str, Any]] = json.loads(Path(folder, "rows.json").read_text())
    for row in rows:
        row["sent_by_one_of_1024"] = round(
            2 * (MANY - 1) / MANY * row["reduced_bytes"] + (MANY - 1) * row["gathered_bytes"]
        )
    return rows


def page(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = [
        "# What devices tell each other",
        "",
        "Made by `benchmarks/devices.py`: one layer's losses of a training step (filter loss and equivariance, forward",
        "and backward, float32, two views a picture), between two processes, counted. *Reduced* is what all-reduces",
        "carry, *gathered* what a rank gives to all-gathers; *maps* is what one rank's maps of the step are, which are",
        "never sent.",
        "",
        "| objective | filters | cells | pictures of a rank | collectives | reduced, kB | gathered, kB | maps, kB "
        f"| one of {MANY:,} devices sends, kB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        reduced, gathered, maps, sent = (
            f"{row[name] / 1000:,.1f}"
            for name in ("reduced_bytes", "gathered_bytes", "maps_bytes", "sent_by_one_of_1024")
        )
        lines.append(
            f"| {row['objective']} | {row['filters']} | {row['cells']} | {row['pictures']} | {row['collectives']} "
            f"| {reduced} | {gathered} | {maps} | {sent} |"
        )
    lines += [
        "",
        "Twice the filters are twice the bytes, twice the side four times the cells and the bytes of what is summed",
        "by cell (`exact`, `labelled`, `assigned`); filters that compete send sums by filter, and filters × channels",
        "for what filters are. Twice the pictures change nothing, but for `official`: the authors hold each map",
        "against the template of another one, so its ranks tell each other every map's centroid, two numbers a map.",
        "`labelled` that remembers also gathers a place for each of the 16 maps that a filter keeps; the maps stay",
        "where they were seen.",
        "",
        f"**{MANY:,} devices** are arithmetic, not a measurement: a ring, in which an all-reduce of n bytes has each",
        f"device send 2 n ({MANY:,} − 1) / {MANY:,}, and an all-gather n ({MANY:,} − 1), with the table's numbers of",
        "pictures on each device. `official` would reduce a table of the pictures of all devices: its last column",
        "counts those of two, so it is too small. What time it takes is not measured here: a small all-reduce costs",
        "latency, and the column of collectives says how many there are.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    found = measured_rows()
    write_text(RESULTS / "devices.json", json.dumps(found, indent=1) + "\n")
    write_text(RESULTS / "devices.md", page(found))
