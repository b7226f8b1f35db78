"""The table of measures: every row can be computed, says which way is better, and costs nothing until it is asked."""

import importlib
import itertools
import subprocess
import sys

import pytest

from partcnn import metrics
from partcnn.metrics import METRICS, functional
from partcnn.metrics.measures import MEASURES, MetricEntry, measures_for_people

# Those that an evaluation's summary, and metrics.json, had when the table was drawn, in this order.
SUMMARY = (
    "accuracy", "part_tracking_r2", "part_tracking_r2_top_quarter", "part_tracking_r2_best", "location_instability",
    "constant_point_instability", "least_location_instability", "displacement_scatter", "coverage",
    "part_interpretability", "pointing_game", "class_purity", "dead_filters", "num_filters", "num_images",
)  # fmt: skip
OF_THE_FACE = {
    "part_tracking_r2", "coverage", "displacement_scatter", "location_instability", "least_location_instability",
    "part_interpretability", "pointing_game", "class_purity", "dead_filters",
}  # fmt: skip


def test_the_rows_are_the_summarys_in_its_order() -> None:
    known = [name for name in MEASURES if name in SUMMARY]
    assert tuple(known) == SUMMARY
    assert all(row.name == name for name, row in MEASURES.items())


def test_metrics_are_the_rows_that_have_a_function() -> None:
    assert METRICS.keys() >= OF_THE_FACE
    assert {name: row for name, row in MEASURES.items() if isinstance(row, MetricEntry)} == METRICS


@pytest.mark.parametrize("name", METRICS)
def test_function_and_metric_stand_in_files_of_one_name_and_agree_on_what_is_better(name: str) -> None:
    entry = METRICS[name]
    file = entry.metric.__module__.removeprefix("partcnn.metrics.")
    assert entry.function.__module__ == f"partcnn.metrics.functional.{file}"
    assert entry.better in (1, -1)
    assert entry.lowest < entry.highest
    higher = getattr(entry.metric, "higher_is_better", None)
    assert higher is (entry.better == 1)


@pytest.mark.parametrize("name", sorted(OF_THE_FACE))
def test_the_faces_have_both(name: str) -> None:
    entry = METRICS[name]
    assert getattr(functional, entry.function.__name__) is entry.function
    assert getattr(metrics, entry.metric.__name__) is entry.metric


def test_what_the_report_shows_has_a_sentence_and_companions_stand_below_what_they_belong_to() -> None:
    shown = [row for row in measures_for_people() if row.title]
    assert all(row.sentence for row in shown)
    assert [row.name for row in shown if row.is_first] == [row.name for row in shown][:14]
    for above, row in itertools.pairwise(shown):
        if row.is_companion:
            assert above.is_companion or row.name.startswith(above.name) or above.name == "location_instability"


def test_columns_and_titles_tell_measures_apart() -> None:
    for attribute in ("title", "card", "column"):
        used = [text for row in MEASURES.values() if (text := getattr(row, attribute))]
        assert len({*used}) == len(used), attribute
    assert all(row.column for row in MEASURES.values() if row.is_filter_column or row.is_category_column)


@pytest.mark.parametrize(
    "module", ["partcnn.metrics.measures", "partcnn.evaluation.comparison", "partcnn.model.saving.model_card"]
)
def test_reading_the_table_costs_neither_torchmetrics_nor_torchvision(module: str) -> None:
    code = f"import sys, {module}; print(*{{'torchmetrics', 'torchvision', 'scipy'}} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_asking_for_a_metric_imports_it() -> None:
    found = METRICS["class_purity"].metric
    assert found is importlib.import_module("partcnn.metrics.activation").ClassPurity
