"""Consistency, stability and part purity in an evaluation: against the twins, and of filters that are known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from partcnn.datasets import PartDataset
from partcnn.evaluation import Evaluation, Protocol, evaluate
from partcnn.evaluation.observation import observe
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.model.mask import top_mask
from partcnn.model.network import PartNetwork, conversion_of, recorded_feature_maps
from partcnn.model.second_views import NoisyPictures
from partcnn.objectives.part_places import exact_places
from partcnn.training.cached_features import picture_features
from tests.pointing_network import BIRDS, BLUE, GREEN, RED, SIDE, Drawer, image_ids, pointer, with_classes
from tests.reference import around_peaks as twin

NAMES = ("consistency", "stability", "part_purity")
PARTS = ["left eye", "right eye", "beak"]


def birds(tmp_path: Path, *, parts: list[str] = PARTS, count: int = 16, seed: int = 3) -> PartDataset:
    """Red lies on the beak; blue on the left eye and on the right one by turns; green is anywhere, or nowhere."""
    drawer = Drawer(tmp_path)
    random = np.random.default_rng(seed)
    for number, image_id in enumerate(image_ids("test")[:count]):
        left, right, beak, other = (tuple(random.integers(0, 8, size=2).tolist()) for _ in range(4))
        drawer.add(image_id, 0, {}, {})
        spots = {RED: beak, BLUE: right if number % 2 else left} | ({GREEN: other} if number % 3 else {})
        shown = {"left eye": left, "right eye": right, "beak": beak}
        if number % 5 == 4:
            del shown["beak"]
        drawer.add(image_id, 1, spots, {name: cell for name, cell in shown.items() if name in parts})
    return drawer.dataset(**BIRDS, parts=parts)


def network(*colours: int | None, green_bias: float = 0.0, **settings: object) -> PartNetwork:
    """Of a spot's mean of 1 a bias of −0.98 leaves so little that noise hides some spots."""
    settings = {"places": "peak", "masks": False, **settings}
    filters = [(colour, green_bias if colour == GREEN else 0.0) for colour in colours]
    return with_classes(pointer(filters, **settings), ["background", "bird"])


def seen_by_hand(
    model: PartNetwork, pictures: torch.Tensor, places: str = "peak"
) -> tuple[list[list[tuple[float, float]]], list[list[float]]]:
    """Peaks in pixels and scores, of the network's own maps."""
    layer, mask = top_mask(model)
    model.eval()
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        model(pictures)
        cells = exact_places(maps[layer], places, beta=mask.template_slope)
        scores = maps[layer].amax(dim=(2, 3))
    return ((cells.flip(-1) + 0.5) * 8).double().tolist(), scores.double().tolist()


def points_of(dataset: PartDataset, index: list[int]) -> list[list[tuple[float, float] | None]]:
    samples = [dataset.samples[number] for number in index]
    return [
        [(sample.parts[part][0].x, sample.parts[part][0].y) if part in sample.parts else None for part in dataset.parts]
        for sample in samples
    ]


@pytest.mark.parametrize("places", ["peak", "expected"])
def test_they_are_the_twins_on_the_networks_own_maps(tmp_path: Path, places: str) -> None:
    model, dataset = network(RED, BLUE, GREEN, green_bias=-0.98, places=places), birds(tmp_path)
    preprocessing, size = conversion_of(model).preprocessing, (SIDE, SIDE)
    objects = [number for number, sample in enumerate(dataset.samples) if sample.label]
    whole = torch.stack([preprocessing(dataset.samples[number].load_image()) for number in objects])
    peaks, scores = seen_by_hand(model, whole, places)
    landmarks = points_of(dataset, objects)
    noisy = NoisyPictures(dataset, preprocessing)
    order = sorted(range(len(noisy)), key=lambda place: noisy.index[place])
    assert [noisy.index[place] for place in order] == objects
    noisy_peaks, noisy_scores = seen_by_hand(model, torch.stack([noisy[place][0] for place in order]), places)
    result = evaluate(model, dataset)
    shares, value = twin.consistency(peaks, scores, landmarks, size)
    stable = twin.stability(peaks, scores, noisy_peaks, noisy_scores, landmarks, size)
    pure = twin.part_purity(peaks, scores, landmarks, size, [[0, 1], [2]])
    assert result.summary["consistency"] == pytest.approx(value)
    assert not any(one.is_dead for one in result.filters)
    for one, by_part, stability, purity in zip(result.filters, shares, stable, pure, strict=True):
        assert list(one.box_by_part.values()) == pytest.approx(by_part)
        assert one.stability == pytest.approx(stability)
        assert one.part_purity == pytest.approx(purity)
    assert result.summary["part_purity"] == pytest.approx(sum(pure) / 3)
    assert result.summary["stability"] == pytest.approx(sum(stable) / 3)
    assert 0 < result.summary["stability"] < 1


def test_a_filter_on_a_part_is_consistent_and_one_that_goes_from_left_to_right_is_pure_all_the_same(
    tmp_path: Path,
) -> None:
    beak, eyes, anywhere = evaluate(network(RED, BLUE, GREEN), birds(tmp_path)).filters
    assert (beak.consistency, beak.part_purity) == (1.0, 0.8)  # two of the ten show no beak
    assert (eyes.consistency, eyes.part_purity) == (0.0, 1.0)
    assert (anywhere.consistency, anywhere.part_purity < 0.5) == (0.0, True)


def test_a_dead_filter_has_none_of_them(tmp_path: Path) -> None:
    *_, dead = evaluate(network(RED, None), birds(tmp_path)).filters
    assert dead.is_dead
    assert (dead.consistency, dead.stability, dead.part_purity) == (0, 0, 0)


def test_without_an_annotated_part_they_are_none(tmp_path: Path) -> None:
    result = evaluate(network(RED, BLUE), birds(tmp_path, parts=[]))
    assert {name: result.summary[name] for name in NAMES} == dict.fromkeys(NAMES)
    assert not result.intervals.keys() & {*NAMES}
    assert not {*NAMES} & set(result.table().columns[0].cells)


def test_what_does_not_look_stands_beside(tmp_path: Path) -> None:
    baselines = evaluate(network(RED, BLUE, GREEN), birds(tmp_path)).baselines
    assert baselines["constant_point"]["stability"] == 1
    assert baselines["random_filter"]["stability"] < 0.7
    for name in ("constant_point", "random_filter"):
        assert baselines[name]["consistency"] == 0
        assert baselines[name]["part_purity"] < 0.4


def test_they_have_intervals_about_them_and_come_back_from_files(tmp_path: Path) -> None:
    result = evaluate(network(RED, BLUE, GREEN, green_bias=-0.98), birds(tmp_path))
    for name in NAMES:
        low, high = result.intervals[name]
        assert 0 <= low <= result.summary[name] <= high <= 1
    assert result.intervals["stability"][0] < result.intervals["stability"][1]
    again = Evaluation.from_json(result.to_json(tmp_path / "evaluation.json"))
    for name in (*NAMES, "box_by_part"):
        assert [getattr(one, name) for one in again.filters] == [getattr(one, name) for one in result.filters]
    assert again.by_category["bird"] == result.by_category["bird"]
    assert {*NAMES} <= again.by_category["bird"].keys()
    assert {*NAMES} <= set(result.table().columns[0].cells)


def test_the_interval_of_many_pictures_is_that_of_some(tmp_path: Path) -> None:
    model, dataset = network(RED, BLUE, GREEN), birds(tmp_path, count=30)
    all_of_them = evaluate(model, dataset).intervals["consistency"]
    some = evaluate(model, dataset, protocol=Protocol(most_recorded=12)).intervals["consistency"]
    assert some[1] - some[0] >= all_of_them[1] - all_of_them[0]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neither_batches_nor_the_order_of_the_pictures_change_them(tmp_path: Path, batch_size: int) -> None:
    model, dataset = network(RED, BLUE, GREEN), birds(tmp_path)
    expected = evaluate(model, dataset)
    found = evaluate(model, dataset.with_samples(dataset.samples[::-1]), batch_size=batch_size)
    for name in NAMES[:2]:  # of equal scores the first pictures decide part purity
        assert found.summary[name] == pytest.approx(expected.summary[name])
    assert evaluate(model, dataset, batch_size=batch_size).summary == pytest.approx(expected.summary, nan_ok=True)


def test_features_that_are_known_give_the_same_and_the_noise_is_in_the_cache(tmp_path: Path) -> None:
    model, dataset = network(RED, BLUE, GREEN), birds(tmp_path)
    expected = evaluate(model, dataset)

    def known(pictures: PartDataset, **wanted: bool):
        return picture_features(model, pictures, cache=FeatureCache(tmp_path / "cache"), **wanted)

    for _ in range(2):  # computed, then found
        found = evaluate(model, dataset, features=known)
        assert found.summary == pytest.approx(expected.summary, nan_ok=True)
    noisy = known(dataset, has_second_views=True).noisy
    assert noisy is not None
    pictures = torch.stack([picture for picture, _ in NoisyPictures(dataset, conversion_of(model).preprocessing)])
    torch.testing.assert_close(noisy.maps, model.features(pictures).detach())
    assert known(dataset).noisy is None


def test_features_that_lack_the_noisy_pictures_are_looked_at_all_the_same(tmp_path: Path) -> None:
    model, dataset = network(RED, BLUE, GREEN), birds(tmp_path)
    first = observe(model, dataset).noise
    second = observe(model, dataset, features=picture_features(model, dataset), batch_size=5).noise
    assert first is not None
    assert second is not None
    for one, other in zip((*first.peaks, *first.scores), (*second.peaks, *second.scores), strict=True):
        torch.testing.assert_close(one, other)


def test_the_pictures_trained_on_are_looked_at_without_noise(tmp_path: Path) -> None:
    drawer = Drawer(tmp_path)
    for split in ("train", "test"):
        for image_id in image_ids(split)[:6]:
            cell = drawer.cell()
            drawer.add(image_id, 1, {RED: cell}, {"beak": cell})
    result = evaluate(network(RED, BLUE), drawer.dataset(**BIRDS, split="test"))
    assert result.by_split["train"]["stability"] is None
    assert result.by_split["train"]["consistency"] == 0.5
    assert not math.isnan(result.by_split["test"]["stability"])


def test_a_wrapped_network_is_measured_as_it_is(tmp_path: Path) -> None:
    model, dataset = network(RED, BLUE, GREEN), birds(tmp_path)
    expected = evaluate(model, dataset).summary
    assert evaluate(nn.DataParallel(model), dataset).summary == pytest.approx(expected, nan_ok=True)


def test_filters_of_several_categories_are_measured_on_their_own(tmp_path: Path) -> None:
    drawer = Drawer(tmp_path)
    for number, image_id in enumerate(image_ids("test")[:24]):
        beak, ear = drawer.cell(), drawer.cell()
        if number % 2:
            drawer.add(image_id, 0, {RED: beak}, {"beak": beak})
        else:
            drawer.add(image_id, 1, {BLUE: ear, RED: beak}, {"ear": ear})
    dataset = drawer.dataset(["bird", "cat"], parts=["beak", "ear"], background=None, category=None)
    model = pointer([(RED, -0.98), (BLUE, -0.98)], background=None, places="peak", masks=False)
    with_classes(model, ["bird", "cat"])
    found = evaluate(model, dataset)
    assert [one.category for one in found.filters] == ["bird", "cat"]
    noisy = NoisyPictures(dataset, conversion_of(model).preprocessing)
    for label, one in enumerate(found.filters):
        assert (one.consistency, one.part_purity) == (1.0, 1.0)
        own = [place for place, number in enumerate(noisy.index) if dataset.samples[number].label == label]
        index = [noisy.index[place] for place in own]
        whole = [conversion_of(model).preprocessing(dataset.samples[number].load_image()) for number in index]
        before = seen_by_hand(model, torch.stack(whole))
        after = seen_by_hand(model, torch.stack([noisy[place][0] for place in own]))
        stable = twin.stability(*before, *after, points_of(dataset, index), (SIDE, SIDE))
        assert one.stability == pytest.approx(stable[label])
        assert stable[label] < 1
    assert found.by_category["cat"]["consistency"] == 1.0
