"""Run directories, also those of earlier versions: tests/data/run-before-the-rooms is as the first version wrote it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from partcnn.app.runs import built_network, evaluate_run, open_run
from partcnn.app.runs.training import as_taken
from partcnn.app.settings import NetworkSettings, RunSettings
from partcnn.datasets.loading import load_dataset
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import METRICS_FILE, WEIGHTS_FILE, save
from partcnn.training.recipe import Recipe

EARLIER = Path(__file__).parents[1] / "data" / "run-before-the-rooms"


def test_a_run_of_the_first_version_is_measured_as_it_was(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(EARLIER, directory)
    before = json.loads((directory / METRICS_FILE).read_text())
    before["summary"]["class_purity"] = before["summary"].pop("purity")
    (directory / METRICS_FILE).unlink()
    after = json.loads(evaluate_run(open_run(directory)).dumps())
    known = {name: after["summary"][name] for name in before["summary"]}  # later versions measure more
    # Of two cells that are all but alike a processor's last bit chooses the peak, and with it a place by 8 pixels.
    assert known == pytest.approx(before["summary"], abs=0.1, nan_ok=True)
    for name in ("accuracy", "class_purity", "dead_filters", "num_images", "num_filters"):
        assert known[name] == pytest.approx(before["summary"][name], abs=1e-5)
    for ours, theirs in zip(after["filters"], before["filters"], strict=True):
        assert ours["part_tracking_r2"] == pytest.approx(theirs["part_tracking_r2"], abs=0.1, nan_ok=True)
        for top, top_before in zip(ours["top_images"], theirs["top_images"], strict=True):
            assert top["image_path"] == top_before["image_path"]
            assert top["score"] == pytest.approx(top_before["score"], abs=1e-4)


def test_a_network_of_the_first_version_is_saved_again_as_it_was(tmp_path: Path) -> None:
    again = load_file(save(open_run(EARLIER).model, tmp_path) / WEIGHTS_FILE)
    before = load_file(EARLIER / WEIGHTS_FILE)
    assert again.keys() == before.keys()
    assert all(torch.equal(again[name], before[name]) for name in before)


@pytest.mark.parametrize("category", ["giraffe", None])
@pytest.mark.parametrize(
    ("objective", "network"),
    [("auto", {}), ("auto", {"new_layers": 2}), ("auto", {"filters": 5}), ("auto", {"filters": "auto"}), ("exact", {})],
    ids=["competing", "two layers", "asked for", "by data", "exact"],
)
def test_a_plain_network_has_as_many_filters(category: str | None, objective: str, network: dict[str, Any]) -> None:
    settings = RunSettings(
        "demo:2", "", category, backbone="demo", objective=objective, network=NetworkSettings(**network)
    )
    dataset = load_dataset(settings.data, category=category)
    parts, plain = (
        conversion_of(built_network(replace(settings, plain=is_plain), dataset, Recipe())[0]).settings
        for is_plain in (False, True)
    )
    assert (plain.filters, plain.objective) == (parts.filters, None)


@pytest.mark.parametrize(
    ("changes", "objective", "filters"),
    [
        ({}, "competing", 8),
        ({"plain": True}, "auto", 8),
        ({"category": None}, "competing", 16),
        ({"network": NetworkSettings(new_layers=2)}, "exact", 32),
        ({"network": NetworkSettings(filters="auto")}, "competing", "auto"),  # its data say how many
        ({"network": NetworkSettings(filters="auto"), "plain": True}, "auto", 16),
        ({"head": "original"}, "exact", None),
    ],
    ids=["default", "plain", "several", "two layers", "by data", "by data, plain", "original"],
)
def test_a_record_says_what_auto_took(changes: dict[str, Any], objective: str, filters: int | str | None) -> None:
    """And it makes the same network again, whatever "auto" means by then."""
    asked = replace(RunSettings("demo:2", "", "cat", backbone="demo"), **changes)
    dataset = load_dataset(asked.data, category=asked.category)
    model, _ = built_network(asked, dataset, Recipe())
    taken = as_taken(asked, model)
    assert (taken.objective, taken.network.filters, taken.network.input_size) == (objective, filters, 112)
    assert taken.layers.split(",") == list(conversion_of(model).settings.layers)
    again, _ = built_network(taken, dataset, Recipe())
    assert conversion_of(again).settings == conversion_of(model).settings
    assert as_taken(taken, again) == taken


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        (
            {"network": NetworkSettings(masks=True, hidden=3, grid=5, places="peak")},
            ["masks", "hidden", "grid", "places"],
        ),
        ({"network": NetworkSettings(grid=5, dropout=0.1, filters=3)}, ["grid"]),
        ({}, []),
        ({"network": NetworkSettings(masks=True, grid=5), "objective": "exact"}, []),
        ({"network": NetworkSettings(hidden=3, places="peak"), "plain": True}, []),
    ],
    ids=["all", "one", "none", "exact", "plain"],
)
def test_settings_that_filters_that_compete_do_not_read_are_named_once(
    changes: dict[str, Any], warned: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(RunSettings("demo:2", "", "cat", backbone="demo"), **changes)
    built_network(settings, load_dataset("demo:2", category="cat"), Recipe())
    said = [record.getMessage() for record in caplog.records if "where filters compete" in record.getMessage()]
    names = ", ".join(f"network.{name}" for name in warned)
    assert said == [f"{names}: not read where filters compete; objective exact or labelled reads them"] * bool(warned)
