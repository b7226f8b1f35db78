"""Intervals against what is known of them, paired tests against all swaps, and evaluations side by side."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch

from partcnn.evaluation import Evaluation, FilterEvaluation, compare, compare_methods, methods_table
from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional import location_instability, part_tracking, strongest_images
from partcnn.metrics.functional.spread import ResampledInstability, ResampledSpread, spread
from partcnn.metrics.significance import bootstrap_intervals, paired_p_value

# --- intervals


def test_the_interval_of_a_mean_is_the_normal_one(generator: torch.Generator) -> None:
    values = torch.randn(400, generator=generator, dtype=torch.float64)
    ((low, high),) = bootstrap_intervals(lambda counts: (counts @ values / 400)[None], [400], resamples=4000)
    half = 1.96 * values.std().item() / 20
    assert low == pytest.approx(values.mean().item() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean().item() + half, abs=0.1 * half)


def test_every_stratum_keeps_its_number_of_images() -> None:
    seen: list[torch.Tensor] = []

    def statistic(*counts: torch.Tensor) -> torch.Tensor:
        seen.extend(counts)
        return torch.zeros(1, len(counts[0]))

    bootstrap_intervals(statistic, [5, 9], resamples=50, batch=8)
    assert {(counts.shape[1], total) for counts in seen for total in counts.sum(dim=1).tolist()} == {(5, 5.0), (9, 9.0)}
    assert max(counts.max().item() for counts in seen) > 1


def test_a_measure_that_a_resample_leaves_undefined_has_no_interval_and_the_others_do() -> None:
    def statistic(counts: torch.Tensor) -> torch.Tensor:
        present = (counts[:, 0] > 0).double()  # the first image is missing from a third of the resamples
        return torch.stack([counts.sum(dim=1) / present * present, counts[:, 0]])

    (low, high), other = bootstrap_intervals(statistic, [20], resamples=200)
    assert math.isnan(low)
    assert math.isnan(high)
    assert all(math.isfinite(bound) for bound in other)


@pytest.mark.parametrize(("sizes", "is_given"), [([9], False), ([10], True), ([5, 5], True), ([1] * 12, False)])
def test_few_images_have_no_interval(sizes: list[int], is_given: bool) -> None:
    def statistic(*counts: torch.Tensor) -> torch.Tensor:
        return sum(drawn @ torch.arange(drawn.shape[1]).double() for drawn in counts)[None]  # type: ignore[index]

    ((low, high),) = bootstrap_intervals(statistic, sizes, resamples=50)
    assert (low < high) if is_given else (math.isnan(low) and math.isnan(high))


def test_the_image_of_a_stratum_of_one_is_in_every_resample(generator: torch.Generator) -> None:
    values = torch.rand(20, generator=generator, dtype=torch.float64)
    seen: list[torch.Tensor] = []

    def statistic(first: torch.Tensor, only: torch.Tensor) -> torch.Tensor:
        seen.append(only)
        return (only[:, 0] * 100 + first @ values / 20)[None]

    ((low, high),) = bootstrap_intervals(statistic, [20, 1], resamples=60, batch=7)
    assert 100 < low < 100 + values.mean() < high < 101
    assert all((only == 1).all() for only in seen)


def test_a_figure_outside_of_its_interval_has_none(generator: torch.Generator) -> None:
    # The number of different images: of all 30, but of some 19 in any resample.
    def statistic(counts: torch.Tensor) -> torch.Tensor:
        return torch.stack([(counts > 0).double().sum(dim=1), counts[:, :15].sum(dim=1)])

    (low, high), other = bootstrap_intervals(statistic, [30], resamples=100)
    assert math.isnan(low)
    assert math.isnan(high)
    assert other[0] < 15 < other[1]


def test_more_confidence_is_a_wider_interval(generator: torch.Generator) -> None:
    values = torch.rand(50, generator=generator, dtype=torch.float64)
    intervals = [
        bootstrap_intervals(lambda counts: (counts @ values)[None], [50], confidence=level)[0] for level in (0.5, 0.99)
    ]
    assert intervals[1][0] < intervals[0][0] < intervals[0][1] < intervals[1][1]


@pytest.mark.parametrize("most_spare", [0, 2], ids=["list by list", "over all images"])
def test_resampled_spreads_are_those_of_the_images_drawn(
    most_spare: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partcnn.metrics.functional.spread._MOST_SPARE", most_spare)
    landmarks = 100 * torch.rand(12, 2, 2, generator=generator, dtype=torch.float64)
    landmarks[torch.rand(12, 2, generator=generator) < 0.3] = math.nan
    peaks = 100 * torch.rand(12, 3, 2, generator=generator, dtype=torch.float64)
    scores = torch.rand(12, 3, generator=generator)
    table = strongest_images(peaks, scores, landmarks, top=50)
    resampled = ResampledSpread(table, 50.0)
    instability = ResampledInstability(table, 50.0, resampled.image_index)
    assert resampled.image_index.tolist() == (~landmarks.isnan().all(dim=2).all(dim=1)).nonzero()[:, 0].tolist()
    for _ in range(5):
        drawn = resampled.image_index[torch.randint(len(resampled.image_index), (12,), generator=generator)]
        counts = torch.stack([(drawn == image).sum() for image in resampled.image_index])[None].double()
        found = resampled(counts)
        again = [tensor[drawn] for tensor in (peaks, scores, landmarks)]
        expected = part_tracking(*again, (30, 40)).per_filter
        torch.testing.assert_close(found.tracked_share[0], expected, equal_nan=True, rtol=1e-9, atol=1e-9)
        expected = location_instability(*again, (30, 40)).per_filter
        for values in (found.instability, instability(counts)):
            torch.testing.assert_close(values[0], expected, equal_nan=True, rtol=1e-9, atol=1e-9)


def test_many_filters_are_resampled_in_pieces_alike(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = torch.rand(9, 40, 2, generator=generator)
    table = strongest_images(points, torch.rand(9, 40, generator=generator), points[:, :3], top=5)
    counts = torch.randint(3, (6, 9), generator=generator).double()
    over_all = ResampledSpread(table, 1.0)(counts)
    monkeypatch.setattr("partcnn.metrics.functional.spread._MOST_SPARE", 0)
    whole = ResampledSpread(table, 1.0)(counts)
    torch.testing.assert_close(over_all.distance, whole.distance, equal_nan=True)
    monkeypatch.setattr("partcnn.metrics.functional.spread._MOST_ELEMENTS", 200)
    pieces = ResampledSpread(table, 1.0)(counts)
    torch.testing.assert_close(pieces.distance, whole.distance, equal_nan=True)
    assert spread(table, 1.0).distance.shape == whole.distance.shape[1:]


# --- paired tests


def test_the_p_value_is_that_of_all_swaps() -> None:
    first, second = [0.3, 0.5, 0.2, 0.9, 0.4, 0.6], [0.1, 0.4, 0.3, 0.5, 0.1, 0.2]
    differences = [a - b for a, b in zip(first, second, strict=True)]
    observed = abs(sum(differences))
    swaps = [
        sum(sign * d for sign, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=6)
    ]
    expected = sum(abs(total) >= observed - 1e-12 for total in swaps) / len(swaps)
    assert paired_p_value(first, second) == pytest.approx(expected)


def test_equal_networks_differ_by_chance_and_unequal_ones_do_not(generator: torch.Generator) -> None:
    values = torch.rand(40, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(40, generator=generator, dtype=torch.float64)
    assert paired_p_value(values.tolist(), (values + noise - noise.mean()).tolist()) > 0.9
    assert paired_p_value(values.tolist(), (values + noise + 0.1).tolist()) < 0.001
    assert paired_p_value(values.tolist(), values.tolist()) == 1.0


def test_pairs_with_a_nan_are_left_out_and_one_pair_says_nothing() -> None:
    values = [0.1, math.nan, 0.3, 0.7, 0.4]
    others = [0.2, 0.4, 0.5, 0.9, 0.9]
    assert paired_p_value(values, others) == paired_p_value([0.1, 0.3, 0.7, 0.4], [0.2, 0.5, 0.9, 0.9])
    assert math.isnan(paired_p_value([0.1, math.nan], [0.2, 0.3]))
    with pytest.raises(ShapeError, match="others: expected 2"):
        paired_p_value([0.1, 0.2], [0.1])


# --- evaluations side by side


def evaluation(r2: list[float], *, category: str = "bird", accuracy: float = 0.9) -> Evaluation:
    filters = [
        FilterEvaluation(
            "layer", number, category, "head", value, {"head": value}, 0.1, 0.2, False, {}, class_purity=0.5
        )
        for number, value in enumerate(r2)
    ]
    mean = sum(r2) / len(r2)
    summary = {
        "accuracy": accuracy,
        "part_tracking_r2": mean,
        "class_purity": 0.5,
        "coverage": None,
        "num_filters": len(r2),
    }
    return Evaluation(
        summary=summary,
        filters=filters,
        lower_layers={},
        classes=["background", category],
        parts=["head"],
        data={},
        by_category={category: {"accuracy": accuracy, "part_tracking_r2": mean}},
        intervals={"part_tracking_r2": (mean - 0.1, mean + 0.1)},
    )


GOOD, BAD = [0.5, 0.6, 0.7, 0.4, 0.8, 0.6, 0.5, 0.9], [0.1, 0.2, 0.6, 0.1, 0.5, 0.2, 0.1, 0.3]


def test_networks_with_the_same_filters_are_paired_filter_by_filter() -> None:
    found = compare({"plain": evaluation(BAD), "parts": evaluation(GOOD, accuracy=0.8)}).differences["parts"]
    r2 = found["part_tracking_r2"]
    assert (r2.paired_over, r2.num_pairs, r2.is_better) == ("filters", 8, True)
    assert r2.value == pytest.approx(sum(GOOD) / 8 - sum(BAD) / 8)
    assert r2.p_value == pytest.approx(2 / 2**8)  # all differences have one sign
    assert found["class_purity"].p_value == 1.0
    assert found["class_purity"].is_better is None
    assert found["accuracy"].is_better is False
    assert math.isnan(found["accuracy"].p_value)  # one category only
    assert found["coverage"].value is None
    assert "num_filters" not in found


def test_filters_of_all_categories_are_not_paired_with_those_of_one() -> None:
    of_one, by_category = evaluation(GOOD), {name: {"part_tracking_r2": 0.1} for name in "abc"}
    shared = replace(of_one, filters=[replace(one, category="all categories") for one in of_one.filters])
    first, second = (replace(one, by_category=by_category) for one in (of_one, shared))
    for other, paired_over, num_pairs in ((first, "filters", 8), (second, "categories", 3)):
        r2 = compare({"first": first, "other": other}).differences["other"]["part_tracking_r2"]
        assert (r2.paired_over, r2.num_pairs) == (paired_over, num_pairs)


@pytest.mark.parametrize(("measure", "is_better"), [("location_instability", False), ("class_purity", True)])
def test_more_is_better_or_worse_by_the_measure(measure: str, is_better: bool) -> None:
    less, more = (replace(evaluation(GOOD), summary={measure: value}) for value in (0.1, 0.2))
    assert compare({"less": less, "more": more}).differences["more"][measure].is_better is is_better


def test_networks_with_other_filters_are_paired_by_category() -> None:
    several = [
        replace(
            evaluation(filters),
            by_category={name: {"part_tracking_r2": value} for name, value in zip("abcdef", filters, strict=False)},
        )
        for filters in (BAD[:6], GOOD)
    ]
    r2 = compare(dict(zip(("plain", "parts"), several, strict=True))).differences["parts"]["part_tracking_r2"]
    assert (r2.paired_over, r2.num_pairs) == ("categories", 6)
    assert r2.p_value == pytest.approx(2 / 2**6)


def test_the_table_has_a_row_for_every_measure_of_the_first_and_a_p_value_for_all_but_it() -> None:
    comparison = compare({"plain": evaluation(BAD), "parts": evaluation(GOOD), "more": evaluation(GOOD[:4])})
    table = comparison.table()
    headers = [str(column.header) for column in table.columns]
    assert [name for name in headers if name != "p"] == [
        "measure", "plain", "parts", "more"
    ]  # fmt: skip
    assert headers.count("p") == 2
    rows = dict(zip(table.columns[0].cells, table.columns[3].cells, strict=True))
    assert rows["part_tracking_r2"] == "0.0078 better"
    json.dumps(comparison.to_dict(), allow_nan=False)


def test_evaluations_that_cannot_be_compared_are_told() -> None:
    data = {"spec": "animalpart:here", "category": "bird", "split": "test", "num_images": 90}
    protocol = {"radius_px": 32.0, "top": 100, "resamples": 1000}
    first = replace(evaluation(BAD), data=data, protocol=protocol)
    alike = replace(first, data=data | {"spec": "animalpart:there"}, protocol=protocol | {"resamples": 0})
    assert compare({"plain": first, "parts": alike}).cautions() == []
    other = replace(first, data=data | {"category": "cat"}, protocol=protocol | {"radius_px": 16.0, "top": 50})
    comparison = compare({"plain": first, "parts": alike, "cats": other})
    assert comparison.cautions() == [
        "cats: other pictures than plain",
        "cats: another radius of the discs, number of strongest pictures than plain",
    ]
    assert str(comparison.table().caption).endswith("\n".join(comparison.cautions()))
    with pytest.raises(ConfigError, match="second: expected run 2 to be measured on the pictures of its partner"):
        compare_methods([first, first], [alike, other])


def test_two_methods_are_paired_over_their_runs() -> None:
    plain, parts = ([evaluation([value] * 3) for value in values] for values in (BAD, GOOD))
    found = compare_methods(plain, parts)
    assert found["part_tracking_r2"].value == pytest.approx((sum(GOOD) - sum(BAD)) / 8)
    assert found["part_tracking_r2"].p_value == pytest.approx(2 / 2**8)
    assert found["part_tracking_r2"].paired_over == "runs"
    assert found["accuracy"].value == 0.0
    assert list(methods_table(found).columns[0].cells) == list(found)
    with pytest.raises(ConfigError, match="second: expected as many"):
        compare_methods(plain, parts[:2])
    with pytest.raises(ConfigError, match="evaluations: expected"):
        compare({})
