"""Pointing game, purity, the multi-category measure, the authors' instability, and filters that do not look."""

import math

import pytest
import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional import (
    activation_shares,
    box_region,
    category_confusion,
    class_purity,
    constant_peaks,
    least_location_instability,
    location_instability,
    measure_baseline,
    part_tracking,
    pointing_game,
    random_peaks,
)
from tests.reference import part_metrics as slow

SIZE = (40, 60)


# --- location instability, the authors' way


@pytest.mark.parametrize("num_images", [40, 260], ids=["fewer than 100", "more than 100"])
def test_location_instability_is_that_of_the_authors_procedure(generator, num_images: int):
    boxes = [[[] for _ in range(3)] for _ in range(num_images)]
    landmarks = torch.full((num_images, 3, 2), math.nan, dtype=torch.float64)
    for image in range(num_images):
        for part in range(3):
            for _ in range(int(torch.randint(3, (), generator=generator))):  # none, one or two boxes
                x0, y0, x1, y1 = (1 + 223 * torch.rand(4, generator=generator, dtype=torch.float64)).tolist()
                boxes[image][part].append((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
            if len(boxes[image][part]) == 1:
                x0, y0, x1, y1 = boxes[image][part][0]
                landmarks[image, part] = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2])
    cells = torch.randint(14, (num_images, 5, 2), generator=generator)
    peaks = 8.5 + 16.0 * cells.double()  # their centres of VGG-16's receptive fields, in 1-based pixels
    scores = torch.rand(num_images, 5, generator=generator, dtype=torch.float64)
    expected = slow.authors_instability(peaks.tolist(), scores.tolist(), boxes)
    assert location_instability(peaks, scores, landmarks, (224, 224)).value == pytest.approx(expected, abs=1e-9)


def test_a_shuffled_follower_is_below_zero_and_a_perfect_one_is_not(generator):
    landmarks = 200 * torch.rand(80, 1, 2, generator=generator, dtype=torch.float64)
    scores = torch.ones(80, 1)
    shuffled = landmarks[torch.randperm(80, generator=generator)]
    assert part_tracking(landmarks, scores, landmarks, SIZE).value == pytest.approx(1)
    assert part_tracking(shuffled, scores, landmarks, SIZE).value < 0


# --- several categories


def test_the_least_instability_takes_each_filters_most_stable_category():
    first = torch.tensor([[0.1, 0.3], [0.4, math.nan]])
    second = torch.tensor([[0.5, 0.1], [0.2, 0.2]])
    assert least_location_instability([first, second]) == pytest.approx((0.2 + 0.2) / 2)
    assert least_location_instability([first]) == pytest.approx((0.2 + 0.4) / 2)


def test_the_least_instability_agrees_with_its_slow_twin(generator):
    tables = torch.rand(4, 6, 3, generator=generator, dtype=torch.float64)
    tables[torch.rand(tables.shape, generator=generator) < 0.4] = math.nan
    tables[:, 0] = math.nan
    assert least_location_instability(list(tables)) == pytest.approx(slow.least_instability(tables.tolist()), abs=1e-12)


def test_without_a_measured_category_there_is_no_least_instability():
    assert math.isnan(least_location_instability([torch.full((2, 2), math.nan)]))
    with pytest.raises(ShapeError, match="per_category: expected"):
        least_location_instability([torch.zeros(2, 2), torch.zeros(3, 2)])
    with pytest.raises(ShapeError, match="per_category: expected"):
        least_location_instability([])


# --- pointing game


def region(*boxes: tuple[float, float, float, float] | None) -> Tensor:
    """[image, 1, 40, 60]: one box per picture, or none."""
    empty = torch.zeros(SIZE, dtype=torch.bool)
    return torch.stack([empty if box is None else box_region(box, SIZE, SIZE) for box in boxes])[:, None]


def test_a_peak_in_the_part_is_a_hit_and_one_beside_it_a_miss():
    regions = region((10, 10, 20, 20), (10, 10, 20, 20), None)
    peaks = torch.tensor([[(15.0, 15.0)], [(25.0, 15.0)], [(15.0, 15.0)]])
    result = pointing_game(peaks, torch.ones(3, 1), regions, SIZE, tolerance_px=0)
    assert result.per_filter.tolist() == [[0.5]]
    assert result.num_images.tolist() == [[2]]


@pytest.mark.parametrize(("tolerance", "hit"), [(5.0, 0.0), (6.0, 1.0), (15.0, 1.0)], ids=str)
def test_a_peak_within_the_tolerance_is_a_hit(tolerance: float, hit: float):
    # The last column of the box is 19, the peak is in column 25.
    peaks = torch.tensor([[(25.5, 15.5)]])
    arguments = (peaks, torch.ones(1, 1), region((10, 10, 20, 20)), SIZE)
    assert pointing_game(*arguments, tolerance_px=tolerance).value == hit


def test_a_silent_filter_points_nowhere():
    arguments = (torch.tensor([[(15.0, 15.0)]]), torch.zeros(1, 1), region((10, 10, 20, 20)), SIZE)
    assert pointing_game(*arguments).value == 0.0


def test_a_peak_outside_the_frame_counts_by_its_nearest_point():
    peaks = torch.tensor([[(-30.0, 200.0)]])
    assert pointing_game(peaks, torch.ones(1, 1), region((0, 35, 5, 40)), SIZE, tolerance_px=0).value == 1.0


def test_the_pointing_game_agrees_with_its_slow_twin(generator):
    regions = torch.rand(6, 2, 12, 18, generator=generator) < 0.02
    peaks = torch.rand(6, 3, 2, generator=generator, dtype=torch.float64) * torch.tensor([18.0, 12.0])
    scores = torch.rand(6, 3, generator=generator) - 0.2
    sets = [[{tuple(point) for point in one.nonzero().tolist()} for one in image] for image in regions]
    for tolerance in (0.0, 1.0, 2.5, 4.0):
        result = pointing_game(peaks, scores, regions, (12, 18), tolerance_px=tolerance)
        expected = slow.pointing_game(peaks.tolist(), scores.tolist(), sets, tolerance)
        for row, expected_row in zip(result.per_filter.tolist(), expected, strict=True):
            assert row == pytest.approx(expected_row, abs=1e-12, nan_ok=True)


def test_wrong_input_to_the_pointing_game_is_named():
    regions = region((0, 0, 9, 9))
    with pytest.raises(ShapeError, match="scores: expected"):
        pointing_game(torch.zeros(1, 2, 2), torch.ones(1, 3), regions, SIZE)
    with pytest.raises(ShapeError, match="regions: expected 2 images"):
        pointing_game(torch.zeros(2, 1, 2), torch.ones(2, 1), regions, SIZE)
    with pytest.raises(ConfigError, match="margin_px: expected"):
        pointing_game(torch.zeros(1, 1, 2), torch.ones(1, 1), regions, SIZE, tolerance_px=-1)


# --- purity


def test_purity_is_the_share_that_falls_on_the_filters_category():
    activation = torch.tensor([[3.0, 1.0], [0.0, 5.0], [2.0, 2.0], [0.0, 0.0]])
    categories = torch.tensor([0, 1, 1, 0])
    assert class_purity(activation, categories).tolist() == [0.75, 1.0, 0.5, 0.0]
    assert activation_shares(activation).sum(dim=1).tolist() == [1.0, 1.0, 1.0, 0.0]


def test_the_confusion_table_averages_over_the_filters_of_a_category():
    activation = torch.tensor([[3.0, 1.0, 0.0], [0.0, 5.0, 0.0], [2.0, 2.0, 0.0]])
    table = category_confusion(activation, torch.tensor([0, 1, 1]))
    assert table[:2].tolist() == [[0.75, 0.25, 0.0], [0.25, 0.75, 0.0]]
    assert table[2].isnan().all()


def test_shares_agree_with_the_slow_twin(generator):
    maps = torch.rand(9, 4, 3, 5, generator=generator, dtype=torch.float64)
    maps[:, 2] = 0
    labels = [0, 2, 0, 1, 2, 0, 0, 1, 0]
    means = torch.stack([maps[torch.tensor(labels) == c].sum(dim=(2, 3)).mean(dim=0) for c in range(3)], dim=1)
    expected = slow.activation_shares(maps.tolist(), labels, 3)
    torch.testing.assert_close(activation_shares(means), torch.tensor(expected, dtype=torch.float64))


def test_wrong_input_to_purity_is_named():
    with pytest.raises(ShapeError, match="activation: expected"):
        activation_shares(torch.zeros(3))
    with pytest.raises(ConfigError, match="activation: expected"):
        activation_shares(torch.full((2, 2), -1.0))
    with pytest.raises(ShapeError, match="filter_category: expected"):
        class_purity(torch.zeros(3, 2), torch.tensor([0, 1]))


# --- filters that do not look


def test_the_constant_point_has_tracking_zero_and_the_parts_own_scatter(generator):
    centres = torch.rand(30, 1, 2, generator=generator, dtype=torch.float64) * torch.tensor([50.0, 30.0]) + 5
    regions = region(*[(x - 4, y - 4, x + 4, y + 4) for x, y in centres[:, 0].tolist()])
    peaks = constant_peaks(centres, SIZE)
    found = measure_baseline(peaks, centres, regions, SIZE, radius_px=6.0, tolerance_px=2.0)
    assert found.part_tracking_r2 == pytest.approx(0, abs=1e-9)
    scatter = math.sqrt(centres[:, 0].var(dim=0).sum().item()) / math.hypot(*SIZE)
    assert found.displacement_scatter == pytest.approx(scatter)
    near = (centres[:, 0] - torch.tensor([30.0, 20.0])).abs().amax(dim=1)
    assert (near < 3).double().mean() <= found.pointing_game <= (near < 8).double().mean()
    random = measure_baseline(
        random_peaks(centres, SIZE, generator=generator, num_filters=8), centres, regions, SIZE, radius_px=6.0
    )
    assert random.part_tracking_r2 < 0 < random.location_instability


def test_a_baseline_overlaps_what_its_one_disc_overlaps():
    landmarks = torch.tensor([[(30.0, 20.0)], [(5.0, 5.0)]])
    regions = region((24, 14, 36, 26), (0, 0, 10, 10))
    found = measure_baseline(constant_peaks(landmarks, SIZE), landmarks, regions, SIZE, radius_px=6.0)
    assert found.part_interpretability == 0.5
    at_parts = measure_baseline(landmarks.double(), landmarks, regions, SIZE, radius_px=6.0)
    assert at_parts.part_interpretability == 1.0
