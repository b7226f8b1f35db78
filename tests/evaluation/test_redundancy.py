"""partcnn redundancy and partcnn prune: measured against maps set by hand, and whole runs on drawn pictures."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from partcnn.app.cli.commands import main
from partcnn.app.runs import SETTINGS_FILE, NetworkSettings, RunSettings, open_run, train_run
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation.redundancy import measure_redundancy, redundancy_table
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import load
from partcnn.training.pruning import num_parameters
from partcnn.training.recipe import Recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "giraffe"
    network, recipe = NetworkSettings(filters=8, hidden=12), Recipe(num_views=2, epochs=3)
    train_run(
        RunSettings("demo:30", str(out), "giraffe", "demo", workers=0, network=network, recipe=recipe),
        is_progress_shown=False,
    )
    return out


def test_a_copied_filter_counts_once_and_groups_with_its_copy() -> None:
    """Four filters, the second a copy of the first, the fourth silent."""
    dataset = load_dataset("demo:6", category="giraffe", split="all")
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.ReLU())
    settings = {"objective": "exact", "filters": 4, "hidden": 0, "projection": 0, "masks": False}
    model = convert(trunk, "1", num_classes=2, background=0, input_size=(112, 112), **settings).eval()
    conv = model.part_layers[0]  # type: ignore[index]
    with torch.no_grad():
        conv.weight[1], conv.bias[1] = conv.weight[0], conv.bias[0]
        conv.weight[3], conv.bias[3] = 0, -1
    found = measure_redundancy(model, dataset, batch_size=5)
    assert (found.num_filters, found.num_silent, found.num_images) == (4, 1, len(dataset))
    assert any({0, 1} <= set(group) for group in found.groups)
    assert 1 <= found.effective_number < 3
    whole = measure_redundancy(model, dataset, batch_size=len(dataset))
    assert whole.effective_number == pytest.approx(found.effective_number, rel=1e-6)
    assert whole.peak_agreement == found.peak_agreement
    assert redundancy_table({"here": found}).row_count == 7


def test_redundancy_puts_runs_side_by_side(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["redundancy", str(run), "--workers", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[str(run)]
    assert found["num_filters"] == 8
    assert 1 <= found["effective_number"] <= 8
    assert sorted(index for group in found["groups"] for index in group) == list(range(8))
    assert main(["redundancy", str(run), str(run), "--workers", "0"]) == 0
    assert "effective number" in capsys.readouterr().out


def test_a_recipe_with_a_setting_of_another_version_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, out = tmp_path / "other", tmp_path / "pruned"
    shutil.copytree(run, other)
    settings = yaml.safe_load((other / SETTINGS_FILE).read_text())
    settings["recipe"]["pictures_per_class"] = 8
    (other / SETTINGS_FILE).write_text(yaml.safe_dump(settings))
    assert main(["prune", str(other), "--keep", "0.5", "--finetune", "1", "--out", str(out), "--workers", "0"]) != 0
    assert "got recipe.pictures_per_class; take it out of" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_pruned_run_is_a_run_that_every_command_takes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pruned"
    assert main(["prune", str(run), "--keep", "0.5", "--finetune", "1", "--out", str(out), "--workers", "0"]) == 0
    pruned = load(out)
    assert pruned.part_layers[-1].mask.num_filters == conversion_of(pruned).settings.filters == 4
    assert num_parameters(pruned) < num_parameters(load(run))
    assert open_run(out).settings.pruned == {"from": str(run), "keep": 0.5, "finetune": 1}
    picture = tmp_path / "giraffe.png"
    draw_animal("giraffe", 3, size=112).image.save(picture)
    capsys.readouterr()
    assert main(["evaluate", str(out), "--workers", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["num_filters"] == 4
    assert main(["explain", str(out), str(picture), "--json"]) == 0
    assert main(["report", str(out), "--compare", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_bad_cuts_are_one_line_and_write_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "model.safetensors").read_bytes()
    for arguments, named in [
        (["--keep", "0", "--out", str(tmp_path / "a")], "keep: expected a share"),
        (["--keep", "1.5", "--out", str(tmp_path / "a")], "keep: expected a share"),
        (["--finetune", "-1", "--out", str(tmp_path / "a")], "finetune: expected epochs"),
        (["--out", str(run)], "another directory than the run's own"),
        (["--out", str(run), "--force"], "another directory than the run's own"),
    ]:
        capsys.readouterr()
        assert main(["prune", str(run), "--workers", "0", *arguments]) == 2
        assert named in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "a").exists()
    assert (run / "model.safetensors").read_bytes() == before
