"""The notebook runs from its first cell to its last, on fewer pictures."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells one after the other; no kernel is started, so that they must be plain Python."""
    monkeypatch.setenv("PARTCNN_TUTORIAL_COUNT", "12")
    monkeypatch.setenv("PARTCNN_TUTORIAL_EPOCHS", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 6
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, object] = {"__name__": "tutorial"}
    for cell in cells:
        exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
    assert "24 pictures" not in capsys.readouterr().out  # some are kept out
    (page,) = tmp_path.rglob("report.html")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_no_photograph_and_no_path_of_a_machine_is_in_the_notebook() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    for folder in ("home", "root", "tmp"):
        assert f"/{folder}/" not in text
    assert "stderr" not in text  # what libraries log is of this machine
