"""Part metrics: hand-worked cases, agreement with the slow twin, invariances, and the known centre figure."""

import json
import math
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional import (
    constant_point_baseline,
    coverage,
    dead_filters,
    displacement_scatter,
    location_instability,
    part_tracking,
    random_peaks,
)
from tests.reference import part_metrics as slow

MEASURES = [
    pytest.param(location_instability, id="location_instability"),
    pytest.param(part_tracking, id="part_tracking"),
    pytest.param(displacement_scatter, id="displacement_scatter"),
]
ABSENT = (math.nan, math.nan)


def along_x(*xs: float) -> Tensor:
    """One filter or one part that moves along x: [image, 1, 2]."""
    return torch.tensor([[(x, 0.0)] for x in xs], dtype=torch.float64)


def drawn_data(generator: torch.Generator, num_images: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    """Peaks of 3 filters, scores without ties, landmarks of 2 parts, each absent on about one image in five."""

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    landmarks = 224 * draw(num_images, 2, 2)
    landmarks[draw(num_images, 2) < 0.2] = math.nan
    return 224 * draw(num_images, 3, 2), draw(num_images, 3), landmarks


def assert_same(result, expected, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(result.per_filter, expected.per_filter, rtol=tolerance, atol=tolerance, equal_nan=True)
    assert result.value == pytest.approx(expected.value, rel=tolerance, abs=tolerance, nan_ok=True)
    assert torch.equal(result.num_images, expected.num_images)


# --- location instability -------------------------------------------------------------------------------------


def test_instability_is_the_n_minus_1_deviation_of_the_distance_over_the_diagonal():
    # The frame's diagonal is 5; the distances 0, 5 and 10 are 0, 1 and 2 diagonals, their deviation is 1.
    landmarks = torch.tensor([[(0.0, 0.0)], [(3.0, 4.0)], [(6.0, 8.0)]])
    result = location_instability(torch.zeros(3, 1, 2), torch.ones(3, 1), landmarks, (3, 4))
    assert result.per_filter.tolist() == [[pytest.approx(1.0, abs=1e-12)]]
    assert result.value == pytest.approx(1.0, abs=1e-12)


def test_instability_averages_over_parts_and_then_over_filters():
    peaks = torch.tensor([[(0.0, 0.0), (0.0, 0.0)], [(0.0, 0.0), (4.0, 0.0)]])
    landmarks = torch.tensor([[(0.0, 0.0), ABSENT], [(4.0, 0.0), (1.0, 0.0)]])
    result = location_instability(peaks, torch.ones(2, 2), landmarks, (3, 4))
    # The second part is on one image only; the first is 4/5 from one filter's peak and on the other's.
    assert result.value == pytest.approx((0.8 / math.sqrt(2) + 0) / 2, abs=1e-12)


def test_a_part_that_circles_the_peak_is_stable_in_distance_and_scattered_in_place():
    angles = torch.arange(8, dtype=torch.float64) * math.tau / 8
    landmarks = torch.stack([50 + 9 * angles.cos(), 50 + 9 * angles.sin()], dim=-1)[:, None]
    arguments = (torch.full((8, 1, 2), 50.0), torch.ones(8, 1), landmarks, (100, 100))
    assert location_instability(*arguments).value == pytest.approx(0, abs=1e-12)
    assert displacement_scatter(*arguments).value == pytest.approx(math.sqrt(81 * 8 / 7 / 2e4), abs=1e-12)


# --- part tracking --------------------------------------------------------------------------------------------


def test_tracking_of_a_hand_worked_case():
    # var(0, 2, 4) = 4; the displacements 0, 0, 3 have variance 3.
    result = part_tracking(along_x(0, 2, 1), torch.ones(3, 1), along_x(0, 2, 4), (3, 4))
    assert result.per_filter.tolist() == [[pytest.approx(0.25, abs=1e-12)]]


def test_tracking_sums_the_variances_over_x_and_y():
    landmarks = torch.tensor([[(0.0, 0.0)], [(2.0, 6.0)]])  # variances 2 and 18
    peaks = torch.tensor([[(0.0, 0.0)], [(0.0, 6.0)]])  # follows y only
    assert part_tracking(peaks, torch.ones(2, 1), landmarks, (9, 9)).value == pytest.approx(1 - 2 / 20)


@pytest.mark.parametrize("offset", [0.0, 31.7], ids=["on the part", "beside the part"])
def test_a_perfect_follower_has_tracking_one_and_no_scatter(generator, offset):
    _, scores, _ = drawn_data(generator)
    landmarks = 224 * torch.rand(30, 1, 2, generator=generator, dtype=torch.float64)
    arguments = (landmarks.expand(-1, 3, -1) + offset, scores, landmarks, (224, 224))
    assert part_tracking(*arguments).value == pytest.approx(1, abs=1e-12)
    assert displacement_scatter(*arguments).value == pytest.approx(0, abs=1e-12)


def test_a_constant_point_has_tracking_zero_wherever_it_is(generator):
    _, scores, landmarks = drawn_data(generator)
    peaks = torch.tensor([(112.0, 112.0), (0.1, 0.3), (1e4, -7.7)]).expand(30, -1, -1)
    tracking = part_tracking(peaks, scores, landmarks, (224, 224), top=12)
    assert tracking.per_filter.abs().max() < 1e-9


def test_a_follower_of_the_wrong_images_is_worse_than_a_constant_point(generator):
    landmarks = 224 * torch.rand(60, 1, 2, generator=generator, dtype=torch.float64)
    shuffled = landmarks[torch.randperm(60, generator=generator)]
    assert part_tracking(shuffled, torch.ones(60, 1), landmarks, (224, 224)).value < -0.5


@pytest.mark.parametrize("x", [0.1, 1 / 3, 112.0])
def test_a_landmark_that_never_moves_cannot_be_tracked(x):
    result = part_tracking(along_x(*range(7)), torch.ones(7, 1), along_x(*[x] * 7), (224, 224))
    assert result.per_filter.isnan().all()
    assert math.isnan(result.value)
    assert result.num_images.tolist() == [[7]]


def test_tracking_names_the_best_part_of_each_filter_and_averages_over_it():
    moves = torch.tensor([0.0, 5.0, 1.0, 7.0])
    turns = torch.tensor([3.0, 0.0, 8.0, 2.0])
    points = torch.stack([torch.stack([moves, turns], 1), torch.zeros(4, 2)], dim=-1)  # [image, 2, 2]
    landmarks = torch.cat([torch.full((4, 1, 2), math.nan), points], dim=1)
    result = part_tracking(points.flip(1), torch.ones(4, 2), landmarks, (9, 9))
    assert result.best_part.tolist() == [2, 1]
    assert result.best_per_filter.tolist() == [pytest.approx(1)] * 2
    assert result.value == pytest.approx(1)


def test_scatter_takes_the_part_of_smallest_scatter_as_best():
    landmarks = torch.cat([along_x(0, 9, 3), along_x(5, 7, 6)], dim=1)
    result = displacement_scatter(along_x(1, 3, 2), torch.ones(3, 1), landmarks, (3, 4))
    assert result.best_part.tolist() == [1]
    assert result.value == result.per_filter.min().item() == pytest.approx(0, abs=1e-12)


def test_the_first_of_equally_good_parts_is_the_best():
    landmarks = along_x(0, 5, 3).expand(-1, 9, -1)
    assert part_tracking(along_x(0, 5, 4), torch.ones(3, 1), landmarks, (9, 9)).best_part.tolist() == [0]


def test_a_filter_without_a_measurable_part_leaves_the_average():
    # The second filter's two best images hold the landmark at one place.
    peaks = along_x(0, 2, 1).expand(-1, 2, -1)
    scores = torch.tensor([[1.0, 0.0], [3.0, 1.0], [2.0, 2.0]])
    result = part_tracking(peaks, scores, along_x(0, 4, 4), (9, 9), top=2)
    assert result.best_per_filter.isnan().tolist() == [True, True]
    scores[0, 0] = 9.0
    result = part_tracking(peaks, scores, along_x(0, 4, 4), (9, 9), top=2)
    assert result.best_per_filter.isnan().tolist() == [False, True]
    assert result.value == result.best_per_filter[0].item() == pytest.approx(0.75)


# --- dead filters ---------------------------------------------------------------------------------------------


def test_a_filter_is_dead_when_silent_on_more_than_half_of_the_images():
    scores = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert dead_filters(scores).tolist() == [True, False, False]


def test_without_an_image_no_filter_is_dead():
    assert dead_filters(torch.zeros(0, 3)).tolist() == [False] * 3


def test_a_dead_filter_has_tracking_zero_in_every_part_and_stays_in_the_average(generator):
    _, scores, landmarks = drawn_data(generator)
    landmarks = torch.cat([landmarks.nan_to_num(50.0), torch.full((30, 1, 2), math.nan)], dim=1)
    peaks = landmarks[:, [0, 0, 0]]
    is_dead = torch.tensor([False, True, True])
    result = part_tracking(peaks, scores, landmarks, (224, 224), is_dead=is_dead)
    assert result.per_filter[1:, :2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert result.per_filter[:, 2].isnan().all()  # no image shows it: nothing is known of any filter
    assert result.value == pytest.approx(1 / 3)


# --- which images ---------------------------------------------------------------------------------------------


def test_each_filter_is_measured_on_its_own_top_images_among_those_that_show_the_part():
    peaks = torch.zeros(4, 2, 2)
    scores = torch.tensor([[9.0, 1.0], [8.0, 2.0], [7.0, 9.0], [1.0, 8.0]])
    landmarks = torch.cat([torch.full((1, 1, 2), math.nan), along_x(0, 5, 20)])
    result = location_instability(peaks, scores, landmarks, (3, 4), top=2)
    # Filter 0: images 1 and 2, distances 0 and 1. Filter 1: images 2 and 3, distances 1 and 4.
    assert result.per_filter[:, 0].tolist() == [
        pytest.approx(math.sqrt(1 / 2)),
        pytest.approx(math.sqrt(9 / 2)),
    ]
    assert result.num_images.tolist() == [[2], [2]]


def test_among_equal_scores_the_first_images_are_taken():
    num_images = 200  # enough for an unstable sort to show itself
    landmarks = along_x(*range(num_images))
    arguments = (torch.zeros(num_images, 1, 2), torch.ones(num_images, 1), landmarks, (3, 4))
    few = location_instability(*arguments, top=5)
    assert few.value == pytest.approx(math.sqrt(2.5) / 5, abs=1e-12)  # of 0, 1, 2, 3, 4


def test_an_image_of_no_activation_that_shows_the_part_goes_before_one_that_does_not():
    scores = torch.tensor([[5.0], [-math.inf], [-math.inf]])
    landmarks = torch.cat([torch.full((1, 1, 2), math.nan), along_x(0, 5)])
    result = location_instability(torch.zeros(3, 1, 2), scores, landmarks, (3, 4), top=2)
    assert result.num_images.tolist() == [[2]]
    assert result.value == pytest.approx(math.sqrt(1 / 2))


def test_half_a_landmark_is_an_absent_part():
    landmarks = along_x(0, 5, 9)
    landmarks[2, 0, 1] = math.nan
    result = location_instability(torch.zeros(3, 1, 2), torch.ones(3, 1), landmarks, (3, 4))
    assert result.num_images.tolist() == [[2]]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("num_shown", [0, 1])
def test_fewer_than_two_images_give_nan_and_their_number(measure, num_shown):
    landmarks = torch.full((4, 1, 2), math.nan)
    landmarks[:num_shown] = 3.0
    result = measure(torch.zeros(4, 2, 2), torch.ones(4, 2), landmarks, (3, 4))
    assert result.per_filter.isnan().all()
    assert math.isnan(result.value)
    assert result.num_images.tolist() == [[num_shown], [num_shown]]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("sizes", [(0, 2, 2), (3, 0, 2), (3, 2, 0)], ids=["image", "filter", "part"])
def test_an_empty_axis_gives_nan(measure, sizes):
    images, filters, parts = sizes
    points = torch.zeros(images, filters, 2)
    result = measure(points, torch.ones(images, filters), torch.zeros(images, parts, 2), (3, 4))
    assert math.isnan(result.value)
    assert result.per_filter.shape == result.num_images.shape == (filters, parts)


# --- the slow twin --------------------------------------------------------------------------------------------


@st.composite
def cases(draw):
    images, filters, parts = draw(st.integers(1, 8)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    coordinate = st.integers(0, 448).map(lambda half_pixels: half_pixels / 2)
    point = st.tuples(coordinate, coordinate)
    score = st.integers(-1, 3).map(float)  # few values: many ties

    def table(entry, columns):
        row = st.lists(entry, min_size=columns, max_size=columns)
        return draw(st.lists(row, min_size=images, max_size=images))

    maybe = st.one_of(st.just(ABSENT), point, point, point)
    return table(point, filters), table(score, filters), table(maybe, parts), draw(st.integers(2, 6))


def assert_agrees(result, expected) -> None:
    values, value, counts = expected
    assert result.num_images.tolist() == counts
    for row, expected_row in zip(result.per_filter.tolist(), values, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-10, abs=1e-10, nan_ok=True)
    assert result.value == pytest.approx(value, rel=1e-10, abs=1e-10, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_every_measure_agrees_with_its_slow_twin(case):
    peaks, scores, landmarks, top = case
    tensors = [torch.tensor(rows, dtype=torch.float64) for rows in (peaks, scores, landmarks)]
    size = (160, 224)
    is_dead = dead_filters(tensors[1])
    assert is_dead.tolist() == slow.dead_filters(scores)

    instability = location_instability(*tensors, size, top=top)
    assert_agrees(instability, slow.location_instability(peaks, scores, landmarks, size, top))
    scatter = displacement_scatter(*tensors, size, top=top)
    assert_agrees(scatter, slow.displacement_scatter(peaks, scores, landmarks, size, top))
    tracking = part_tracking(*tensors, size, top=top, is_dead=is_dead)
    expected = slow.part_tracking(peaks, scores, landmarks, top, is_dead.tolist())
    assert_agrees(tracking, expected)
    assert tracking.per_filter.nan_to_num(0).max() <= 1

    covered = coverage(tracking.per_filter, threshold=0.1)
    assert covered == pytest.approx(slow.coverage(expected[0], 0.1), nan_ok=True)


# --- invariances ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES)
def test_the_order_of_the_images_does_not_matter_when_no_scores_tie(measure, generator):
    data = drawn_data(generator)
    order = torch.randperm(30, generator=generator)
    shuffled = [tensor[order] for tensor in data]
    assert_same(measure(*shuffled, (224, 224), top=9), measure(*data, (224, 224), top=9))


@pytest.mark.parametrize("measure", MEASURES)
def test_the_scale_of_the_frame_does_not_matter(measure, generator):
    peaks, scores, landmarks = drawn_data(generator)
    scaled = measure(3.7 * peaks, scores, 3.7 * landmarks, (3.7 * 150, 3.7 * 224), top=9)
    assert_same(scaled, measure(peaks, scores, landmarks, (150, 224), top=9))


@pytest.mark.parametrize("measure", [part_tracking, displacement_scatter])
def test_moving_all_peaks_alike_changes_neither_tracking_nor_scatter(measure, generator):
    peaks, scores, landmarks = drawn_data(generator)
    moved = peaks + torch.tensor([40.0, -13.0])
    assert_same(measure(moved, scores, landmarks, (224, 224)), measure(peaks, scores, landmarks, (224, 224)))


@pytest.mark.parametrize("measure", MEASURES)
def test_single_precision_input_is_computed_in_double(measure, generator):
    # Half-pixels far from the origin: exact in float32, their variance is not.
    far = 2.0**20
    peaks, scores, landmarks = (tensor.mul(2).round().div(2) for tensor in drawn_data(generator))
    single = measure((peaks + far).float(), scores.float(), (landmarks + far).float(), (224, 224))
    assert single.per_filter.dtype == torch.float64
    assert_same(single, measure(peaks, scores, landmarks, (224, 224)), tolerance=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("measure", MEASURES)
def test_a_gpu_gives_what_the_cpu_gives(measure, generator):
    data = drawn_data(generator)
    result = measure(*(tensor.cuda() for tensor in data), (224, 224), top=9)
    expected = measure(*data, (224, 224), top=9)
    torch.testing.assert_close(result.per_filter.cpu(), expected.per_filter, equal_nan=True)
    assert torch.equal(result.num_images.cpu(), expected.num_images)


# --- coverage -------------------------------------------------------------------------------------------------


def test_coverage_counts_the_parts_that_some_filter_tracks():
    nan = math.nan
    r2 = torch.tensor([[0.5, 0.4, nan, -3.0], [nan, 0.3, nan, 0.9]])
    assert coverage(r2) == pytest.approx(2 / 3)  # the third part is not measured at all
    assert coverage(r2, threshold=0.6) == pytest.approx(1 / 3)


def test_coverage_of_nothing_measured_is_nan():
    assert math.isnan(coverage(torch.full((2, 2), math.nan)))


# --- baselines ------------------------------------------------------------------------------------------------


def test_the_baseline_is_a_filter_that_answers_the_centre_on_every_image(generator):
    _, _, landmarks = drawn_data(generator)
    peaks = torch.tensor([112.0, 75.0]).expand(30, 1, 2)
    expected = location_instability(peaks, torch.ones(30, 1), landmarks, (150, 224), top=20)
    assert_same(constant_point_baseline(landmarks, (150, 224), top=20), expected)


def test_the_baseline_takes_another_point():
    landmarks = along_x(0, 5, 10)
    # From (5, 0) the distances are 5, 0, 5: deviation √(25/3), over a diagonal of 5.
    assert constant_point_baseline(landmarks, (3, 4), (5, 0)).value == pytest.approx(math.sqrt(1 / 3))


def of_random_points(landmarks, image_size, generator, *, num_filters, top):
    peaks = random_peaks(landmarks, image_size, generator=generator, num_filters=num_filters)
    return location_instability(peaks, torch.zeros(peaks.shape[:2]), landmarks, image_size, top=top)


def test_a_random_point_is_worse_than_the_centre(generator):
    landmarks = 112 + 20 * torch.randn(80, 1, 2, generator=generator, dtype=torch.float64)
    random = of_random_points(landmarks, (224, 224), generator, num_filters=16, top=100)
    assert random.per_filter.shape == (16, 1)
    assert random.value > 1.5 * constant_point_baseline(landmarks, (224, 224)).value


def test_random_points_fill_the_frame(generator):
    # Seen from a corner far away along x, only the x of a point matters: its deviation is width/√12.
    landmarks = along_x(*[-1e7] * 2000)
    random = of_random_points(landmarks, (30, 400), generator, num_filters=4, top=2000)
    assert random.value * math.hypot(30, 400) == pytest.approx(400 / math.sqrt(12), rel=0.02)


def animal_landmarks(root: Path) -> dict[str, Tensor]:
    """Category -> [image, part, 2], each stored crop scaled to 224 × 224; several boxes of a part: absent."""

    def centre(row: dict, part: str) -> tuple[float, float]:
        boxes = [entry["box"] for entry in row["parts"] if entry["part"] == part]
        if len(boxes) != 1:
            return ABSENT
        x0, y0, x1, y1 = boxes[0]
        return 112 * (x0 + x1) / row["width"], 112 * (y0 + y1) / row["height"]

    by_category = defaultdict(list)
    for line in (root / "images.jsonl").read_text().splitlines():
        row = json.loads(line)
        by_category[row["category"]].append([centre(row, part) for part in ("head", "leg")])
    return {name: torch.tensor(rows, dtype=torch.float64) for name, rows in by_category.items()}


def test_the_image_centre_beats_every_network_of_the_paper_on_animal_parts(shared):
    categories = animal_landmarks(shared / "data" / "animalpart")
    values = [constant_point_baseline(rows, (224, 224), top=len(rows)).value for rows in categories.values()]
    # 0.060 over all 30 categories; best interpretable network of the paper: 0.085 (VGG-16).
    assert len(values) >= 20
    assert sum(values) / len(values) == pytest.approx(0.060, abs=0.002)


# --- wrong input ----------------------------------------------------------------------------------------------

GOOD = {
    "peaks": torch.zeros(4, 2, 2),
    "scores": torch.ones(4, 2),
    "landmarks": torch.zeros(4, 3, 2),
    "image_size": (3, 4),
    "top": 2,
}
WRONG = [
    pytest.param({"peaks": torch.zeros(4, 2, 3)}, ShapeError, "peaks: expected", id="peaks without x and y"),
    pytest.param({"peaks": torch.zeros(4, 2)}, ShapeError, "peaks: expected", id="peaks of two axes"),
    pytest.param({"peaks": torch.full((4, 2, 2), math.nan)}, ConfigError, "peaks: expected", id="nan peaks"),
    pytest.param({"scores": torch.ones(4, 3)}, ShapeError, "scores: expected", id="scores of other filters"),
    pytest.param({"scores": torch.ones(4)}, ShapeError, "scores: expected", id="scores of one axis"),
    pytest.param({"scores": torch.full((4, 2), math.nan)}, ConfigError, "scores: expected", id="nan scores"),
    pytest.param({"landmarks": torch.zeros(5, 3, 2)}, ShapeError, "landmarks: expected 4", id="other images"),
    pytest.param({"landmarks": torch.zeros(4, 2)}, ShapeError, "landmarks: expected", id="no part axis"),
    pytest.param({"landmarks": torch.full((4, 3, 2), math.inf)}, ConfigError, "landmarks: expected", id="far away"),
    pytest.param({"image_size": (0, 4)}, ShapeError, "image_size: expected", id="no height"),
    pytest.param({"image_size": (3, math.nan)}, ShapeError, "image_size: expected", id="nan width"),
    pytest.param({"image_size": (3, 4, 3)}, ShapeError, "image_size: expected", id="three sides"),
    pytest.param({"top": 1}, ConfigError, "top: expected", id="top of one"),
]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_wrong_input_is_named(measure, change, error, message):
    with pytest.raises(error, match=message):
        measure(**{**GOOD, **change})


@pytest.mark.parametrize("is_dead", [torch.zeros(3, dtype=torch.bool), torch.zeros(2)], ids=["size", "type"])
def test_a_wrong_list_of_dead_filters_is_named(is_dead):
    with pytest.raises(ShapeError, match="is_dead: expected"):
        part_tracking(**GOOD, is_dead=is_dead)


@pytest.mark.parametrize("threshold", [0.0, 1.5, math.nan])
def test_a_threshold_that_means_nothing_is_refused(threshold):
    with pytest.raises(ConfigError, match="threshold: expected"):
        coverage(torch.zeros(2, 2), threshold=threshold)


def test_other_wrong_shapes_are_named(generator):
    with pytest.raises(ShapeError, match="r2_per_filter: expected"):
        coverage(torch.zeros(2))
    with pytest.raises(ShapeError, match="scores: expected"):
        dead_filters(torch.zeros(2))
    with pytest.raises(ShapeError, match="landmarks: expected"):
        constant_point_baseline(torch.zeros(4, 2), (3, 4))
    with pytest.raises(ConfigError, match="point: expected"):
        constant_point_baseline(torch.zeros(4, 1, 2), (3, 4), (math.nan, 0))
    with pytest.raises(ConfigError, match="num_filters: expected"):
        random_peaks(torch.zeros(4, 1, 2), (3, 4), generator=generator, num_filters=0)
