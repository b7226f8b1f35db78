"""A stranger's first steps, timed: the trained network in the box, the demonstration, and a folder of one's own.

    python benchmarks/first_steps.py --data animalpart:PATH --weights mobilenet_v2.safetensors

Each step is the command line as the pages have it, in a process of its own and an empty folder. The folder of one's own
has 60 pictures of two kinds of animals as they are, 30 each. Installation is not timed: it is the network's.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from partcnn.datasets import load_dataset
from partcnn.foundation.files import write_text

KINDS = ("fox", "lion")
NUM_OF_KIND = 30
PARTCNN = Path(sys.executable).with_name("partcnn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="animalpart:PATH")
    parser.add_argument("--weights", required=True, help="of mobilenet_v2: a file, in place of the library's download")
    parser.add_argument("--out", type=Path, default=Path("docs/results/first_steps.md"))
    options = parser.parse_args()
    weights = str(Path(options.weights).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pictures(options.data, folder / "my-pictures")
        os.environ["PARTCNN_CACHE"] = str(folder / "cache")  # nothing is known beforehand
        train = ["train", "--data", "folder:my-pictures", "--backbone", "mobilenet_v2", "--out", "runs/mine"]
        steps = {
            "the network in the box explains a drawing": [
                ["demo", "--pictures", "drawn"],
                ["explain", "demo:", "drawn/giraffe-0000.png", "--out", "explained"],
            ],
            "the demonstration, to its page": [["demo"]],
            "60 pictures of one's own, to their page": [[*train, "--weights", weights], ["report", "runs/mine"]],
        }
        rows = [(name, commands, *timed(commands, folder)) for name, commands in steps.items()]
    lines = [
        "# First steps",
        "",
        f"{os.cpu_count()} processors, nothing in the cache, installation not counted. Written by",
        "`benchmarks/first_steps.py`.",
        "",
        "| step | commands | seconds | of the processors |",
        "|---|---|---|---|",
    ]
    for name, commands, wall, used in rows:
        shown = "; ".join(f"`partcnn {' '.join(command)}`".replace(weights, "FILE") for command in commands)
        lines.append(f"| {name} | {shown} | {wall:.0f} | {used:.0f} |")
    write_text(options.out, "\n".join(lines) + "\n")
    print("\n".join(lines))


def write_pictures(data: str, folder: Path) -> None:
    for kind in KINDS:
        dataset = load_dataset(data, category=kind, split="all")
        objects = [sample for sample in dataset.samples if dataset.shows_object(sample)][:NUM_OF_KIND]
        (folder / kind).mkdir(parents=True)
        for number, sample in enumerate(objects):
            sample.load_image().save(folder / kind / f"{number}.jpg", quality=95)


def timed(commands: list[list[str]], folder: Path) -> tuple[float, float]:
    """Seconds on the clock, and of the processors."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        subprocess.run([PARTCNN, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, used


if __name__ == "__main__":
    main()
