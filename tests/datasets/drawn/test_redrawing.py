"""Drawn animals drawn again: what is changed, and that nothing else is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from partcnn.datasets.drawn import ANIMALS
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.datasets.drawn.figures import PARTS
from partcnn.datasets.drawn.redrawing import Change, PosedAnimal, Redrawing
from partcnn.datasets.drawn.stage import OCCLUSION_RATE, developed, generator, paint_back, paint_front, placed
from partcnn.foundation.errors import ConfigError

SIDE = 96
KINDS = tuple(ANIMALS)
SEEDS = (0, 1, 2, 3)


def pixels(drawn: Redrawing) -> NDArray[np.uint8]:
    return np.asarray(drawn.image)


def changed(first: Redrawing, second: Redrawing) -> NDArray[np.bool_]:
    return (pixels(first) != pixels(second)).any(axis=2)


def other_kind(kind: str) -> str:
    return KINDS[(KINDS.index(kind) + 1) % len(KINDS)]


def drawn_straight(kind: str, seed: int, background: int | None = None) -> NDArray[np.uint8]:
    """`draw_animal` as it was before anything could be changed: all in one go, from one generator."""
    rng = generator(kind, seed, SIDE)
    animal = placed(rng, ANIMALS[kind](rng))
    canvas, scene = paint_back(rng, SIDE, foot=animal.box[3])
    if background is not None:  # in the light of the animal
        other = generator("background", background, SIDE)
        canvas.pixels = paint_back(other, SIDE, foot=animal.box[3], light=canvas.light)[0].pixels
    canvas.shade(animal.shadow, strength=0.5, blur=0.02)
    for piece in animal.pieces:
        canvas.paint(piece.form, piece.paint, part=piece.part, hides=not piece.is_sheer)
    if rng.random() < OCCLUSION_RATE:
        paint_front(canvas, rng, scene, animal.box)
    return np.asarray(developed(canvas, rng))


def is_opaque(kind: str, seed: int) -> NDArray[np.bool_]:
    """The pixels that the animal covers wholly: they are the same on black and on white."""
    rng = generator(kind, seed, SIDE)
    animal = placed(rng, ANIMALS[kind](rng))
    back, _ = paint_back(rng, SIDE, foot=animal.box[3])
    on_black, on_white = (back.copy(np.full_like(back.pixels, value)) for value in (0, 1))
    for canvas in (on_black, on_white):
        for piece in animal.pieces:
            canvas.paint(piece.form, piece.paint)
    return (on_black.pixels == on_white.pixels).all(axis=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_change_it_is_the_picture_of_the_data_set(kind: str, seed: int) -> None:
    animal, known = PosedAnimal(kind, seed, SIDE), draw_animal(kind, seed, SIDE)
    animal.drawn(Change(without=frozenset({"head"}), background=1))  # leaves nothing behind
    for found in (animal.drawn(), animal.drawn(Change())):
        assert pixels(found).tobytes() == known.image.tobytes() == drawn_straight(kind, seed).tobytes()
        assert set(found.shown) == known.masks.keys()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
def test_without_a_part_only_pixels_that_its_paint_reached_change(kind: str, part: str) -> None:
    for seed in SEEDS:
        animal = PosedAnimal(kind, seed, SIDE)
        whole, less = animal.drawn(), animal.drawn(Change(without=frozenset({part})))
        assert not changed(whole, less)[~whole.touched[part]].any()
        assert part not in less.shown
        assert not less.masks[part].any()
        assert not less.touched[part].any()
        if part in whole.shown:
            assert changed(whole, less)[whole.masks[part]].mean() > 0.9
        for other in set(PARTS) - {part}:
            assert not (whole.masks[other] & ~less.masks[other]).any()  # it uncovers, and hides nothing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
def test_with_another_animals_part_only_pixels_of_both_parts_change(kind: str, part: str) -> None:
    animal = PosedAnimal(kind, 1, SIDE)
    whole, hybrid = animal.drawn(), animal.drawn(Change(swapped={part: (other_kind(kind), 5)}))
    assert not changed(whole, hybrid)[~(whole.touched[part] | hybrid.touched[part])].any()
    assert changed(whole, hybrid).any()
    old, new = whole.touched[part], hybrid.touched[part]
    assert 0.2 < new.sum() / old.sum() < 5  # about as large
    assert (old & new).any()  # and there


def test_a_swapped_part_looks_as_on_the_other_animal() -> None:
    """A turtle's shell is not a cat's trunk: another seed or kind gives other pixels, the same gives the same."""
    animal = PosedAnimal("cat", 0, SIDE)
    first, again, other = (
        pixels(animal.drawn(Change(swapped={"body": ("turtle", seed)}))).tobytes() for seed in (3, 3, 4)
    )
    assert first == again != other


def test_its_own_part_swapped_in_changes_nothing() -> None:
    for kind in KINDS:
        animal = PosedAnimal(kind, 2, SIDE)
        whole = pixels(animal.drawn()).astype(int)
        for part in PARTS:
            same = pixels(animal.drawn(Change(swapped={part: (kind, 2)}))).astype(int)
            assert np.abs(whole - same).max() <= 2  # forms are moved in another order: edges round otherwise


@pytest.mark.parametrize("kind", KINDS)
def test_before_another_background_the_animal_is_equal_to_the_pixel(kind: str) -> None:
    for seed in SEEDS:
        animal = PosedAnimal(kind, seed, SIDE)
        whole, elsewhere = animal.drawn(), animal.drawn(Change(background=9))
        assert pixels(elsewhere).tobytes() == drawn_straight(kind, seed, background=9).tobytes()
        assert not changed(whole, elsewhere)[is_opaque(kind, seed)].any()
        assert is_opaque(kind, seed).mean() > 0.01
        is_animal = np.logical_or.reduce([whole.touched[part] for part in PARTS])
        assert changed(whole, elsewhere)[~is_animal].mean() > 0.5
        assert all((whole.masks[part] == elsewhere.masks[part]).all() for part in PARTS)


def test_changes_add_up() -> None:
    animal = PosedAnimal("giraffe", 0, SIDE)
    both = animal.drawn(Change(without=frozenset({"head"}), swapped={"tail": ("rabbit", 1)}, background=4))
    elsewhere = animal.drawn(Change(background=4))
    reached = elsewhere.touched["head"] | elsewhere.touched["tail"] | both.touched["tail"]
    assert not changed(both, elsewhere)[~reached].any()
    assert changed(both, elsewhere).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change(without=frozenset({"horn"})), "expected parts of body, head, legs, tail; got horn"),
        (Change(swapped={"horn": ("cat", 0)}), "got horn"),
        (Change(without=frozenset({"head"}), swapped={"head": ("cat", 0)}), "got head in both"),
        (Change(swapped={"head": ("dog", 0)}), "kind: expected one of bird"),
        (Change(swapped={"head": ("cat", -1)}), "seed: expected"),
        (Change(background=-1), "seed: expected"),
    ],
)
def test_a_change_that_there_is_not_is_refused(change: Change, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PosedAnimal("cat", 0, 32).drawn(change)


def test_an_unknown_animal_is_refused() -> None:
    with pytest.raises(ConfigError, match="kind: expected one of bird"):
        PosedAnimal("dog", 0)


@pytest.mark.parametrize(("kind", "count"), [("cat", 4), ("rabbit", 3), ("turtle", 0)])
def test_whiskers_are_the_heads_and_take_no_pixels(kind: str, count: int) -> None:
    sheer = [piece for piece in ANIMALS[kind](generator(kind, 0, SIDE)) if piece.is_sheer]
    assert [piece.part for piece in sheer] == ["head"] * count
    canvas, _ = paint_back(generator(kind, 0, SIDE), SIDE, foot=0.9)
    for piece in sheer:
        canvas.paint(piece.form, piece.paint, part=piece.part, hides=not piece.is_sheer)
    assert not canvas.visible["head"].any()
    assert not canvas.drawn["head"].any()
