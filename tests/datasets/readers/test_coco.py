"""The COCO reader: boxes, key points, part annotations, polygons and run lengths."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from partcnn.datasets import Box, MaskShape, PartDataset, Point
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError
from tests.data_files import coco_document, write_coco, write_picture


def read(place: str, category: str | None = None, **options: Any) -> PartDataset:
    return load_dataset(f"coco:{place}", category=category, split="all", **options)


def with_annotation(change: dict[str, Any], index: int = 0) -> dict[str, Any]:
    document = coco_document()
    document["annotations"][index] = {**document["annotations"][index], **change}
    return document


def test_every_object_is_a_sample_in_its_whole_picture(tmp_path: Path) -> None:
    data = read(write_coco(tmp_path))
    assert (data.classes, data.background) == (["cat", "dog"], None)
    assert [(s.label, s.object_box) for s in data.samples] == [
        (0, Box(0, 0, 40, 40)),
        (0, Box(30, 10, 50, 30)),
        (1, Box(1.5, 2, 21.5, 32)),
    ]
    assert [sample.image_id for sample in data.samples] == ["a.jpg", "a.jpg", "sub/b.jpg"]
    assert data.skipped == {"annotations of crowds": 1}


def test_visible_key_points_are_parts(tmp_path: Path) -> None:
    first = read(write_coco(tmp_path)).samples[0]
    assert first.parts["nose"] == [Point(5, 6)]
    assert "tail tip" not in first.parts  # v = 1: labelled, but hidden


def test_part_annotations_go_to_the_object_they_name_or_else_to_the_smallest_around_them(tmp_path: Path) -> None:
    first, second, dog = read(write_coco(tmp_path)).samples
    assert first.parts["head"] == [Box(33, 12, 39, 18)]
    assert second.parts == {"head": [Box(32, 12, 38, 18)]}
    assert dog.parts == {}


def test_a_polygon_becomes_a_mask(tmp_path: Path) -> None:
    (ear,) = read(write_coco(tmp_path)).samples[0].parts["ear"]
    expected = np.zeros((40, 60), dtype=bool)
    expected[2:5, 2:8] = True
    assert isinstance(ear, MaskShape)
    assert (ear.mask == expected).all()


def test_a_category_stands_against_pictures_without_it(tmp_path: Path) -> None:
    data = read(write_coco(tmp_path), "dog")
    assert (data.classes, data.category, data.parts) == (["background", "dog"], "dog", [])
    assert [sample.label for sample in data.samples] == [0, 1]  # as many as there are dogs
    assert data.samples[0].image_path.name in ("a.jpg", "c.jpg")
    assert read(write_coco(tmp_path), "1").category == "cat"


def test_background_is_cropped_to_its_largest_object(tmp_path: Path) -> None:
    cats = read(write_coco(tmp_path), "cat")
    by_name = {sample.image_path.name: sample for sample in cats.samples if sample.label == 0}
    assert by_name["b.jpg"].object_box == Box(1.5, 2, 21.5, 32)
    assert by_name["c.jpg"].object_box is None


def ellipse_mask() -> np.ndarray:
    image = Image.new("1", (60, 40))
    ImageDraw.Draw(image).ellipse((5, 8, 35, 30), fill=1)
    return np.asarray(image)


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs down the columns, from 0 on: written out without numpy."""
    runs, value = [0], False
    for col in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if bool(mask[row, col]) != value:
                runs.append(0)
                value = not value
            runs[-1] += 1
    return runs


@pytest.mark.parametrize("is_compressed", [False, True], ids=["list", "compressed"])
def test_run_lengths_become_the_mask_they_came_from(tmp_path: Path, is_compressed: bool) -> None:
    mask = ellipse_mask()
    segmentation: dict[str, Any] = {"size": [40, 60], "counts": run_lengths(mask)}
    if is_compressed:
        coco_mask = pytest.importorskip("pycocotools.mask", reason="the extra coco is not installed")
        segmentation["counts"] = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    document = with_annotation({"segmentation": segmentation}, 4)
    (ear,) = read(write_coco(tmp_path, document)).samples[0].parts["ear"]
    assert isinstance(ear, MaskShape)
    assert (ear.mask == mask).all()


def test_compressed_run_lengths_without_pycocotools_name_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    document = with_annotation({"segmentation": {"size": [40, 60], "counts": "PPYo0"}}, 4)
    with pytest.raises(DataError, match=r"entry 4: .*pip install 'partcnn\[coco\]'"):
        read(write_coco(tmp_path, document))


@pytest.mark.parametrize(
    ("change", "index", "message"),
    [
        ({"bbox": [1, 2, float("nan"), 4]}, 0, "annotations, entry 0: expected a finite number for bbox, got nan"),
        ({"bbox": [1, 2, -3, 4]}, 0, "annotations, entry 0: expected a width and height of at least 0"),
        ({"bbox": [1, 2, 3]}, 0, "annotations, entry 0: expected four numbers for bbox"),
        ({"bbox": "1234"}, 0, "annotations, entry 0: expected four numbers for bbox"),
        ({"id": 10}, 1, "annotations, entry 1: expected every id once, got 10 again"),
        ({"image_id": 9}, 0, "annotations, entry 0: expected a image_id of the file, got 9"),
        ({"category_id": 9}, 0, "annotations, entry 0: expected a category_id of the file, got 9"),
        ({"keypoints": [1, 2]}, 0, "annotations, entry 0: expected keypoints as 6 numbers"),
        ({"keypoints": [1, None, 2, 1, 1, 1]}, 0, "annotations, entry 0: expected a finite number for nose, y"),
        ({"segmentation": [[1, 2]]}, 4, "annotations, entry 4: expected polygons of at least three points"),
        ({"segmentation": [[1, 2, "x", 4, 5, 6]]}, 4, "annotations, entry 4: expected a finite number for a polygon"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, 4, "annotations, entry 4: expected run lengths of the"),
        ({"segmentation": {"size": [40, 60], "counts": [7]}}, 4, "annotations, entry 4: .*add up to 40 × 60"),
        ({"segmentation": {"size": [40, 60], "counts": "~~"}}, 4, "annotations, entry 4: expected counts as run"),
        ({"part_of": "x"}, 2, "annotations, entry 2: expected a finite number for part_of"),
    ],
)
def test_a_malformed_annotation_is_located(tmp_path: Path, change: dict[str, Any], index: int, message: str) -> None:
    with pytest.raises(DataError, match=rf"annotations\.json, {message}"):
        read(write_coco(tmp_path, with_annotation(change, index)))


@pytest.mark.parametrize(
    ("key", "entries", "message"),
    [
        ("images", [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}] * 2, "images, entry 1: expected every"),
        ("images", [{"id": 1, "file_name": "a.jpg", "width": 0, "height": 40}], "images, entry 0: expected a height"),
        ("images", [{"id": 1, "file_name": "/a.jpg", "width": 9, "height": 9}], "images, entry 0: expected the name"),
        ("images", [{"id": 1, "width": 9, "height": 9}], "images, entry 0: expected text for the picture's file name"),
        ("images", [], "images: expected at least one picture"),
        (
            "categories",
            [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "head"}, {"id": 4, "name": "ear"}],
            "categories, entry 1: expected every category with objects once, got 'cat' again",
        ),
        ("annotations", [None], "annotations, entry 0: expected an object, got None"),
        ("categories", [{"id": 1, "name": "a", "keypoints": ["eye", "eye"]}], "categories, entry 0: .*key point once"),
        ("categories", [{"id": 1, "name": ""}], "categories, entry 0: expected text for name"),
        ("categories", [{"id": 1, "name": "a", "keypoints": 3}], "categories, entry 0: expected keypoints as a list"),
    ],
)
def test_a_malformed_list_is_located(tmp_path: Path, key: str, entries: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"annotations\.json, {message}"):
        read(write_coco(tmp_path, {**coco_document(), key: entries}))


def test_what_real_files_have_here_and_there_is_left_out_and_counted(tmp_path: Path) -> None:
    document = coco_document()
    document["annotations"] += [
        {"id": 20, "image_id": 3, "category_id": 1, "bbox": [1, 1, 0, 5]},
        {"id": 21, "image_id": 3, "category_id": 1},
        {"id": 22, "image_id": 3, "category_id": 3, "bbox": [1, 1, 5, 5]},
        {"id": 23, "image_id": 1, "category_id": 4, "segmentation": [[70, 2, 80, 2, 80, 5]]},
        {"id": 24, "image_id": 1, "category_id": 3, "bbox": [-9, 2, 5, 5], "part_of": 10},
    ]
    assert read(write_coco(tmp_path, document)).skipped == {
        "annotations of crowds": 1,
        "boxes without area": 1,
        "annotations without a box": 1,
        "parts that belong to no object": 1,
        "segmentations that cover no pixel": 1,
        "parts outside their picture": 1,
    }


def test_a_picture_of_another_size_is_set_aside_and_told(tmp_path: Path) -> None:
    place = write_coco(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    write_picture(tmp_path / "images" / "sub" / "b.jpg", exif=exif)
    with pytest.raises(DataError, match=r"b\.jpg: expected a picture of 60×40 .* got 40×60 \(after the turn"):
        read(place, max_bad=0)
    assert read(place).num_bad == 1


@pytest.mark.parametrize("place", ["", "only-a-folder", ",x.json", "x,"])
def test_a_place_that_is_no_pair_is_told_its_form(place: str) -> None:
    with pytest.raises(DataError, match=r"expected coco:IMAGES,ANNOTATIONS\.json"):
        read(place)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"images": 3}', "\udcff"], ids=repr)
def test_a_file_that_is_no_coco_file_is_named(tmp_path: Path, content: str) -> None:
    place = write_coco(tmp_path)
    (tmp_path / "annotations.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"annotations\.json: expected"):
        read(place)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools on numpy 2
def test_the_file_of_another_tool_agrees_with_pycocotools(tmp_path: Path) -> None:
    """Counts and masks as the field's own reader gives them."""
    coco = pytest.importorskip("pycocotools.coco", reason="the extra coco is not installed")
    document = with_annotation({"segmentation": [[10.2, 5.1, 50.7, 9.9, 30.3, 35.6], [1, 30, 9, 30, 9, 39, 1, 39]]}, 4)
    for annotation in document["annotations"]:
        annotation.setdefault("iscrowd", 0)  # their reader insists on it
    place = write_coco(tmp_path, document)
    other = coco.COCO(str(tmp_path / "annotations.json"))
    samples = read(place).samples
    assert len(samples) == len(other.getAnnIds(catIds=[1, 2], iscrowd=False))
    (ear,) = samples[0].parts["ear"]
    theirs = other.annToMask(other.loadAnns([14])[0]).astype(bool)
    assert isinstance(ear, MaskShape)
    # theirs draws a polygon's outline on a finer grid: single pixels of it may differ
    assert (ear.mask & theirs).sum() / (ear.mask | theirs).sum() > 0.95
