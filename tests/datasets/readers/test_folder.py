"""parts.csv beside one's own pictures."""

from pathlib import Path
from typing import Any

import pytest

from partcnn.datasets import Box, PartDataset, Point
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError
from tests.data_files import write_picture

HEADER = "image,part,x0,y0,x1,y1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cat/a.png", "cat/deep/b.png", "dog/c.png"):
        write_picture(tmp_path / name)
    return tmp_path


def read(root: Path, *rows: str, header: str = HEADER, category: str | None = None) -> PartDataset:
    (root / "parts.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    return load_dataset(f"folder:{root}", category=category, split="all")


def test_boxes_points_and_the_object_are_read(folder: Path) -> None:
    rows = ["cat/a.png,object,1,2,50,40", "cat/a.png,head,3.5,4,10,12", "cat/deep/b.png,tail tip,7,8,,", ""]
    data = read(folder, *rows)
    first, second, dog = data.samples
    assert (first.object_box, first.parts) == (Box(1, 2, 50, 40), {"head": [Box(3.5, 4, 10, 12)]})
    assert second.parts == {"tail tip": [Point(7, 8)]}
    assert (dog.object_box, dog.parts) == (None, {})
    assert data.parts == ["head", "tail tip"]


def test_a_part_may_have_several_rows(folder: Path) -> None:
    first = read(folder, "cat/a.png,leg,1,2,5,6", "cat/a.png,leg,7,2,9,6").samples[0]
    assert first.parts == {"leg": [Box(1, 2, 5, 6), Box(7, 2, 9, 6)]}


def test_what_a_spreadsheet_writes_is_read(folder: Path) -> None:
    text = f'\ufeff{HEADER}\r\n"cat/a.png","ear, left", 1 ,2,5,6\r\n'
    (folder / "parts.csv").write_bytes(text.encode())
    assert load_dataset(f"folder:{folder}", split="all").parts == ["ear, left"]


def test_parts_of_the_background_are_left_out_but_its_objects_stay(folder: Path) -> None:
    data = read(folder, "cat/a.png,head,1,2,5,6", "dog/c.png,snout,1,2,5,6", "dog/c.png,object,1,2,9,9", category="cat")
    dog = next(sample for sample in data.samples if sample.label == 0)
    assert (data.parts, dog.parts, dog.object_box) == (["head"], {}, Box(1, 2, 9, 9))


def test_what_lies_outside_or_has_no_area_is_left_out_and_counted(folder: Path) -> None:
    rows = ["cat/a.png,head,60,0,70,10", "cat/a.png,leg,5,5,5,9", "cat/a.png,eye,-1,5,,", "cat/a.png,ear,50,30,70,50"]
    data = read(folder, *rows)
    assert data.skipped == {"boxes without area": 1, "parts outside their picture": 2}
    assert data.samples[0].parts == {"ear": [Box(50, 30, 70, 50)]}  # across the edge: its centre is the landmark


@pytest.mark.parametrize(
    "header", ["", "image,part,x,y,w,h", "image;part;x0;y0;x1;y1", "cat/a.png,head,1,2,3,4", HEADER + ",note"]
)
def test_another_header_is_named_with_file_and_line(folder: Path, header: str) -> None:
    with pytest.raises(DataError, match=r"parts\.csv, line 1: expected the header image,part,x0,y0,x1,y1, got"):
        read(folder, header=header)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("cat/a.png,head,1,2,3", "expected 6 fields as in the header, got 5"),
        ("cat/a.png,head,1,2,x,4", "expected a finite number for head, x1, got 'x'"),
        ("cat/a.png,head,1,2,nan,4", "expected a finite number for head, x1, got 'nan'"),
        ("cat/a.png,head,1,2,,4", "expected a finite number for head, x1, got ''"),
        ("cat/a.png,head,9,2,3,4", "expected x1 ≥ x0 and y1 ≥ y0 for head, got .9, 2, 3, 4."),
        ("cat/z.png,head,1,2,3,4", "expected a picture below .*, found no 'cat/z.png' there"),
        ("cat/a.png,,1,2,3,4", "expected text for part, got ''"),
        ("cat/a.png,tail,1,2,3,4", "expected every row once.*first in .*line 2"),
        ("cat/a.png,object,1,2,3,4", "expected every row once.*first in .*line 3"),
        ('cat/a.png,"head,1,2,3,4', "expected a CSV file in UTF-8"),
    ],
)
def test_a_malformed_row_is_located(folder: Path, row: str, message: str) -> None:
    first = ["cat/a.png,tail,1,2,3,4", "cat/a.png,object,1,2,30,40"]
    with pytest.raises(DataError, match=rf"parts\.csv(, line 4)?: {message}"):
        read(folder, *first, row)


def test_another_encoding_is_named(folder: Path) -> None:
    (folder / "parts.csv").write_bytes(f"{HEADER}\ncat/a.png,Flügel,1,2,3,4\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"parts\.csv: expected a CSV file in UTF-8"):
        load_dataset(f"folder:{folder}")


def test_the_whole_goes_through_to_the_examples(folder: Path) -> None:
    data = read(folder, "cat/a.png,head,0,0,30,20", "cat/a.png,object,0,0,60,40")
    example: Any = data[0]
    assert example.landmarks.tolist() == [[15 * 224 / 60, 10 * 224 / 40]]
