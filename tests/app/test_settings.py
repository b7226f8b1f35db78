"""run.yaml: what goes in comes out, whatever the version; and one error for each way in which it may be wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from partcnn.app.runs.state import RUNNING, TrainingState, write_run
from partcnn.app.settings import NetworkSettings, RunSettings, read_settings
from partcnn.foundation.errors import RunError
from partcnn.training.recipe import Recipe

EARLIER = Path(__file__).parents[1] / "data" / "run-before-the-rooms"
FIRST = {"data": "demo:2", "category": None, "max_bad": 10}  # entries of every version


def test_what_is_written_is_read(tmp_path: Path) -> None:
    settings = RunSettings(
        "demo:9", str(tmp_path), "cat", margin=1, network=NetworkSettings(filters=3), recipe=Recipe(lr=1e-3, epochs=2)
    )
    for wanted in (settings, replace(settings, pruned={"from": "x", "keep": 0.5, "finetune": 0})):
        write_run(wanted, TrainingState(RUNNING, 0, 1), tmp_path)
        assert read_settings(tmp_path) == wanted


def test_an_ordinary_record_says_nothing_of_pruning_and_keeps_its_order(tmp_path: Path) -> None:
    again = read_settings(EARLIER)
    earlier = (EARLIER / "run.yaml").read_text().replace("\n  epochs: 1\n", "\n  epochs: 1\n  head_epochs: 0\n")
    earlier = earlier.replace(
        "\nworkers: 2\n", "\nworkers: 2\ndevices: 1\nnum_nodes: 1\nstrategy: auto\nlogger: tensorboard\n"
    )
    assert yaml.safe_dump(again.to_record(), sort_keys=False) == earlier


def test_the_shortest_record_of_an_earlier_version_is_a_run_of_its_time() -> None:
    settings = RunSettings.from_record(FIRST, "runs/old/run.yaml")
    assert (settings.out, settings.trunk, settings.cache, settings.crop) == ("runs/old", "frozen", False, None)
    assert (settings.network.projection, settings.network.erasing, settings.network.places) == (0, 0, "peak")
    assert (settings.recipe.equivariance, settings.recipe.diversity, settings.recipe.memory) == (0, 0, 0)


def test_entries_of_another_version_are_named_and_harm_nothing() -> None:
    record = FIRST | {"colour": "red", "recipe": {"pictures_per_class": 8, "epochs": 3}, "network": {"depth": 2}}
    settings = RunSettings.from_record(record)
    assert settings.recipe.epochs == 3
    assert {*settings.unread} == {"colour", "recipe.pictures_per_class", "network.depth"}
    assert "unread" not in settings.to_record()


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (None, "expected old.yaml to hold settings by name, got NoneType"),
        (["data"], "got list"),
        ({"data": "demo:2"}, "old.yaml lacks category, max_bad"),
        (FIRST | {"data": 5}, "data in old.yaml: expected str, got 5"),
        (FIRST | {"seed": "zero"}, "seed in old.yaml: expected int, got 'zero'"),
        (FIRST | {"crop": 1.5}, r"crop in old.yaml: expected str \| None, got 1.5"),
        (FIRST | {"network": 7}, "network in old.yaml: expected settings by name, got 7"),
        (FIRST | {"network": {"grid": "wide"}}, "network.grid in old.yaml: expected int, got 'wide'"),
        (FIRST | {"recipe": {"epochs": 0}}, "recipe in old.yaml: epochs: expected at least 1, got 0"),
        (FIRST | {"pruned": "half"}, "pruned in old.yaml"),
    ],
)
def test_a_bad_record_is_one_error_with_file_and_entry(record: Any, named: str) -> None:
    with pytest.raises(RunError, match=named):
        RunSettings.from_record(record, "old.yaml")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\xff", b"a: b: c"])
def test_a_file_that_is_no_yaml_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(RunError, match=r"run\.yaml is not the settings"):
        read_settings(tmp_path)


def test_a_folder_without_settings_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"without run\.yaml"):
        read_settings(tmp_path)
