"""partcnn benchmark paper: finished runs in the form of the paper's tables."""

import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from partcnn.app.cli.commands import main
from partcnn.app.experiments.paper import TABLES, paper_tables, write_tables
from partcnn.app.experiments.paper_figures import AVERAGE, NETWORKS, TABLE_1, TABLE_3, TABLE_4, TABLE_7, Rows
from partcnn.app.experiments.paper_runs import RunFigures, read_figures, read_runs, wanted_runs
from partcnn.app.settings import NetworkSettings, RunSettings, read_settings
from partcnn.foundation.errors import DataError, RunError

CONSTANT = 0.06
PLAIN, PARTS = "plain", "part filters (exact)"


def run(variant: str = PARTS, category: str | None = "fox", kind: str = "animalpart", **summary: Any) -> RunFigures:
    constant = dict.fromkeys(summary, CONSTANT)
    return RunFigures(f"runs/{kind}-{category}-{variant}", "resnet18", variant, kind, category, summary, constant)


def table(runs: list[RunFigures], number: int) -> dict[str, Any]:
    return next(one for one in paper_tables(runs)["tables"] if one["number"] == number)


@pytest.mark.parametrize(("rows", "num"), [(TABLE_1, 6), (TABLE_3, 30), (TABLE_4, 6)], ids=["1", "3", "4"])
def test_the_printed_averages_are_those_of_the_printed_rows(rows: Rows, num: int) -> None:
    """A figure copied wrongly would move the average that the paper prints beside it."""
    categories = [name for name in rows if name != AVERAGE]
    assert len(categories) == num
    for network in NETWORKS:
        for column in range(2):
            mean = statistics.fmean(rows[name][network][column] or 0 for name in categories)
            assert mean == pytest.approx(rows[AVERAGE][network][column], abs=0.0011)


def test_printed_figures_that_the_method_quotes() -> None:
    assert TABLE_3["fox"]["VGG-16"] == (0.137, 0.069)
    assert TABLE_7["VOC Part, several, softmax"]["VGG-16"] == (0.8971, 0.9160)


def test_ours_stand_beside_the_printed_with_the_constant_point() -> None:
    plain = run(PLAIN, location_instability=0.12, part_tracking_r2=-1.0)
    parts = run(location_instability=0.08, part_tracking_r2=0.7)
    found = table([parts, plain], 3)
    assert found["columns"] == [["resnet18", PLAIN], ["resnet18", PARTS]]
    (row,) = found["rows"]
    assert (row["row"], row["ours"], row["r2"], row["constant_point"]) == ("fox", [0.12, 0.08], [-1.0, 0.7], 0.06)
    assert row["printed"]["AlexNet"] == [0.143, 0.087]


def test_seeds_are_averaged_and_counted() -> None:
    runs = [run(location_instability=value) for value in (0.1, 0.2, None, float("nan"))]
    (row,) = table(runs, 3)["rows"]
    assert row["ours"] == [pytest.approx(0.15)]
    assert row["num_runs"] == [2]  # the others have no figure


def test_averages_are_over_the_rows_that_every_column_has() -> None:
    runs = [
        run(PLAIN, "fox", location_instability=0.12),
        run(PARTS, "fox", location_instability=0.08),
        run(PARTS, "bear", location_instability=0.02),
    ]
    average = table(runs, 3)["average"]
    assert (average["num_rows"], average["ours"]) == (1, [0.12, 0.08])
    assert average["printed"]["VGG-S"] == [0.142, 0.082]


@pytest.mark.parametrize(
    ("kind", "category", "number", "row"),
    [
        ("pascal-part", "cow", 1, "cow"),
        ("animalpart", "fox", 1, "fox (Animal-Part)"),
        ("pascal-part", None, 2, "VOC Part, softmax"),
        ("animalpart", "domestic cat", 3, "domestic cat"),
        ("folder", "mug", 3, "mug (folder)"),
        ("pascal-part", "cow", 4, "cow"),
        ("cub", "bird", 5, "bird"),
        ("animalpart", None, 6, "Animal-Part (paper: logistic loss)"),
        ("pascal-part", None, 6, "VOC Part, softmax"),
        ("coco", None, 6, "coco, softmax"),
        ("cub", "bird", 7, "CUB, one category"),
        ("animalpart", None, 7, "Animal-Part, several (paper: logistic loss)"),
    ],
)
def test_every_run_has_its_row(kind: str, category: str | None, number: int, row: str) -> None:
    figures = dict.fromkeys(("location_instability", "least_location_instability", "part_interpretability"), 0.1)
    one = run(PARTS, category, kind, accuracy=0.9, **figures)
    found = table([one], number)
    assert [entry["row"] for entry in found["rows"]] == [row]
    printed = next(spec for spec in TABLES if spec.number == number).printed
    assert (found["rows"][0]["printed"] is not None) == (row in printed)


def test_what_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    text = write_tables([run(location_instability=0.08)], tmp_path)
    assert "| fox (Animal-Part) | – | – | – | – | – | – |" in text
    assert "Table 4: location instability, one category, VOC Part\n\nNo run belongs here." in text
    assert json.loads((tmp_path / "paper.json").read_text())["tables"][0]["rows"][0]["ours"] == [None]
    assert (tmp_path / "paper.md").read_text() == text


def test_part_interpretability_is_shown_where_a_run_has_it(tmp_path: Path) -> None:
    text = write_tables([run(PARTS, "cow", "pascal-part", part_interpretability=0.5)], tmp_path)
    assert "| cow | 0.500 | 0.060 | 0.340 → 0.618 |" in text


def test_several_categories_are_measured_as_the_paper_does(tmp_path: Path) -> None:
    """Of each filter the most stable category; the constant point, too."""
    one = RunFigures(
        place="runs/several",
        network="resnet18",
        variant=PARTS,
        kind="animalpart",
        category=None,
        summary={"location_instability": 0.11, "least_location_instability": 0.07},
        constant_point={"location_instability": 0.06, "least_location_instability": 0.05},
    )
    (row,) = table([one], 6)["rows"]
    assert (row["ours"], row["constant_point"]) == ([0.07], 0.05)


def test_a_mean_of_several_runs_says_of_how_many(tmp_path: Path) -> None:
    runs = [run(PLAIN, accuracy=0.9), run(accuracy=0.8), run(PARTS, "bear", accuracy=0.9)]
    assert "| Animal-Part, one category | 90.0% | 85.0% (2) |" in write_tables(runs, tmp_path)


TRAIN = ["--categories", "cat", "--backbones", "demo", "--layers", "features.block4", "--workers", "0", "--json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paper")
    assert main(["benchmark", "paper", "--data", "demo:12", "--epochs", "1", "--out", str(out), *TRAIN]) == 0
    return out


def test_it_trains_both_networks_and_takes_their_figures(trained: Path) -> None:
    tables = json.loads((trained / "paper.json").read_text())["tables"]
    (row,) = tables[2]["rows"]
    for column, folder in enumerate(("demo-cat-plain-0", "demo-cat-auto-0")):
        summary = json.loads((trained / "runs" / folder / "metrics.json").read_text())["summary"]
        assert row["ours"][column] == summary["location_instability"]
        assert row["r2"][column] == summary["part_tracking_r2"]
        assert row["constant_point"] == pytest.approx(summary["constant_point_instability"])


def test_run_yaml_holds_what_auto_took(trained: Path) -> None:
    for name, objective in (("plain", "auto"), ("auto", "competing")):
        settings = read_settings(trained / "runs" / f"demo-cat-{name}-0")
        assert (settings.objective, settings.layers) == (objective, "features.block4")
        assert (settings.network.filters, settings.network.input_size) == (8, 112)


@pytest.mark.parametrize(("objective", "places"), [("auto", None), ("exact", "peak")])
def test_places_are_asked_only_of_networks_that_read_them(objective: str, places: str | None) -> None:
    base = RunSettings("demo:2", "", objective=objective, network=NetworkSettings(places="peak"))
    plain, parts = wanted_runs(base, categories=["cat"], has_multi=False, backbones=["demo"], seeds=[0])
    assert (plain.network.places, parts.network.places) == ("peak", places)


def test_it_goes_on_where_it_stopped(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, lost = (trained / "runs" / f"demo-cat-{name}-0" / "metrics.json" for name in ("plain", "auto"))
    before = kept.stat().st_mtime_ns
    figures = json.loads(lost.read_text())
    lost.unlink()
    capsys.readouterr()
    assert main(["benchmark", "paper", "--data", "demo:12", "--epochs", "1", "--out", str(trained), *TRAIN]) == 0
    assert kept.stat().st_mtime_ns == before
    assert json.loads(lost.read_text()) == figures
    places = [one["place"] for one in json.loads(capsys.readouterr().out)["runs"]]
    assert places == [str(file.parent) for file in (kept, lost)]


def test_runs_of_other_settings_are_not_taken_for_these(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "paper", "--data", "demo:12", "--epochs", "2", "--out", str(trained), *TRAIN]) == 2
    assert "other settings (epochs)" in " ".join(capsys.readouterr().err.split())


def test_a_finished_run_of_an_earlier_auto_is_not_taken_for_these(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run.yaml says what is asked for now, "auto"; its config.json what that was then."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    record, config = (tmp_path / "runs" / "demo-cat-auto-0" / name for name in ("run.yaml", "config.json"))
    record.write_text(record.read_text().replace("objective: competing", "objective: auto"))
    earlier = json.loads(config.read_text())
    earlier["arguments"] |= {"objective": "exact", "filters": 32}
    config.write_text(json.dumps(earlier))
    assert main(["benchmark", "paper", "--data", "demo:12", "--epochs", "1", "--out", str(tmp_path), *TRAIN]) == 2
    assert "other settings (filters, objective)" in " ".join(capsys.readouterr().err.split())


def test_the_number_of_views_tells_runs_apart(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "runs", tmp_path / "runs")
    record = tmp_path / "runs" / "demo-cat-plain-0" / "run.yaml"
    record.write_text(record.read_text().replace("num_views: 5", "num_views: 9"))
    assert main(["benchmark", "paper", "--data", "demo:12", "--epochs", "1", "--out", str(tmp_path), *TRAIN]) == 2
    assert "other settings (recipe.num_views)" in " ".join(capsys.readouterr().err.split())


def test_finished_runs_are_read_from_their_folder_or_their_metrics(trained: Path, tmp_path: Path) -> None:
    one = trained / "runs" / "demo-cat-auto-0"
    assert main(["benchmark", "paper", "--runs", str(one), "--out", str(tmp_path), "--json"]) == 0
    assert read_figures(one / "metrics.json") == read_figures(one)
    assert (read_figures(one).kind, read_figures(one).category) == ("demo", "cat")
    assert read_figures(one).variant == "part filters (competing)"


def test_an_earlier_page_stands_for_its_runs(trained: Path, tmp_path: Path) -> None:
    """The runs may be gone: what a page shows of them stays when others come to it."""
    (tmp_path / "run").mkdir()
    for name in ("run.yaml", "metrics.json"):
        (tmp_path / "run" / name).write_text((trained / "runs" / "demo-cat-plain-0" / name).read_text())
    new, page = tmp_path / "run", trained / "paper.json"
    assert main(["benchmark", "paper", "--runs", str(page), str(new), "--out", str(tmp_path), "--json"]) == 0
    before, after = (read_runs([folder / "paper.json"]) for folder in (trained, tmp_path))
    assert after == [*before, replace(before[0], place=str(new))]


def test_of_a_run_that_is_there_twice_the_later_counts(tmp_path: Path) -> None:
    write_tables([run(accuracy=0.8), run(PLAIN, accuracy=0.7)], tmp_path / "old")
    write_tables([run(accuracy=0.9)], tmp_path / "new")
    found = read_runs([tmp_path / "old" / "paper.json", tmp_path / "new" / "paper.json"])
    assert [one.summary["accuracy"] for one in found] == [0.9, 0.7]


def test_the_page_says_how_each_run_was_trained_and_measured(trained: Path) -> None:
    images = json.loads((trained / "runs" / "demo-cat-plain-0" / "metrics.json").read_text())["summary"]["num_images"]
    place = trained / "runs" / "demo-cat-plain-0"
    assert f"| {place} | demo plain | demo | cat | 0 | 1 | 5 | peak | {images} |" in (trained / "paper.md").read_text()


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": ["runs/bird"]}', '{"runs": [{"place": "x"}]}'])
def test_a_page_that_holds_no_runs_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "paper.json").write_text(text)
    with pytest.raises(DataError, match=r"paper\.json"):
        read_runs([tmp_path / "paper.json"])


def test_what_is_no_finished_run_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a directory of partcnn train"):
        read_figures(tmp_path)
    settings = yaml.safe_load((trained / "runs" / "demo-cat-plain-0" / "run.yaml").read_text())
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(RunError, match=r"expected metrics\.json"):
        read_figures(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(DataError, match=r"metrics\.json"):
        read_figures(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [([], "--runs"), (["--data", "demo:2"], "--multi"), (["--runs", "nowhere"], "nowhere")],
)
def test_bad_options_are_one_line(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "paper", *arguments, "--out", str(tmp_path)]) == 2
    assert named in " ".join(capsys.readouterr().err.split())
