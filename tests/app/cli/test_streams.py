"""What a terminal or a file cannot show is replaced; after a training there is no traceback."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from partcnn.app.cli import main
from partcnn.app.cli.tables import console
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.foundation.streams import printable
from partcnn.foundation.terminal import PlainFormatter

RUN = Path(__file__).parents[2] / "data" / "run-before-the-rooms"
TRAIN = ["--backbone", "demo", "--layers", "features.block4", "--epochs", "1", "--workers", "0"]
ODD = os.fsdecode(b"caf\xe9")  # a folder out of an archive of Windows: no text in UTF-8


class Terminal(io.TextIOWrapper):
    """Of some letters."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    @property
    def shown(self) -> str:
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


def on_terminal(arguments: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    out, err = Terminal(encoding), Terminal(encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        status = main(arguments)
    return status, out.shown + err.shown


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for kind, name in (("cat", "猫"), ("giraffe", ODD)):
        (root / name).mkdir()
        for seed in range(8):
            file = root / name / f"{name}-{seed}.png"
            with file.open("wb") as opened:
                draw_animal(kind, seed, size=64).image.save(opened, "PNG")
    return root


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk", "shift_jis", "utf-8"])
def test_tables_are_printed_on_any_terminal(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, shown = on_terminal(["compare", str(RUN), str(RUN)], encoding, monkeypatch)
    assert status == 0
    assert "accuracy" in shown


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.fault("name", "a folder whose name is not UTF-8, on a terminal of ASCII", "trained, measured, drawn")
def test_a_training_on_odd_names_is_shown_saved_and_drawn(
    encoding: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "run")
    status, shown = on_terminal(["train", "--data", f"folder:{pictures}", "--out", out, *TRAIN], encoding, monkeypatch)
    assert (status, "trained in" in shown) == (0, True)
    picture = next((pictures / ODD).iterdir())
    for command in (
        ["evaluate", out, "--workers", "0", "--csv", f"{out}/filters.csv"],
        ["report", out],
        ["explain", out, str(picture), "--out", f"{out}/why"],
        ["info", "--data", f"folder:{pictures}", "--out", f"{out}/sheet.png"],
    ):
        status, shown = on_terminal(command, encoding, monkeypatch)
        assert (status, "Traceback" in shown) == (0, False)
    assert "猫" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["classes"] == sorted(["猫", ODD])


def test_signs_keep_their_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", Terminal("ascii"))
    assert main(["compare", str(RUN), str(RUN)]) == 0
    console().print("R² −0.36 … ≥ 0.5, 猫")
    assert out.shown.endswith("R2 -0.36 ... >= 0.5, ?\n")


@pytest.mark.fault("name", "an error names what the terminal cannot show", "one line, a ? in its place")
def test_an_error_that_names_what_cannot_be_shown_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    status, shown = on_terminal(["report", "runs/猫"], "ascii", monkeypatch)
    assert status == 2
    assert shown == "partcnn: run: expected a directory of partcnn train, got runs/? without run.yaml\n"


def partcnn(arguments: str, redirection: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from partcnn.app.cli import main; sys.exit(main(sys.argv[1:]))"
    command = f'"$0" -c "$1" {arguments} {redirection}'
    return subprocess.run(["bash", "-c", command, sys.executable, code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("form", ["", "--json"])
@pytest.mark.fault("stop", "the reader of the output leaves, as `| head`", "exit 0, no message")
def test_output_that_nobody_reads_is_no_error(form: str) -> None:
    ended = partcnn(f"compare {RUN} {RUN} {form}", "| true; exit ${PIPESTATUS[0]}")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("form", ["", "--json"])
@pytest.mark.fault("stop", "output goes to a full disk (/dev/full)", "exit 2, one line")
def test_output_that_finds_no_room_is_one_line(form: str) -> None:
    ended = partcnn(f"compare {RUN} {RUN} {form}", "> /dev/full")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.startswith("partcnn: the system refuses: [Errno 28]")


STEERING = ("\x1b[2J\x1b]0;owned\x07", "a\rb", "tur\u202ened", "two\nlines", "\x9b31m", "\x00")


@pytest.fixture(scope="module")
def steering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose classes, parts and files have names that steer a terminal."""
    root = tmp_path_factory.mktemp("steering")
    for kind, name in (("cat", STEERING[0]), ("giraffe", STEERING[2])):
        (root / name).mkdir()
        for seed in range(8):
            draw_animal(kind, seed, size=64).image.save(root / name / f"{name}{STEERING[1]}{seed}.png")
    (root / STEERING[0] / f"damaged{STEERING[0]}.png").write_bytes(b"words")
    return root


@pytest.mark.fault("name", "Names of classes and files clear the terminal or turn its text around", "Shown as escapes")
def test_names_steer_no_terminal(steering: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = f"folder:{steering}"
    out = tmp_path / f"run{STEERING[0]}"
    picture = next((steering / STEERING[2]).iterdir())
    commands = [
        ["info", "--data", data],
        ["train", "--data", data, "--out", str(out), *TRAIN],
        ["train", "--data", data, "--out", str(out), *TRAIN],  # it is there
        ["evaluate", str(out), "--workers", "0"],
        ["compare", str(out), str(out)],
        ["explain", str(out), str(picture), "--against", STEERING[0]],
        ["explain", str(out), str(steering / STEERING[1])],
        ["report", str(out)],
        ["evaluate", str(out), "--data", f"folder:{tmp_path}/{STEERING[0]}"],
    ]
    for arguments in commands:
        _, shown = on_terminal(arguments, "utf-8", monkeypatch)
        assert shown, arguments
        seen = {letter for letter in shown if not letter.isprintable()} - {"\n"}
        assert seen == set(), (arguments[0], seen)
    assert "\\x1b" in shown


@pytest.mark.parametrize("name", STEERING)
@pytest.mark.fault("name", "A part's or a class's name in a table or a log steers a terminal", "Shown as an escape")
def test_tables_captions_and_logs_show_escapes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(name, title=name, caption=name)
    table.add_row(name)
    console().print(table, name)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(PlainFormatter())
    for logger in ("partcnn", "others"):
        handler.emit(logging.LogRecord(logger, logging.WARNING, "", 0, "%s", (name,), None))
    shown = capsys.readouterr().out
    assert {letter for letter in shown if not letter.isprintable()} <= {"\n"}
    assert handler.format(logging.LogRecord("partcnn.x", logging.WARNING, "", 0, "%s", (name,), None)).count("\n") == 0


def test_letters_of_every_script_are_shown() -> None:
    for name in ("猫", "Ångström", "кошка", "قط", "ไก่", "𝒳", "a b"):
        assert printable(name) == name
    assert printable("a\x1bb\u202e") == r"a\x1bb\u202e"
