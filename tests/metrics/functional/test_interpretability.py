"""Part interpretability: regions whose IoU is known exactly, a streaming quantile as threshold, and the slow twin."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional import (
    activation_histogram,
    activation_thresholds,
    box_region,
    cell_discs,
    disc_region,
    grid_points,
    grown_regions,
    part_interpretability,
    part_ious,
)
from partcnn.metrics.functional.quantile import HIGHEST, LOWEST, NUM_BINS, activation_bins, lower_edges, threshold_bins
from tests.reference import part_metrics as slow

SIZE = (32, 32)
GRID = (16, 16)  # a point every two pixels
ROWS, COLS = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
CENTERS = torch.stack([COLS * 4 + 2.0, ROWS * 4 + 2.0], dim=-1)  # (x, y) of 8 × 8 cells


def firing(*cells: tuple[int, int]) -> Tensor:
    """One map [1, 1, 8, 8] that fires at some cells."""
    maps = torch.zeros(1, 1, 8, 8)
    for row, col in cells:
        maps[0, 0, row, col] = 1.0
    return maps


def interpretability(maps: Tensor, regions: Tensor, radius_px: float = 4.0, **settings_: object):  # type: ignore[no-untyped-def]
    settings_ = {"thresholds": torch.full((maps.shape[1],), 0.5), **settings_}
    return part_interpretability(maps, regions, CENTERS, SIZE, radius_px=radius_px, **settings_)


# --- IoU known exactly


def test_a_disc_on_a_region_of_its_own_shape_has_an_iou_of_one():
    region = disc_region((14.0, 10.0), 5.0, GRID, SIZE)
    discs = cell_discs(CENTERS, 5.0, GRID, SIZE)
    ious = part_ious(firing((2, 3)) > 0, region[None, None], discs)
    assert ious.tolist() == [[[1.0]]]


@pytest.mark.parametrize(
    ("num_cols", "iou"), [(4, 4 / 32), (8, 8 / 32), (12, 12 / 32), (16, 16 / 32), (32, 1.0)], ids=str
)
def test_the_iou_is_the_overlap_over_the_union(num_cols: int, iou: float):
    # A disc so large that it covers the frame; the region is some of its columns.
    region = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    region[..., :num_cols] = True
    ious = part_ious(firing((4, 4)) > 0, region, cell_discs(CENTERS, 100.0, SIZE, SIZE))
    assert ious.item() == pytest.approx(iou, abs=1e-12)


def test_discs_that_overlap_count_once():
    # Cells of 4 pixels and discs that cover just their own cell: the union of two neighbours is 4 × 8 pixels.
    discs = cell_discs(CENTERS, 2.2, SIZE, SIZE)  # the corners' pixels lie √4.5 = 2.12 away
    assert discs[3, 3].sum() == 16
    region = box_region((8.0, 8.0, 16.0, 16.0), SIZE, SIZE)[None, None]
    ious = part_ious(firing((2, 2), (2, 3)) > 0, region, discs)
    assert ious.item() == pytest.approx(32 / 64, abs=1e-12)
    doubled = part_ious(firing((2, 2), (2, 3)) > 0, region, cell_discs(CENTERS, 100.0, SIZE, SIZE))
    assert doubled.item() == pytest.approx(64 / 1024, abs=1e-12)


def test_a_part_that_is_not_shown_has_no_iou_and_a_silent_map_one_of_zero():
    regions = torch.zeros(2, 2, *GRID, dtype=torch.bool)
    regions[:, 0, :4] = True
    ious = part_ious(torch.cat([firing((0, 0)), firing()]) > 0, regions, cell_discs(CENTERS, 4.0, GRID, SIZE))
    assert ious[..., 1].isnan().all()
    assert ious[1, 0, 0] == 0 < ious[0, 0, 0]


def test_a_part_is_hit_above_the_iou_threshold_and_not_at_it():
    region = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    region[..., :8] = True  # a quarter of what the disc covers
    found = [
        interpretability(firing((4, 4)), region, 100.0, iou_threshold=threshold).value for threshold in (0.24, 0.25)
    ]
    assert found == [1.0, 0.0]


def test_the_value_is_the_mean_over_filters_of_the_best_part():
    regions = torch.zeros(2, 2, *GRID, dtype=torch.bool)
    regions[:, 0] = disc_region((2.0, 2.0), 4.0, GRID, SIZE)
    regions[0, 1] = disc_region((30.0, 30.0), 4.0, GRID, SIZE)
    first, second = firing((0, 0)), firing((7, 7))
    maps = torch.cat([torch.cat([first, second], 1), torch.cat([second, firing()], 1)])
    result = interpretability(maps, regions)
    assert result.per_filter.tolist() == [[0.5, 0.0], [0.0, 1.0]]
    assert result.best_part.tolist() == [0, 1]
    assert result.value == 0.75
    assert result.num_images.tolist() == [[2, 1], [2, 1]]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_it_never_rises_with_the_iou_threshold(seed: int):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(6, 4, 8, 8, generator=generator) ** 8
    regions = torch.zeros(6, 2, *GRID, dtype=torch.bool)
    for image in range(6):
        for part in range(2):
            x, y, radius = torch.rand(3, generator=generator).tolist()
            regions[image, part] = disc_region((32 * x, 32 * y), 2 + 8 * radius, GRID, SIZE)
    values = [
        interpretability(maps, regions, 5.0, thresholds=None, quantile=0.05, iou_threshold=threshold).per_filter
        for threshold in (0.01, 0.1, 0.2, 0.4, 0.8)
    ]
    assert all((low >= high).all() for low, high in itertools.pairwise(values))
    assert (values[0] > values[-1]).any()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_it_agrees_with_its_slow_twin(seed: int):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(5, 3, 8, 8, generator=generator).double() ** 4
    maps[maps < 0.2] = 0
    regions = torch.rand(5, 2, 8, 8, generator=generator) < 0.3
    regions[torch.rand(5, 2, generator=generator) < 0.3] = False
    thresholds = torch.tensor([0.3, 0.6, 0.9])
    result = part_interpretability(
        maps, regions, CENTERS, SIZE, radius_px=4.5, iou_threshold=0.1, thresholds=thresholds
    )
    sets = [[{tuple(point) for point in region.nonzero().tolist()} for region in image] for image in regions]
    expected = slow.part_interpretability(
        maps.tolist(), thresholds.tolist(), sets, CENTERS.tolist(), 4.5, 0.1, (4.0, 4.0, 8, 8)
    )
    for row, expected_row in zip(result.per_filter.tolist(), expected, strict=True):
        assert row == pytest.approx(expected_row, abs=1e-12, nan_ok=True)


# --- the threshold


@pytest.mark.parametrize("scale", [1e-3, 1.0, 700.0], ids=str)
@pytest.mark.parametrize("quantile", [0.005, 0.1])
def test_the_streaming_quantile_is_within_a_thousandth_of_the_exact_one(generator, scale: float, quantile: float):
    maps = scale * torch.randn(40, 3, 14, 14, generator=generator).exp().float()
    maps[torch.rand(maps.shape, generator=generator) < 0.5] = 0
    found = activation_thresholds(activation_histogram(maps), quantile=quantile)
    for filter_ in range(3):
        exact = slow.activation_quantile(maps.double().tolist(), filter_, quantile)
        assert exact > 0
        assert 0 < found[filter_].item() / exact - 1 <= 1e-3
        above = (maps[:, filter_] >= found[filter_]).double().mean()
        assert 0.8 * quantile <= above <= quantile


def test_no_more_than_the_quantile_of_cells_lie_above_whatever_ties_there_are():
    maps = torch.ones(1, 1, 10, 20)
    assert activation_thresholds(activation_histogram(maps), quantile=0.1).item() > 1  # all tie: none is above
    maps[..., 0, :] = 2.0
    found = activation_thresholds(activation_histogram(maps), quantile=0.1).item()
    assert 1 < found <= 2


def test_a_filter_that_fires_less_often_than_the_quantile_has_all_its_firing_above():
    maps = torch.zeros(1, 2, 20, 20)
    maps[0, 0, 3, 3] = 1e-4
    found = activation_thresholds(activation_histogram(maps))
    assert found.tolist() == [LOWEST, LOWEST]
    assert (activation_bins(maps) >= threshold_bins(activation_histogram(maps))[:, None, None]).sum() == 1


def test_bins_are_in_order_and_a_thousandth_wide():
    values = torch.cat([torch.zeros(1), torch.logspace(-7, 7, 5000, dtype=torch.float64).float()])
    bins = activation_bins(values)
    assert bins[0] == 0
    assert (bins.diff() >= 0).all()
    inside = (values >= LOWEST) & (values < HIGHEST)
    low, high = lower_edges(bins)[inside], lower_edges(bins + 1)[inside]
    assert ((low <= values[inside]) & (values[inside] < high)).all()
    assert ((high - low) / low <= 1 / 1024 + 1e-12).all()
    assert bins.max() == NUM_BINS - 1
    assert lower_edges(torch.tensor([NUM_BINS])).item() == math.inf


def test_the_order_and_the_batches_of_the_pictures_do_not_matter(generator):
    maps = torch.rand(23, 3, 8, 8, generator=generator) ** 6
    whole = activation_histogram(maps)
    shuffled = maps[torch.randperm(23, generator=generator)]
    for size in (1, 4, 23):
        parts = sum(activation_histogram(batch) for batch in shuffled.split(size))
        assert torch.equal(whole, parts)


# --- regions


def test_a_grid_lies_evenly_over_the_frame():
    points = grid_points((2, 4), (10, 40))
    assert points[0].tolist() == [[5.0, 2.5], [15.0, 2.5], [25.0, 2.5], [35.0, 2.5]]
    assert points[1, 0].tolist() == [5.0, 7.5]


def test_a_box_holds_the_points_within_its_edges():
    region = box_region((2.0, 1.0, 5.0, 3.0), (4, 8), (4, 8))
    assert region.nonzero().tolist() == [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4]]


def test_a_box_or_disc_between_the_points_takes_the_nearest():
    assert box_region((7.2, 6.1, 7.6, 6.3), (4, 4), (16, 16)).nonzero().tolist() == [[1, 1]]
    assert disc_region((7.2, 13.0), 0.1, (4, 4), (16, 16)).nonzero().tolist() == [[3, 1]]


def test_a_grown_region_holds_every_point_within_the_margin():
    region = torch.zeros(1, 1, 9, 9, dtype=torch.bool)
    region[0, 0, 4, 4] = True
    grown = grown_regions(region, 2.0, (9, 9))[0, 0]
    expected = torch.tensor([[math.hypot(r - 4, c - 4) <= 2 for c in range(9)] for r in range(9)])
    assert torch.equal(grown, expected)
    assert torch.equal(grown_regions(region, 0.0, (9, 9)), region)


# --- wrong input

GOOD = {
    "feature_maps": torch.rand(3, 2, 8, 8),
    "regions": torch.ones(3, 1, *GRID, dtype=torch.bool),
    "centers_px": CENTERS,
    "image_size": SIZE,
    "radius_px": 4.0,
}
WRONG = [
    pytest.param({"feature_maps": torch.rand(3, 2, 8)}, ShapeError, "feature_maps: expected", id="three axes"),
    pytest.param({"feature_maps": torch.full((3, 2, 8, 8), math.nan)}, ConfigError, "feature_maps", id="nan maps"),
    pytest.param({"regions": torch.ones(3, 1, *GRID)}, ShapeError, "regions: expected bool", id="regions of floats"),
    pytest.param({"regions": torch.ones(2, 1, 4, 4) > 0}, ShapeError, "regions: expected 3 images", id="other images"),
    pytest.param({"centers_px": CENTERS[:4]}, ShapeError, "discs: expected", id="centres of another map"),
    pytest.param({"centers_px": CENTERS[..., 0]}, ShapeError, "centers_px: expected", id="centres without x and y"),
    pytest.param({"image_size": (0, 4)}, ShapeError, "image_size: expected", id="no height"),
    pytest.param({"radius_px": 0.0}, ConfigError, "radius_px: expected", id="no radius"),
    pytest.param({"radius_px": math.nan}, ConfigError, "radius_px: expected", id="nan radius"),
    pytest.param({"iou_threshold": 1.0}, ConfigError, "iou_threshold: expected", id="IoU of one"),
    pytest.param({"quantile": 0.0}, ConfigError, "quantile: expected", id="quantile of nothing"),
    pytest.param({"thresholds": torch.ones(3)}, ShapeError, "thresholds: expected", id="other filters"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_wrong_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        part_interpretability(**{**GOOD, **change})


def test_other_wrong_input_is_named():
    with pytest.raises(ShapeError, match="histogram: expected"):
        activation_thresholds(torch.zeros(2, 5, dtype=torch.int64))
    with pytest.raises(ConfigError, match="grid: expected"):
        grid_points((0, 4), (8, 8))
    with pytest.raises(ConfigError, match="margin_px: expected"):
        grown_regions(torch.ones(1, 1, 4, 4) > 0, -1.0, (8, 8))
