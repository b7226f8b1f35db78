"""The CUB-200-2011 reader: a made-up archive, then the real birds in both layouts."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from partcnn.datasets import Box, PartDataset, Point
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError
from tests.data_files import CUB_FILES, write_cub, write_picture


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_cub(tmp_path / "birds")


def read(root: Path | str, category: str | None = None, **options: Any) -> PartDataset:
    return load_dataset(f"cub:{root}", category=category, **{"split": "all", **options})


class TestArchive:
    def test_species_are_the_classes(self, small: Path) -> None:
        data = read(small)
        assert (data.classes, data.background) == (["001.Red_Bird", "002.Blue_Bird"], None)
        assert [sample.label for sample in data.samples] == [0, 0, 1]

    def test_boxes_are_x_y_width_height_and_points_the_visible_ones(self, small: Path) -> None:
        first = read(small).samples[0]
        assert first.object_box == Box(10, 5, 40, 25)
        assert first.parts == {"back": [Point(20.5, 10)]}
        assert read(small).parts == ["back", "left wing"]

    def test_the_official_split_is_kept(self, small: Path) -> None:
        names = {split: [s.image_path.name for s in read(small, split=split).samples] for split in ("train", "test")}
        assert names == {"train": ["a.jpg", "c.jpg"], "test": ["b.jpg"]}

    def test_all_birds_stand_against_a_given_background(self, small: Path, tmp_path: Path) -> None:
        write_picture(tmp_path / "else" / "deep" / "x.png")
        data = read(f"{small},{tmp_path / 'else'}", "bird")
        assert (data.classes, data.background, data.category) == (["background", "bird"], 0, "bird")
        assert [sample.label for sample in data.samples] == [0, 1, 1, 1]

    def test_without_a_background_all_birds_are_one_class_that_can_be_measured(self, small: Path) -> None:
        data = read(small, "bird")
        assert (data.classes, data.background, len(data)) == (["background", "bird"], 0, 3)

    @pytest.mark.parametrize("name", ["Red Bird", "001.Red_Bird"])
    def test_a_species_stands_against_the_others_whose_parts_are_left_out(self, small: Path, name: str) -> None:
        data = read(small, name)
        assert [(sample.label, sample.image_path.name) for sample in data.samples] == [
            (0, "c.jpg"),
            (1, "a.jpg"),
            (1, "b.jpg"),
        ]
        assert data.samples[0].parts == {}
        assert data.samples[0].object_box is not None  # a crop then treats all birds alike

    def test_a_folder_with_a_comma_in_its_name_is_one_folder(self, tmp_path: Path) -> None:
        assert len(read(write_cub(tmp_path / "birds, small"))) == 3

    def test_a_background_without_a_category_is_refused(self, small: Path) -> None:
        with pytest.raises(DataError, match="background folder is for one category"):
            read(f"{small},{small}")

    def test_a_background_folder_without_pictures_is_refused(self, small: Path, tmp_path: Path) -> None:
        (tmp_path / "else").mkdir()
        with pytest.raises(DataError, match="expected background pictures"):
            read(f"{small},{tmp_path / 'else'}", "bird")

    def test_an_unknown_species_lists_those_there_are(self, small: Path) -> None:
        with pytest.raises(DataError, match=r"Blue Bird \(002.Blue_Bird\), Red Bird"):
            read(small, "Green Bird")

    def test_a_folder_of_neither_layout_is_told_both(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"images\.txt.*or images\.jsonl, found neither"):
            read(tmp_path)


@pytest.mark.parametrize("name", CUB_FILES)
def test_a_missing_file_is_named(small: Path, name: str) -> None:
    (small / name).unlink()
    with pytest.raises(DataError, match=Path(name).name):
        read(small)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("bounding_boxes.txt", "2 1 2 nan 30", "line 2: expected a finite number.*got 'nan'"),
        ("bounding_boxes.txt", "2 1 2 -40 30", "line 2: expected a width and height of at least 0"),
        ("bounding_boxes.txt", "2 1 2 40", "line 2: expected 5 fields"),
        ("bounding_boxes.txt", "1 1 2 40 30", "line 2: expected every picture once.*line 1"),
        ("images.txt", "1 001.Red_Bird/b.jpg", "line 2: expected every identifier once"),
        ("images.txt", "2 ../b.jpg", "line 2: expected the name of a picture within"),
        ("images.txt", "9 001.Red_Bird/b.jpg", r"line 2: expected picture 9 in image_class_labels\.txt"),
        ("image_class_labels.txt", "2 7", r"line 2: expected a class of classes\.txt, got '7'"),
        ("train_test_split.txt", "2 2", "line 2: expected 1 .training. or 0 .test., got '2'"),
        ("parts/part_locs.txt", "1 7 1 1 1", r"line 2: expected a part of parts\.txt, got '7'"),
        ("parts/part_locs.txt", "1 1 1 1 1", "line 2: expected every part of a picture once"),
        ("parts/part_locs.txt", "1 2 inf 1 1", "line 2: expected a finite number"),
    ],
)
def test_a_malformed_line_is_located(small: Path, name: str, line: str, message: str) -> None:
    lines = CUB_FILES[name].splitlines()
    lines[1] = line
    (small / name).write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"{Path(name).name}, {message}"):
        read(small)


def test_what_lies_outside_its_picture_or_has_no_area_is_left_out_and_counted(small: Path) -> None:
    (small / "parts" / "part_locs.txt").write_text("1 1 60.0 10.0 1\n1 2 59.9 39.9 1\n")
    (small / "bounding_boxes.txt").write_text("1 100 5 30 20\n2 1 2 0 30\n3 0 0 60 40\n")
    data = read(small)
    assert data.skipped == {
        "boxes without area": 1,
        "parts outside their picture": 1,
        "object boxes outside their picture": 1,
    }
    assert data.samples[0].parts == {"left wing": [Point(59.9, 39.9)]}
    assert [sample.object_box for sample in data.samples] == [None, None, Box(0, 0, 60, 40)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_train": 3}, "line 2: expected 1"),
        ({"cub_image_id": 1}, "line 2: expected every cub_image_id once"),
        ({"cub_image_id": 1.5}, "line 2: expected a whole number"),
        ({"parts": [{"part": "back", "xy": [1]}]}, "line 2: expected each part with part and xy"),
        ({"object_box": [5, 5, 1, 9]}, "line 2: expected x1 ≥ x0"),
        ({"parts": 7}, "line 2: expected parts as a list"),
    ],
)
def test_a_malformed_line_of_the_compact_layout_is_located(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    record = {"image": "a.jpg", "cub_image_id": 1, "class_id": 1, "class_name": "a", "is_train": 1, "parts": []}
    lines = [record, {**record, "image": "b.jpg", "cub_image_id": 2, **change}]
    (tmp_path / "images.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError, match=rf"images\.jsonl, {message}"):
        read(tmp_path)


class TestReal:
    def test_counts_and_split_are_those_of_the_raw_files(self, shared: Path) -> None:
        root = shared / "data" / "original_layouts" / "CUB_200_2011"
        data = read(root, max_bad=0)
        part_of = dict(line.split(maxsplit=1) for line in (root / "parts" / "parts.txt").read_text().splitlines())
        visible = Counter(
            part_of[line.split()[1]]
            for line in (root / "parts" / "part_locs.txt").read_text().splitlines()
            if line.endswith(" 1")
        )
        found = Counter[str]()
        for count in data.counts().values():
            found.update(count.num_part_images)
        assert found == visible
        in_train = (root / "train_test_split.txt").read_text().split("\n")
        assert len(data.with_split("train")) == sum(line.endswith(" 1") for line in in_train)
        assert (len(data), len(data.classes), len(data.parts)) == (178, 3, 15)

    def test_both_layouts_give_the_same_birds(self, shared: Path) -> None:
        archive = read(shared / "data" / "original_layouts" / "CUB_200_2011", max_bad=0)
        compact = {sample.image_id: sample for sample in read(shared / "data" / "cub10", max_bad=0).samples}
        assert len(compact) == 543
        for sample in archive.samples:
            other = compact[sample.image_id]
            assert sample.split == other.split
            assert sample.object_box == pytest.approx(other.object_box, abs=0.011)
            assert sample.parts == other.parts

    def test_compact_points_are_all_read(self, shared: Path) -> None:
        text = (shared / "data" / "cub10" / "images.jsonl").read_text()
        data = read(shared / "data" / "cub10", max_bad=0)
        num_points = sum(len(shapes) for sample in data.samples for shapes in sample.parts.values())
        assert num_points + data.skipped.get("parts outside their picture", 0) == text.count('"xy"') == 6183
