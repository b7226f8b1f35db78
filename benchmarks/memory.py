"""Peak memory of `partcnn train` on data sets of 1,000, 4,000 and 16,000 small pictures.

    python benchmarks/memory.py [--out docs/results/memory.json] [--page docs/results/memory.md]

Each is a process of its own with an empty cache; what is read is the most that the system has counted for it, mapped
files included. The pictures are drawn animals and scenery at 64 pixels, each moved and with noise of its own. All
trainings take about as many steps, so that what grows is the number of pictures alone; each is repeated, and the
median is what counts: how the C library cuts up what it holds differs by some 25 MiB from run to run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from partcnn.datasets.drawn.drawing import draw_animal, draw_background
from partcnn.networks.demo_net import DemoNet

_SIDE_PX = 64
_NUM_DRAWN = 60  # of each of the two classes; the rest are these, moved
_SETTINGS = ["--backbone", "demo", "--network.input_size", str(_SIDE_PX), "--workers", "0"]
_SETTINGS += ["--recipe.batch_size", "128", "--recipe.num_views", "2"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 4000, 16000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/memory.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/memory.md"))
    asked = parser.parse_args()
    drawn = _drawn()
    rows = []
    for size in asked.sizes:
        with tempfile.TemporaryDirectory(prefix="partcnn-memory-") as folder:
            _write_pictures(Path(folder, "pictures"), size, drawn)
            epochs = max(1, round(max(asked.sizes) / size))
            runs = [measured(Path(folder), size, epochs) for _ in range(asked.repeats)]
            middle = sorted(runs, key=lambda run: run["peak_mib"])[len(runs) // 2]
            rows.append({**middle, "peaks_mib": [run["peak_mib"] for run in runs]})
            print(rows[-1], flush=True)
    rows.sort(key=lambda row: row["pictures"])
    asked.out.write_text(json.dumps(rows, indent=1) + "\n")
    asked.page.write_text(page(rows))


def _drawn() -> dict[str, list[np.ndarray[Any, Any]]]:
    """Class → [row, col, channel] pictures, an eighth larger than they are used."""
    room = _SIDE_PX * 9 // 8
    animals = [draw_animal("cat", index).image for index in range(_NUM_DRAWN)]
    scenery = [draw_background(index) for index in range(_NUM_DRAWN)]
    shrunk = {"cat": animals, "background": scenery}
    return {name: [np.asarray(one.resize((room, room))) for one in pictures] for name, pictures in shrunk.items()}


def _write_pictures(folder: Path, size: int, drawn: dict[str, list[np.ndarray[Any, Any]]]) -> None:
    random = np.random.default_rng(0)
    for name, pictures in drawn.items():
        (folder / name).mkdir(parents=True)
        for number in range(size // 2):
            whole = pictures[number % len(pictures)]
            top, left = random.integers(0, len(whole) - _SIDE_PX, 2)
            pixels = whole[top : top + _SIDE_PX, left : left + _SIDE_PX].astype(np.int16)
            pixels = (pixels + random.integers(-12, 13, pixels.shape)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.jpg", quality=90)


def measured(folder: Path, size: int, epochs: int) -> dict[str, Any]:
    """One training in a process of its own, on the pictures of the folder."""
    weights = folder / "demo.safetensors"
    torch.manual_seed(0)
    save_file(DemoNet(num_classes=1000).state_dict(), weights)
    data = ["--data", f"folder:{folder / 'pictures'}", "--category", "cat", "--weights", str(weights)]
    code = "from partcnn.app.cli.commands import main; import sys; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "train", *data, *_SETTINGS, "--out", str(folder / "run")]
    command += ["--force", "--epochs", str(epochs), "--recipe.head_epochs", str(epochs)]
    shutil.rmtree(folder / "cache", ignore_errors=True)
    began = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, "PARTCNN_CACHE": str(folder / "cache")})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"partcnn train ended with {process.returncode}")
    kept = sum(file.stat().st_size for file in (folder / "cache").rglob("*.safetensors"))
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "pictures": size,
        "epochs": epochs,
        "peak_mib": round(peak / 2**20, 1),
        "cache_mib": round(kept / 2**20, 1),
        "seconds": round(time.monotonic() - began),
    }


def page(rows: list[dict[str, Any]]) -> str:
    """The figures in words."""
    least, most = (bound(row["peak_mib"] for row in rows) for bound in (min, max))
    lines = [
        "# Memory",
        "",
        "Peak memory of `partcnn train` and the evaluation that follows, on small pictures, 70 % of them for training:",
        "`python benchmarks/memory.py`. The trunk's maps lie in the cache, in files of up to 32 MiB, and are read",
        "as they are needed. Epochs are chosen so that all take about as many steps.",
        "",
        "| pictures | epochs | peak memory, MiB: median, each | maps in the cache, MiB |",
        "|---|---|---|---|",
        *(_line(row) for row in rows),
        "",
        f"The highest median is {100 * (most / least - 1):.0f} % above the lowest. With the pictures grow their list,",
        "the object map (4 bytes a cell) and, up to 4096 pictures of each kind, what filters start from.",
        "",
    ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    each = ", ".join(f"{peak:.0f}" for peak in row["peaks_mib"])
    return f"| {row['pictures']} | {row['epochs']} | {row['peak_mib']:.0f}: {each} | {row['cache_mib']:.0f} |"


if __name__ == "__main__":
    main()
