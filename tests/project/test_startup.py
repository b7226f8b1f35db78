"""What each command has not imported when it is done: `benchmarks/startup.py` has the seconds."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

RUN = str(Path(__file__).parents[1] / "data" / "run-before-the-rooms")
NETWORKS = {"torchvision", "timm", "transformers"}
DRAWING = {"matplotlib", "jinja2"}
TRAINING = {"lightning", "tensorboard", "torchmetrics"}
READERS = {"scipy", "h5py"}
ALL = {"torch", "numpy", "PIL", "safetensors"} | NETWORKS | DRAWING | TRAINING | READERS
SPIED = """\
import sys
from partcnn.app.cli.commands import main
try:
    ended = main(sys.argv[1:])
except SystemExit as asked:
    ended = asked.code
print("\\nimported:", *{name.partition(".")[0] for name in sys.modules})
sys.exit(ended)
"""


def imported_by(arguments: list[str]) -> set[str]:
    """The libraries that are loaded when a command ends, which must end well."""
    command = [sys.executable, "-c", SPIED, *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    assert told.startswith("imported:")
    return set(told.split()[1:])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([command, "--help"] for command in ("train", "evaluate", "explain", "report", "view", "redundancy", "names")),
        *([command, "--help"] for command in ("prune", "export", "compare", "info", "benchmark", "demo")),
        *([command, "--help"] for command in ("doctor", "figure", "completion")),
        ["benchmark", "paper", "--help"],
        ["benchmark", "objectives", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_version_cost_no_torch(arguments: list[str]) -> None:
    assert imported_by(arguments) & ALL == set()


def test_explaining_a_picture_trains_draws_and_reads_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (112, 112), "red").save(tmp_path / "red.png")
    found = imported_by(["explain", RUN, str(tmp_path / "red.png")])
    assert found & (TRAINING | DRAWING | READERS | {"transformers"}) == set()


def test_doctor_answers_before_torch_would_be_there() -> None:
    assert imported_by(["doctor"]) & ALL <= {"torch", "numpy"}  # where torch is built for GPUs


def test_comparing_runs_opens_no_network() -> None:
    found = imported_by(["compare", RUN, RUN])
    assert found & (NETWORKS | TRAINING | DRAWING | READERS) == set()


def test_measuring_redundancy_trains_nothing(tmp_path: Path) -> None:
    """Its own work needs scipy and torchvision."""
    found = imported_by(["redundancy", RUN, "--workers", "0"])
    assert found & (TRAINING | DRAWING | {"transformers", "h5py"}) == set()
