"""Steadiness and identity: against the slow twins, on exact small cases, and what no input can change."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional import identity, steadiness
from partcnn.metrics.functional.identity import identity_answers
from partcnn.metrics.functional.steadiness import ResampledSteadiness
from partcnn.objectives.equivariance import in_pictures, variance_ratio
from tests.reference import unannotated as twin

SEEDS = st.integers(0, 2**32 - 1)


def every(values: Tensor) -> Tensor:
    return torch.ones(values.shape[:2], dtype=torch.bool)


def crops(count: int, generator: torch.Generator) -> Tensor:
    """[view, 2, 3] frames of random crops, half of them flipped."""
    side = 0.7 + 0.3 * torch.rand(count, generator=generator)
    left, top = ((1 - side) * torch.rand(count, generator=generator) for _ in range(2))
    is_flipped = torch.rand(count, generator=generator) < 0.5
    zero = torch.zeros(count)
    across = torch.stack([torch.where(is_flipped, -side, side), zero, torch.where(is_flipped, left + side, left)], 1)
    return torch.stack([across, torch.stack([zero, side, top], 1)], dim=1)


class TestSteadiness:
    @pytest.mark.parametrize("num_pictures", [0, 1, 2, 3, 9])
    def test_it_is_that_of_the_twin(self, num_pictures: int, generator: torch.Generator) -> None:
        first = torch.rand(num_pictures, 5, 2, generator=generator)
        second = first + 0.3 * torch.randn(num_pictures, 5, 2, generator=generator)
        counted = torch.rand(num_pictures, 5, generator=generator) < 0.7
        found = steadiness(first, second, counted)
        assert found.dtype == torch.float64
        if num_pictures:
            expected = twin.steadiness(first.double().tolist(), second.double().tolist(), counted.tolist())
            np.testing.assert_allclose(found, expected, atol=1e-12)
        else:
            assert found.isnan().all()

    def test_two_pictures_by_hand(self) -> None:
        first = torch.tensor([[[0.1, 0.0]], [[0.5, 0.0]]])
        second = torch.tensor([[[0.3, 0.0]], [[0.7, 0.0]]])
        # W = .04 / 2, B = 2 · .2², so (.16 − .02) / (.16 + .02)
        assert steadiness(first, second, every(first)).item() == pytest.approx(7 / 9)

    def test_a_filter_that_moves_with_its_picture_has_one_and_one_that_never_moves_nought(self) -> None:
        places = torch.rand(20, 1, 2, generator=torch.Generator().manual_seed(0))
        assert steadiness(places, places, every(places)).item() == 1
        still = torch.full((20, 1, 2), 0.3)
        assert steadiness(still, still, every(still)).item() == 0

    def test_one_that_points_anywhere_has_nought(self) -> None:
        first, second = torch.rand(2, 20_000, 1, 2, generator=torch.Generator().manual_seed(0))
        assert steadiness(first, second, every(first)).item() == pytest.approx(0, abs=0.02)

    @pytest.mark.parametrize(("point", "highest"), [((0.5, 0.5), 0.03), ((0.2, 0.5), -0.3), ((0.9, 0.9), -0.3)])
    def test_a_point_fixed_in_the_view_has_little(self, point: tuple[float, float], highest: float) -> None:
        first = torch.tensor(point).expand(5000, 1, 2)
        second = in_pictures(first, crops(5000, torch.Generator().manual_seed(0)))
        assert steadiness(first, second, every(first)).item() < highest

    def test_it_is_a_function_of_the_ratio_that_the_loss_is_the_log_of(self, generator: torch.Generator) -> None:
        first = 1e4 * torch.rand(12, 3, 2, generator=generator, dtype=torch.float64)  # its floor is then nothing
        second = first + 2e3 * torch.randn(12, 3, 2, generator=generator, dtype=torch.float64)
        ratio = variance_ratio(first, second, every(first)).exp() * 11 / 12  # N − 1 between pictures, not N
        torch.testing.assert_close(steadiness(first, second, every(first)), (2 - ratio) / (2 + ratio))

    @given(seed=SEEDS, scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
    @settings(max_examples=50)
    def test_it_lies_in_its_range_and_neither_order_scale_nor_shift_changes_it(
        self, seed: int, scale: float, shift: float
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        first, second = torch.rand(2, 7, 3, 2, generator=generator, dtype=torch.float64)
        counted = torch.rand(7, 3, generator=generator) < 0.8
        found, order = steadiness(first, second, counted), torch.randperm(7, generator=generator)
        assert ((found.nan_to_num() >= -1) & (found.nan_to_num() <= 1)).all()
        assert found.isnan().equal(counted.sum(dim=0) < 2)
        for other in (
            steadiness(second, first, counted),
            steadiness(first[order], second[order], counted[order]),
            steadiness(scale * first + shift, scale * second + shift, counted),
        ):
            torch.testing.assert_close(other, found, equal_nan=True, atol=1e-9, rtol=0)

    def test_a_resample_is_the_figure_of_the_pictures_that_it_drew(self, generator: torch.Generator) -> None:
        first, second = torch.rand(2, 9, 3, 2, generator=generator)
        counted = torch.rand(9, 3, generator=generator) < 0.8
        rows = torch.randint(0, 9, (5, 9), generator=generator)
        counts = torch.stack([torch.bincount(drawn, minlength=9) for drawn in rows])
        found = ResampledSteadiness(first, second, counted)(counts.double())
        expected = [steadiness(first[drawn], second[drawn], counted[drawn]) for drawn in rows]
        torch.testing.assert_close(found, torch.stack(expected), equal_nan=True)

    def test_places_that_do_not_count_are_not_read(self) -> None:
        first = torch.rand(4, 1, 2, generator=torch.Generator().manual_seed(0))
        counted = torch.tensor([[True], [True], [False], [True]])
        spoilt = first.clone()
        spoilt[2] = math.nan
        assert steadiness(spoilt, first, counted).item() == 1

    @pytest.mark.parametrize(
        ("changes", "error", "message"),
        [
            ({"first": torch.zeros(3, 2)}, ShapeError, r"first, second: expected two \[picture, filter, 2\]"),
            ({"second": torch.zeros(3, 1, 2)}, ShapeError, r"got \(3, 2, 2\) and \(3, 1, 2\)"),
            ({"counted": torch.ones(3, 2)}, ShapeError, r"counted: expected bool .*\[3, 2\] as in first"),
            ({"first": torch.full((3, 2, 2), math.nan)}, ConfigError, "expected finite places where a picture counts"),
        ],
    )  # fmt: skip
    def test_bad_input_is_told(self, changes: dict[str, Any], error: type[Exception], message: str) -> None:
        good = {"first": torch.zeros(3, 2, 2), "second": torch.zeros(3, 2, 2), "counted": torch.ones(3, 2).bool()}
        with pytest.raises(error, match=message):
            steadiness(**good | changes)


class TestIdentity:
    @pytest.mark.parametrize("num_pictures", [1, 2, 5, 10])
    def test_it_is_that_of_the_twin(self, num_pictures: int, generator: torch.Generator) -> None:
        means = torch.randn(6, 4, generator=generator)
        features = means + torch.randn(num_pictures, 6, 4, generator=generator)
        counted = torch.rand(num_pictures, 6, generator=generator) < 0.7
        found = identity(features, counted)
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found, twin.identity(features.double().tolist(), counted.tolist()), atol=1e-12)

    def test_filters_that_hold_different_things_are_known(self) -> None:
        features = torch.eye(5).expand(6, 5, 5) + 0.01 * torch.randn(6, 5, 5)
        assert identity(features, every(features)).tolist() == [1.0] * 5

    def test_copies_share_and_those_that_hold_the_same_throughout_guess(self) -> None:
        features = torch.eye(4)[[0, 0, 1, 2]].expand(8, 4, 4)
        assert identity(features, every(features)).tolist() == pytest.approx([0.5, 0.5, 1, 1])
        alike = torch.ones(8, 4, 3)
        assert identity(alike, every(alike)).tolist() == pytest.approx([0.25] * 4)

    def test_noise_is_known_by_chance(self, generator: torch.Generator) -> None:
        features = torch.randn(2000, 5, 16, generator=generator)
        assert identity(features, every(features)).mean().item() == pytest.approx(0.2, abs=0.02)

    def test_answers_of_single_pictures_make_the_share(self, generator: torch.Generator) -> None:
        features, counted = torch.randn(9, 4, 3, generator=generator), torch.rand(9, 4, generator=generator) < 0.7
        answers = identity_answers(features, counted)
        assert answers.isnan().equal(~counted)  # every filter is known to both halves
        torch.testing.assert_close(answers.nanmean(dim=0), identity(features, counted), equal_nan=True)

    def test_no_picture_answers_for_itself(self) -> None:
        """On every second picture the two filters hold each other's: a picture's own half would know it."""
        features = torch.eye(2).expand(6, 2, 2).clone()
        features[1::2] = features[1::2].flip(1)
        assert identity(features, every(features)).tolist() == [0, 0]

    def test_a_filter_unknown_to_the_other_half_and_a_single_one_have_none(self) -> None:
        features = torch.eye(3).expand(4, 3, 3)
        counted = every(features)
        counted[1::2, 2] = False
        found = identity(features, counted)
        assert found[:2].tolist() == [1, 1]
        assert found[2].isnan()
        assert identity(features[:, :1], counted[:, :1]).isnan().all()
        assert identity(features[:0], counted[:0]).isnan().all()

    @given(seed=SEEDS, scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
    @settings(max_examples=50)
    def test_it_lies_in_its_range_and_neither_scale_shift_nor_names_change_it(
        self, seed: int, scale: float, shift: float
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(6, 4, 3, generator=generator, dtype=torch.float64)
        counted = torch.rand(6, 4, generator=generator) < 0.8
        found, order = identity(features, counted), torch.randperm(4, generator=generator)
        assert ((found.nan_to_num() >= 0) & (found.nan_to_num() <= 1)).all()
        torch.testing.assert_close(identity(scale * features + shift, counted), found, equal_nan=True)
        torch.testing.assert_close(identity(features[:, order], counted[:, order]), found[order], equal_nan=True)

    @pytest.mark.parametrize(
        ("changes", "error", "message"),
        [
            ({"features": torch.zeros(3, 2)}, ShapeError, r"features: expected \[picture, filter, channel\]"),
            ({"counted": torch.ones(3, 1).bool()}, ShapeError, r"counted: expected bool .*\[3, 2\] as in features"),
            ({"features": torch.full((3, 2, 4), math.inf)}, ConfigError, "features: expected finite numbers"),
        ],
    )  # fmt: skip
    def test_bad_input_is_told(self, changes: dict[str, Any], error: type[Exception], message: str) -> None:
        good = {"features": torch.zeros(3, 2, 4), "counted": torch.ones(3, 2).bool()}
        with pytest.raises(error, match=message):
            identity(**good | changes)
