"""A measure that is added to the table, and to what evaluation takes of each filter, is seen wherever measures are."""

import csv
import math
from pathlib import Path

import pytest
from torch import Tensor, nn

from partcnn.evaluation import Evaluation, compare, evaluate
from partcnn.evaluation.figures import OF_TABLES
from partcnn.metrics.functional.results import PartMetric, with_best_part
from partcnn.metrics.functional.spread import spread
from partcnn.metrics.functional.strongest import num_ranked
from partcnn.metrics.measures import MEASURES, MetricEntry
from partcnn.model.saving.checkpoint import CARD_FILE, METRICS_FILE, save, write_card
from partcnn.reporting.summary import summary_rows
from tests.pointing_network import BIRDS, BLUE, RED, Drawer, image_ids, pointer, with_classes


def wander(table: Tensor, diagonal: float, is_dead: Tensor | None) -> PartMetric:
    """Another spread of the displacement: its variance."""
    return with_best_part(spread(table, diagonal).displacement, num_ranked(table), sign=-1)


@pytest.fixture
def drawer(tmp_path: Path) -> Drawer:
    drawer = Drawer(tmp_path)
    for image_id in image_ids("test")[:12]:
        beak = drawer.cell()
        drawer.add(image_id, 0, {BLUE: drawer.cell()}, {})
        drawer.add(image_id, 1, {RED: beak, BLUE: drawer.cell()}, {"beak": beak})
    return drawer


def network() -> nn.Module:
    return with_classes(pointer([(RED, 0.0), (BLUE, 0.0)]), ["background", "bird"])


def measured(drawer: Drawer) -> Evaluation:
    return evaluate(network(), drawer.dataset(**BIRDS))


@pytest.fixture
def evaluation(drawer: Drawer, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    row = MetricEntry(
        name="wander",
        title="wander",
        sentence="How far it strays.",
        card="wander, lower is better",
        column="wanders",
        is_filter_column=True,
        is_category_column=True,
        better=-1,
        by_filter="wander",
        is_beside_baselines=True,
        function=wander,
        metric_name="displacement.DisplacementScatter",
    )
    monkeypatch.setitem(MEASURES, "wander", row)
    monkeypatch.setitem(OF_TABLES, "wander", wander)
    return measured(drawer)


def test_it_is_measured_of_every_filter_in_all_and_by_category_beside_its_baselines(evaluation: Evaluation) -> None:
    found = [one.figure(MEASURES["wander"]) for one in evaluation.filters]
    assert found == pytest.approx([one.displacement_scatter**2 for one in evaluation.filters])
    assert found[1] > 0.01
    assert evaluation.summary["wander"] == pytest.approx(sum(found) / 2)
    assert evaluation.by_category["bird"]["wander"] == evaluation.summary["wander"]
    assert evaluation.baselines["constant_point"]["wander"] == pytest.approx(
        evaluation.baselines["constant_point"]["displacement_scatter"] ** 2
    )


def test_it_is_in_files_and_comes_back(evaluation: Evaluation, tmp_path: Path) -> None:
    again = Evaluation.from_json(evaluation.to_json(tmp_path / "evaluation.json"))
    assert again == evaluation
    with evaluation.to_csv(tmp_path / "filters.csv").open(newline="") as file:
        written = [float(row["wander"]) for row in csv.DictReader(file)]
    assert written == [one.others["wander"] for one in evaluation.filters]


def test_it_is_in_every_table(evaluation: Evaluation) -> None:
    assert "wander" in list(evaluation.table().columns[0].cells)
    for table in (evaluation.filter_table(), evaluation.category_table()):
        assert table.columns[-1].header == "wanders"
        assert "–" not in list(table.columns[-1].cells)


def test_it_is_compared_filter_by_filter(evaluation: Evaluation) -> None:
    (difference,) = (found["wander"] for found in compare({"a": evaluation, "b": evaluation}).differences.values())
    assert (difference.value, difference.paired_over, difference.num_pairs) == (0.0, "filters", 2)


def test_it_is_in_report_and_model_card(evaluation: Evaluation, tmp_path: Path) -> None:
    (row,) = (row for row in summary_rows(evaluation, {}) if row.measure.name == "wander")
    assert row.value == f"{evaluation.summary['wander']:.3f}"
    assert row.baselines.startswith("Without looking: the middle of the picture: ")
    save(network(), tmp_path / "saved")
    evaluation.to_json(tmp_path / "saved" / METRICS_FILE)
    write_card(tmp_path / "saved")
    text = (tmp_path / "saved" / CARD_FILE).read_text(encoding="utf-8")
    assert f"| wander, lower is better | {evaluation.summary['wander']:.3f} |" in text


def test_an_evaluation_that_did_not_take_it_says_so(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [one.others.pop("wander") for one in evaluation.filters]
    assert len(others) == 2
    assert math.isnan(evaluation.filters[0].figure(MEASURES["wander"]))
    assert list(evaluation.filter_table().columns[-1].cells) == ["–", "–"]


def test_a_figure_without_a_row_is_refused(drawer: Drawer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OF_TABLES, "wander", wander)
    with pytest.raises(ValueError, match="wander"):
        measured(drawer)
