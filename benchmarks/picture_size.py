"""What explaining one picture costs, by the picture's size: time, and the most memory that a process of its own held.

    python benchmarks/picture_size.py RUN --out picture_size.json

Each size is explained in a process of its own, with the figure of `partcnn explain --out` or the answer of `partcnn
view`. The goal: of 12 megapixels at most 1.2 times the memory of 0.2 megapixels, plus the decoded picture.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from partcnn.foundation.files import write_text

GOAL = 1.2  # times the memory of the smallest picture, beside the decoded one
SIZES = {0.2: (520, 390), 2: (1640, 1220), 12: (4000, 3000), 49: (8000, 6125)}  # megapixels → (width, height)
_MIB = 2**20


def photograph(file: Path, size: tuple[int, int]) -> Path:
    """Smooth colours with some noise, as a camera's; in the format of the file's ending."""
    small = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    grain = Image.effect_noise((512, 512), 24).resize(size)
    Image.blend(picture, grain.convert("RGB"), 0.15).save(file)
    return file


def measured(run: str, picture: Path, what: str) -> dict[str, float]:
    """Seconds, and the most bytes that the process held, of one explanation.

    Args:
        run: directory.
        picture: file.
        what: "explain" with figure and numbers, or "view".
    """
    command = [sys.executable, __file__, run, "--one", str(picture), "--what", what]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def rows(run: str, sizes: dict[float, tuple[int, int]] = SIZES, ending: str = ".jpg") -> list[dict[str, Any]]:
    """Each with `what`, `megapixels`, `seconds`, `peak_mib`, `decoded_mib`, and whether the goal is `met`."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for what in ("explain", "view"):
            least = 0.0
            for megapixels, size in sizes.items():
                one = measured(run, photograph(Path(folder, f"{megapixels}{ending}"), size), what)
                least = least or one["peak"]
                decoded = 3 * size[0] * size[1]
                found.append(
                    {
                        "what": what,
                        "megapixels": megapixels,
                        "seconds": one["seconds"],
                        "peak_mib": one["peak"] / _MIB,
                        "decoded_mib": decoded / _MIB,
                        "met": one["peak"] <= GOAL * least + decoded,
                    }
                )
    return found


def explain_one(run: str, picture: str, what: str) -> dict[str, float]:
    """In this process."""
    from partcnn.app.runs.opening import open_run
    from partcnn.explanation.explanation import explain
    from partcnn.reporting.viewer.answer import picture_answer

    model = open_run(run).model
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        why = explain(model, picture, hide=5)
        if what == "view":
            picture_answer(why, {})
        else:
            why.save(Path(folder, "why.png"))
        seconds = time.monotonic() - began
    return {"seconds": seconds, "peak": peak_bytes()}


def peak_bytes() -> float:
    """The most that this process held since it began. Linux: `ru_maxrss` is never less than its parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * float(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory")
    parser.add_argument("--ending", default=".jpg", help=".jpg or .png")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--what", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(explain_one(options.run, options.one, options.what)))
        return
    found = rows(options.run, ending=options.ending)
    for row in found:
        print({name: round(value, 2) if isinstance(value, float) else value for name, value in row.items()})
    if options.out:
        write_text(options.out, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
