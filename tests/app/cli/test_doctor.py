"""partcnn doctor says what is missing, and is no error itself."""

import json

import pytest

from partcnn.app import installation
from partcnn.app.cli.commands import main


def test_what_is_missing_is_told_with_the_command_that_brings_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = ["no-such-library>=3", "also-none>=2; extra == 'onnx'"]
    monkeypatch.setattr(installation, "requires", lambda _: needed)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "pip install 'no-such-library>=3'" in told
    assert "also-none missing; pip install 'partcnn[onnx]'" in told


def test_the_same_is_had_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["extras"][0]["name"] == "timm"
    assert found["extras"][0]["is_installed"] in (True, False)
    assert found["cache"]["max_bytes"] > 0
