"""Trainings that are stopped, killed or refused, in processes of their own."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from partcnn.app.cli import main
from partcnn.app.runs import followed_parts, open_run, run_evaluation
from partcnn.app.runs.place import half_made, state_of
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.files import file_digest
from partcnn.foundation.signals import ENDING, Stopped, stopping
from partcnn.model.conversion import convert
from partcnn.model.saving.checkpoint import load, save
from partcnn.networks.demo_net import DemoNet
from partcnn.training.fitting import fit
from partcnn.training.recipe import Recipe
from tests.app.processes import Command, command, epochs_of, slow_file

DATA = ["--data", "demo:4", "--category", "cat", "--backbone", "demo", "--layers", "features.block4", "--workers", "0"]
ENDLESS = ["--epochs", "5000"]


def train(out: Path, *more: str) -> list[str]:
    return ["train", *DATA, "--out", str(out), "--json", *more]


def hidden(out: Path) -> Path:
    return out.with_name(f".{out.name}.training")


def stopped_in_training(out: Path, said: Path, number: int, *more: str) -> tuple[int | None, str]:
    """How a training ends, and all that it says, that gets a signal after its first epoch."""
    with command(train(out, *ENDLESS, *more), said) as process:
        process.wait_for(lambda: epochs_of(hidden(out)) >= 1)
        process.send(number)
        return process.status(), process.said


def files(directory: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def without_spaces(text: str) -> str:
    """Lines are broken at the terminal's width, names of files within them too."""
    return "".join(text.split())


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("partcnn: ")]
    assert "Traceback" not in said
    return line


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(train(out, "--epochs", "1")) == 0
    return out


@pytest.fixture
def old(whole: Path, tmp_path: Path) -> Path:
    """A whole run, in a folder of its own."""
    shutil.copytree(whole, tmp_path / "runs" / "run")
    return tmp_path / "runs" / "run"


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int | None, str]:
    """A training that SIGTERM stopped: where, its exit status, and what it said."""
    out = tmp_path_factory.mktemp("half") / "run"
    status, said = stopped_in_training(out, out.with_name("said"), signal.SIGTERM)
    return out, status, said


@pytest.mark.fault("stop", "SIGTERM in training (Slurm, Kubernetes, docker stop)", "saved, one line, exit 143")
def test_sigterm_saves_what_is_trained_and_says_so(half: tuple[Path, int | None, str]) -> None:
    out, status, said = half
    state = state_of(out)
    assert status == 143, said
    assert state is not None
    assert (state.state, state.num_epochs) == ("interrupted", 5000)
    assert f"interrupted after {state.epochs} of 5000 epochs" in said
    assert without_spaces(f"partcnn train --resume {out} goes on") in without_spaces(said)
    assert "Traceback" not in said
    assert names(out.parent) == ["run", "said"]


@pytest.mark.fault("run", "half a run is evaluated", "the figures say that it is half a run, and of how many epochs")
def test_half_a_run_is_told_wherever_it_is_read(
    half: tuple[Path, int | None, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(half[0], out)
    assert main(["evaluate", str(out), "--workers", "0"]) == 0
    captured = capsys.readouterr()
    assert "half a run: interrupted after" in " ".join(captured.out.split())
    assert "of 5000 epochs" in " ".join(captured.err.split())
    assert main(["evaluate", str(out), "--workers", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["run"]
    assert (found["state"], found["num_epochs"]) == ("interrupted", 5000)
    assert main(["report", str(out)]) == 0
    assert "This is half a run: interrupted after" in (out / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["compare", str(out), str(out)]) == 0
    assert "half a run" in " ".join(capsys.readouterr().err.split())


@pytest.mark.fault("resume", "`kill -9` in training, then `train --resume`", "training goes on, the run is whole")
def test_a_killed_training_goes_on_and_takes_its_place(tmp_path: Path) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    with command(train(out, "--epochs", "20"), said) as process:
        process.wait_for(lambda: epochs_of(hidden(out)) >= 2)
        process.send(signal.SIGKILL)
        assert process.status() == -signal.SIGKILL
    before = state_of(hidden(out))
    assert before is not None
    assert before.state == "running"
    assert names(tmp_path) == [".run.training", "said"]
    assert main(train(out, "--epochs", "20", "--resume", str(out))) == 0
    after = state_of(out)
    assert after is not None
    assert (after.state, after.epochs, after.id) == ("done", 20, before.id)
    assert len((out / "log" / "metrics.csv").read_text().splitlines()) > 20
    assert not (out / "training_state").exists()
    assert names(tmp_path) == ["run", "said"]


@pytest.mark.fault("stop", "Ctrl-C while `train --force` replaces a run", "the old run stays, the new one can go on")
def test_an_old_run_stays_where_its_successor_is_stopped(old: Path, tmp_path: Path) -> None:
    before = files(old)
    status, said = stopped_in_training(old, tmp_path / "said", signal.SIGINT, "--force")
    assert status == 130
    told = f"the run in {old} stays as it was; the new one so far is in {hidden(old)}"
    assert without_spaces(told) in without_spaces(said)
    assert files(old) == before
    assert half_made(old) == hidden(old)


@pytest.mark.fault("run", "`kill -9` of `train --force`", "the old run stays; the next training says how to go on")
def test_an_old_run_stays_where_its_successor_is_killed(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(old)
    status, _ = stopped_in_training(old, tmp_path / "said", signal.SIGKILL, "--force")
    assert status == -signal.SIGKILL
    assert files(old) == before
    assert main(["evaluate", str(old), "--workers", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["state"] == "done"
    shutil.rmtree(old)
    said = one_line(capsys, ["evaluate", str(old)])
    assert "is not whole yet" in said
    assert f"partcnn train --resume {old}" in said
    (hidden(old) / "model.safetensors").touch()  # as where a first state was kept
    said = one_line(capsys, train(old))
    assert "--resume" in said
    assert "--force" in said
    assert main(train(old, "--epochs", "1", "--force")) == 0
    assert names(old.parent) == ["run"]


@pytest.mark.fault("stop", "a second Ctrl-C while the first one is saving", "the process ends at once")
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    with command(train(out, *ENDLESS), said, slow="partcnn.training.fitting:save") as process:
        process.wait_for(lambda: epochs_of(hidden(out)) >= 1)
        process.send(signal.SIGINT)
        process.wait_for(slow_file(said).exists)
        process.send(signal.SIGINT)
        assert process.status() == -signal.SIGINT


def _stopped_where(slow: str, arguments: list[str], said: Path) -> tuple[int | None, Command]:
    with command(arguments, said, slow=slow) as process:
        process.wait_for(slow_file(said).exists)
        process.send(signal.SIGTERM)
        return process.status(), process


@pytest.mark.fault("stop", "SIGTERM while features are computed", "exit 143, one line, nothing is left")
def test_stopped_before_training_nothing_is_left(tmp_path: Path) -> None:
    arguments = train(tmp_path / "run", "--epochs", "1")
    status, process = _stopped_where("partcnn.training.fitting:prepare", arguments, tmp_path / "said")
    assert (status, process.said) == (143, "partcnn: stopped by SIGTERM")
    assert names(tmp_path) == ["said", "said.slow"]


@pytest.mark.fault("stop", "SIGTERM while a trained network is measured", "the run is whole, `evaluate` measures it")
def test_stopped_while_it_is_measured_the_run_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    status, process = _stopped_where("partcnn.app.runs.making:evaluate_run", train(out, "--epochs", "1"), said)
    assert status == 143
    told = f"{out} is trained and not measured: partcnn evaluate {out}"
    assert without_spaces(told) in without_spaces(process.said)
    assert not (out / "metrics.json").exists()
    assert main(["train", "--resume", str(out), "--json"]) == 0  # nothing but the figures was missing
    assert json.loads(capsys.readouterr().out) == json.loads((out / "metrics.json").read_text())


@pytest.mark.fault("stop", "SIGTERM while a page is written", "exit 143, one line, no page")
def test_stopped_while_a_page_is_written_there_is_none(old: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ["report", str(old), "--out", str(page)]
    status, process = _stopped_where("partcnn.reporting.writing:gather", arguments, tmp_path / "said")
    assert (status, process.said) == (143, "partcnn: stopped by SIGTERM")
    assert not page.exists()


@pytest.mark.fault("stop", "the disk is full, or a quota ends, when weights are saved", "exit 2, the old run stays")
def test_weights_that_cannot_be_written_are_one_line(old: Path, tmp_path: Path) -> None:
    before = files(old)
    with command(train(old, "--epochs", "1", "--force"), tmp_path / "said", most_bytes=200_000) as process:
        assert process.status() == 2
        assert "partcnn: the system refuses: [Errno 27] File too large" in process.said
        assert "Traceback" not in process.said
    assert files(old) == before


@pytest.mark.fault("stop", "the system kills a process that reads pictures", "exit 2, one line that names --workers")
def test_a_killed_worker_is_one_line(tmp_path: Path) -> None:
    arguments = train(tmp_path / "run", "--epochs", "1", "--workers", "1")
    deadly = "partcnn.training.features:_Made.__getitem__"
    with command(arguments, tmp_path / "said", deadly=deadly) as process:
        assert process.status() == 2, process.said
        assert "fewer --workers may do" in process.said
        assert "Traceback" not in process.said
    assert names(tmp_path) == ["said"]


@pytest.mark.fault("run", "another network is saved into a run directory", "its figures are measured anew, one line")
def test_figures_of_other_weights_are_not_shown(
    old: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads((old / "metrics.json").read_text())
    model = load(old)
    with torch.no_grad():
        model.head.weight.neg_()
    save(model, old)
    found = run_evaluation(open_run(old))
    assert found.run["weights"] == file_digest(old / "model.safetensors") != before["run"]["weights"]
    assert followed_parts(open_run(old)) == {one.filter: one.part_name for one in found.filters if one.part_name}
    assert "its weights are others than partcnn train left there" in caplog.text
    assert "its figures are of other weights and are not used" in caplog.text
    assert main(["compare", str(old), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[str(old)]["run"]["weights"] == found.run["weights"]


def _fit_alone(directory: Path) -> None:
    """A script of one's own, that nobody tells of signals."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    model = convert(DemoNet(), "features.block4", num_classes=2, input_size=(112, 112))
    with pytest.raises(SystemExit, match="143"):
        fit(model, load_dataset("demo:4", category="cat"), Recipe(epochs=5000), trunk="finetune", directory=directory)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    raise SystemExit(143)


@pytest.mark.fault("stop", "SIGTERM in a script of one's own that calls fit", "the network is saved, exit 143")
def test_sigterm_in_a_script_of_ones_own(tmp_path: Path) -> None:
    process = get_context("forkserver").Process(target=_fit_alone, args=(tmp_path,))
    process.start()
    log = tmp_path / "log" / "metrics.csv"
    ends = time.monotonic() + 60
    while not log.exists() and time.monotonic() < ends:
        time.sleep(0.02)
    process.terminate()
    process.join(60)
    assert process.exitcode == 143
    assert load(tmp_path) is not None


@pytest.fixture
def _as_in_a_terminal() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and what nohup starts that the terminal is gone."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_as_in_a_terminal")
def test_a_library_gets_its_handlers_back_and_stopped_says_which_signal() -> None:
    before = {number: signal.getsignal(number) for number in ENDING}
    with stopping() as stop:
        assert all(signal.getsignal(number) != before[number] for number in ENDING)
        with pytest.raises(Stopped, match="SIGTERM"):
            signal.raise_signal(signal.SIGTERM)
        assert stop.exit_status == 143
    assert {number: signal.getsignal(number) for number in ENDING} == before


def test_what_others_handle_or_ignore_stays() -> None:
    theirs: Any = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stopping():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, theirs)


@pytest.mark.fault("resume", "`train --resume` of a whole run", "it says that there is nothing to do, exit 0")
def test_a_whole_run_has_nothing_to_do(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(old)
    assert main(["train", "--resume", str(old)]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert files(old) == before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--seed", "3"], "--seed 3"),
        (["--recipe.lr", "0.5"], "--recipe.lr 0.5"),
        (["--force"], "--force True"),
        (["--out", "elsewhere"], "--out elsewhere"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.fault("resume", "other settings beside --resume", "one line names those that differ")
def test_other_settings_beside_resume_are_named(
    flags: list[str], named: str, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in one_line(capsys, ["train", "--resume", str(old), *flags])


def test_the_same_command_with_resume_is_taken(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = yaml.safe_load((old / "run.yaml").read_text())
    again = ["train", *DATA, "--out", record["out"], "--objective", "auto", "--epochs", "1", "--workers", "1"]
    Path(record["out"]).parent.mkdir(exist_ok=True)
    assert main([*again, "--resume", record["out"]]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_what_a_training_needs_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected --data and --out, or --resume RUN" in one_line(capsys, ["train"])
