"""A stranger without a picture: drawings are written, and the network of the package explains them."""

import json
from pathlib import Path

import pytest

from partcnn.app.cli.commands import main


def test_drawings_are_written_and_explained_as_what_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "drawn"
    assert main(["demo", "--pictures", str(folder)]) == 0
    files = sorted(folder.iterdir())
    assert str(folder) in "".join(capsys.readouterr().out.split())
    assert main(["explain", "demo:", *map(str, files), "--hide", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["label"] for one in found] == [file.name.partition("-")[0] for file in files]
    assert {one["label"] for one in found} == {"background", "giraffe"}
