"""A folder of pictures → a network that explains itself, in one call; the same run as of `partcnn train`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import partcnn
from partcnn.app.classifier import PartClassifier, fit_folder
from partcnn.app.cli.commands import main
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.foundation.errors import ConfigError, DataError, RunError

SMALL: dict[str, Any] = {
    "backbone": "demo",
    "workers": 0,
    "is_progress_shown": False,
    "network": {"filters": 4},
    "recipe": {"epochs": 1, "head_epochs": 1, "num_views": 2},
}


def drawn(folder: Path, count: int) -> Path:
    for kind in ("cat", "giraffe"):
        (folder / kind).mkdir(parents=True)
        for seed in range(count):
            draw_animal(kind, seed, size=64).image.save(folder / kind / f"{kind}-{seed}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "animals", 12)


@pytest.fixture(scope="module")
def animals(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> PartClassifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        made = fit_folder(pictures, **SMALL)
        return PartClassifier.open(made.directory.resolve())


def test_the_run_is_that_of_the_command(animals: PartClassifier, pictures: Path, tmp_path: Path) -> None:
    assert animals.directory.parts[-2:] == ("runs", "animals")
    options = ["--backbone", "demo", "--workers", "0", "--network.filters", "4", "--json"]
    options += ["--recipe.epochs", "1", "--recipe.head_epochs", "1", "--recipe.num_views", "2"]
    assert main(["train", "--data", f"folder:{pictures}", "--out", str(tmp_path / "run"), *options]) == 0
    weights = [run / "model.safetensors" for run in (animals.directory, tmp_path / "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())["summary"]
    assert animals.evaluate().summary["accuracy"] == figures["accuracy"]


def test_it_explains_reports_and_audits(animals: PartClassifier, pictures: Path) -> None:
    why = animals.explain(pictures / "cat" / "cat-0.png", "cat")
    assert why.label == "cat"
    assert why.is_exact
    page = animals.report()
    assert page == animals.directory / "report.html"
    assert "giraffe" in page.read_text(encoding="utf-8")
    found = animals.audit()
    assert found is not None
    assert found.accuracy == animals.evaluate().summary["accuracy"]
    assert "knows cat, giraffe" in repr(animals)


def test_of_pictures_only_those_that_are_given_or_drawn_go_to_the_hub(
    animals: PartClassifier, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    monkeypatch.setattr(
        "partcnn.app.classifier.push_to_hub",
        lambda directory, repo_id, *, private, pictures: shown.append(len(pictures)) or f"{repo_id}/1",
    )
    assert animals.push_to_hub("me/animals") == "me/animals/1"
    animals.push_to_hub("me/animals", pictures=[pictures / "cat" / "cat-0.png"])
    run = animals.run
    drawn_run = PartClassifier(replace(run, settings=replace(run.settings, data="demo:24", category="cat")))
    drawn_run.push_to_hub("me/animals")
    assert shown == [0, 1, 3]


def test_another_folder_is_measured_whole(animals: PartClassifier, tmp_path: Path) -> None:
    kept = (animals.directory / "metrics.json").read_bytes()
    assert animals.evaluate(drawn(tmp_path / "more", 2)).data["num_images"] == 4
    assert (animals.directory / "metrics.json").read_bytes() == kept
    with pytest.raises(DataError, match="found nothing there"):
        animals.evaluate(tmp_path / "none")


def test_wrong_arguments_are_named_before_anything_is_trained(pictures: Path, tmp_path: Path) -> None:
    for given, error, named in (
        ({"epoch": 3}, ConfigError, "epoch: expected a setting of partcnn train; did you mean epochs"),
        ({"epochs": "many"}, ConfigError, "epochs: expected int"),
        ({"recipe": {"learning": 1}}, ConfigError, "recipe: expected settings of Recipe, got learning"),
        ({"recipe": 3}, ConfigError, "recipe"),
        ({"category": "horse"}, DataError, "horse"),
    ):
        with pytest.raises(error, match=named):
            fit_folder(pictures, tmp_path / "run", **SMALL | given)
    with pytest.raises(DataError, match="expected the path of a folder of pictures, got 3"):
        fit_folder(3, tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_there_stays(animals: PartClassifier, pictures: Path) -> None:
    with pytest.raises(RunError, match="exists already"):
        fit_folder(pictures, animals.directory, **SMALL)
    assert partcnn.PartClassifier.open(animals.directory).evaluate().summary
