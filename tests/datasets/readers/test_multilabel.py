"""Tables of labels, and COCO files read as pictures with any number of classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from partcnn.datasets import Catalogue, PartDataset, Sample
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError
from tests.data_files import write_picture

NAMES = ("a.jpg", "sub/b.jpg", "c.jpg", "d.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        write_picture(tmp_path / name, (64, 48))
    return tmp_path


BY_NAMES = "image,labels,split\na.jpg,dog; cat,train\nsub/b.jpg,dog,train\nc.jpg,,test\nd.jpg,cat,test\n"
BY_COLUMNS = "image,cat,dog,split\na.jpg,1,1,train\nsub/b.jpg,0,1,train\nc.jpg,,0,test\nd.jpg,true,0,test\n"


@pytest.mark.parametrize("table", [BY_NAMES, BY_COLUMNS])
@pytest.mark.parametrize("place", ["", "labels.csv"])
def test_both_tables_say_the_same(folder: Path, table: str, place: str) -> None:
    (folder / "labels.csv").write_text(table)
    dataset = load_dataset(f"multilabel:{folder / place}", split="all")
    assert dataset.is_multilabel
    assert dataset.classes == ["cat", "dog"]
    assert dataset.background is None
    assert [sample.labels for sample in dataset.samples] == [(0, 1), (1,), (), (0,)]
    assert dataset.labels().tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    assert [sample.split for sample in dataset.samples] == ["train", "train", "test", "test"]
    assert dataset[0].label.tolist() == [1, 1]
    assert [dataset.shows_object(sample) for sample in dataset.samples] == [True, True, False, True]
    assert {name: count.num_images for name, count in dataset.counts().items()} == {"cat": 2, "dog": 2}


def test_the_classes_in_another_order_are_the_same_pictures(folder: Path) -> None:
    (folder / "labels.csv").write_text(BY_NAMES)
    dataset = load_dataset(f"multilabel:{folder}", split="all")
    turned = dataset.with_classes(["dog", "cat"], [1, 0])
    assert turned.labels().equal(dataset.labels().flip(1))
    assert turned.with_split("test").labels().tolist() == [[0, 0], [0, 1]]


def test_parts_stand_beside_the_table(folder: Path) -> None:
    (folder / "labels.csv").write_text(BY_NAMES)
    (folder / "parts.csv").write_text(
        "image,part,x0,y0,x1,y1\na.jpg,head,3,4,,\na.jpg,object,1,1,9,9\nsub/b.jpg,tail,1,2,,\n"
    )
    dataset = load_dataset(f"multilabel:{folder}", split="all")
    assert dataset.parts == ["head", "tail"]
    assert dataset.samples[0].landmark("head") == (3, 4)
    assert dataset.samples[0].object_box == (1, 1, 9, 9)


def test_one_class_against_all_other_pictures_is_an_ordinary_task(folder: Path) -> None:
    (folder / "labels.csv").write_text(BY_NAMES)
    (folder / "parts.csv").write_text("image,part,x0,y0,x1,y1\na.jpg,head,3,4,,\nd.jpg,head,5,5,,\n")
    dataset = load_dataset(f"multilabel:{folder}", category="dog", split="all")
    assert not dataset.is_multilabel
    assert (dataset.classes, dataset.background, dataset.category) == (["background", "dog"], 0, "dog")
    assert dataset.labels().tolist() == [1, 1, 0, 0]
    assert dataset.samples[3].parts == {}  # a head of a cat
    assert dataset.samples[0].landmark("head") == (3, 4)


def test_pictures_without_the_class_are_cropped_alike(folder: Path) -> None:
    (folder / "labels.csv").write_text(BY_NAMES)
    (folder / "parts.csv").write_text("image,part,x0,y0,x1,y1\na.jpg,object,1,1,9,9\nd.jpg,object,2,2,30,30\n")
    dataset = load_dataset(f"multilabel:{folder}", category="dog", split="all", crop="object", margin=0.0)
    assert dataset.samples[3].load_image().size == (28, 28)  # a cat
    assert dataset.labels().tolist() == [1, 1, 0, 0]


def test_labels_may_be_numpys(folder: Path) -> None:
    sample = Sample(folder / "a.jpg", np.int64(1), None, {}, "a")
    assert sample.labels == (1,)
    dataset = PartDataset(Catalogue([sample], ["cat", "dog"], []))
    assert dataset[0].label == 1
    assert dataset.with_classes(["dog", "cat"], [1, 0]).labels().tolist() == [0]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("image,labels\na.jpg,dog\na.jpg,cat\n", "labels.csv, line 3: expected every picture once, got 'a.jpg' again"),
        ("image,labels,dog\na.jpg,cat,1\n", "line 1: expected the header image,labels or image and a column"),
        ("picture,labels\na.jpg,cat\n", "line 1: expected the header image,labels or image and a column"),
        ("image,dog,dog\na.jpg,1,1\n", "line 1: expected the header image,labels or image and a column"),
        ("image,split\na.jpg,train\n", "line 1: expected the header image,labels or image and a column"),
        ("image,dog\na.jpg,maybe\n", "line 2: expected 0 or 1 for dog, got 'maybe'"),
        ("image,labels,split\na.jpg,dog,dev\n", "line 2: expected train or test for split, or nothing, got 'dev'"),
        ("image,labels\n,dog\n", "line 2: expected text for the picture's file name"),
        ("image,labels\n../a.jpg,dog\n", "line 2: expected the name of a picture within"),
        ("image,labels\na.jpg,\n", "expected pictures, and classes that they show; found none"),
        ("image,labels\na.jpg\n", "line 2: expected 2 fields as in the header, got 1"),
        ("", "line 1: expected the header"),
        ("\nimage,labels\na.jpg,cat,dog\n", "line 3: expected 2 fields as in the header, got 3"),
        ("image,labels\na.jpg,dog\n./a.jpg,cat\n", "line 3: expected every picture once, got 'a.jpg' again"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_its_line(folder: Path, table: str, told: str) -> None:
    (folder / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=told):
        load_dataset(f"multilabel:{folder}", split="all")


def test_a_table_or_a_picture_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: expected a CSV file in UTF-8, got FileNotFoundError"):
        load_dataset(f"multilabel:{folder / 'none.csv'}", split="all")
    (folder / "labels.csv").write_text("image,labels\na.jpg,dog\nno.jpg,cat\n")
    with pytest.raises(DataError, match=r"no\.jpg"):
        load_dataset(f"multilabel:{folder}", split="all", max_bad=0)


# --- COCO


@pytest.fixture
def coco(folder: Path) -> str:
    """a: a cat and a dog, each with a nose; sub/b: two dogs; c: nothing; d: a cat with a nose and an ear."""

    def dog_or_cat(number: int, image: int, category: int, box: list[int], noses: list[int]) -> dict[str, object]:
        entry = {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
        return entry | {"area": box[2] * box[3], "keypoints": noses}

    names = {"keypoints": ["nose", "ear"]}
    document = {
        "images": [
            {"id": number, "file_name": name, "width": 64, "height": 48} for number, name in enumerate(NAMES, start=1)
        ],
        "categories": [{"id": 7, "name": "dog", **names}, {"id": 3, "name": "cat", **names}],
        "annotations": [
            dog_or_cat(1, 1, 3, [2, 3, 10, 10], [5, 5, 2, 0, 0, 0]),
            dog_or_cat(2, 1, 7, [20, 20, 30, 20], [25, 25, 2, 0, 0, 0]),
            dog_or_cat(3, 2, 7, [1, 1, 9, 9], [4, 4, 2, 0, 0, 0]),
            dog_or_cat(4, 2, 7, [20, 1, 9, 9], [0, 0, 0, 22, 4, 2]),
            dog_or_cat(5, 4, 3, [1, 1, 30, 30], [8, 9, 2, 10, 11, 2]),
        ],
    }
    (folder / "coco.json").write_text(json.dumps(document))
    return f"coco-multilabel:{folder},{folder / 'coco.json'}"


def test_a_picture_of_coco_shows_all_its_objects(coco: str) -> None:
    dataset = load_dataset(coco, split="all")
    assert dataset.is_multilabel
    assert dataset.classes == ["cat", "dog"]
    assert dataset.labels().tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    assert dataset.samples[0].object_box == (2, 3, 50, 40)  # around both
    assert dataset.samples[2].object_box is None
    nan = torch.nan
    points = torch.stack([dataset.landmarks(index) for index in range(4)])  # parts sorted: ear, nose
    expected = [[[nan, nan]] * 2, [[22, 4], [4, 4]], [[nan, nan]] * 2, [[10, 11], [8, 9]]]  # two noses: no landmark
    torch.testing.assert_close(points, torch.tensor(expected), equal_nan=True)


def test_one_category_of_coco_against_all_other_pictures(coco: str) -> None:
    dataset = load_dataset(coco, category="dog", split="all")
    assert dataset.labels().tolist() == [1, 1, 0, 0]
    assert dataset.background == 0
    assert dataset.samples[0].object_box == (20, 20, 50, 40)  # the dog's, not the cat's beside it
    assert dataset.samples[0].landmark("nose") == (25, 25)
    assert dataset.samples[3].object_box == (1, 1, 31, 31)  # a cat, which would be cropped alike
