"""What stands twice, in whatever spelling, is an error or one shape: no reader loses a landmark by it."""

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partcnn.datasets import Box, PartDataset, Point
from partcnn.datasets.annotations import DOUBLED
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError
from tests.data_files import (
    CUB_FILES,
    NO_ENTRY,
    TRUTH,
    block,
    frog_entry,
    pascal_object,
    write_animalpart_original,
    write_cub,
    write_mat73,
    write_pascal_picture,
    write_picture,
)

HEADER = "image,part,x0,y0,x1,y1"


class TestRowsOfPartsCsv:
    @staticmethod
    def read(root: Path, *rows: str) -> PartDataset:
        for name in ("cat/Zoë/a.png", "dog/c.png"):
            write_picture(root / unicodedata.normalize("NFC", name))
        (root / "parts.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
        return load_dataset(f"folder:{root}", split="all")

    @pytest.mark.parametrize(
        "again",
        [
            "cat/Zoë/a.png,head,1.0,2.00,5,6e0",
            "./cat/Zoë/a.png,head,1,2,5,6",
            "cat//Zoë/a.png,head,1,2,5,6",
            r"cat\Zoë\a.png,head,1,2,5,6",
            unicodedata.normalize("NFD", "cat/Zoë/a.png") + ",head,1,2,5,6",
            "cat/Zoë/a.png,head,+1,2,5,6",
        ],
    )
    def test_the_same_row_in_another_spelling_is_an_error(self, tmp_path: Path, again: str) -> None:
        with pytest.raises(DataError, match=r"parts\.csv, line 3: expected every row once.*first in .*line 2"):
            self.read(tmp_path, "cat/Zoë/a.png,head,1,2,5,6", again)

    @pytest.mark.parametrize("again", ["cat/Zoë/a.png,eye,3.0,4,,", "./cat/Zoë/a.png,eye,3,4,,"])
    def test_of_points_too(self, tmp_path: Path, again: str) -> None:
        with pytest.raises(DataError, match="line 3: expected every row once"):
            self.read(tmp_path, "cat/Zoë/a.png,eye,3,4,,", again)

    @pytest.mark.parametrize(
        "name", [r"cat\Zoë\a.png", "./cat/Zoë/a.png", unicodedata.normalize("NFD", "cat/Zoë/a.png")]
    )
    def test_a_path_that_is_written_otherwise_is_that_picture(self, tmp_path: Path, name: str) -> None:
        data = self.read(tmp_path, f"{name},head,1,2,5,6")
        assert data.samples[0].parts == {"head": [Box(1, 2, 5, 6)]}

    @pytest.mark.parametrize("name", ["Head", "HEAD", "left_eye", "Left-Eye", "left  eye", "ｈｅａｄ", "he\u200bad"])
    def test_a_part_in_two_spellings_is_an_error(self, tmp_path: Path, name: str) -> None:
        rows = ["cat/Zoë/a.png,head,1,2,5,6", "cat/Zoë/a.png,left eye,2,3,,", f"dog/c.png,{name},1,2,5,6"]
        message = f"line 4: expected one spelling of a part, got {name!r}, and"
        with pytest.raises(DataError, match=re.escape(message)):
            self.read(tmp_path, *rows)

    def test_accents_apart_or_not_are_one_part(self, tmp_path: Path) -> None:
        together, apart = (unicodedata.normalize(form, "Flügel") for form in ("NFC", "NFD"))
        data = self.read(tmp_path, f"cat/Zoë/a.png,{together},1,2,5,6", f"dog/c.png,{apart},1,2,5,6")
        assert data.parts == [together]

    def test_the_object_is_the_object_in_capitals_too(self, tmp_path: Path) -> None:
        data = self.read(tmp_path, "cat/Zoë/a.png,Object,1,2,5,6")
        assert (data.parts, data.samples[0].object_box) == ([], Box(1, 2, 5, 6))
        with pytest.raises(DataError, match="line 3: expected every row once"):
            self.read(tmp_path, "cat/Zoë/a.png,object,1,2,5,6", "cat/Zoë/a.png,OBJECT,1,2,5,7")


class TestBirds:
    @pytest.mark.parametrize(
        ("file", "line", "message"),
        [
            ("parts/part_locs.txt", "01 1 20.5 10.0 1", "expected every part of a picture once"),
            ("parts/part_locs.txt", "1 01 22 11 1", "expected every part of a picture once"),
            ("parts/parts.txt", "3 back", "expected every name once, got 'back' again"),
            ("bounding_boxes.txt", "01 1 2 3 4", "expected every picture once"),
            ("images.txt", "02 001.Red_Bird/d.jpg", "expected every identifier once"),
            ("images.txt", "4 001.Red_Bird/a.jpg", "expected every name once"),
            ("classes.txt", "3 001.Red_Bird", "expected every name once"),
        ],
    )
    def test_a_line_of_the_archive(self, tmp_path: Path, file: str, line: str, message: str) -> None:
        write_cub(tmp_path)
        (tmp_path / file).write_text(CUB_FILES[file] + line + "\n")
        with pytest.raises(DataError, match=rf"{Path(file).name}, line \d: {message}"):
            load_dataset(f"cub:{tmp_path}", split="all")

    def test_identifiers_with_zeros_and_a_byte_order_mark_are_the_same(self, tmp_path: Path) -> None:
        write_cub(tmp_path)
        points = CUB_FILES["parts/part_locs.txt"]
        (tmp_path / "parts/part_locs.txt").write_text(points.replace("2 1 3.0", "002 01 3.0"), encoding="utf-8-sig")
        (tmp_path / "images.txt").write_text(CUB_FILES["images.txt"], encoding="utf-8-sig")
        data = load_dataset(f"cub:{tmp_path}", split="all")
        assert data.samples[1].parts["back"] == [Point(3, 4)]

    @staticmethod
    def compact(root: Path, *records: dict[str, Any]) -> PartDataset:
        lines = []
        for number, record in enumerate(records):
            write_picture(root / "images" / f"{number}.jpg")
            common = {"image": f"images/{number}.jpg", "cub_image_id": number, "class_id": 1 + number, "is_train": 1}
            lines.append(json.dumps(common | {"class_name": f"{number}.Bird", "parts": []} | record))
        (root / "images.jsonl").write_text("\n".join(lines))
        return load_dataset(f"cub:{root}", split="all")

    def test_a_part_of_the_compact_layout(self, tmp_path: Path) -> None:
        back = {"part": "back", "xy": [1, 2]}
        data = self.compact(tmp_path, {"parts": [back, {"part": "back", "xy": ["1.0", 2.0]}]}, {})
        assert (data.samples[0].landmark("back"), data.skipped) == (Point(1, 2), {DOUBLED: 1})
        with pytest.raises(DataError, match="line 1: expected every part once, got 'back' at two places"):
            self.compact(tmp_path, {"parts": [back, {"part": "back", "xy": [1, 3]}]}, {})

    def test_a_picture_of_the_compact_layout(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="line 2: expected every image once"):
            self.compact(tmp_path, {}, {"image": "./images//0.jpg"})

    @pytest.mark.parametrize(("written", "side"), [(True, "train"), ("1", "train"), (False, "test"), ("false", "test")])
    def test_the_split_of_the_compact_layout_may_be_a_flag(self, tmp_path: Path, written: Any, side: str) -> None:
        assert self.compact(tmp_path, {"is_train": written}, {}).samples[0].split == side


class TestAnimalPart:
    @staticmethod
    def compact(root: Path, *records: dict[str, Any]) -> PartDataset:
        lines = []
        for number, record in enumerate(records):
            write_picture(root / "images" / f"{number}.jpg")
            common = {"image": f"images/{number}.jpg", "wnid": "n1", "category": "cat", "imagenet_id": f"n1_{number}"}
            lines.append(json.dumps(common | {"parts": []} | record))
        (root / "images.jsonl").write_text("\n".join(lines), encoding="utf-8-sig")
        return load_dataset(f"animalpart:{root}", split="all")

    def test_a_box_of_the_compact_layout(self, tmp_path: Path) -> None:
        boxes = [{"part": "head", "box": box} for box in ([1, 2, 9, 9], ["1", 2.0, 9, 9], [1, 2, 9, 8])]
        data = self.compact(tmp_path, {"parts": boxes[:2]}, {"parts": boxes})
        assert data.samples[0].landmark("head") == Point(5, 5.5)
        assert data.samples[1].parts["head"] == [Box(1, 2, 9, 9), Box(1, 2, 9, 8)]  # two are two
        assert data.skipped == {DOUBLED: 2}

    def test_a_picture_or_name_of_the_compact_layout(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="line 2: expected every image once"):
            self.compact(tmp_path, {}, {"image": "images/./0.jpg"})
        with pytest.raises(DataError, match="line 2: expected n1 with one category, got 'Cat' and before 'cat'"):
            self.compact(tmp_path, {}, {"category": "Cat"})

    def test_a_box_of_the_authors_layout(self, tmp_path: Path) -> None:
        write_animalpart_original(tmp_path)
        head = frog_entry((11, 21, 234, 132), [[112, 112], [56, 56]], [[112, 112], [28, 28]], "n01639765_7")
        write_mat73(tmp_path / TRUTH / "n01639765" / "truth_part01.mat", "truth", [head, NO_ENTRY, NO_ENTRY])
        data = load_dataset(f"animalpart:{tmp_path}", split="all")
        assert data.samples[0].landmark("head") is not None
        assert data.skipped[DOUBLED] == 1


class TestPascalPart:
    @pytest.mark.parametrize("is_first_bare", [False, True])
    def test_an_object_that_stands_twice_is_one_with_the_parts_of_both(
        self, tmp_path: Path, is_first_bare: bool
    ) -> None:
        size = (120, 90)
        mask, head = block(size, 10, 10, 100, 80), block(size, 10, 10, 40, 40)
        objects = [pascal_object("cat", mask, {"head": head}), pascal_object("cat", mask, {"tail": head})]
        write_pascal_picture(tmp_path, "2008_000001", objects[::-1] if is_first_bare else objects, size)
        write_pascal_picture(tmp_path, "2008_000002", [pascal_object("dog", mask, {})], size)
        data = load_dataset(f"pascal-part:{tmp_path}", split="all")
        assert [sorted(one.parts) for one in data.samples] == [["head", "tail"], []]
        assert data.skipped == {DOUBLED: 1}

    def test_a_mask_file_of_macos_is_no_annotation(self, tmp_path: Path) -> None:
        mask = np.ones((90, 120), np.uint8)
        write_pascal_picture(tmp_path, "2008_000001", [pascal_object("cat", mask, {})], (120, 90))
        (tmp_path / "Annotations_Part" / "._2008_000001.mat").write_bytes(b"\0\5\x16\7")
        assert len(load_dataset(f"pascal-part:{tmp_path}", split="all")) == 1


@pytest.mark.parametrize("names", [("Head", "head"), ("left eye", "left_eye"), ("Tail-Tip", "tail tip")])
def test_a_part_in_two_spellings_is_an_error_of_any_reader(tmp_path: Path, names: tuple[str, str]) -> None:
    records = [{"parts": [{"part": name, "box": [1, 2, 9, 9]}]} for name in names]
    with pytest.raises(DataError, match=rf"every part in one spelling, got '{names[0]}', '{names[1]}'"):
        TestAnimalPart.compact(tmp_path, *records)


def test_shapes_are_compared_by_what_they_are() -> None:
    from partcnn.datasets import MaskShape
    from partcnn.datasets.annotations import Skips, add_shape

    skips, parts = Skips(), dict[str, Any]()
    mask = np.eye(4, dtype=np.bool_)
    shapes: list[Callable[[], Any]] = [lambda: Box(1, 2, 3, 4), lambda: Point(1, 2), lambda: MaskShape(mask.copy())]
    for make in shapes * 2:
        add_shape(parts, "a", make(), "here", skips)
    assert len(parts["a"]) == 3
    assert skips.counts() == {DOUBLED: 3}
