"""The drawn demo pictures: what is promised of them, and that they are worth training on."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from partcnn.datasets.drawn.drawing import KINDS, Drawing, draw_animal, draw_background, mask_box
from partcnn.datasets.drawn.figures import PARTS
from partcnn.foundation.errors import ConfigError

NUM_PER_KIND = 30
SIDE = 64
CAT_0_AT_64 = (6.0, 21.0, 58.0, 46.0)


@pytest.fixture(scope="module")
def drawings() -> dict[str, list[Drawing]]:
    return {kind: [draw_animal(kind, seed, SIDE) for seed in range(NUM_PER_KIND)] for kind in KINDS}


@pytest.fixture(scope="module")
def every(drawings: dict[str, list[Drawing]]) -> list[Drawing]:
    return [drawing for group in drawings.values() for drawing in group]


def test_there_are_at_least_four_kinds() -> None:
    assert len(set(KINDS)) >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_draws_one_picture(kind: str) -> None:
    first, again = draw_animal(kind, 5, 64), draw_animal(kind, 5, 64)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.masks.keys() == again.masks.keys()
    assert all((first.masks[part] == again.masks[part]).all() for part in first.masks)


def test_chance_does_not_depend_on_the_process() -> None:
    box = draw_animal("cat", 0, 64).object_box
    assert box == pytest.approx(CAT_0_AT_64, abs=1)


def test_seeds_and_kinds_draw_different_pictures() -> None:
    pictures = [draw_animal(kind, seed, 48).image for kind in KINDS for seed in range(3)]
    pictures += [draw_background(seed, 48) for seed in range(3)]
    assert len({hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures}) == len(pictures)


def test_a_picture_is_the_same_at_any_size_but_for_its_resolution() -> None:
    small, large = draw_animal("giraffe", 2, 64), draw_animal("giraffe", 2, 192)
    assert np.allclose(np.array(small.object_box) * 3, large.object_box, atol=5)
    fine = np.asarray(large.image.resize((64, 64), Image.Resampling.BOX), dtype=float)
    assert np.abs(fine - np.asarray(small.image, dtype=float)).mean() < 8


def test_pictures_are_rgb_of_the_size_asked_for() -> None:
    for picture in (draw_animal("bird", 0, 80).image, draw_background(0, 80)):
        assert picture.mode == "RGB"
        assert picture.size == (80, 80)


def test_masks_are_disjoint_boolean_maps_of_known_parts(every: list[Drawing]) -> None:
    for drawing in every:
        assert set(drawing.masks) <= set(PARTS)
        stack = np.stack(list(drawing.masks.values()))
        assert stack.dtype == np.bool_
        assert stack.shape[1:] == (SIDE, SIDE)
        assert stack.any(axis=(1, 2)).all()
        assert stack.sum(axis=0).max() == 1


def test_the_object_box_holds_every_part_box(every: list[Drawing]) -> None:
    for drawing in every:
        x0, y0, x1, y1 = drawing.object_box
        assert 0 <= x0 < x1 <= SIDE
        assert 0 <= y0 < y1 <= SIDE
        for box in drawing.part_boxes.values():
            assert x0 <= box[0] < box[2] <= x1
            assert y0 <= box[1] < box[3] <= y1


def test_a_mask_box_has_exclusive_far_edges() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 4] = True
    assert mask_box(mask) == (4.0, 1.0, 5.0, 3.0)


def test_nearly_every_picture_shows_every_part(every: list[Drawing]) -> None:
    for part in PARTS:
        assert np.mean([part in drawing.masks for drawing in every]) > 0.85


def test_masks_lie_where_the_animal_is_painted() -> None:
    """What the masks cover differs in colour from the rest of the object box."""
    distances = []
    for kind in KINDS:
        drawing = draw_animal(kind, 3, 96)
        pixels = np.asarray(drawing.image, dtype=float)
        animal = np.logical_or.reduce(list(drawing.masks.values()))
        x0, y0, x1, y1 = (int(edge) for edge in drawing.object_box)
        around = np.zeros_like(animal)
        around[y0:y1, x0:x1] = True
        distances.append(np.abs(pixels[animal].mean(axis=0) - pixels[around & ~animal].mean(axis=0)).sum())
    assert np.mean(distances) > 30


def test_a_third_of_the_pictures_hide_some_of_the_animal() -> None:
    """The share is counted on the canvas before and after what stands in front."""
    shares = [_hidden_share(kind, seed) for kind in KINDS for seed in range(8)]
    assert 0.2 <= np.mean(np.array(shares) > 0.03) <= 0.5
    assert max(shares) < 0.85


def _hidden_share(kind: str, seed: int) -> float:
    with pytest.MonkeyPatch.context() as patch:
        seen = draw_animal(kind, seed, 32)
        patch.setattr("partcnn.datasets.drawn.redrawing.paint_front", lambda *arguments: None)
        whole = draw_animal(kind, seed, 32)
    areas = [sum(mask.sum() for mask in drawing.masks.values()) for drawing in (seen, whole)]
    return float(1 - areas[0] / areas[1])


def test_animals_take_45_to_90_percent_of_the_side() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partcnn.datasets.drawn.redrawing.OCCLUSION_RATE", 0.0)
        boxes = np.array([draw_animal(kind, seed, 96).object_box for kind in KINDS for seed in range(6)])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 96
    assert sides.min() > 0.41
    assert sides.max() < 0.92
    assert sides.std() > 0.08


@pytest.mark.parametrize("kind", KINDS)
def test_heads_are_found_all_over_the_frame(kind: str, drawings: dict[str, list[Drawing]]) -> None:
    """Else a filter that never moves would be a good head detector."""
    heads = [drawing.part_boxes["head"] for drawing in drawings[kind] if "head" in drawing.masks]
    boxes = np.array(heads) / SIDE
    spread = ((boxes[:, :2] + boxes[:, 2:]) / 2).std(axis=0)
    assert spread[0] >= 0.15
    assert spread[1] >= 0.08


def test_animals_face_either_way(every: list[Drawing]) -> None:
    both = [drawing for drawing in every if {"head", "tail"} <= set(drawing.masks)]
    is_right = [drawing.part_boxes["head"][0] > drawing.part_boxes["tail"][0] for drawing in both]
    assert 0.3 < np.mean(is_right) < 0.7


def test_mean_colour_does_not_tell_animal_from_background(every: list[Drawing]) -> None:
    """The animals must be told by their shape: the pictures' average colours overlap."""
    animals = np.array([_mean_colour(drawing.image) for drawing in every])
    others = np.array([_mean_colour(draw_background(seed, 32)) for seed in range(60)])
    pooled = np.sqrt((animals.var(axis=0) + others.var(axis=0)) / 2)
    assert (np.abs(animals.mean(axis=0) - others.mean(axis=0)) / pooled).max() < 0.8


def _mean_colour(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=float).mean(axis=(0, 1))


def test_a_part_that_is_nearly_hidden_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_animal("cat", 0, 64)
    monkeypatch.setattr("partcnn.datasets.drawn.redrawing.MIN_VISIBLE", 1.01)
    assert whole.masks
    assert draw_animal("cat", 0, 64).masks == {}


@pytest.mark.parametrize(
    ("kind", "seed", "size", "word"),
    [("unicorn", 0, 64, "unicorn"), ("cat", -1, 64, "-1"), ("cat", 0, 31, "31")],
    ids=["unknown kind", "negative seed", "too small"],
)
def test_wrong_arguments_are_named(kind: str, seed: int, size: int, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        draw_animal(kind, seed, size)


def test_the_smallest_size_can_be_drawn() -> None:
    for kind in KINDS:
        assert draw_animal(kind, 1, 32).image.size == (32, 32)
