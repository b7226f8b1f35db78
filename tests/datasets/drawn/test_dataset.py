"""The reader of the drawn demo set. How the pictures look is tested beside the drawing."""

import pickle

import numpy as np
import pytest

from partcnn.datasets import Box, MaskShape
from partcnn.datasets.drawn.drawing import KINDS, draw_animal
from partcnn.datasets.drawn.figures import PARTS
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError

KIND = sorted(KINDS)[1]


def test_without_a_category_every_kind_is_a_class() -> None:
    data = load_dataset("demo:3", split="all")
    assert data.classes == sorted(KINDS)
    assert data.parts == sorted(PARTS)
    assert (data.background, data.category) == (None, None)
    assert [data.classes[s.label] for s in data.samples] == [kind for kind in sorted(KINDS) for _ in range(3)]


def test_a_kind_stands_against_as_many_backgrounds() -> None:
    data = load_dataset("demo:5", category=KIND, split="all")
    assert data.classes == ["background", KIND]
    assert (data.background, data.category) == (0, KIND)
    assert [sample.label for sample in data.samples] == [0] * 5 + [1] * 5


def test_there_are_two_hundred_of_each_kind_and_listing_draws_none() -> None:
    data = load_dataset("demo:", split="all")
    assert len(data) == 200 * len(KINDS)
    assert not any("_drawn" in vars(sample) for sample in data.samples)


def test_a_sample_is_the_drawing_of_its_number() -> None:
    sample = load_dataset("demo:3", category=KIND, split="all").samples[-1]
    drawing = draw_animal(KIND, 2)
    assert np.array_equal(np.asarray(sample.load_image()), np.asarray(drawing.image))
    assert sample.object_box == Box(*drawing.object_box)
    assert sample.parts.keys() == drawing.masks.keys()
    for part, (shape,) in sample.parts.items():
        assert isinstance(shape, MaskShape)
        assert np.array_equal(shape.mask, drawing.masks[part])


def test_a_sample_has_a_name_but_no_file() -> None:
    sample = load_dataset("demo:3", category=KIND, split="all").samples[-1]
    assert sample.image_path.as_posix() == f"demo/{KIND}/0002.png"
    assert sample.image_id == f"{KIND}/0002"
    assert not sample.image_path.exists()


def test_background_has_neither_object_nor_parts() -> None:
    sample = load_dataset("demo:1", category=KIND, split="all").samples[0]
    assert sample.object_box is None
    assert not sample.parts
    assert sample.load_image().mode == "RGB"


def test_changing_a_loaded_picture_leaves_the_sample_alone() -> None:
    sample = load_dataset("demo:1", category=KIND, split="all").samples[1]
    before = sample.load_image().tobytes()
    sample.load_image().paste((0, 0, 0), (0, 0, 50, 50))
    assert sample.load_image().tobytes() == before


def test_a_larger_set_keeps_the_split_of_the_smaller() -> None:
    small = {s.image_id for s in load_dataset("demo:20", category=KIND, split="test").samples}
    large = {s.image_id for s in load_dataset("demo:40", category=KIND, split="test").samples}
    assert small == {name for name in large if int(name[-4:]) < 20}


def test_examples_carry_landmarks_inside_the_picture() -> None:
    data = load_dataset("demo:2", category=KIND, split="all")
    example = data[3]
    is_shown = [part in data.samples[3].parts for part in data.parts]
    assert (~example.landmarks.isnan().any(dim=1)).tolist() == is_shown
    assert any(is_shown)


def test_looking_at_the_list_of_samples_draws_nothing() -> None:
    sample = load_dataset("demo:2", category=KIND, split="all").samples[3]
    assert repr(sample) == f"DrawnSample(kind={KIND!r}, index=1, label=1)"
    assert "_drawn" not in vars(sample)


def test_naming_the_parts_unpacks_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = load_dataset("demo:1", category=KIND, split="all").samples[1]
    assert sample.parts["head"][0].mask.any()
    monkeypatch.setattr("partcnn.datasets.packed_shapes.PackedMask.unpack", None)
    assert "head" in list(sample.parts)


def test_a_sample_travels_to_worker_processes() -> None:
    sample = load_dataset("demo:1", category=KIND, split="all").samples[1]
    copied = pickle.loads(pickle.dumps(sample))
    assert copied.load_image().tobytes() == sample.load_image().tobytes()


@pytest.mark.parametrize("count", ["0", "-3", "many", "2.5"])
def test_what_is_no_count_is_an_error(count: str) -> None:
    with pytest.raises(DataError, match=f"expected 'demo:' or 'demo:COUNT'.*got 'demo:{count}'"):
        load_dataset(f"demo:{count}")


def test_an_unknown_kind_lists_those_there_are() -> None:
    with pytest.raises(DataError, match=f"expected one of {', '.join(sorted(KINDS))}; got 'dragon'"):
        load_dataset("demo:", category="dragon")
