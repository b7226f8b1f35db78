"""The PASCAL-Part reader on files of its structure, written with scipy: no copy of the data set is at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partcnn.datasets import Box, MaskShape, PartDataset, Sample
from partcnn.datasets.loading import load_dataset
from partcnn.datasets.readers.pascal_part import MERGED_PARTS
from partcnn.foundation.errors import DataError
from tests.data_files import block, pascal_object, write_mat5, write_pascal_part, write_pascal_picture, write_picture

SIZE = (120, 90)
SQUARE = block(SIZE, 0, 0, 80, 80)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_pascal_part(tmp_path)


def read(root: Path | str, category: str | None = None, **options: Any) -> PartDataset:
    return load_dataset(f"pascal-part:{root}", category=category, split="all", **options)


def mask_of(sample: Sample, part: str) -> np.ndarray:
    (shape,) = sample.parts[part]
    assert isinstance(shape, MaskShape)
    return shape.mask


def merged_names(tmp_path: Path, name: str, pieces: list[str]) -> set[str]:
    """The merged parts that these pieces become."""
    one = pascal_object(name, SQUARE, {piece: block(SIZE, 0, 0, 5, 5) for piece in pieces})
    write_pascal_picture(tmp_path, "2008_000001", [one], SIZE)
    (sample,) = read(tmp_path).samples
    return set(sample.parts)


def test_parts_are_merged_as_masks(small: Path) -> None:
    bird = read(small).samples[0]
    head = block(SIZE, 10, 10, 30, 30) | block(SIZE, 8, 15, 12, 20)
    assert (mask_of(bird, "head") == head.astype(bool)).all()
    assert (mask_of(bird, "torso") == (block(SIZE, 30, 30, 60, 60) | block(SIZE, 40, 20, 70, 35)).astype(bool)).all()
    assert (mask_of(bird, "legs") == (block(SIZE, 40, 60, 45, 75) | block(SIZE, 38, 75, 48, 80)).astype(bool)).all()
    assert mask_of(bird, "tail").sum() == 400
    assert bird.object_box == Box(10, 10, 80, 80)


def test_those_of_the_six_animals_that_occur_are_the_classes(small: Path) -> None:
    data = read(small)
    assert data.classes == ["bird", "cat"]
    assert [data.classes[sample.label] for sample in data.samples] == ["bird", "cat"]
    assert data.parts == ["back legs", "front legs", "head", "legs", "tail", "torso"]


def test_a_small_object_is_left_out_and_counted(small: Path) -> None:
    assert read(small).skipped == {"objects smaller than 50×50 pixels": 1}


def test_one_category_stands_against_as_many_pictures_without_it(small: Path) -> None:
    data = read(small, "cat")
    assert (data.classes, data.background, data.category) == (["background", "cat"], 0, "cat")
    assert [sample.label for sample in data.samples] == [0, 1]
    assert data.samples[0].image_path.stem != "2008_000002"
    assert data.samples[0].parts == {}


def test_the_choice_of_background_is_on_both_sides_of_the_split(tmp_path: Path) -> None:
    for index in range(60):
        objects = [pascal_object("cat" if index < 20 else "sofa", SQUARE, {})]
        write_pascal_picture(tmp_path, f"2009_{index:06d}", objects, SIZE)
    data = read(tmp_path, "cat")
    share = sum(s.label == 0 for s in data.with_split("train").samples) / 20
    assert 0.4 < share < 0.95


def test_a_background_folder_takes_the_place_of_the_other_pictures(small: Path, tmp_path: Path) -> None:
    for index in range(3):
        write_picture(tmp_path / "else" / f"{index}.jpg")
    assert [sample.label for sample in read(f"{small},{tmp_path / 'else'}", "bird").samples] == [0, 0, 0, 1]


# The merging is written out once more, from the paper's list.
HORSE = ["head", "leye", "reye", "lear", "rear", "muzzle", "torso", "neck", "lfuleg", "lflleg", "rfuleg", "rflleg"]


@pytest.mark.parametrize(
    ("name", "pieces", "merged"),
    [
        ("bird", ["head", "beak", "leye", "reye"], {"head"}),
        ("bird", ["torso", "neck", "lwing", "rwing"], {"torso"}),
        ("bird", ["lleg", "rleg", "lfoot", "rfoot"], {"legs"}),
        ("bird", ["tail"], {"tail"}),
        ("cat", ["head", "leye", "reye", "lear", "rear", "nose"], {"head"}),
        ("cat", ["lfleg", "rfleg", "lfpa", "rfpa"], {"front legs"}),
        ("cat", ["lbleg", "rbleg", "lbpa", "rbpa"], {"back legs"}),
        ("cat", ["tail"], {"tail"}),
        ("dog", ["muzzle"], {"head"}),
        ("dog", ["tail"], {"tail"}),
        ("cow", ["lhorn", "rhorn", "muzzle"], {"head"}),
        ("cow", ["tail"], set()),
        ("horse", HORSE, {"head", "torso", "front legs"}),
        ("horse", ["lfho", "rfho"], {"front legs"}),
        ("horse", ["lbho", "rbho", "lbuleg", "lblleg", "rbuleg", "rblleg"], {"back legs"}),
        ("horse", ["tail"], set()),
        ("sheep", ["lhorn"], {"head"}),
        ("sheep", ["tail"], set()),
        ("cat", ["headlight", "tailplane", "lfpaw"], set()),
    ],
)
def test_the_merging_is_the_papers(tmp_path: Path, name: str, pieces: list[str], merged: set[str]) -> None:
    assert merged_names(tmp_path, name, pieces) == merged


def test_every_animal_of_the_paper_is_there() -> None:
    assert set(MERGED_PARTS) == {"bird", "cat", "cow", "dog", "horse", "sheep"}


def test_a_crop_cuts_masks_with_the_picture(small: Path) -> None:
    whole, cropped = (read(small, "bird", crop=crop, margin=0.0).samples[-1] for crop in (None, "object"))
    assert cropped.load_image().size == (70, 70)
    assert (mask_of(cropped, "torso") == mask_of(whole, "torso")[10:80, 10:80]).all()
    assert mask_of(cropped, "head").sum() == 400  # the beak's tip lies left of the bird's own mask


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([{**pascal_object("cat", SQUARE, {}), "mask": np.full((4, 4), np.nan)}], "object 1.*mask of 0 and 1"),
        ([{**pascal_object("cat", SQUARE, {}), "mask": "text"}], "object 1.*expected a mask"),
        ([{**pascal_object("cat", SQUARE, {}), "class": 7.0}], "object 1.*expected text for class"),
        ([pascal_object("cat", SQUARE, {"head": SQUARE[:-1]})], "object 1.*masks of one size"),
        ([{**pascal_object("cat", SQUARE, {}), "parts": 3.0}], "object 1, parts: expected a struct array"),
        (3.0, "objects: expected a struct array"),
    ],
    ids=["nan", "text", "class", "sizes", "parts", "objects"],
)
def test_a_malformed_object_is_located(small: Path, objects: Any, message: str) -> None:
    file = small / "Annotations_Part" / "2008_000002.mat"
    write_mat5(file, "anno", [{"imname": "x", "objects": objects}])
    with pytest.raises(DataError, match=rf"2008_000002\.mat, {message}"):
        read(small)


def test_a_damaged_file_is_named(small: Path) -> None:
    file = small / "Annotations_Part" / "2008_000002.mat"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"2008_000002\.mat: expected a MATLAB file"):
        read(small)


def test_a_picture_of_another_size_than_its_masks_is_set_aside(small: Path) -> None:
    write_picture(small / "JPEGImages" / "2008_000002.jpg", (90, 120))
    assert read(small).num_bad == 1
    with pytest.raises(DataError, match=r"2008_000002\.jpg: expected a picture of 120×90 pixels.*got 90×120"):
        read(small, max_bad=0)


def test_other_categories_and_missing_folders_are_told(small: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected one of bird, cat, cow, dog, horse, sheep; got 'person'"):
        read(small, "person")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"Annotations_Part: expected one \.mat file per picture"):
        read(tmp_path / "empty")
