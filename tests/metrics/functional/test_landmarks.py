"""The field's landmark measures: against the twins and torchmetrics, at their ends, and how they are gamed."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional.agreement import (
    adjusted_rand_index,
    contingency_table,
    normalized_mutual_information,
    part_agreement,
)
from partcnn.metrics.functional.landmarks import landmark_regression_error
from tests.reference import landmarks as twin

examples = settings(max_examples=30, deadline=None, derandomize=True)


def points(num_pictures: int, num_points: int, seed: int, absent: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(num_pictures, num_points, 2, generator=generator, dtype=torch.float64)
    is_absent = torch.rand(num_pictures, num_points, generator=generator) < absent
    return found.masked_fill(is_absent[..., None], math.nan)


class TestRegression:
    @examples
    @given(
        st.integers(1, 12), st.integers(1, 4), st.integers(0, 3), st.sampled_from([0.0, 0.3, 0.9]), st.integers(0, 99)
    )
    def test_it_is_the_twins(self, pictures: int, filters: int, parts: int, absent: float, seed: int) -> None:
        data = (
            points(pictures, filters, seed, absent),
            points(pictures, parts, seed + 1, absent),
            points(9, filters, seed + 2, absent),
            points(9, parts, seed + 3, absent),
        )
        expected = twin.landmark_regression_error(*(tensor.numpy() for tensor in data))
        assert landmark_regression_error(*data).value == pytest.approx(expected, rel=1e-6, nan_ok=True)

    def test_filters_that_follow_the_landmarks_by_a_linear_map_have_no_error(self) -> None:
        train, test = points(40, 3, 0), points(20, 3, 1)
        turned = torch.tensor([[0.4, 0.3], [-0.2, 0.5]], dtype=torch.float64)
        result = landmark_regression_error(train, train @ turned + 0.1, test, test @ turned + 0.1)
        assert result.value == pytest.approx(0, abs=1e-9)
        assert result.num_points.tolist() == [20, 20, 20]
        assert result.distances.shape == (20, 3)

    def test_filters_that_do_not_move_leave_the_mean_landmark(self) -> None:
        train, test = points(40, 2, 0), points(20, 2, 1)
        still = torch.full((40, 3, 2), 0.5, dtype=torch.float64)
        mean = 100 * (test - train.mean(dim=0)).norm(dim=2).mean()
        assert landmark_regression_error(still, train, still[:20], test).value == pytest.approx(mean.item())

    def test_copies_of_a_filter_add_nothing(self) -> None:
        train, landmarks, test, truth = points(30, 2, 0), points(30, 3, 1), points(30, 2, 2), points(30, 3, 3)
        alone = landmark_regression_error(train, landmarks, test, truth).value
        copies = landmark_regression_error(train.repeat(1, 5, 1), landmarks, test.repeat(1, 5, 1), truth).value
        assert copies == pytest.approx(alone)

    def test_a_landmark_that_training_never_shows_is_not_counted(self) -> None:
        landmarks = points(10, 2, 1)
        landmarks[:, 1] = math.nan
        result = landmark_regression_error(points(10, 2, 0), landmarks, points(5, 2, 2), points(5, 2, 3))
        assert result.num_points.tolist() == [5, 0]
        assert math.isnan(result.per_part[1])

    def test_other_axes_are_refused_by_name(self) -> None:
        with pytest.raises(ShapeError, match="test_landmarks: expected 2 columns as in train_landmarks, got 3"):
            landmark_regression_error(points(5, 2, 0), points(5, 2, 0), points(5, 2, 0), points(5, 3, 0))
        with pytest.raises(ShapeError, match=r"train_places: expected \[image, filter, 2\]"):
            landmark_regression_error(torch.zeros(3, 2), points(5, 2, 0), points(5, 2, 0), points(5, 2, 0))


class TestAgreement:
    @examples
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40))
    def test_both_scores_are_the_twins(self, pairs: list[tuple[int, int]]) -> None:
        clusters, classes = (list(side) for side in zip(*pairs, strict=True))
        table = contingency_table(torch.tensor(clusters), torch.tensor(classes))
        assert normalized_mutual_information(table) == pytest.approx(
            twin.mutual_information_score(clusters, classes), abs=1e-9
        )
        assert adjusted_rand_index(table) == pytest.approx(twin.rand_index(clusters, classes), abs=1e-9)

    @pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # torchmetrics' own
    def test_both_scores_are_those_of_torchmetrics(self) -> None:
        from torchmetrics.functional.clustering import adjusted_rand_score, normalized_mutual_info_score

        generator = torch.Generator().manual_seed(0)
        clusters, classes = torch.randint(6, (2, 500), generator=generator)
        clusters = torch.where(torch.rand(500, generator=generator) < 0.6, classes, clusters)
        table = contingency_table(clusters, classes)
        assert normalized_mutual_information(table) == pytest.approx(
            normalized_mutual_info_score(clusters, classes).item(), abs=1e-5
        )
        assert adjusted_rand_index(table) == pytest.approx(adjusted_rand_score(clusters, classes).item(), abs=1e-5)

    @examples
    @given(st.integers(1, 5), st.integers(2, 4), st.sampled_from([(3, 4), (1, 1), (6, 2)]), st.integers(0, 99))
    def test_maps_are_read_as_the_twin_reads_them(
        self, pictures: int, filters: int, size: tuple[int, int], seed: int
    ) -> None:
        maps = torch.rand(pictures, filters, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        landmarks = points(pictures, 3, seed, absent=0.3)
        clusters, classes = [], []
        for b, p in zip(*torch.where(~landmarks[..., 0].isnan()), strict=True):
            values = [twin.bilinear(maps[b, f].numpy(), *landmarks[b, p].tolist()) for f in range(filters)]
            clusters.append(values.index(max(values)))
            classes.append(int(p))
        result = part_agreement(maps, landmarks)
        assert result.num_points == len(classes)
        if classes:
            assert result.nmi == pytest.approx(twin.mutual_information_score(clusters, classes), abs=1e-9)
            assert result.ari == pytest.approx(twin.rand_index(clusters, classes), abs=1e-9)

    def test_a_filter_for_each_part_agrees_perfectly_and_one_filter_for_all_says_nothing(self) -> None:
        landmarks = torch.tensor([[[0.25, 0.25], [0.75, 0.75]]]).repeat(6, 1, 1)
        maps = torch.zeros(6, 2, 4, 4)
        maps[:, 0, 0, 0], maps[:, 1, 3, 3] = 1, 1
        maps[:, 0, 1, 1], maps[:, 1, 2, 2] = 1, 1
        perfect = part_agreement(maps, landmarks)
        assert (perfect.nmi, perfect.ari) == (pytest.approx(1), pytest.approx(1))
        same = part_agreement(torch.stack([torch.ones(6, 4, 4), torch.zeros(6, 4, 4)], dim=1), landmarks)
        assert (same.nmi, same.ari) == (pytest.approx(0), pytest.approx(0))

    @pytest.mark.parametrize("as_maps", [True, False], ids=["maps", "index"])
    def test_the_background_takes_points_only_where_it_is_counted(self, as_maps: bool) -> None:
        landmarks = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]]).repeat(4, 1, 1)
        maps = torch.zeros(4, 2, 1, 2)
        maps[:, 0, 0, 0], maps[:, 1, 0, 1] = 0.4, 0.4
        ground = torch.full((4, 1, 2), 0.5)
        given_maps, background = (maps, ground) if as_maps else (torch.cat([maps, ground[:, None]], dim=1), 2)
        result = part_agreement(given_maps, landmarks, background=background)
        assert (result.nmi, result.fg_nmi) == (pytest.approx(0), pytest.approx(1))
        assert (result.ari, result.fg_ari) == (pytest.approx(0), pytest.approx(1))

    def test_the_nearest_pixel_is_read_where_the_size_is_given(self) -> None:
        maps = torch.tensor([[[[0.0, 1.0]], [[0.6, 0.6]]]])  # at x the first is 2x − .5 between the cells' middles
        landmarks = torch.tensor([[[0.52, 0.5], [0.58, 0.5]]])
        assert part_agreement(maps, landmarks).nmi == pytest.approx(1)
        assert part_agreement(maps, landmarks, input_size=(4, 4)).nmi == pytest.approx(0)  # one pixel

    def test_no_visible_landmark_is_no_figure(self) -> None:
        result = part_agreement(torch.rand(2, 3, 4, 4), torch.full((2, 5, 2), math.nan))
        assert math.isnan(result.nmi)
        assert result.num_points == 0

    def test_a_background_that_is_none_of_the_maps_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="background: expected the index of one of 3 maps, got 3"):
            part_agreement(torch.rand(2, 3, 4, 4), points(2, 5, 0), background=3)
        with pytest.raises(ShapeError, match=r"background: expected maps \[picture, row, col\]"):
            part_agreement(torch.rand(2, 3, 4, 4), points(2, 5, 0), background=torch.rand(2, 4))
