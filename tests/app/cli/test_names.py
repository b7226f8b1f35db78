"""partcnn names: shown, given, proposed, imported and exported."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from partcnn.app.cli.commands import main
from partcnn.evaluation import Evaluation, FilterEvaluation
from partcnn.evaluation.proposals import proposed_names
from partcnn.model.conversion import convert
from partcnn.model.naming import filter_names
from partcnn.model.saving.checkpoint import CARD_FILE, METRICS_FILE, load, save
from partcnn.model.saving.names_file import NAMES_FILE
from partcnn.networks.demo_net import DemoNet


def measured(
    number: int, r2: dict[str, float], pointing: dict[str, float], *, is_dead: bool = False
) -> FilterEvaluation:
    best = max(r2, key=lambda part: r2[part])
    return FilterEvaluation(
        "part_layers.0.mask", number, "cat", best, r2[best], r2, 0.1, 0.1, is_dead, {}, pointing_by_part=pointing
    )


@pytest.fixture
def figures() -> Evaluation:
    filters = [
        measured(0, {"head": 0.8, "leg": 0.1}, {"head": 0.9, "leg": 0.0}),
        measured(1, {"head": 0.49, "leg": 0.1}, {"head": 0.9, "leg": 0.0}),
        measured(2, {"head": 0.9, "leg": 0.7}, {"head": 0.0, "leg": 0.6}),
        measured(3, {"head": 0.6, "leg": 0.1}, {"head": 0.02, "leg": 0.0}),
        measured(4, {"head": 0.9, "leg": 0.1}, {"head": 0.9, "leg": 0.0}, is_dead=True),
    ]
    return Evaluation({}, filters, {}, ["background", "cat"], ["head", "leg"], {"spec": "demo:"})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = convert(DemoNet(num_classes=2), "features.block3", num_classes=2, filters=5, input_size=(64, 64))
    return save(model, tmp_path / "run")


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["filters"]
    return found


def test_only_filters_that_follow_a_part_have_a_proposal(figures: Evaluation) -> None:
    assert proposed_names(figures) == {0: ("head", 0.8), 2: ("leg", 0.7), 3: ("by the head", 0.6)}


def test_names_are_given_taken_away_and_proposed(
    saved: Path, figures: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    figures.to_json(saved / METRICS_FILE)
    assert main(["names", str(saved), "--set", "1=left ear", "0=nose", "--json"]) == 0
    assert [(one["name"], one["proposed"]) for one in rows(capsys)] == [
        ("nose", "head"),
        ("left ear", None),
        (None, "leg"),
        (None, "by the head"),
        (None, None),
    ]
    assert (saved / NAMES_FILE).read_text(encoding="utf-8").splitlines()[1:] == ["0: nose", "1: left ear"]
    assert '"1": "left ear"' in (saved / CARD_FILE).read_text(encoding="utf-8")
    assert main(["names", str(saved), "--set", "1=", "--propose"]) == 0
    assert filter_names(load(saved)) == {0: "nose", 2: "leg", 3: "by the head"}
    assert "0.70" in capsys.readouterr().out
    assert main(["names", str(saved), "--set", "0=", "2=", "3="]) == 0
    assert not (saved / NAMES_FILE).exists()


def test_names_are_exported_and_imported(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "mine.yaml"
    assert main(["names", str(saved), "--set", "0=ear", "4=ear", "--export", str(file)]) == 0
    assert main(["names", str(saved), "--set", "0=", "4=", "1=leg"]) == 0
    assert main(["names", str(saved), "--import", str(file)]) == 0
    assert filter_names(load(saved)) == {0: "ear", 4: "ear"}
    assert "partcnn evaluate" in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--set", "5=ear"], "expected a filter from 0 to 4, got 5"),
        (["--set", "ear"], "set: expected NUMBER=NAME"),
        (["--set", "-1=ear"], ""),
        (["--set", "1=" + "e" * 41], "expected a name of 1 to 40 letters, got 41"),
        (["--set", "1=\x1b[2J"], "letters that can be seen"),
        (["--import", "nowhere.yaml"], "import: expected a file of names, found none at nowhere.yaml"),
        (["--export", "."], "export: expected a file name, got the directory"),
    ],
)
def test_what_is_no_name_is_refused_in_one_line(
    saved: Path, more: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["names", str(saved), *more]) == 2
    found = capsys.readouterr().err
    assert told in " ".join(found.split())
    assert found.count("\n") <= 1
    assert "\x1b" not in found
    assert not (saved / NAMES_FILE).exists()


def test_what_a_strangers_directory_holds_is_shown_as_text(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (saved / NAMES_FILE).write_text("1: '[red]<b>'\n")
    assert main(["names", str(saved)]) == 0
    assert "[red]<b>" in capsys.readouterr().out
    (saved / NAMES_FILE).write_text("[" * 100_000)
    assert main(["names", str(saved)]) == 2
    assert "mend the file, or remove it" in " ".join(capsys.readouterr().err.split())
