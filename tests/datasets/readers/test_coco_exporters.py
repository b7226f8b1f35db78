"""COCO as exporters write it: root categories, empty lists, numbers and flags as text, entries that stand twice."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from partcnn.datasets import Box, PartDataset, Point
from partcnn.datasets.annotations import DOUBLED
from partcnn.datasets.loading import load_dataset
from partcnn.datasets.readers.coco import OF_GROUP
from partcnn.foundation.errors import DataError
from tests.data_files import coco_document, write_coco, write_picture

Document = dict[str, Any]


def read(root: Path, document: Document, category: str | None = None) -> PartDataset:
    return load_dataset(f"coco:{write_coco(root, document)}", category=category, split="all")


def taxonomy(*categories: tuple[str, str | None], annotated: list[tuple[str, list[float]]]) -> Document:
    """Categories with their supercategories, and annotations (name, box), every second on the first picture."""
    names = [name for name, _ in categories]
    document = coco_document() | {
        "categories": [{"id": n, "name": name, "supercategory": above} for n, (name, above) in enumerate(categories)]
    }
    document["annotations"] = [
        {"id": n, "image_id": 1 + n % 2, "category_id": names.index(name), "bbox": box}
        for n, (name, box) in enumerate(annotated)
    ]
    return document


CAT, DOG, STRAY = ("cat", [9, 9, 30, 20]), ("dog", [5, 9, 30, 20]), ("animals", [1, 1, 5, 5])
ROOT = (("animals", "none"), ("cat", "animals"), ("dog", "animals"))


class TestRootCategories:
    @pytest.mark.parametrize(
        "categories",
        [
            ROOT,
            (("animals", "animals"), ("cat", "animals"), ("dog", "animals")),
            (("things", None), ("animals", "things"), ("cat", "animals"), ("dog", "things")),
            (("cat", "none"), ("cat", "cat"), ("dog", "cat")),  # a project that is called as one of its classes
            (("dog", "cat"), ("cat", "dog")),  # in circles
        ],
        ids=["root", "root of itself", "two roots", "root of a class's name", "circle"],
    )
    def test_what_groups_others_is_no_object_and_makes_none_a_part(self, tmp_path: Path, categories: Any) -> None:
        document = taxonomy(*categories, annotated=[CAT, DOG, CAT, DOG])
        last = len(categories) - 1 - [name for name, _ in categories][::-1].index("cat")
        for annotation in document["annotations"][::2]:
            annotation["category_id"] = last  # of two categories "cat" the second has the annotations
        document["annotations"][2]["bbox"], document["annotations"][3]["bbox"] = [2, 2, 9, 9], [3, 3, 9, 9]
        data = read(tmp_path, document)
        assert (data.classes, len(data), data.parts, data.skipped) == (["cat", "dog"], 4, [], {})
        assert read(tmp_path, document, "cat").category == "cat"

    def test_a_stray_box_on_the_root_is_left_out_and_told(self, tmp_path: Path) -> None:
        boxes = [CAT, DOG, ("dog", [1, 2, 9, 9]), ("cat", [1, 2, 8, 9]), STRAY]
        data = read(tmp_path, taxonomy(*ROOT, annotated=boxes))
        assert (data.classes, len(data), data.skipped) == (["cat", "dog"], 4, {OF_GROUP: 1})

    def test_the_root_as_a_category_is_all_that_it_groups(self, tmp_path: Path) -> None:
        data = read(tmp_path, taxonomy(*ROOT, annotated=[CAT, DOG, STRAY]), "animals")
        assert [one.label for one in data.samples] == [0, 1, 1, 1]
        assert data.category == "animals"

    def test_a_category_with_as_many_objects_as_its_kinds_is_a_class_beside_them(self, tmp_path: Path) -> None:
        data = read(tmp_path, taxonomy(*ROOT[:2], annotated=[CAT, ("animals", [30, 1, 9, 9])]))
        assert data.classes == ["animals", "cat"]

    def test_parts_below_a_root_stay_parts_also_parts_of_parts(self, tmp_path: Path) -> None:
        categories = (("animals", "none"), ("cat", "animals"), ("head", "cat"), ("ear", "head"))
        boxes = [("cat", [0, 0, 40, 30]), ("cat", [0, 0, 20, 20]), ("head", [2, 2, 10, 10]), ("ear", [1, 1, 3, 3])]
        boxes += [("ear", [3, 3, 2, 2]), ("head", [1, 1, 9, 9])]
        data = read(tmp_path, taxonomy(*categories, annotated=boxes))
        assert (data.classes, data.parts, data.skipped) == (["cat"], ["ear", "head"], {})
        first = next(one for one in data.samples if one.image_id == "a.jpg")
        assert first.parts == {"head": [Box(2, 2, 12, 12)], "ear": [Box(3, 3, 5, 5)]}

    def test_two_names_for_the_same_box_are_no_part(self, tmp_path: Path) -> None:
        boxes = [("animals", [1, 1, 20, 20]), ("animals", [2, 2, 20, 20]), ("cat", [1, 1, 20, 20])]
        assert read(tmp_path, taxonomy(*ROOT[:2], annotated=boxes)).classes == ["animals", "cat"]

    def test_a_category_without_objects_says_so(self, tmp_path: Path) -> None:
        document = taxonomy(*ROOT, annotated=[CAT])
        assert read(tmp_path, document).classes == ["cat"]
        with pytest.raises(DataError, match="category: expected one with objects, animals, cat; 'dog' has none"):
            read(tmp_path, document, "dog")


def as_text(value: Any) -> Any:
    """Every number and flag of a document as text."""
    if isinstance(value, dict):
        return {key: as_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_text(inner) for inner in value]
    return value if isinstance(value, str) else str(value)


class TestSpelling:
    def test_numbers_and_flags_may_be_text(self, tmp_path: Path) -> None:
        document = coco_document()
        for annotation in document["annotations"]:
            annotation.setdefault("iscrowd", 0)
        plain, spelt = read(tmp_path / "a", document), read(tmp_path / "b", as_text(document))
        assert [(one.label, one.object_box) for one in spelt.samples] == [
            (one.label, one.object_box) for one in plain.samples
        ]
        assert [dict(one.parts).keys() for one in spelt.samples] == [dict(one.parts).keys() for one in plain.samples]
        assert spelt.skipped == plain.skipped == {"annotations of crowds": 1}

    def test_a_folder_in_place_of_the_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="expected a file, got a folder"):
            load_dataset(f"coco:{tmp_path},{tmp_path}")

    @pytest.mark.parametrize("crowd", [True, "true", "True", 1, "1", 1.0])
    @pytest.mark.parametrize("single", [False, "false", "0", 0, None, "", 0.0, "0.0"])
    def test_flags(self, tmp_path: Path, crowd: Any, single: Any) -> None:
        document = coco_document()
        document["annotations"][0]["iscrowd"], document["annotations"][6]["iscrowd"] = single, crowd
        data = read(tmp_path, document)
        assert (len(data), data.skipped) == (3, {"annotations of crowds": 1})

    def test_a_flag_that_is_none_is_named(self, tmp_path: Path) -> None:
        document = coco_document()
        document["annotations"][1]["iscrowd"] = "maybe"
        with pytest.raises(DataError, match="annotations, entry 1: expected 0 or 1 for iscrowd, got 'maybe'"):
            read(tmp_path, document)

    def test_long_identifiers_as_text_stay_apart(self, tmp_path: Path) -> None:
        document = coco_document()
        for number, image in enumerate(document["images"]):
            image["id"] = f"1234567890123456789{number}"  # the same as a float
        for annotation in document["annotations"]:
            annotation["image_id"] = document["images"][annotation["image_id"] - 1]["id"]
        assert [one.image_id for one in read(tmp_path, document).samples] == ["a.jpg", "a.jpg", "sub/b.jpg"]

    @pytest.mark.parametrize(
        "encoded",
        [
            lambda text: codecs.BOM_UTF8 + text.encode(),
            lambda text: text.encode("utf-16"),
            lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        ],
        ids=["UTF-8", "UTF-16, as PowerShell writes it", "UTF-16 BE"],
    )
    def test_a_byte_order_mark_is_no_content(self, tmp_path: Path, encoded: Any) -> None:
        document = coco_document()
        document["categories"][0]["name"] = document["categories"][2]["supercategory"] = "猫"
        place = write_coco(tmp_path)
        (tmp_path / "annotations.json").write_bytes(encoded(json.dumps(document, ensure_ascii=False)))
        assert load_dataset(f"coco:{place}", split="all").classes == ["dog", "猫"]

    def test_file_names_of_windows_are_found(self, tmp_path: Path) -> None:
        document = coco_document()
        document["images"][1]["file_name"] = r"sub\b.jpg"
        assert read(tmp_path, document).samples[2].image_id == "sub/b.jpg"
        document["images"][1]["file_name"] = r"sub\..\..\b.jpg"
        with pytest.raises(DataError, match="images, entry 1: expected the name of a picture within"):
            read(tmp_path, document)


class TestEmptyLists:
    @pytest.mark.parametrize(
        ("index", "key", "value", "left_out"),
        [
            (0, "keypoints", [], {}),
            (0, "segmentation", [], {}),
            (0, "bbox", [], {"annotations without a box": 1}),
            (2, "segmentation", [[]], {}),
            (2, "segmentation", [], {}),
            (2, "segmentation", {}, {}),
        ],
    )
    def test_they_are_nothing(self, tmp_path: Path, index: int, key: str, value: Any, left_out: dict[str, int]) -> None:
        document = coco_document()
        document["annotations"][index][key] = value
        if key == "bbox":
            document["annotations"] = [one for one in document["annotations"] if one["id"] not in (13, 14)]  # its parts
        data = read(tmp_path, document)
        assert data.skipped == {"annotations of crowds": 1} | left_out
        if index == 2:
            assert data.samples[1].parts == {"head": [Box(32, 12, 38, 18)]}

    def test_an_empty_polygon_beside_another_is_passed_over(self, tmp_path: Path) -> None:
        document = coco_document()
        document["annotations"][4]["segmentation"].append([])
        assert len(read(tmp_path, document).samples[0].parts["ear"]) == 1

    @pytest.mark.parametrize("annotations", [[], [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 0]}]])
    def test_a_file_without_objects_is_named_and_no_split_is_blamed(self, tmp_path: Path, annotations: Any) -> None:
        with pytest.raises(DataError, match=r"annotations\.json: expected objects with boxes, found none") as raised:
            read(tmp_path, coco_document() | {"annotations": annotations})
        assert "split" not in str(raised.value)


class TestTwice:
    def test_an_object_that_stands_twice_is_one_with_all_of_its_parts(self, tmp_path: Path) -> None:
        document = coco_document()
        first = document["annotations"][0]
        again = {**first, "id": 30, "bbox": ["0", 0.0, 40, 40], "keypoints": []}
        document["annotations"].insert(0, again)
        document["annotations"].append({"id": 31, "image_id": 1, "category_id": 4, "bbox": [1, 1, 3, 3], "part_of": 30})
        data = read(tmp_path, document)
        assert len(data) == 3
        assert data.samples[0].parts["nose"] == [Point(5, 6)]
        assert {*data.samples[0].parts} == {"nose", "head", "ear"}
        assert data.skipped[DOUBLED] == 1

    def test_two_objects_of_one_box_with_other_key_points_are_two(self, tmp_path: Path) -> None:
        document = coco_document()
        document["annotations"].append({**document["annotations"][0], "id": 30, "keypoints": [9, 9, 2, 0, 0, 0]})
        assert len(read(tmp_path, document)) == 4

    @pytest.mark.parametrize("index", [2, 3, 4], ids=["box", "box of its object", "mask"])
    def test_a_part_that_stands_twice_keeps_its_landmark(self, tmp_path: Path, index: int) -> None:
        document = coco_document()
        again = {**document["annotations"][index], "id": 30}
        if "bbox" in again:
            again["bbox"] = [str(value) for value in again["bbox"]]
        document["annotations"].append(again)
        data = read(tmp_path, document)
        name = {2: "head", 3: "head", 4: "ear"}[index]
        assert data.samples[1 if index == 2 else 0].landmark(name) is not None
        assert data.skipped[DOUBLED] == 1

    def test_a_part_that_is_also_a_key_point_keeps_its_landmark(self, tmp_path: Path) -> None:
        document = coco_document()
        document["categories"][0]["keypoints"] = ["head", "tail tip"]
        data = read(tmp_path, document)
        assert data.samples[0].parts["head"] == [Box(33, 12, 39, 18)]
        assert data.skipped[DOUBLED] == 1

    def test_a_picture_that_is_listed_twice_is_one(self, tmp_path: Path) -> None:
        document = coco_document()
        document["images"].append({**document["images"][0], "id": 4, "file_name": "./a.jpg"})
        document["annotations"][2]["image_id"] = document["annotations"][3]["image_id"] = 4
        data = read(tmp_path, document)
        assert [one.parts.get("head") for one in data.samples[:2]] == [[Box(33, 12, 39, 18)], [Box(32, 12, 38, 18)]]
        document["images"][3]["width"] = 61
        with pytest.raises(DataError, match=r"images, entry 3: expected a\.jpg in one size"):
            read(tmp_path, document)


class TestKeyPointsThatCannotBeUsed:
    def test_those_without_names_are_told(self, tmp_path: Path) -> None:
        document = coco_document()
        document["categories"][0]["keypoints"] = []
        assert read(tmp_path, document).skipped["objects whose key points have no names in their category"] == 1

    def test_a_file_that_marks_all_as_hidden_is_told(self, tmp_path: Path) -> None:
        document = coco_document()
        document["annotations"][0]["keypoints"] = [5, 6, 1, 30, 31, 1]
        assert [count for reason, count in read(tmp_path, document).skipped.items() if "v = 1" in reason] == [1]
        assert not [reason for reason in read(tmp_path, coco_document()).skipped if "v = 1" in reason]


def test_an_exporter_s_folder_goes_through(tmp_path: Path) -> None:
    """All at once: root, byte order mark, text, empty lists; twelve objects of two classes."""
    for number in range(12):
        write_picture(tmp_path / f"{number}.jpg", (80, 60))
    document = {
        "images": [{"id": str(n), "file_name": f"{n}.jpg", "width": "80", "height": "60"} for n in range(12)],
        "annotations": [
            {"id": n, "image_id": str(n), "category_id": str(1 + n % 2), "bbox": [9, "9", 30, 20], "iscrowd": "0"}
            | {"segmentation": [[]], "keypoints": []}
            for n in range(12)
        ],
        "categories": [
            {"id": 0, "name": "animals", "supercategory": "none"},
            {"id": 1, "name": "cat", "supercategory": "animals"},
            {"id": 2, "name": "dog", "supercategory": "animals"},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(document), encoding="utf-8-sig")
    data = load_dataset(f"coco:{tmp_path},{tmp_path / 'c.json'}", split="all")
    assert (len(data), data.classes, data.skipped) == (12, ["cat", "dog"], {})
