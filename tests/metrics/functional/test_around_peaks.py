"""Consistency, stability and part purity: the twins, cases by hand, and what must hold of any filters."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional import consistency, merged_sides, part_purity, parts_in_boxes, stability
from tests.reference import around_peaks as slow

SIZE = (112, 224)  # a box is 36 × 72 and a window 16 × 32 pixels
PARTS = ["left eye", "right eye", "beak"]


def drawn(seed: int, num_images: int = 13, num_filters: int = 4) -> dict[str, Tensor]:
    """Filters that lie about the parts, some silent; landmarks of which one in three is absent."""
    generator = torch.Generator().manual_seed(seed)
    landmarks = torch.rand(num_images, 3, 2, generator=generator) * torch.tensor([224.0, 112.0])
    spread = torch.randn(3, num_images, num_filters, 2, generator=generator) * 14
    followed = landmarks[:, torch.arange(num_filters) % 3]
    landmarks[torch.rand(num_images, 3, generator=generator) < 0.3] = math.nan
    scores = (torch.rand(2, num_images, num_filters, generator=generator) * 5 - 0.5).floor().clamp(min=0)
    return {
        "peaks": followed + spread[0],
        "scores": scores[0],
        "noisy_peaks": followed + spread[0] + spread[1] / 2,
        "noisy_scores": scores[1],
        "landmarks": landmarks,
    }


def plain(data: dict[str, Tensor], *names: str) -> list[object]:
    """As the twins take them."""
    rows = [
        [[None if math.isnan(x) else (x, y) for x, y in points] for points in data["landmarks"].double().tolist()]
        if name == "landmarks"
        else data[name].double().tolist()
        for name in names
    ]
    return [*rows, SIZE]


def perfect(num_images: int = 6) -> dict[str, Tensor]:
    """A filter that lies on the second part and one that never moves."""
    data = drawn(0, num_images, 2)
    generator = torch.Generator().manual_seed(1)
    landmarks = torch.rand(num_images, 3, 2, generator=generator) * torch.tensor([224.0, 112.0])
    peaks = torch.stack([landmarks[:, 1], torch.tensor([[112.0, 56.0]]).expand(num_images, 2)], dim=1)
    ones = torch.ones(num_images, 2)
    return data | {"peaks": peaks, "noisy_peaks": peaks, "scores": ones, "noisy_scores": ones, "landmarks": landmarks}


SEEN = ("peaks", "scores", "landmarks")
BOTH = ("peaks", "scores", "noisy_peaks", "noisy_scores", "landmarks")


def of(function, data: dict[str, Tensor], names: tuple[str, ...], **settings: object):
    return function(*(data[name] for name in names), SIZE, **settings)


@given(seed=st.integers(0, 2**31), num_images=st.integers(1, 25))
@settings(max_examples=40, deadline=None)
def test_they_are_the_twins(seed: int, num_images: int) -> None:
    data = drawn(seed, num_images)
    found = of(consistency, data, SEEN)
    shares, value = slow.consistency(*plain(data, *SEEN))
    torch.testing.assert_close(found.per_filter, torch.tensor(shares).double(), equal_nan=True)
    assert found.value == pytest.approx(value, nan_ok=True)
    assert of(stability, data, BOTH).tolist() == pytest.approx(slow.stability(*plain(data, *BOTH)), nan_ok=True)
    for parts, groups in ((PARTS, [[0, 1], [2]]), (None, [[0], [1], [2]])):
        purity = of(part_purity, data, SEEN, parts=parts, top=5)
        expected = slow.part_purity(*plain(data, *SEEN), groups, top=5)
        assert purity.best_per_filter.tolist() == pytest.approx(expected, nan_ok=True)


@given(seed=st.integers(0, 2**31), scale=st.floats(0.25, 8))
@settings(max_examples=25, deadline=None)
def test_neither_the_scale_of_the_frame_nor_the_order_of_filters_and_parts_counts(seed: int, scale: float) -> None:
    data = {name: one.double() for name, one in drawn(seed).items()}
    order, parts = torch.tensor([2, 0, 3, 1]), torch.tensor([2, 0, 1])
    size = (SIZE[0] * scale, SIZE[1] * scale)
    other = {name: one[:, parts] * scale if name == "landmarks" else one[:, order] for name, one in data.items()}
    for name in ("peaks", "noisy_peaks"):
        other[name] = other[name] * scale
    found, again = of(consistency, data, SEEN), consistency(*(other[name] for name in SEEN), size)
    assert again.value == pytest.approx(found.value)
    torch.testing.assert_close(again.per_filter, found.per_filter[order][:, parts])
    torch.testing.assert_close(stability(*(other[name] for name in BOTH), size), of(stability, data, BOTH)[order])
    again = part_purity(*(other[name] for name in SEEN), size).best_per_filter
    torch.testing.assert_close(again, of(part_purity, data, SEEN).best_per_filter[order])


@given(seed=st.integers(0, 2**31), box=st.floats(0.05, 0.9))
@settings(max_examples=25, deadline=None)
def test_they_are_shares_and_a_wider_box_holds_no_less(seed: int, box: float) -> None:
    data = drawn(seed)
    narrow, wide = (of(consistency, data, SEEN, box_frac=frac) for frac in (box, min(1.0, 1.1 * box)))
    assert (wide.per_filter >= narrow.per_filter).all()
    assert 0 <= narrow.value <= wide.value <= 1
    shares = of(stability, data, BOTH)
    assert ((shares >= 0) & (shares <= 1)).all()
    same = {**data, "noisy_peaks": data["peaks"], "noisy_scores": data["scores"]}
    assert (of(stability, same, BOTH) == 1).all()  # nothing has changed


def test_a_filter_on_a_part_is_consistent_and_pure_and_one_that_never_moves_is_neither() -> None:
    data = perfect()
    found = of(consistency, data, SEEN)
    assert found.is_consistent.tolist() == [1.0, 0.0]
    assert (found.best_part[0], found.best_per_filter[0], found.value) == (1, 1.0, 0.5)
    assert of(part_purity, data, SEEN).best_per_filter[0] == 1.0
    assert of(stability, data, BOTH).tolist() == [1.0, 1.0]


def test_a_filter_is_consistent_from_four_of_five_pictures_on() -> None:
    data = perfect(5)
    data["peaks"][0, 0] += 100  # off the part on one picture
    assert of(consistency, data, SEEN).is_consistent[0] == 1.0
    data["peaks"][1, 0] += 100
    assert of(consistency, data, SEEN).is_consistent[0] == 0.0


@pytest.mark.parametrize(
    ("offset", "is_inside"), [((36.0, 0.0), True), ((37.0, 0.0), False), ((0.0, 18.0), True), ((0.0, 19.0), False)]
)
def test_the_box_is_72_of_224_of_each_side(offset: tuple[float, float], is_inside: bool) -> None:
    peaks, points = torch.tensor([[[112.0, 56.0]]]), torch.tensor([[[112.0, 56.0]]]) + torch.tensor(offset)
    assert parts_in_boxes(peaks, torch.ones(1, 1), points, SIZE).item() is is_inside


def test_a_filter_that_is_silent_holds_no_part() -> None:
    data = perfect(10)
    data["scores"] = data["scores"].clone()
    data["scores"][:3, 0] = 0
    assert of(consistency, data, SEEN).best_per_filter[0] == pytest.approx(0.7)
    assert of(part_purity, data, SEEN).best_per_filter[0] == pytest.approx(0.7)
    assert of(stability, data, BOTH)[0] == 1.0  # of the seven on which it fires
    assert of(stability, {**data, "scores": data["noisy_scores"], "noisy_scores": data["scores"]}, BOTH)[0] == 0.7
    data["scores"][:, 0] = 0
    assert of(consistency, data, SEEN).best_per_filter[0] == 0
    assert math.isnan(of(stability, data, BOTH)[0])


def test_noise_that_moves_a_filter_onto_another_part_has_changed_it() -> None:
    data = perfect(4)
    data["noisy_peaks"] = data["peaks"].clone()
    data["landmarks"] = torch.tensor([[[20.0, 20.0], [200.0, 90.0], [math.nan, math.nan]]]).repeat(4, 1, 1)
    data["peaks"] = data["landmarks"][:, :2]
    data["noisy_peaks"] = data["peaks"].clone()
    data["noisy_peaks"][0, 0] = torch.tensor([200.0, 90.0])
    data["noisy_peaks"][1, 0] = torch.tensor([110.0, 56.0])  # onto nothing
    data["noisy_peaks"][2, 0] += 3  # still on it
    assert of(stability, data, BOTH).tolist() == [0.5, 1.0]


def test_pictures_that_show_no_part_are_not_counted() -> None:
    data = perfect(8)
    data["landmarks"][4:] = math.nan
    few = {name: one[:4] for name, one in data.items()}
    for function, names in ((consistency, SEEN), (part_purity, SEEN)):
        assert torch.equal(of(function, data, names).per_filter, of(function, few, names).per_filter)
    assert torch.equal(of(stability, data, BOTH), of(stability, few, BOTH))
    data["landmarks"][:] = math.nan
    assert math.isnan(of(consistency, data, SEEN).value)
    assert math.isnan(of(part_purity, data, SEEN).value)
    assert of(stability, data, BOTH).isnan().all()


def test_purity_looks_at_the_ten_strongest_pictures_and_merges_sides() -> None:
    landmarks = torch.tensor([[[20.0, 20.0], [200.0, 90.0], [110.0, 20.0]]]).repeat(30, 1, 1)
    peaks = landmarks[:, :1].clone()
    peaks[1::2] = landmarks[1::2, 1:2]  # left eye, right eye, left eye, …
    scores = torch.arange(30.0, 0, -1)[:, None]
    scores[12:] = 0.5
    peaks[20:] = torch.tensor([112.0, 100.0])
    assert part_purity(peaks, scores, landmarks, SIZE, parts=PARTS).value == 1.0
    assert part_purity(peaks, scores, landmarks, SIZE).value == 0.5
    peaks[:10:5] = torch.tensor([112.0, 100.0])
    assert part_purity(peaks, scores, landmarks, SIZE, parts=PARTS).value == 0.8


def test_of_equal_scores_the_first_pictures_are_taken() -> None:
    data = perfect(12)
    data["peaks"][10:, 0] += 100
    assert of(part_purity, data, SEEN).best_per_filter[0] == 1.0


@pytest.mark.parametrize(
    ("parts", "groups"),
    [
        (["left eye", "right eye", "beak"], {"eye": [0, 1], "beak": [2]}),
        (["eye_left", "Eye-Right", "eye"], {"eye": [0, 1, 2]}),
        (["leftFrontLeg", "rightFrontLeg", "leftBackLeg"], {"front leg": [0, 1], "back leg": [2]}),
        (["l.ear", "r.ear"], {"ear": [0, 1]}),
        (["left", "right", "upright"], {"left": [0], "right": [1], "upright": [2]}),
        ([], {}),
    ],
)  # fmt: skip
def test_parts_that_differ_in_their_side_are_one(parts: list[str], groups: dict[str, list[int]]) -> None:
    assert merged_sides(parts) == groups


def test_wrong_input_is_named() -> None:
    data = perfect()
    peaks, scores, landmarks = (data[name] for name in SEEN)
    with pytest.raises(ShapeError, match="scores: expected"):
        consistency(peaks, scores[:, :1], landmarks, SIZE)
    with pytest.raises(ShapeError, match="landmarks: expected 6 images"):
        consistency(peaks, scores, landmarks[:3], SIZE)
    with pytest.raises(ConfigError, match="box_frac: expected"):
        consistency(peaks, scores, landmarks, SIZE, box_frac=1.5)
    with pytest.raises(ConfigError, match="threshold: expected"):
        consistency(peaks, scores, landmarks, SIZE, threshold=0)
    with pytest.raises(ShapeError, match="noisy_peaks: expected"):
        stability(peaks, scores, peaks[:, :1], scores[:, :1], landmarks, SIZE)
    with pytest.raises(ShapeError, match="parts: expected a name for each of 3"):
        part_purity(peaks, scores, landmarks, SIZE, parts=["beak"])
    with pytest.raises(ConfigError, match="parts: expected different names"):
        part_purity(peaks, scores, landmarks, SIZE, parts=["beak"] * 3)
    with pytest.raises(ConfigError, match="top: expected"):
        part_purity(peaks, scores, landmarks, SIZE, top=1)
