"""What an evaluation says beyond R²: regions, shares, intervals, splits, baselines, files; batches do not matter."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from partcnn.datasets import Box, MaskShape, PartDataset, Point, Sample
from partcnn.evaluation import Evaluation, FilterEvaluation, Protocol, evaluate
from partcnn.evaluation.observation import observe
from partcnn.evaluation.observation.pictures import ObservedPictures
from partcnn.foundation.errors import ConfigError
from partcnn.metrics import METRICS
from partcnn.metrics.functional import constant_peaks, location_instability, measure_baseline
from partcnn.metrics.measures import MEASURES
from partcnn.metrics.significance import bootstrap_intervals
from partcnn.model.second_views import MOST_SECOND_VIEWS
from tests.pointing_network import BIRDS, BLUE, GREEN, RED, SIDE, Cell, Drawer, centre, image_ids, pointer, with_classes

# A cell is 8 × 8 pixels, 2 × 2 points of the grid; a disc of 5 pixels around its middle covers just these.
# A filter that fires in one of 64 cells fires on more than 0.5 % of them: at the paper's quantile all its peaks tie.
CLOSE = Protocol(radius_px=5.0, tolerance_px=0.0, quantile=0.02)
SHAPES = ["mask", "box", "point"]


@pytest.fixture
def drawer(tmp_path: Path) -> Drawer:
    return Drawer(tmp_path)


def shape_of(kind: str, cell: Cell, size: int = SIDE) -> MaskShape | Box | Point:
    side, (row, col) = size // 8, cell
    if kind == "point":
        return centre(cell, (size, size))
    if kind == "box":
        return Box(col * side, row * side, (col + 1) * side, (row + 1) * side)
    mask = np.zeros((size, size), dtype=bool)
    mask[row * side : (row + 1) * side, col * side : (col + 1) * side] = True
    return MaskShape(mask)


def add_shape(drawer: Drawer, image_id: str, spots: dict[int, Cell], kind: str, cell: Cell, size: int = SIDE) -> None:
    drawer.add(image_id, 1, spots, {}, size)
    sample = drawer.samples[-1]
    drawer.samples[-1] = replace(sample, parts={"beak": [shape_of(kind, cell, size)]})


def birds(drawer: Drawer, kind: str = "box", count: int = 12, split: str = "test") -> PartDataset:
    """As many pictures of background, and of a beak where the red spot is; the blue spot is somewhere else."""
    for image_id in image_ids(split)[:count]:
        drawer.add(f"{image_id}", 0, {BLUE: drawer.cell()}, {})
        beak = drawer.cell()
        other = ((beak[0] + 4) % 8, (beak[1] + 3) % 8)
        add_shape(drawer, image_id, {RED: beak, BLUE: other}, kind, beak)
    return drawer.dataset(**BIRDS)


def red_blue_constant():  # type: ignore[no-untyped-def]
    return with_classes(pointer([(RED, 0.0), (BLUE, 0.0), (None, 1.0)]), ["background", "bird"])


# --- shares known beforehand


@pytest.mark.parametrize("kind", SHAPES)
def test_a_filter_that_fires_on_the_part_hits_it_on_every_picture(drawer: Drawer, kind: str) -> None:
    result = evaluate(red_blue_constant(), birds(drawer, kind), protocol=CLOSE)
    red, blue, _ = result.filters
    assert (red.part_interpretability, blue.part_interpretability) == (1.0, 0.0)
    assert (red.pointing_game, blue.pointing_game) == (1.0, 0.0)
    assert red.interpretability_by_part == red.pointing_by_part == {"beak": 1.0}
    assert result.protocol["regions"] == {"mask": "masks", "box": "boxes", "point": "points"}[kind]
    assert result.protocol["radius_px"] == 5.0


def test_regions_of_several_kinds_are_named(drawer: Drawer) -> None:
    for kind, image_id in zip(SHAPES, image_ids("test"), strict=False):
        cell = drawer.cell()
        add_shape(drawer, image_id, {RED: cell}, kind, cell)
    assert evaluate(red_blue_constant(), drawer.dataset(**BIRDS)).protocol["regions"] == "masks and boxes and points"


def test_a_larger_picture_has_its_regions_where_its_spots_are(drawer: Drawer) -> None:
    for number, image_id in enumerate(image_ids("test")[:6]):
        beak = drawer.cell()
        add_shape(drawer, image_id, {RED: beak}, SHAPES[number % 2], beak, size=3 * SIDE)
    result = evaluate(red_blue_constant(), drawer.dataset(**BIRDS), protocol=CLOSE)
    assert result.filters[0].part_interpretability == result.filters[0].pointing_game == 1.0


@pytest.mark.parametrize("kind", SHAPES)
def test_regions_lie_on_the_grid_where_the_shapes_are(drawer: Drawer, kind: str) -> None:
    add_shape(drawer, "a", {RED: (1, 5)}, kind, (1, 5), size=2 * SIDE)
    dataset = drawer.dataset(**BIRDS)
    pictures = ObservedPictures(
        dataset,
        lambda image, boxes: (image[:, ::2, ::2], boxes),
        grid=(16, 16),
        input_size=(SIDE, SIDE),
        point_radius_px=3.0,
    )
    regions, counts = pictures[0].regions, pictures[0].num_shapes
    assert regions.nonzero().tolist() == [[0, 2, 10], [0, 2, 11], [0, 3, 10], [0, 3, 11]]
    assert counts.tolist() == [int(kind == name) for name in SHAPES]


def test_a_shape_smaller_than_the_grid_is_not_lost(drawer: Drawer) -> None:
    drawer.add("a", 1, {}, {})
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[33, 12] = True
    drawer.samples[-1] = replace(drawer.samples[-1], parts={"beak": [MaskShape(mask)]})
    pictures = ObservedPictures(
        drawer.dataset(**BIRDS), lambda *pair: pair, grid=(8, 8), input_size=(SIDE, SIDE), point_radius_px=1.0
    )
    assert pictures[0].regions.nonzero().tolist() == [[0, 4, 1]]


def test_a_part_of_several_shapes_is_all_of_them(drawer: Drawer) -> None:
    drawer.add("a", 1, {}, {})
    shapes = [shape_of("box", (1, 1)), shape_of("mask", (5, 5))]
    drawer.samples[-1] = replace(drawer.samples[-1], parts={"beak": shapes})
    assert observed_region(drawer.dataset(**BIRDS), 0).sum().item() == 8


def test_a_silent_filter_points_at_nothing_though_its_peak_is_said_to_be_the_first_cell(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:6]:
        add_shape(drawer, image_id, {RED: (0, 0)}, "box", (0, 0))
    model = with_classes(pointer([(RED, 0.0), (None, -1.0)]), ["background", "bird"])
    assert [one.pointing_game for one in evaluate(model, drawer.dataset(**BIRDS)).filters] == [1.0, 0.0]


def test_purity_is_what_falls_on_the_filters_category(drawer: Drawer) -> None:
    result = evaluate(red_blue_constant(), birds(drawer))
    red, blue, constant = result.filters
    assert red.class_purity == pytest.approx(1.0)
    assert red.activation_share == pytest.approx({"background": 0.0, "bird": 1.0})
    assert blue.class_purity == pytest.approx(0.5)
    assert constant.class_purity == pytest.approx(0.5)
    assert result.summary["class_purity"] == pytest.approx(2 / 3)
    assert result.confusion["bird"] == pytest.approx({"background": 1 / 3, "bird": 2 / 3})


def test_the_threshold_is_over_the_cells_of_all_pictures(drawer: Drawer) -> None:
    model = with_classes(pointer([(RED, 0.0), (BLUE, 0.0), (None, 1.0)], masks=False), ["background", "bird"])
    red, _, constant = evaluate(model, birds(drawer), protocol=replace(CLOSE, quantile=0.3)).filters
    assert red.activation_threshold == 2.0**-20  # one cell of 64 on every second picture
    assert 1.0 < constant.activation_threshold <= 1.001  # all cells tie: none is above
    assert constant.part_interpretability == 0.0


def test_masks_of_the_network_stand_between_maps_and_thresholds(drawer: Drawer) -> None:
    # Without its mask the constant filter ties everywhere; with it what is left is the corner around its peak.
    dataset = birds(drawer)
    masked = evaluate(red_blue_constant(), dataset, protocol=CLOSE).filters[2]
    plain = with_classes(pointer([(RED, 0.0), (BLUE, 0.0), (None, 1.0)], masks=False), ["background", "bird"])
    unmasked = evaluate(plain, dataset, protocol=CLOSE).filters[2]
    assert masked.activation_threshold < 1.0 < unmasked.activation_threshold


# --- categories, parts, splits, baselines


def two_animals(drawer: Drawer) -> PartDataset:
    for image_id in image_ids("test")[:10]:
        for label in (0, 1):
            eye = drawer.cell()
            drawer.add(image_id, label, {RED: eye} if label == 0 else {BLUE: eye}, {"eye": eye})
    return drawer.dataset(["cat", "dog"], parts=["eye", "tail"])


def test_categories_have_figures_of_their_own_and_the_summary_is_of_all_filters(drawer: Drawer, tmp_path: Path) -> None:
    filters = [(RED, 0.0), (None, -1.0), (RED, 0.0), (BLUE, 0.0)]  # even ones are the cat's
    result = evaluate(with_classes(pointer(filters, background=None), ["cat", "dog"]), two_animals(drawer))
    cat, dog = result.by_category["cat"], result.by_category["dog"]
    assert (cat["num_images"], cat["num_filters"], dog["num_filters"]) == (10, 2, 2)
    assert cat["part_tracking_r2"] == pytest.approx(1.0)
    assert dog["part_tracking_r2"] == pytest.approx(0.5)
    assert (cat["dead_filters"], dog["dead_filters"]) == (0.0, 0.5)
    assert result.summary["part_tracking_r2"] == pytest.approx(0.75)
    assert result.by_part["dog"]["eye"]["best_filter"] == 3
    assert result.by_part["dog"]["eye"]["num_following"] == 1
    assert result.by_part["cat"]["eye"]["num_images"] == 10
    assert result.by_part["cat"]["tail"]["best_filter"] is None
    again = Evaluation.from_json(result.to_json(tmp_path / "evaluation.json"))
    assert again.by_part["cat"]["tail"]["best_filter"] is None
    assert math.isnan(again.by_part["cat"]["tail"]["part_tracking_r2"])
    assert again.by_part["dog"]["eye"] == result.by_part["dog"]["eye"]
    accuracy = [one["accuracy"] for one in result.by_category.values()]
    assert result.summary["accuracy"] == pytest.approx(sum(accuracy) / 2)


def test_the_least_instability_looks_at_every_category(drawer: Drawer) -> None:
    # The only filter is the cat's and points nowhere there, but on dogs it follows the eye.
    for image_id in image_ids("test")[:10]:
        drawer.add(image_id, 0, {RED: drawer.cell()}, {"eye": drawer.cell()})
        eye = drawer.cell()
        drawer.add(image_id, 1, {RED: eye}, {"eye": eye})
    model = with_classes(pointer([(RED, 0.0), (RED, 0.0)], background=None), ["cat", "dog"])
    result = evaluate(model, drawer.dataset(["cat", "dog"], parts=["eye"]))
    summary = result.summary
    assert summary["least_location_instability"] == pytest.approx(0.0, abs=1e-9)
    assert summary["location_instability"] > 0.05
    assert result.intervals["least_location_instability"] == pytest.approx((0.0, 0.0), abs=1e-6)
    assert result.intervals["location_instability"][0] > 0.02


def test_the_least_instability_also_looks_at_categories_that_own_no_filter(drawer: Drawer) -> None:
    # By the paper's rule the cat owns the only filter, which points nowhere there; on dogs it follows the eye.
    for number, image_id in enumerate(image_ids("test")[:20]):
        eye = drawer.cell()
        is_bright = number % 2 == 0
        spots = {RED: drawer.cell(), GREEN: drawer.cell()} if is_bright else {RED: eye}
        drawer.add(image_id, int(not is_bright), spots, {"eye": eye})
    model = with_classes(pointer([(RED, 0.0)], background=None, objective="exact"), ["cat", "dog"])
    with torch.no_grad():
        model.part_layers[0].weight[0, GREEN, 1, 1] = 0.5  # so that it fires more on cats
    result = evaluate(model, drawer.dataset(["cat", "dog"], parts=["eye"]))
    assert result.filters[0].category == "cat"
    assert result.filters[0].location_instability > 0.05
    assert result.summary["least_location_instability"] == pytest.approx(0.0, abs=1e-9)
    assert result.intervals["least_location_instability"] == pytest.approx((0.0, 0.0), abs=1e-6)


def test_baselines_have_every_measure(drawer: Drawer) -> None:
    result = evaluate(red_blue_constant(), birds(drawer))
    chosen = {"part_tracking_r2_top_quarter", "part_tracking_r2_best"}
    for name, figures in result.baselines.items():
        assert figures.keys() == METRICS.keys() | {"steadiness", "identity"}, name
        assert all(math.isfinite(figure) for figure in figures.values()), name
        assert figures["least_location_instability"] == pytest.approx(figures["location_instability"])  # one category
    assert not chosen & result.baselines["random_filter"].keys()


def test_a_random_filter_follows_a_part_of_two_pictures_by_luck(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:2]:
        beak = drawer.cell()
        drawer.add(image_id, 1, {RED: beak}, {"beak": beak})
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    result = evaluate(model, drawer.dataset(**BIRDS), protocol=replace(CLOSE, num_random_filters=200))
    assert result.baselines["random_filter"]["coverage"] == 1.0
    assert result.baselines["constant_point"]["coverage"] == 0.0
    assert result.intervals == {}  # and nothing is said of two pictures


def test_every_split_that_was_measured_has_a_summary(drawer: Drawer) -> None:
    for split in ("train", "test"):
        for image_id in image_ids(split)[: 6 if split == "train" else 9]:
            beak = drawer.cell()
            drawer.add(image_id, 1, {RED if split == "train" else BLUE: beak}, {"beak": beak})
    result = evaluate(red_blue_constant(), drawer.dataset(**BIRDS, split="test"))
    assert result.by_split.keys() == {"train", "test"}
    assert result.by_split["test"] == result.summary
    assert (result.by_split["train"]["num_images"], result.by_split["test"]["num_images"]) == (6, 9)
    only = evaluate(red_blue_constant(), drawer.dataset(**BIRDS, split="train"))
    assert only.by_split.keys() == {"train"}


def test_the_constant_point_is_measured_on_the_very_pictures(drawer: Drawer) -> None:
    dataset = birds(drawer, count=20)
    result = evaluate(red_blue_constant(), dataset, protocol=CLOSE)
    shown = [sample.parts["beak"][0] for sample in dataset.samples if sample.label == 1]
    landmarks = torch.tensor([[box.center] for box in shown])
    regions = torch.stack([observed_region(dataset, index) for index in range(40) if dataset.samples[index].label == 1])
    expected = measure_baseline(
        constant_peaks(landmarks, (SIDE, SIDE)),
        landmarks,
        regions,
        (SIDE, SIDE),
        radius_px=5.0,
        tolerance_px=0.0,
    )
    constant = result.baselines["constant_point"]
    for name in ("location_instability", "displacement_scatter", "pointing_game", "part_interpretability"):
        assert constant[name] == pytest.approx(getattr(expected, name), abs=1e-9)
    assert constant["part_tracking_r2"] == pytest.approx(0.0, abs=1e-9)
    assert constant["location_instability"] == pytest.approx(result.summary["constant_point_instability"])
    assert constant["class_purity"] == 0.5
    assert result.baselines["random_filter"]["part_tracking_r2"] < 0


def observed_region(dataset: PartDataset, index: int) -> torch.Tensor:
    pictures = ObservedPictures(
        dataset, lambda *pair: pair, grid=(16, 16), input_size=(SIDE, SIDE), point_radius_px=5.0
    )
    return pictures[index].regions


# --- intervals


def test_an_interval_holds_the_figure_and_narrows_with_more_pictures(drawer: Drawer) -> None:
    for image_id in (f"{name} {copy}" for copy in range(4) for name in image_ids("test")):
        beak = drawer.cell()
        wrong = drawer.random.random() < 0.3
        drawer.add(image_id, 1, {RED: drawer.cell() if wrong else beak}, {"beak": beak})
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    many = drawer.dataset(**BIRDS)
    drawer.samples = drawer.samples[:20]
    widths = []
    for dataset in (drawer.dataset(**BIRDS), many):
        result = evaluate(model, dataset, protocol=Protocol(top=200, tolerance_px=0.0))
        for name in ("part_tracking_r2", "location_instability", "displacement_scatter", "pointing_game"):
            low, high = result.intervals[name]
            assert low < result.summary[name] < high, name
        low, high = result.intervals["pointing_game"]
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]
    share = result.summary["pointing_game"]
    assert widths[1] == pytest.approx(2 * 1.96 * math.sqrt(share * (1 - share) / 120), rel=0.15)


def test_the_constant_points_interval_is_that_of_its_distances(drawer: Drawer) -> None:
    beaks = [drawer.cell() for _ in range(20)]
    for image_id, beak in zip(image_ids("test"), beaks, strict=False):
        drawer.add(image_id, 1, {RED: beak}, {"beak": beak})
    result = evaluate(with_classes(pointer([(RED, 0.0)]), ["background", "bird"]), drawer.dataset(**BIRDS))
    places = torch.tensor([[centre(beak).x, centre(beak).y] for beak in beaks], dtype=torch.float64)
    distance = (places - SIDE / 2).norm(dim=1) / math.hypot(SIDE, SIDE)

    def deviation(counts: torch.Tensor) -> torch.Tensor:
        mean = counts @ distance / 20
        return ((counts * (distance - mean[:, None]).square()).sum(dim=1) / 19).sqrt()[None]

    (expected,) = bootstrap_intervals(deviation, [20])
    assert result.intervals["constant_point_instability"] == pytest.approx(expected)
    low, high = expected
    assert low < result.summary["constant_point_instability"] < high


def test_of_one_category_the_least_instability_is_as_sure_as_the_mean(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:20]:
        drawer.add(image_id, 1, {RED: drawer.cell()}, {"beak": drawer.cell()})
    result = evaluate(with_classes(pointer([(RED, 0.0)]), ["background", "bird"]), drawer.dataset(**BIRDS))
    expected = result.intervals["location_instability"]
    assert result.intervals["least_location_instability"] == pytest.approx(expected)


def test_a_perfect_follower_leaves_no_doubt(drawer: Drawer) -> None:
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    result = evaluate(model, birds(drawer), protocol=CLOSE)
    assert result.intervals["part_tracking_r2"] == pytest.approx((1.0, 1.0))
    assert result.intervals["location_instability"] == pytest.approx((0.0, 0.0), abs=1e-6)
    assert result.intervals["class_purity"] == result.intervals["part_interpretability"] == (1.0, 1.0)
    assert result.intervals["coverage"] == (1.0, 1.0)


def test_a_dead_filter_stays_at_zero_in_every_resample(drawer: Drawer) -> None:
    for number, image_id in enumerate(image_ids("test")[:20]):
        beak = drawer.cell()
        drawer.add(image_id, 1, {RED: beak} if number < 8 else {}, {"beak": beak})  # silent on 12 of 20
    result = evaluate(with_classes(pointer([(RED, 0.0)]), ["background", "bird"]), drawer.dataset(**BIRDS))
    assert result.summary["part_tracking_r2"] == 0.0
    assert result.intervals["part_tracking_r2"] == (0.0, 0.0)
    assert result.summary["dead_filters"] == 1.0
    assert result.intervals["dead_filters"] == (0.0, 1.0)  # 12 of 20 may as well be 9


def test_purity_does_not_depend_on_how_many_pictures_a_class_has(drawer: Drawer) -> None:
    for number, image_id in enumerate(image_ids("test")[:20]):
        drawer.add(image_id, int(number > 3), {}, {})
    result = evaluate(with_classes(pointer([(None, 1.0)]), ["background", "bird"]), drawer.dataset(**BIRDS))
    assert result.summary["class_purity"] == pytest.approx(0.5)
    assert result.intervals["class_purity"] == pytest.approx((0.5, 0.5))


def test_without_resamples_there_are_no_intervals(drawer: Drawer) -> None:
    dataset = birds(drawer)
    assert evaluate(red_blue_constant(), dataset, protocol=Protocol(resamples=0)).intervals == {}
    assert evaluate(red_blue_constant(), dataset).intervals.keys() >= {"accuracy", "part_tracking_r2", "class_purity"}


def test_the_intervals_of_a_large_data_set_are_those_of_a_sample(drawer: Drawer) -> None:
    for number, image_id in enumerate(f"{name} {copy}" for copy in range(3) for name in image_ids("test")):
        beak = drawer.cell()
        drawer.add(image_id, number % 2, {RED: beak} if number % 3 else {RED: drawer.cell()}, {"beak": beak})
    model, dataset = with_classes(pointer([(RED, 0.0)]), ["background", "bird"]), drawer.dataset(**BIRDS)
    whole = evaluate(model, dataset, protocol=CLOSE)
    part = evaluate(model, dataset, protocol=replace(CLOSE, most_recorded=20))
    assert part.summary == pytest.approx(whole.summary, nan_ok=True)  # the figures are of all pictures
    assert part.intervals["part_tracking_r2"] == whole.intervals["part_tracking_r2"]
    wide, narrow = (one.intervals["pointing_game"] for one in (part, whole))
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


# --- one pass; no dependence on batches and order


def test_every_picture_is_decoded_once_and_again_for_a_second_view(
    drawer: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = birds(drawer, "mask")
    opened: list[Path] = []
    whole, reduced = Sample.load_image, Sample.load_reduced
    monkeypatch.setattr(Sample, "load_image", lambda sample: (opened.append(sample.image_path), whole(sample))[1])
    monkeypatch.setattr(
        Sample, "load_reduced", lambda sample, *how: (opened.append(sample.image_path), reduced(sample, *how))[1]
    )
    evaluate(red_blue_constant(), dataset)
    objects = [sample.image_path for sample in dataset.samples if sample.label]
    assert 0 < len(objects) <= MOST_SECOND_VIEWS
    assert sorted(opened) == sorted([*objects, *(sample.image_path for sample in dataset.samples)])


def comparable(evaluation: Evaluation) -> dict[str, object]:
    content = json.loads(evaluation.dumps())
    for one in content["filters"]:
        del one["top_images"]  # numbered by the order of the pictures
        del one["class_weight"]  # a sum in single precision
    return content


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_do_not_matter(drawer: Drawer, batch_size: int) -> None:
    dataset = birds(drawer, "mask")
    expected = comparable(evaluate(red_blue_constant(), dataset, protocol=CLOSE))
    assert comparable(evaluate(red_blue_constant(), dataset, protocol=CLOSE, batch_size=batch_size)) == expected
    assert expected["filters"][0]["part_interpretability"] == 1.0


def test_the_order_of_the_pictures_does_not_matter(drawer: Drawer) -> None:
    birds(drawer, "mask")
    expected = evaluate(red_blue_constant(), drawer.dataset(**BIRDS), protocol=CLOSE)
    drawer.samples.reverse()
    found = evaluate(red_blue_constant(), drawer.dataset(**BIRDS), protocol=CLOSE)
    exact = ("activation_threshold", "part_interpretability", "pointing_game", "class_purity", "is_dead")
    for one, other in zip(found.filters, expected.filters, strict=True):
        assert [getattr(one, name) for name in exact] == [getattr(other, name) for name in exact]
        assert one.part_tracking_r2 == pytest.approx(other.part_tracking_r2, abs=1e-12)
    assert found.summary == pytest.approx(expected.summary, abs=1e-12)
    assert found.baselines["constant_point"] == pytest.approx(expected.baselines["constant_point"], abs=1e-12)


def test_the_tables_of_an_observation_are_those_of_all_pictures_at_once(drawer: Drawer) -> None:
    """With so few ranks that tables are folded and merged many times."""
    for image_id in (f"{name} {copy}" for copy in range(3) for name in image_ids("test")):
        drawer.add(image_id, 1, {RED: drawer.cell()}, {"beak": drawer.cell()})
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    observation = observe(model, drawer.dataset(**BIRDS), protocol=Protocol(top=90), batch_size=8)
    rows = observation.top.by_part(1)[0, 0]
    assert rows[:, 1].tolist() == list(range(90))  # all tie: in the order of the pictures
    value = evaluate(model, drawer.dataset(**BIRDS), top=10).summary["location_instability"]
    peaks, scores = rows[:10, None, 2:4], rows[:10, None, 0]
    assert value == pytest.approx(location_instability(peaks, scores, rows[:10, None, 4:6], (SIDE, SIDE)).value)


# --- files and tables


def test_a_file_of_the_first_version_is_read(drawer: Drawer, tmp_path: Path) -> None:
    content = json.loads(evaluate(red_blue_constant(), birds(drawer)).dumps())
    old = {name: content[name] for name in ("summary", "lower_layers", "classes", "parts", "data")}
    names = ("layer", "filter", "category", "best_part", "part_tracking_r2", "r2_by_part", "location_instability")
    names += ("displacement_scatter", "is_dead", "class_weight", "top_images")
    old |= {"schema_version": 1, "filters": [{name: one[name] for name in names} for one in content["filters"]]}
    (tmp_path / "old.json").write_text(json.dumps(old))
    found = Evaluation.from_json(tmp_path / "old.json")
    assert found.schema_version == 1
    assert found.filters[0].part_tracking_r2 == pytest.approx(1.0)
    assert math.isnan(found.filters[0].class_purity)
    assert found.intervals == found.by_category == found.baselines == {}
    without_training = [name for name in old["summary"] if not MEASURES[name].is_optional]
    assert list(found.table().columns[0].cells) == without_training
    assert found.filter_table().row_count == 3


def test_what_only_an_earlier_version_wrote_is_left_out(drawer: Drawer, tmp_path: Path) -> None:
    result = evaluate(red_blue_constant(), birds(drawer))
    content = json.loads(result.dumps()) | {"forgotten": 1}
    content["filters"][0]["instability_by_part"] = {"beak": 0.1}
    (tmp_path / "earlier.json").write_text(json.dumps(content))
    found = Evaluation.from_json(tmp_path / "earlier.json")
    assert found.filters == result.filters
    assert found.summary == result.summary


def test_the_run_of_an_earlier_version_has_the_figures_that_it_had() -> None:
    file = Path(__file__).parents[1] / "data" / "run-before-the-rooms" / "metrics.json"
    content, found = json.loads(file.read_text()), Evaluation.from_json(file)
    assert content["schema_version"] == found.schema_version == 2
    summary = {"class_purity" if name == "purity" else name: figure for name, figure in content["summary"].items()}
    assert found.summary == summary
    assert found.by_category["cat"]["class_purity"] == content["by_category"]["cat"]["purity"]
    assert found.filters[0].purity == found.filters[0].class_purity
    assert [one.class_purity for one in found.filters] == [one["purity"] for one in content["filters"]]
    assert list(found.table().columns[0].cells) == list(summary)


def test_the_csv_has_a_row_per_filter_and_a_column_per_part(drawer: Drawer, tmp_path: Path) -> None:
    result = evaluate(with_classes(pointer([(RED, 0.0), (None, -1.0)]), ["background", "bird"]), birds(drawer))
    with result.to_csv(tmp_path / "filters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["filter"] for row in rows] == ["0", "1"]
    assert [row["best_part"] for row in rows] == ["beak", ""]
    assert [float(row["r2_by_part[beak]"]) for row in rows] == pytest.approx([1.0, 0.0])
    assert [row["is_dead"] for row in rows] == ["False", "True"]
    assert "top_images" not in rows[0]


def test_what_is_not_a_number_is_empty_in_the_csv(drawer: Drawer, tmp_path: Path) -> None:
    for image_id in image_ids("test")[:3]:
        drawer.add(image_id, 1, {RED: drawer.cell()}, {})
    result = evaluate(red_blue_constant(), drawer.dataset(**BIRDS))
    with result.to_csv(tmp_path / "filters.csv").open(newline="") as file:
        assert {row["part_tracking_r2"] for row in csv.DictReader(file)} == {""}


def test_the_tables_show_categories_and_parts(drawer: Drawer) -> None:
    filters = [(RED, 0.0), (None, -1.0), (RED, 0.0), (BLUE, 0.0)]
    result = evaluate(with_classes(pointer(filters, background=None), ["cat", "dog"]), two_animals(drawer))
    assert list(result.category_table().columns[0].cells) == ["cat", "dog"]
    parts = result.part_table()
    assert list(parts.columns[1].cells) == ["eye", "tail", "eye", "tail"]
    assert list(parts.columns[3].cells)[2:] == ["3", "–"]
    columns = [list(column.cells) for column in result.table().columns]
    row = dict(zip(columns[0], zip(*columns[1:], strict=True), strict=True))["part_tracking_r2"]
    assert row[0] == "0.750"
    assert row[2] == "0.000" or row[2] == "-0.000"
    assert "…" in row[1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"top": 1}, "top"),
        ({"radius_px": 0.0}, "radius_px"),
        ({"tolerance_px": -1.0}, "tolerance_px"),
        ({"quantile": 1.5}, "quantile"),
        ({"iou_threshold": 0.0}, "iou_threshold"),
        ({"resamples": -1}, "resamples"),
        ({"confidence": 1.0}, "confidence"),
        ({"grid_step_px": 0}, "grid_step_px"),
    ],
    ids=str,
)
def test_a_protocol_that_means_nothing_is_refused(change: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=f"{named}: expected"):
        Protocol(**change)


def test_real_pictures_have_the_regions_of_their_boxes(shared: Path) -> None:
    from partcnn.datasets.loading import load_dataset

    dataset = load_dataset(f"animalpart:{shared / 'data' / 'animalpart'}", category="frog", split="test")
    pictures = ObservedPictures(
        dataset,
        lambda image, boxes: (image, boxes),
        grid=(56, 56),
        input_size=(224, 224),
        point_radius_px=32.0,
    )
    shown = [index for index, sample in enumerate(dataset.samples) if "head" in sample.parts][:5]
    assert len(shown) == 5
    for index in shown:
        sample: Sample = dataset.samples[index]
        width, height = sample.load_image().size
        region = pictures[index].regions[dataset.parts.index("head")]
        area = sum((box.x1 - box.x0) * (box.y1 - box.y0) for box in sample.parts["head"]) / (width * height)
        assert region.double().mean().item() == pytest.approx(area, abs=0.03)


def test_without_annotated_parts_the_tables_show_only_what_was_measured() -> None:
    nothing = math.nan
    filters = [
        FilterEvaluation(
            "layer", index, "cat", None, nothing, {}, nothing, nothing, False, {"cat": 0.0}, class_purity=purity
        )
        for index, purity in enumerate([0.2, 0.9])
    ]
    summary = {"accuracy": 0.5, "part_tracking_r2": None, "location_instability": math.nan, "class_purity": 0.55}
    found = Evaluation(
        summary, filters, {}, ["background", "cat"], [], {"spec": "x", "category": None, "split": "test"}
    )
    assert list(found.table().columns[0].cells) == ["accuracy", "class_purity"]
    assert [column.header for column in found.filter_table().columns] == ["filter", "category", "class purity"]
    assert list(found.filter_table().columns[0].cells) == ["1", "0"]
