"""partcnn benchmark objectives: the ceiling, the figures of filters, resumption, and the page."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from partcnn.app.cli.commands import main
from partcnn.app.experiments.detector import target_cells, train_detector
from partcnn.app.experiments.filter_figures import filter_figures
from partcnn.app.experiments.objectives import ObjectivesConfig, read_rows, run_benchmark
from partcnn.app.experiments.objectives_table import averages, goals, interval, page, plot, read_as
from partcnn.app.runs import NetworkSettings, Recipe, RunSettings, train_run
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import evaluate
from partcnn.evaluation.figures import LayerFigures
from partcnn.evaluation.observation.layers import observed_maps
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.errors import ConfigError
from partcnn.networks.probing.receptive_field import ReceptiveField

FIELD = ReceptiveField((10.0, 10.0), (10.0, 20.0), (4.5, 9.5), (6, 4), (60, 80), "traced")  # 6 rows, 4 columns
WHOLE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
LEFT_HALF_FLIPPED = [[-0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]


def test_a_part_falls_in_the_cell_of_each_view_that_shows_it() -> None:
    frames = torch.tensor([[WHOLE, LEFT_HALF_FLIPPED]]).expand(3, 2, 2, 3)
    landmarks = torch.tensor([[0.1, 0.5], [0.9, 0.5], [torch.nan, torch.nan]])
    # (0.1, 0.5) is x 8 of 80, y 30 of 60: column 0, row 3; in the flipped left half x is 1 − 0.2 of 80: column 3
    assert target_cells(frames, landmarks, FIELD).tolist() == [[12, 15], [15, -1], [-1, -1]]


@pytest.mark.parametrize("num_rows_below", [0, 3])
def test_the_detector_finds_a_part_by_what_one_channel_shows_there_or_further_up(num_rows_below: int) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(6 - num_rows_below, (60,), generator=generator)
    cols = torch.randint(4, (60,), generator=generator)
    maps = torch.rand(60, 1, 3, 6, 4, generator=generator)
    maps[torch.arange(60), 0, 1, rows, cols] += 3
    rows += num_rows_below
    landmarks = torch.stack([(cols + 0.5) / 4, (rows + 0.5) / 6], dim=1)
    landmarks[50:] = torch.nan  # the last ten are not annotated
    detector = train_detector(maps, torch.tensor(WHOLE).expand(60, 1, 2, 3), landmarks, FIELD, seed=0)
    with torch.no_grad():
        found = detector(maps[50:, 0]).flatten(1).argmax(dim=1)
    assert (found == (rows * 4 + cols)[50:]).float().mean() >= 0.9


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("objectives*.yaml")), ids=lambda file: file.stem)
def test_every_config_of_the_repository_is_read(file: Path) -> None:
    assert "part filters" in ObjectivesConfig.read(file).methods


def test_without_an_annotated_picture_the_detector_is_not_trained() -> None:
    maps, frames = torch.rand(2, 1, 3, 6, 4), torch.tensor(WHOLE).expand(2, 1, 2, 3)
    assert train_detector(maps, frames, torch.full((2, 2), torch.nan), FIELD, seed=0)(maps[:, 0]).shape == (2, 1, 6, 4)


def test_figures_of_filters_are_those_of_evaluate(tmp_path: Path) -> None:
    """The short cut over remembered maps gives what the whole evaluation of pictures gives."""
    settings = RunSettings(
        "demo:40", str(tmp_path / "run"), "giraffe", "demo", epochs=2, workers=0,
        network=NetworkSettings(filters=8), recipe=Recipe(num_views=2),
    )  # fmt: skip
    run, _, found = train_run(settings, is_progress_shown=False)
    assert found is not None
    splits = [run.dataset(split) for split in ("train", "test")]
    layers = []
    for dataset in splits:
        examples = [dataset.with_transform(found_transform(run.model))[index] for index in range(len(dataset))]
        with torch.no_grad():
            run.model(torch.stack([example.image for example in examples]))
        mask = run.model.part_layers[-1].mask
        landmarks = torch.stack([example.landmarks for example in examples])
        labels = torch.tensor([example.label for example in examples])
        field = run_field(run.model)
        maps = mask.feature_maps
        cells, scores = mask.part_cells(maps), mask.peak_scores(maps)
        observed = observed_maps(maps, cells, scores, labels, landmarks, field, num_classes=2, background=0)
        layers.append(LayerFigures(observed, mask.filter_category, math.hypot(*field.input_size), landmarks.shape[1]))
    figures = filter_figures(*layers, list(splits[0].parts), landmarks, labels)
    summary = evaluate(run.model, splits[1], selection=splits[0]).summary
    for name in ("part_tracking_r2", "part_tracking_r2_top_quarter", "part_tracking_r2_best", "location_instability"):
        assert figures[name] == pytest.approx(summary[name], abs=1e-6), name
    by_part = evaluate(run.model, splits[1]).by_part["giraffe"]
    for part, best in figures["best_r2"].items():  # chosen on training pictures, so no better than the best on these
        assert best <= by_part[part]["part_tracking_r2"] + 1e-6
        assert figures["r2"][part] <= by_part[part]["part_tracking_r2"] + 1e-6
    assert figures["dead_filters"] == pytest.approx(summary["dead_filters"])
    assert figures["constant_point_instability"] == pytest.approx(summary["constant_point_instability"], abs=1e-6)


def found_transform(model: Any) -> Any:
    from partcnn.model.network import conversion_of

    return conversion_of(model).preprocessing.transform()


def run_field(model: Any) -> ReceptiveField:
    from partcnn.model.mask import part_masks
    from partcnn.model.network import conversion_of
    from partcnn.networks.probing.receptive_field import receptive_field

    return receptive_field(model, next(part_masks(model))[0], conversion_of(model).preprocessing.input_size)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "objectives.yaml"
    small = {"network": {"filters": 4}, "recipe": {"epochs": 1}}
    methods = {"part filters": small, "plain": small | {"plain": True}, "ceiling": {}, "classifier": {}}
    content = {"backbone": "demo", "weights": "none", "categories": ["giraffe"], "seeds": [0], "methods": methods}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def test_a_network_per_method_is_trained_once_and_the_page_is_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results" / "objectives"
    wanted = ["benchmark", "objectives", "--config", str(config), "--out", str(out)]
    assert main([*wanted, "--data", "demo:20", "--methods", "plain", "ceiling"]) == 0
    first = read_rows(out.with_suffix(".json"))
    assert [row["method"] for row in first] == ["plain", "ceiling"]
    assert main([*wanted, "--data", "demo:20"]) == 0
    rows = read_rows(out.with_suffix(".json"))
    assert rows[:2] == first  # not trained again
    assert [row["method"] for row in rows[2:]] == ["part filters", "classifier"]
    assert all(row["category"] == "giraffe" and row["seed"] == 0 and "head" in row["r2"] for row in rows)
    assert all(0.3 < row["accuracy"] <= 1 for row in rows if row["method"] != "ceiling")
    text = out.with_suffix(".md").read_text()
    assert "| part filters | 1 | 1 |" in text
    assert "chosen on\nother pictures than these. Written" in text
    assert "* Settings" not in text
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main([*wanted, "--json"]) == 0  # without --data it is only written anew
    assert json.loads(capsys.readouterr().out)["rows"] == rows


def test_all_categories_at_once_are_one_task(config: Path, tmp_path: Path) -> None:
    settings = ObjectivesConfig.read(config, only=["ceiling", "classifier"])
    settings = ObjectivesConfig(**settings.__dict__ | {"categories": None})
    *_, rows = run_benchmark(settings, "demo:8", tmp_path / "rows.json")
    assert [row["category"] for row in rows] == ["all", "all"]
    assert set(rows[0]["r2"]) >= {"head", "body"}
    assert len(load_dataset("demo:8").classes) > 2


def test_a_cache_spares_the_trunk_and_changes_no_figure(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ObjectivesConfig.read(config, only=["part filters", "classifier"])
    found = []
    for name, cache in (("none", None), ("written", tmp_path / "cache"), ("read", tmp_path / "cache")):
        if name == "read":
            for computing in (
                "partcnn.training.cached_features.store_rows",
                "partcnn.app.experiments.trunk_maps.DataLoader",
            ):
                monkeypatch.setattr(computing, None)
        *_, rows = run_benchmark(settings, "demo:12", tmp_path / f"{name}.json", cache=cache and FeatureCache(cache))
        found.append([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
    assert found[0] == found[1] == found[2]
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 3  # views, and the whole pictures of both splits


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"odd": {"objectiv": "exact"}}, "methods: odd"),
        ({"odd": {"recipe": {"epoch": 1}}}, "methods: odd"),
        ({"odd": {"recipe": {"epochs": 0}}}, "epochs: expected at least 1"),
        ({"ceiling": {"recipe": {}}}, "ceiling takes no settings"),
    ],
)
def test_a_method_of_unknown_settings_is_refused(tmp_path: Path, methods: Any, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"methods": methods}))
    with pytest.raises(ConfigError, match=message):
        ObjectivesConfig.read(file)


@pytest.mark.parametrize("content", ["- a list", "methods: {}\nodd: 1", "{", None])
def test_another_file_than_a_configuration_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "c.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match="config: expected"):
        ObjectivesConfig.read(file)


def test_an_unknown_method_and_a_foreign_file_of_rows_are_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="methods: expected of part filters, plain"):
        ObjectivesConfig.read(config, only=["odd"])
    (tmp_path / "odd.json").write_text('{"rows": [{"category": "fox"}]}')
    with pytest.raises(ConfigError, match="out: expected the JSON of an earlier benchmark"):
        read_rows(tmp_path / "odd.json")


def row(method: str, category: str, seed: int, head: float, best: float, **others: Any) -> dict[str, Any]:
    key = {"data": "animalpart", "backbone": "resnet18", "layers": "layer3"}
    figures = {"r2": {"head": head, "leg": -1.0}, "best_r2": {"head": best, "leg": 0.0}}
    return key | {"method": method, "category": category, "seed": seed} | figures | others


ROWS = [
    row("part filters", "fox", 0, 0.6, 0.7, accuracy=0.90),
    row("part filters", "fox", 1, 0.8, 0.9, accuracy=0.92),
    row("part filters", "cat", 0, -0.2, 0.1, accuracy=0.95),
    row("plain", "fox", 0, -1.0, 0.1, accuracy=0.93),
    row("plain", "cat", 0, -2.0, 0.2, accuracy=0.94),
    row("ceiling", "fox", 0, 0.8, 0.8, accuracy=None),
    row("ceiling", "cat", 0, 0.2, 0.2, accuracy=None),  # below 0.3: not counted
]


def test_figures_are_means_over_seeds_and_then_over_categories() -> None:
    found = averages(ROWS, "head")["part filters"]
    assert found["R² mean"][0] == pytest.approx((0.7 - 0.2) / 2)
    assert found["best filter"][0] == pytest.approx((0.8 + 0.1) / 2)
    low, high = found["R² mean"][1:]
    assert -0.2 <= low < found["R² mean"][0] < high <= 0.7
    assert all(math.isnan(value) for value in interval([]))
    alone, *bounds = interval([0.4, math.nan])
    assert alone == 0.4
    assert all(math.isnan(value) for value in bounds)


def test_goals_count_where_the_ceiling_reaches() -> None:
    found = goals(ROWS, "head")
    assert found["categories where the ceiling reaches 0.3 on the head"] == 1
    assert found["there: R² mean over filters, share of the ceiling's"] == pytest.approx(0.7 / 0.8)
    assert found["there: R² of the best filter, share of the ceiling's"] == pytest.approx(1.0)
    assert found["categories with R² mean of at least 0"] == 1
    assert found["covered: parts whose ceiling reaches 0.3 with a filter of 0.75 of it"] == 1.0
    assert found["covered so by plain"] == 0.0  # 0.1 of the ceiling's 0.8
    assert found["accuracy lost against plain, points"] == pytest.approx((2.0 - 1.0) / 2)
    assert found["most lost in a category, points"] == pytest.approx(2.0)


def test_the_page_stars_categories_that_settings_were_chosen_on(tmp_path: Path) -> None:
    config = ObjectivesConfig(methods={"plain": {}}, chosen_on=["fox"])
    text = page(ROWS, config)
    assert text.startswith("# Objectives: resnet18 at layer3\n")
    assert "| fox* | 0.70 (0.80) | -1.00 (0.10) | 0.80 |" in text
    assert "| cat | -0.20 (0.10) |" in text
    assert "| ceiling | 2 | 2 | 0.50 [" in text
    assert "on\nfox; the other categories confirm. Written" in text
    alone = page([one for one in ROWS if one["category"] == "fox"], config)
    assert "on\nthese very categories, so that nothing confirms them. Written" in alone
    assert "| ceiling | 1 | 1 | 0.80 | 0.80 |" in alone
    plot(ROWS, config, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_the_page_is_named_after_the_trunk_of_its_rows() -> None:
    config = ObjectivesConfig(methods={"plain": {}}, backbone="resnet18", layers="layer3")
    others = [one | {"backbone": "squeezenet1_1", "layers": "features"} for one in ROWS]
    assert page(others, config).startswith("# Objectives: squeezenet1_1 at features\n")


def test_the_page_has_both_readings_of_places_where_rows_have_both() -> None:
    config = ObjectivesConfig(methods={})
    expected = [one | {"expected": one | {"r2": {"head": 0.33}, "best_r2": {"head": 0.44}}} for one in ROWS]
    assert read_as(ROWS, "expected") == []
    assert averages(read_as(expected, "expected"), "head")["plain"]["R² mean"][0] == pytest.approx(0.33)
    text = page(expected, config)
    first, second = text.index("as expected"), text.index("as the map's peak")
    assert first < text.index("| fox | 0.33 (0.44) |") < second < text.index("| fox | 0.70 (0.80) |")
    assert "as expected" not in page(ROWS, config)


def test_a_method_of_few_categories_stands_beside_the_default_on_these() -> None:
    config = ObjectivesConfig(methods={})
    assert "Methods that were not trained" not in page(ROWS, config)
    text = page([*ROWS, row("exact", "cat", 0, 0.3, 0.4, accuracy=0.9)], config)
    assert "| exact | cat | 0.30 | -0.20 | 0.40 | 0.10 | 90.0% | 95.0% |" in text
