"""Every example runs from its first line to its last, and says what it promises."""

import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from partcnn import convert, evaluate, load, load_dataset, save
from partcnn.datasets.loading import DATASETS
from partcnn.evaluation import Evaluation
from partcnn.evaluation.figures import OF_TABLES
from partcnn.foundation.errors import ConfigError
from partcnn.metrics.measures import MEASURES
from partcnn.model.network import conversion_of
from partcnn.networks import DemoNet
from partcnn.objectives.registry import OBJECTIVES

EXAMPLES = Path(__file__).parents[2] / "examples"
TABLES: tuple[dict, ...] = (DATASETS, MEASURES, OBJECTIVES, OF_TABLES)
SAID = {
    "lightning_module": r"\{'task': 0\.\d+, 'filter': \d+\.\d+\}\n",
    "own_data_set": r"all: 24 pictures of bird, cat, .*, turtle; parts: body, head, legs, tail\n"
    r"test: 7 pictures of background, cat; parts: body, head, legs, tail\n",
    "own_measure": r"part_tracking_r2: -?\d\.\d{3}, 0\.000\nconstancy: 0\.\d{3}, 0\.\d{3}\n",
    "own_network": r"cat: -?\d\.\d{3}\n(  filter \d adds [+-]\d\.\d{3}\n){3}loaded, the same logit: True\n",
    "own_objective": r"filter loss: (\d\.\d{3}) before, (\d\.\d{3}) after\n",
    "own_report_panel": r"report.html: \d+ kB, with the panel True\n",
    "prune_and_export": r"all: 8 filters, accuracy 0\.\d\d\nhalf: 4 filters, accuracy 0\.\d\d\n"
    r"filter \d adds [+-]\d\.\d{3}; the file says the same: True\n",
    "timm_network": r"layers: \S+ \S+\nfilter loss: (\d+\.\d\d) before, (\d+\.\d\d) after\n"
    r"loaded by its name, the same logit: True\n",
    "training_loop": r"epoch 0: task loss \d\.\d{3}, filter loss (\d+\.\d{3})\n(?:epoch [1-6]: .+\n){6}"
    r"epoch 7: task loss \d\.\d{3}, filter loss (\d+\.\d{3})\naccuracy 0\.\d\d, effective filters \d\.\d\n",
}
NEEDED = {"timm_network": "timm", "prune_and_export": "onnxruntime"}
FALLING = ("own_objective", "timm_network", "training_loop")
WRITTEN = {
    "own_data_set": "animals/points.txt",
    "own_network": "explained.png",
    "own_objective": "selective/model.safetensors",
    "own_report_panel": "report.html",
    "prune_and_export": "giraffes.onnx",
    "timm_network": "giraffes/model.safetensors",
    "training_loop": "giraffes/model.safetensors",
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
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 45


@pytest.mark.slow
# Lightning's own, in one of them.
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec, LeafSpec")
@pytest.mark.parametrize("name", SAID)
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name], reason=f"{NEEDED[name]} is an extra of partcnn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    said = re.fullmatch(SAID[name], capsys.readouterr().out)
    assert said
    assert name not in WRITTEN or (tmp_path / WRITTEN[name]).stat().st_size > 100
    if name in FALLING:
        before, after = map(float, said.groups())
        assert after < before


@pytest.fixture
def names() -> Callable[[str], dict[str, Any]]:
    """What an example defines; its rows are in the tables."""
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="example")


def test_no_image_costs_the_own_objective_nothing(names: Callable[[str], dict[str, Any]]) -> None:
    maps = torch.rand(0, 3, 4, 4, requires_grad=True)
    value = names("own_objective")["selective"](maps, torch.ones(0, 3, dtype=torch.bool), tau=1.0)
    assert value.loss.tolist() == [0, 0, 0]
    assert value.loss.requires_grad
    assert not any(term.requires_grad for term in value.terms.values())


def test_a_network_with_an_own_objective_is_loaded_once_its_row_is_there(
    names: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    names("own_objective")
    torch.manual_seed(0)
    model = convert(DemoNet(), num_classes=3, filters=6, input_size=(64, 64), objective="selective")
    save(model, tmp_path / "saved")
    row = OBJECTIVES.pop("selective")
    with pytest.raises(ConfigError, match=r"objective: expected competing, one of labelled.*'selective'"):
        load(tmp_path / "saved")
    OBJECTIVES["selective"] = row
    assert conversion_of(load(tmp_path / "saved")).settings.objective == "selective"


def test_figures_of_an_own_measure_are_read_without_its_row(
    names: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    names("own_measure")
    torch.manual_seed(0)
    model = convert(DemoNet(), num_classes=2, filters=4, background=0, input_size=(64, 64))
    found = evaluate(model, load_dataset("demo:4", category="cat", split="all"))
    file = found.to_json(tmp_path / "evaluation.json")
    del MEASURES["constancy"], OF_TABLES["constancy"]
    again = Evaluation.from_json(file)
    assert again.summary["constancy"] == found.summary["constancy"]
    assert [one.others for one in again.filters] == [one.others for one in found.filters]
    assert "constancy" in list(again.table().columns[0].cells)
