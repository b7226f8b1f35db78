"""What a command costs before it does anything, beside `import torch`; rows of docs/results/speed.*

    python benchmarks/startup.py    # a minute or two

Each command is a process of its own. Commands and `python -c "import torch"` run in turns, and the processor's seconds
of each process (user and system, all threads) are taken from the kernel when it ends; so other work on the machine
troubles all alike. What a command that works on a run does itself is measured apart, as the second of two calls in one
process, and taken off.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from speed_page import Row, machine, write_rows

from partcnn.datasets.drawn.drawing import draw_animal

ROOT = Path(__file__).parents[1]
RUN = str(ROOT / "tests" / "data" / "run-before-the-rooms")
TORCH = "import torch"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TWICE = """\
import contextlib, io, sys, time
from partcnn.app.cli.commands import main
with contextlib.redirect_stdout(io.StringIO()):
    main(sys.argv[1:])
    began = time.process_time()
    main(sys.argv[1:])
print(time.process_time() - began)
"""


def commands(picture: Path) -> dict[str, tuple[list[str], float]]:
    """As it is told → arguments, and the most it may cost, in imports of torch."""
    return {
        "--help": (["--help"], 0.3),
        "--version": (["--version"], 0.3),
        "train --help": (["train", "--help"], 1.2),
        "redundancy --help": (["redundancy", "--help"], 2.0),
        "compare RUN RUN": (["compare", RUN, RUN], 2.0),
        "explain RUN PICTURE": (["explain", RUN, str(picture)], 2.0),
    }


def seconds_of(arguments: list[str]) -> float:
    """The processor's, of a process of python with these arguments."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | ONE_THREAD
    )
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{arguments} ended with {process.returncode}: {told.decode()}")
    return usage.ru_utime + usage.ru_stime


def own_work(arguments: list[str]) -> float:
    """The processor's seconds of a command where all that it imports is there already."""
    command = [sys.executable, "-c", TWICE, *arguments]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ONE_THREAD).stdout
    return float(told)


def rows(repeats: int, picture: Path) -> list[Row]:
    asked = commands(picture)
    seconds: dict[str, list[float]] = {name: [] for name in (TORCH, *asked)}
    seconds_of(["-c", TORCH])  # the first one reads files that the others find in memory
    for repeat in range(repeats):
        seconds[TORCH].append(seconds_of(["-c", TORCH]))
        for name, (arguments, _) in asked.items():
            seconds[name].append(seconds_of(["-m", "partcnn", *arguments]))
        print(repeat, {name: f"{found[-1]:.2f}" for name, found in seconds.items()}, flush=True)
    torch_s = statistics.median(seconds[TORCH])
    work = {
        name: 0.0 if "--" in name else statistics.median(own_work(arguments) for _ in range(3))
        for name, (arguments, _) in asked.items()
    }
    return [row(name, statistics.median(seconds[name]), work[name], torch_s, goal) for name, (_, goal) in asked.items()]


def row(name: str, command_s: float, work_s: float, torch_s: float, goal: float) -> Row:
    ratio = (command_s - work_s) / torch_s
    told = f"{ratio:.2f} × ({command_s:.2f} s"
    told += f", its own work of {work_s:.2f} s taken off" if work_s else ""
    measured = f"{told}; torch {torch_s:.2f} s)"
    return Row(f"`partcnn {name}` beside `import torch`", f"≤ {goal:g} ×", measured, ratio <= goal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "speed.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "cat.png"
        draw_animal("cat", 3, size=112).image.save(picture)
        found = rows(options.repeats, picture)
    for measured in found:
        print(measured, flush=True)
    write_rows(options.out, "startup", machine(1, options.repeats), found)


if __name__ == "__main__":
    main()
