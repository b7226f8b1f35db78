"""Every example runs from its first line to its last, and says what it promises."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from partcnn.datasets.loading import DATASETS
from partcnn.evaluation.figures import OF_TABLES
from partcnn.metrics.measures import MEASURES
from partcnn.objectives.registry import OBJECTIVES

EXAMPLES = Path(__file__).parents[2] / "examples"
TABLES: tuple[dict, ...] = (DATASETS, MEASURES, OBJECTIVES, OF_TABLES)
SAID = {
    "own_data_set": r"all: 24 pictures of bird, cat, .*, turtle; parts: body, head, legs, tail\n"
    r"test: 7 pictures of background, cat; parts: body, head, legs, tail\n",
    "own_measure": r"part_tracking_r2: -?\d\.\d{3}, 0\.000\nsteadiness: 0\.\d{3}, 0\.\d{3}\n",
    "own_network": r"cat: -?\d\.\d{3}\n(  filter \d adds [+-]\d\.\d{3}\n){3}loaded, the same logit: True\n",
    "own_objective": r"filter loss: (\d\.\d{3}) before, (\d\.\d{3}) after\n",
    "own_report_panel": r"report.html: \d+ kB, with the panel True\n",
}
WRITTEN = {
    "own_data_set": "animals/points.txt",
    "own_network": "explained.png",
    "own_objective": "selective/model.safetensors",
    "own_report_panel": "report.html",
}


@pytest.fixture(autouse=True)
def _tables_as_they_were() -> Iterator[None]:
    """What an example adds to them is of no other test."""
    before = [dict(table) for table in TABLES]
    yield
    for table, rows in zip(TABLES, before, strict=True):
        table.clear()
        table.update(rows)


def test_these_are_all() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == SAID.keys()


@pytest.mark.parametrize("name", SAID)
def test_an_example_is_read_in_a_minute(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    said = re.fullmatch(SAID[name], capsys.readouterr().out)
    assert said
    assert name not in WRITTEN or (tmp_path / WRITTEN[name]).stat().st_size > 100
    if name == "own_objective":
        before, after = map(float, said.groups())
        assert after < before
