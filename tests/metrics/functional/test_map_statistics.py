"""How alike filters are: against the slow twin, at the ends of the ranges, and in batches."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional.crowding import crowded_filters, crowded_pairs
from partcnn.metrics.functional.map_statistics import (
    MapMoments,
    PeakPairs,
    agreement_groups,
    chosen_filters,
    effective_number,
    mean_over_pairs,
    merging_weights,
    participation_ratio,
)
from partcnn.objectives.templates import map_peaks
from tests.reference import map_statistics as reference


@pytest.fixture
def maps(generator: torch.Generator) -> Tensor:
    """Seven filters: 3 is nearly twice 0, 5 is silent."""
    found = torch.randn(9, 7, 4, 5, generator=generator).relu()
    found[:, 3] = 2 * found[:, 0] + 0.1 * found[:, 3]
    found[:, 5] = 0
    return found


def test_correlation_and_effective_number_are_those_of_the_twin(maps: Tensor) -> None:
    expected = reference.correlation(maps.numpy())
    found = MapMoments.of(maps).correlation
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert effective_number(found) == pytest.approx(reference.effective_rank(expected), rel=1e-9)
    assert participation_ratio(found) == pytest.approx(reference.participation_ratio(expected), rel=1e-9)


def test_peak_agreement_is_that_of_the_twin(maps: Tensor) -> None:
    peaks, fires = map_peaks(maps), maps.amax(dim=(2, 3)) > 0.9
    found = PeakPairs.of(peaks, fires).agreement
    np.testing.assert_allclose(found, reference.peak_agreement(peaks.tolist(), fires.tolist()), atol=1e-6)
    assert found[5].isnan().all()  # a silent filter agrees with nobody, not even with itself


def test_batches_add_up(maps: Tensor) -> None:
    fires = maps.amax(dim=(2, 3)) > 0.9
    moments = MapMoments.of(maps[:2]) + MapMoments.of(maps[2:])
    pairs = PeakPairs.of(map_peaks(maps[:2]), fires[:2]) + PeakPairs.of(map_peaks(maps[2:]), fires[2:])
    torch.testing.assert_close(moments.covariance, MapMoments.of(maps).covariance)
    assert pairs.num_near.equal(PeakPairs.of(map_peaks(maps), fires).num_near)


@pytest.mark.parametrize(
    ("correlation", "expected"),
    [(torch.eye(6), 6), (torch.ones(6, 6), 1), (torch.block_diag(*[torch.ones(2, 2)] * 3), 3), (torch.zeros(2, 2), 0)],
    ids=["all different", "all the same", "three pairs", "all silent"],
)
def test_the_effective_number_counts_what_is_different(correlation: Tensor, expected: int) -> None:
    assert effective_number(correlation) == pytest.approx(expected, abs=1e-6)
    assert participation_ratio(correlation) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 9), st.integers(1, 6), st.integers(0, 999))
def test_crowded_pairs_are_those_of_the_twin(images: int, filters: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    places = (8 * torch.rand(images, filters, 2, generator=generator)).round() / 2  # in half cells: many just one apart
    fires = torch.rand(images, filters, generator=generator) < 0.7
    expected = reference.crowded(places.tolist(), fires.tolist())
    assert crowded_filters(places, fires) == pytest.approx(expected, nan_ok=True)


def test_copies_crowd_on_every_picture_and_filters_apart_on_none() -> None:
    places = torch.tensor([[2.0, 3.0]]).expand(4, 5, 2)
    assert crowded_filters(places, torch.ones(4, 5, dtype=torch.bool)) == 1
    apart = places + 1.01 * torch.arange(5)[:, None]
    assert crowded_filters(apart, torch.ones(4, 5, dtype=torch.bool)) == 0
    near, both = crowded_pairs(places, torch.tensor([[True, True, True, False, False]]).expand(4, 5))
    assert (near.tolist(), both.tolist()) == ([3] * 4, [3] * 4)


def test_filters_that_look_at_one_place_form_a_group() -> None:
    agreement = torch.eye(5)
    agreement[0, 3] = agreement[3, 0] = 0.9
    agreement[1, 4] = agreement[4, 1] = 0.4
    agreement[2, :] = agreement[:, 2] = math.nan
    assert agreement_groups(agreement) == [[0, 3], [1], [2], [4]]
    assert agreement_groups(agreement, least=0.4) == [[0, 3], [1, 4], [2]]
    assert agreement_groups(torch.ones(1, 1)) == [[0]]


def test_the_mean_over_pairs_leaves_the_diagonal_and_nan_out() -> None:
    assert mean_over_pairs(torch.tensor([[1, 0.2, math.nan], [9, 1, 0.4], [9, 9, 1]])) == pytest.approx(0.3)
    assert math.isnan(mean_over_pairs(torch.ones(1, 1)))


@pytest.mark.parametrize("count", range(1, 7))
def test_the_chosen_filters_are_those_of_the_twin(maps: Tensor, count: int, generator: torch.Generator) -> None:
    correlation, importance = MapMoments.of(maps).correlation, torch.rand(7, generator=generator) + 0.1
    assert chosen_filters(correlation, importance, count).tolist() == reference.chosen_filters(
        correlation.numpy(), importance.numpy(), count
    )


def test_a_copy_is_not_kept_however_important_it_is() -> None:
    correlation = torch.block_diag(torch.ones(2, 2), torch.eye(1))
    assert chosen_filters(correlation, torch.tensor([5.0, 4.9, 0.1]), 2).tolist() == [0, 2]


def test_each_class_keeps_a_filter_as_far_as_the_count_reaches() -> None:
    importance, categories = torch.tensor([9.0, 8, 7, 1, 0.5]), torch.tensor([0, 0, 0, 1, 2])
    assert chosen_filters(torch.eye(5), importance, 3, categories).tolist() == [0, 3, 4]
    assert chosen_filters(torch.eye(5), importance, 4, categories).tolist() == [0, 1, 3, 4]


def test_merging_finds_the_combination_that_a_filter_is(maps: Tensor) -> None:
    maps[:, 6] = 2 * maps[:, 1] - 0.5 * maps[:, 4]
    weights = merging_weights(MapMoments.of(maps).covariance, torch.tensor([1, 2, 4]))
    np.testing.assert_allclose(weights[-1], [2, 0, -0.5], atol=0.02)  # dropped: 0, 3, 5, 6
    assert weights[2].abs().max() == 0  # of the silent one


def test_bad_arguments_are_told() -> None:
    with pytest.raises(ShapeError, match="feature_maps"):
        MapMoments.of(torch.ones(2, 3))
    with pytest.raises(ShapeError, match="fires: expected bool"):
        crowded_filters(torch.ones(2, 3, 2), torch.ones(2, 3))
    with pytest.raises(ShapeError, match="peaks, fires"):
        PeakPairs.of(torch.ones(2, 3, 2), torch.ones(2, 4))
    with pytest.raises(ConfigError, match="count: expected 1 to 2"):
        chosen_filters(torch.eye(2), torch.ones(2), 3)
    with pytest.raises(ConfigError, match="least"):
        agreement_groups(torch.eye(2), least=0)
