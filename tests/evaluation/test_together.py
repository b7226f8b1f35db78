"""What an evaluation says of filters together: against the twins, of copies, and of filters that all classes share."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import partcnn
from partcnn.datasets import Box, PartDataset
from partcnn.evaluation import Evaluation, compare, evaluate
from partcnn.metrics.functional import part_agreement
from partcnn.metrics.measures import MEASURES, measures_for_people
from partcnn.model.conversion import convert
from partcnn.model.mask import ALL_CATEGORIES, top_mask
from partcnn.model.network import PartNetwork, conversion_of, recorded_feature_maps
from partcnn.model.saving.model_card import model_card
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.preprocessing import Preprocessing
from partcnn.reporting.summary import summary_rows
from tests.pointing_network import BIRDS, BLUE, GREEN, RED, SIDE, Cell, Drawer, image_ids, pointer, with_classes
from tests.reference import landmarks as twin
from tests.reference import map_statistics
from tests.tiling_network import tiling_network

PARTS = ("beak", "tail")
TOGETHER = ("parts_followed", "landmark_error", "nmi", "ari", "fg_nmi", "fg_ari", "effective_filters", "crowded")


class Scene:
    """Objects with a beak at the red spot and a tail at the blue one; a green spot elsewhere."""

    def __init__(self, folder: Path, labels: Sequence[int] = (1,), has_boxes: bool = False) -> None:
        self.drawer, self.has_boxes = Drawer(folder), has_boxes
        self.spots: dict[str, list[dict[int, Cell]]] = {"train": [], "test": []}
        for split in ("train", "test"):
            for number, image_id in enumerate(image_ids(split)[:24]):
                self.drawer.add(image_id, 0, {GREEN: self.drawer.cell()}, {})
                self._add(image_id, split, labels[number % len(labels)])

    def _add(self, image_id: str, split: str, label: int) -> None:
        spots = {colour: self.drawer.cell() for colour in (RED, BLUE, GREEN)}
        self.drawer.add(image_id, label, spots, {"beak": spots[RED], "tail": spots[BLUE]})
        self.spots[split].append(spots)
        if self.has_boxes:
            box = Box(4.0, 2.0, SIDE - 6.0, SIDE - 10.0)
            self.drawer.samples[-1] = replace(self.drawer.samples[-1], object_box=box)

    def cells(self, split: str, *colours: int) -> np.ndarray:
        return np.array([[spots[colour] for colour in colours] for spots in self.spots[split]], dtype=float)

    def points(self, split: str, *colours: int) -> np.ndarray:
        """[picture, colour, 2] (x, y) in shares of the object's box."""
        pixels = (self.cells(split, *colours)[..., ::-1] + 0.5) * 8
        corner, size = ((4, 2), (SIDE - 10, SIDE - 12)) if self.has_boxes else ((0, 0), (SIDE, SIDE))
        return (pixels - corner) / size

    def birds(self, split: str = "test") -> PartDataset:
        return self.drawer.dataset(parts=PARTS, split=split, **BIRDS)


def network(*colours: int, classes: Sequence[str] = ("background", "bird"), shared: bool = False) -> PartNetwork:
    model = with_classes(pointer([(colour, 0.0) for colour in colours], num_classes=len(classes)), list(classes))
    if shared:
        top_mask(model)[1].is_shared = True
    return model


def with_night(dataset: PartDataset) -> PartDataset:
    """With the classes that the network set by hand has."""
    dataset.classes = ["night", "spots"]
    return dataset


@pytest.mark.parametrize("has_boxes", [False, True], ids=["picture", "box"])
@pytest.mark.parametrize("colours", [(RED,), (RED, BLUE), (RED, GREEN, RED)], ids=["one", "both", "copy"])
def test_the_figures_are_the_twins(tmp_path: Path, colours: tuple[int, ...], has_boxes: bool) -> None:
    scene = Scene(tmp_path, has_boxes=has_boxes)
    found = evaluate(network(*colours), scene.birds()).summary
    train, test = (scene.points(split, *colours) for split in ("train", "test"))
    expected = twin.landmark_regression_error(
        train, scene.points("train", RED, BLUE), test, scene.points("test", RED, BLUE)
    )
    assert found["landmark_error"] == pytest.approx(expected, rel=1e-5, abs=1e-4)
    cells = scene.cells("test", *colours)
    crowded = map_statistics.crowded(cells.tolist(), np.ones(cells.shape[:2], dtype=bool))
    assert found["crowded"] == pytest.approx(crowded, nan_ok=True)


def test_filters_of_different_parts_follow_both(tmp_path: Path) -> None:
    found = evaluate(network(RED, BLUE), Scene(tmp_path).birds())
    assert (found.summary["parts_followed"], found.summary["landmark_error"]) == (2, pytest.approx(0, abs=1e-3))
    assert found.summary["effective_filters"] == pytest.approx(2, abs=0.05)
    assert found.summary["nmi"] > 0.85  # a beak and a tail in one cell are of one filter
    assert found.by_category["bird"].items() >= {name: found.summary[name] for name in TOGETHER}.items()


def test_copies_of_one_perfect_filter_win_nothing_but_the_mean_r2(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    alone, copies = (evaluate(network(*colours), scene.birds()) for colours in ((RED,), (RED,) * 5))
    found = copies.summary
    assert found["part_tracking_r2"] == pytest.approx(1)
    assert (found["parts_followed"], found["crowded"]) == (1, 1)
    assert found["effective_filters"] == pytest.approx(1)
    assert found["landmark_error"] == pytest.approx(alone.summary["landmark_error"])
    assert found["nmi"] == found["ari"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("has_boxes", [False, True], ids=["picture", "box"])
def test_baselines_are_the_middle_and_the_best_single_point(tmp_path: Path, has_boxes: bool) -> None:
    scene = Scene(tmp_path, has_boxes=has_boxes)  # all alike: the middle stands still in them
    found = evaluate(network(BLUE), scene.birds())
    train, test = scene.points("train", RED, BLUE), scene.points("test", RED, BLUE)
    mean = 100 * np.linalg.norm(test - train.mean(axis=0), axis=2).mean()
    assert found.baselines["constant_point"]["landmark_error"] == pytest.approx(mean, rel=1e-5)
    single = [twin.landmark_regression_error(train[:, [k]], train, test[:, [k]], test) for k in (0, 1)]
    assert found.baselines["perfect_filter"]["landmark_error"] == pytest.approx(min(single), rel=1e-4)
    assert "one perfect filter alone: landmark error" in str(found.table().caption)
    (row,) = [row for row in summary_rows(found, {}) if row.measure.name == "landmark_error"]
    assert "One perfect filter alone" in row.baselines


def test_intervals_hold_the_figures_and_effective_filters_have_none(tmp_path: Path) -> None:
    found = evaluate(network(RED, GREEN), Scene(tmp_path).birds())
    for name in ("landmark_error", "nmi", "ari", "fg_nmi", "fg_ari", "crowded", "parts_followed"):
        low, high = found.intervals[name]
        assert low <= found.summary[name] + 1e-9, name
        assert found.summary[name] <= high + 1e-9, name
    assert found.intervals["landmark_error"][0] < found.intervals["landmark_error"][1]
    assert "effective_filters" not in found.intervals


@pytest.mark.parametrize("split", ["train", "all"])
def test_pictures_trained_on_are_never_measured_on(tmp_path: Path, split: str) -> None:
    scene = Scene(tmp_path)
    model, training = network(RED), scene.birds("train")
    for found in (evaluate(model, scene.birds(split)), evaluate(model, scene.birds(split), selection=training)):
        assert found.summary["landmark_error"] is found.summary["parts_followed"] is None
        shown = list(found.table().columns[0].cells)
        assert "landmark_error" not in shown
        assert "nmi" in shown
        assert "landmark_error" not in [row.measure.name for row in summary_rows(found, {})]
        assert "landmark_error" not in list(compare({"a": found, "b": found}).table().columns[0].cells)


def test_without_annotations_maps_and_places_are_measured_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.drawer.samples = [replace(sample, parts={}) for sample in scene.drawer.samples]
    found = evaluate(network(RED, BLUE), scene.drawer.dataset(parts=(), split="test", **BIRDS))
    assert found.summary["effective_filters"] > 1.5
    assert 0 < found.summary["crowded"] < 1
    assert all(math.isnan(found.summary[name]) for name in TOGETHER[:6])
    shown = list(found.table().columns[0].cells)
    assert [name for name in TOGETHER if name in shown] == ["effective_filters", "crowded"]


def test_what_decides_leads_in_the_table_the_report_and_the_card(tmp_path: Path) -> None:
    found = evaluate(network(RED, BLUE), Scene(tmp_path).birds())
    lead = ["parts_followed", "landmark_error", "nmi", "ari", "effective_filters", "crowded"]
    assert [name for name in found.table().columns[0].cells if not name.startswith("fg_")][:6] == lead
    assert [row.measure.name for row in summary_rows(found, {})][:6] == lead
    assert [one.name for one in measures_for_people() if one.card][:6] == lead
    assert summary_rows(found, {})[0].value == "2"
    config = {
        "arguments": conversion_of(network(RED)).settings.to_spec(),
        "preprocessing": conversion_of(network(RED)).preprocessing.to_spec(),
        "network": None,
        "classes": ["a", "b"],
        "partcnn": "0",
    }
    text = model_card(config, found.summary)
    assert f"| {MEASURES['parts_followed'].card} | 2 |" in text
    assert Evaluation.from_json(found.to_json(tmp_path / "found.json")).summary == found.summary


# --- what filters hold, and parts that are hidden


@pytest.mark.parametrize("has_boxes", [False, True], ids=["picture", "box"])
def test_cells_and_landmarks_that_filters_hold_are_counted(tmp_path: Path, has_boxes: bool) -> None:
    scene = Scene(tmp_path, has_boxes=has_boxes)
    found = evaluate(tiling_network(), with_night(scene.birds()))
    cells = [set(spots.values()) for spots in scene.spots["test"]]
    at_edge = [cell for one in cells for cell in one if 7 in cell]  # their middles lie beyond the box
    outside = len(at_edge) / sum(map(len, cells)) if has_boxes else 0
    assert found.summary["held_outside"] == pytest.approx(outside)
    assert found.summary["landmarks_held"] == 1
    for name in ("held_outside", "landmarks_held"):
        low, high = found.intervals[name]
        assert low <= found.summary[name] <= high
        assert found.by_category["spots"][name] == found.summary[name]


def test_a_part_that_no_filter_holds_is_told(tmp_path: Path) -> None:
    model = tiling_network()
    with torch.no_grad():
        model.layer_of_parts.scores.prototypes.weight[2].zero_()  # blue: the tail
    scene = Scene(tmp_path)
    found = evaluate(model, with_night(scene.birds())).summary
    pairs = [(spots[RED], spots[BLUE], spots[GREEN]) for spots in scene.spots["test"]]
    held = [1 + (blue in (red, green)) for red, blue, green in pairs]
    assert found["landmarks_held"] == pytest.approx(sum(held) / (2 * len(pairs)))


def test_where_no_cell_is_nobodys_nothing_is_said_of_what_is_held(tmp_path: Path) -> None:
    found = evaluate(network(RED, BLUE), Scene(tmp_path).birds())
    assert found.summary["held_outside"] is found.summary["landmarks_held"] is None
    assert found.summary["hidden_firing"] is None  # of parts that are nowhere hidden
    assert found.intervals.keys().isdisjoint({"held_outside", "landmarks_held"})


@pytest.mark.parametrize(("painted", "share"), [(False, 0), (True, 1)], ids=["absent", "painted over"])
def test_filters_that_fire_on_hidden_parts_are_told(tmp_path: Path, painted: bool, share: float) -> None:
    """A third of the birds have no beak, or one that the annotation calls hidden though it is there to be seen."""
    scene = Scene(tmp_path)
    drawer = scene.drawer
    for split in ("train", "test"):
        for image_id in image_ids(split)[24:]:
            spots = {colour: drawer.cell() for colour in (RED, BLUE) if painted or colour != RED}
            drawer.add(image_id, 1, spots, {"tail": spots[BLUE]})
    found = evaluate(network(RED, BLUE), scene.birds())
    assert found.summary["hidden_firing"] == share  # of the beak: the tail is nowhere hidden
    assert evaluate(network(BLUE), scene.birds()).summary["hidden_firing"] != share  # no filter follows the beak
    assert evaluate(network(RED, BLUE), scene.birds("train")).summary["hidden_firing"] is None


# --- filters that all categories share


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Evaluation, Evaluation]:
    """The same pictures: of two categories that share the filters, and all objects as one category."""
    scene = Scene(tmp_path, labels=(1, 2, 2))
    kinds = scene.drawer.dataset(["background", "cat", "dog"], PARTS, "test", background=0)
    of_both = evaluate(network(RED, BLUE, GREEN, classes=kinds.classes, shared=True), kinds)
    scene.drawer.samples = [replace(sample, label=min(sample.label, 1)) for sample in scene.drawer.samples]
    return of_both, evaluate(network(RED, BLUE, GREEN), scene.birds())


def test_shared_filters_are_measured_as_if_all_objects_were_of_one_category(
    shared: tuple[Evaluation, Evaluation],
) -> None:
    of_both, of_one = shared
    others = ("accuracy", "least_location_instability")
    for name, figure in of_one.summary.items():
        if name not in others:
            assert of_both.summary[name] == pytest.approx(figure, nan_ok=True), name
    for ours, theirs in zip(of_both.filters, of_one.filters, strict=True):
        assert (ours.category, ours.best_part, ours.is_dead) == (ALL_CATEGORIES, theirs.best_part, theirs.is_dead)
        assert ours.r2_by_part == pytest.approx(theirs.r2_by_part)
        assert ours.pointing_by_part == theirs.pointing_by_part
        assert ours.interpretability_by_part == theirs.interpretability_by_part
        assert ours.class_purity == pytest.approx(theirs.class_purity)
        assert [(top.sample, top.score) for top in ours.top_images] == [
            (top.sample, top.score) for top in theirs.top_images
        ]
    assert of_both.by_part[ALL_CATEGORIES] == of_one.by_part["bird"]
    for name in ("constant_point", "random_filter", "perfect_filter"):
        for measure, figure in of_one.baselines[name].items():
            if measure not in others:
                assert of_both.baselines[name][measure] == pytest.approx(figure, nan_ok=True), (name, measure)


def test_shared_filters_have_figures_by_category_and_intervals(shared: tuple[Evaluation, Evaluation]) -> None:
    of_both, of_one = shared
    assert list(of_both.by_category) == ["cat", "dog"]
    for figures in of_both.by_category.values():
        assert (figures["num_filters"], figures["parts_followed"]) == (3, 2)
        assert figures["coverage"] == 1
    assert sum(one["num_images"] for one in of_both.by_category.values()) == of_one.by_category["bird"]["num_images"]
    assert of_both.intervals.keys() >= of_one.intervals.keys() - {"accuracy"}
    for name in ("part_tracking_r2", "class_purity", "pointing_game", "landmark_error"):
        low, high = of_both.intervals[name]
        assert low - 1e-9 <= of_both.summary[name] <= high + 1e-9
    json.loads(of_both.dumps())


def test_shared_filters_are_measured_by_part_on_each_categorys_pictures(tmp_path: Path) -> None:
    scene = Scene(tmp_path, labels=(1, 2, 2))
    kinds = scene.drawer.dataset(["background", "cat", "dog"], PARTS, "test", background=0)
    model = network(RED, BLUE, GREEN, classes=kinds.classes, shared=True)
    of_all, pictures = evaluate(model, kinds), kinds.samples
    assert list(of_all.by_part) == [ALL_CATEGORIES, "cat", "dog"]
    for label, kind in enumerate(kinds.classes[1:], 1):
        kinds.samples = [sample for sample in pictures if sample.label in (0, label)]
        alone = evaluate(model, kinds)
        for part, figures in alone.by_part[ALL_CATEGORIES].items():
            figures.pop("part_interpretability")  # its threshold is of all pictures
            found = {name: of_all.by_part[kind][part][name] for name in figures}
            assert found == pytest.approx(figures), (kind, part)
    assert of_all.by_part["cat"] != of_all.by_part["dog"]
    assert of_all.part_table().row_count == len(PARTS)


def competing() -> PartNetwork:
    torch.manual_seed(0)
    classes = ["background", "cat", "dog"]
    made = convert(
        DemoNet(), "features", num_classes=3, background=0, filters=4, objective="competing", input_size=(SIDE, SIDE)
    )
    conversion_of(made).preprocessing = Preprocessing((SIDE, SIDE), (0.5,) * 3, (0.5,) * 3)
    return with_classes(made.eval(), classes)


def test_the_rest_of_filters_that_compete_is_the_background(tmp_path: Path) -> None:
    scene, model = Scene(tmp_path, labels=(1, 2)), competing()
    kinds = scene.drawer.dataset(["background", "cat", "dog"], PARTS, "test", background=0)
    found = evaluate(model, kinds)
    pictures = kinds.with_transform(conversion_of(model).preprocessing.transform())
    examples = [one for one in (pictures[i] for i in range(len(pictures))) if one.label]
    with torch.inference_mode(), recorded_feature_maps(model) as maps:
        model(torch.stack([one.image for one in examples]))
        shares = maps[top_mask(model)[0]]
    landmarks = torch.stack([one.landmarks for one in examples]) / SIDE
    rest = 1 - shares.sum(dim=1)
    expected = part_agreement(shares, landmarks, background=rest, input_size=(SIDE, SIDE))
    for name in ("nmi", "ari", "fg_nmi", "fg_ari"):
        assert found.summary[name] == pytest.approx(getattr(expected, name), abs=1e-6)
    assert {one.category for one in found.filters} == {ALL_CATEGORIES}


def test_pages_and_explanations_know_filters_without_a_category_of_their_own(tmp_path: Path) -> None:
    scene, model = Scene(tmp_path, labels=(1, 2)), competing()
    kinds = scene.drawer.dataset(["background", "cat", "dog"], PARTS, "test", background=0)
    text = partcnn.report(model, kinds, tmp_path / "report.html").read_text(encoding="utf-8")
    assert '"serves":["cat","dog"]' in text.replace(", ", ",").replace(": ", ":")
    why = partcnn.explain(model, kinds.samples[1].image_path)
    assert {one.category for one in why.contributions} == {ALL_CATEGORIES}
