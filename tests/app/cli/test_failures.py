"""What ends a command and is no mistake of ours is told in one line, with exit status 2."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch

from partcnn.app.cli import compare, main
from partcnn.app.cli.failures import in_one_line
from partcnn.app.runs.opening import kept_figures
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.errors import DivergedError

RUN = Path(__file__).parents[2] / "data" / "run-before-the-rooms"
BRACKETS = "[" * 100_000


def no_memory_of_torch() -> None:
    torch.empty(2**60)


def no_memory_of_python() -> None:
    bytearray(2**62)


def no_memory_of_a_card() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def killed_worker() -> None:
    raise RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed. ")


def full_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_disk_of_torch() -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/0")


def diverged() -> None:
    raise DivergedError("training diverged at epoch 3")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (no_memory_of_torch, "not enough memory"),
        (no_memory_of_python, "not enough memory"),
        (no_memory_of_a_card, "not enough memory"),
        (killed_worker, "fewer --workers"),
        (full_disk, "No space left on device"),
        (full_disk_of_torch, "the disk may be full"),
        (diverged, "training diverged at epoch 3"),
    ],
)
@pytest.mark.fault("stop", "memory or the disk ends, in torch, Python or on a card", "exit 2, one line")
def test_what_a_machine_refuses_is_one_line(
    failure, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "execute", lambda _: failure())
    assert main(["compare", str(RUN)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("partcnn: ")
    assert told in line


def test_what_nobody_foresaw_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistake(_: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(compare, "execute", mistake)
    assert in_one_line(RuntimeError("shapes do not fit")) is None
    with pytest.raises(RuntimeError, match="shapes"):
        main(["compare", str(RUN)])


@pytest.mark.parametrize("name", ["run.yaml", "metrics.json", "config.json"])
@pytest.mark.fault("file", "a run whose run.yaml, metrics.json or config.json is 100 000 brackets", "exit 2, one line")
def test_a_file_of_brackets_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(RUN, run)
    (run / name).write_text(BRACKETS)
    assert main(["report" if name == "config.json" else "compare", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line
    assert len(line) < 1000


@pytest.mark.fault("file", "--config is 100 000 brackets", "exit 2, one line")
def test_settings_of_brackets_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text(BRACKETS)
    assert main(["train", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config" in line


@pytest.mark.parametrize("training", ["3", "{state: asleep}", "{state: done, epochs: many}"])
@pytest.mark.fault("file", "run.yaml says nonsense of its training", "exit 2, one line")
def test_a_state_that_is_none_is_one_line(training: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(RUN, run)
    with (run / "run.yaml").open("a") as opened:
        opened.write(f"training: {training}\n")
    assert main(["compare", str(run)]) == 2
    assert "expected state, epochs" in capsys.readouterr().err


@pytest.mark.fault("run", "figures are written by an earlier partcnn over a run of this one", "they are not used")
def test_figures_that_say_nothing_of_their_weights_are_not_of_a_run_that_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(RUN, run)
    assert kept_figures(run) is not None  # of an earlier version both
    state = {"state": "done", "epochs": 1, "num_epochs": 1, "weights": "0" * 64, "id": "x"}
    with (run / "run.yaml").open("a") as opened:
        opened.write(f"training: {json.dumps(state)}\n")
    assert kept_figures(run) is None
    assert "are of other weights" in caplog.text


@pytest.mark.fault(
    "run", "a run on a read-only disk is evaluated", "the figures are shown, one line: they are not kept"
)
def test_a_run_that_cannot_be_written_to_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(RUN, run)

    def refusing(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    figures = Evaluation.from_json(run / "metrics.json")
    monkeypatch.setattr("partcnn.evaluation.measurement.evaluate", lambda *_, **__: figures)
    monkeypatch.setattr("partcnn.foundation.files.tempfile.mkdtemp", refusing)
    before = (run / "metrics.json").read_bytes()
    assert main(["evaluate", str(run), "--workers", "0", "--json"]) == 0
    captured = capsys.readouterr()
    assert "accuracy" in json.loads(captured.out)["summary"]
    assert "the figures are not kept" in " ".join(captured.err.split())
    assert (run / "metrics.json").read_bytes() == before


@pytest.mark.fault("run", "--out is on a read-only disk", "exit 2, one line, before anything is trained")
def test_a_place_that_cannot_be_written_to_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", refusing)
    arguments = ["train", "--data", "demo:2", "--category", "cat", "--backbone", "demo", "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("partcnn: the system refuses: [Errno 30] Read-only file system")
