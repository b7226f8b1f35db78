"""What programs put beside one's pictures is left out; splits of a folder's own are taken; copies are told."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from partcnn.datasets import PartDataset, assign_split
from partcnn.datasets.loading import load_dataset
from partcnn.datasets.picture_files import OF_PROGRAMS
from partcnn.foundation.errors import DataError
from tests.data_files import write_cub, write_picture


def paint(root: Path, *names: str) -> None:
    """Pictures, no two files alike."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, (8, 6))
        path.write_bytes(path.read_bytes() + name.encode())


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    paint(tmp_path, *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(4)))
    return tmp_path


def load(root: Path, **options: Any) -> PartDataset:
    return load_dataset(f"folder:{root}", split=options.pop("split", "all"), **options)


class TestFilesOfPrograms:
    @pytest.mark.parametrize(
        "name",
        [
            "cat/.ipynb_checkpoints/0-checkpoint.jpg",
            "cat/.thumbnails/normal/0.jpg",
            "cat/deep/.cache/0.jpg",
            "cat/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg",
            "cat/Thumbnails/0.jpg",
            "cat/thumbs/0.jpg",
            "cat/._0.jpg",
            "__MACOSX/cat/0.jpg",
            "@eaDir/0.jpg",
            ".Trash-1000/files/0.jpg",
            "$RECYCLE.BIN/0.jpg",
            "#recycle/cat/0.jpg",
            "@Recently-Snapshot/cat/0.jpg",
            "Thumbnails/0.jpg",
            "_thumbs/cat/0.jpg",
        ],
    )
    def test_they_are_left_out_counted_and_told(
        self, two_classes: Path, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        paint(two_classes, name)
        with caplog.at_level(logging.WARNING, logger="partcnn"):
            data = load(two_classes)
        assert (len(data), data.classes, data.skipped) == (8, ["cat", "dog"], {OF_PROGRAMS: 1})
        assert f"left out 1 {OF_PROGRAMS}, the first: {two_classes / name}" in caplog.text

    def test_a_class_may_be_called_thumbs_and_the_folder_itself_be_hidden(self, tmp_path: Path) -> None:
        root = tmp_path / ".cache" / "thumbnails"
        paint(root, "thumbs/0.jpg", "fingers/0.jpg")
        assert (len(load(root)), load(root).skipped) == (2, {})

    def test_pictures_beside_the_class_folders_are_told(self, two_classes: Path) -> None:
        paint(two_classes, "stray.jpg")
        assert load(two_classes).skipped == {"pictures in no class folder": 1}

    def test_pictures_of_formats_that_are_not_read_are_told(self, two_classes: Path) -> None:
        for name in ("cat/a.HEIC", "cat/b.gif", "cat/.c.gif", "dog/d.jfif", "dog/notes.txt"):
            (two_classes / name).write_bytes(b"some bytes")
        assert load(two_classes).skipped == {"pictures of a format that is not read here": 3, OF_PROGRAMS: 1}

    def test_classes_that_differ_in_spelling_only_are_told(
        self, two_classes: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        paint(two_classes, "Cat/0.jpg")
        assert load(two_classes).classes == ["Cat", "cat", "dog"]
        assert "classes that differ in spelling only: 'Cat', 'cat'" in caplog.text

    def test_a_class_of_nothing_else_has_no_pictures(self, two_classes: Path) -> None:
        paint(two_classes, "bird/.thumbnails/0.jpg")
        with pytest.raises(DataError, match="found none in bird"):
            load(two_classes)

    def test_background_pictures_are_chosen_alike(self, tmp_path: Path) -> None:
        write_cub(tmp_path / "cub")
        paint(tmp_path / "sea", "a.jpg", "far/b.jpg", ".thumbs/a.jpg", "thumbs/a.jpg", "far/@eaDir/b.jpg")
        data = load_dataset(f"cub:{tmp_path / 'cub'},{tmp_path / 'sea'}", category="bird", split="all")
        assert [one.image_path.name for one in data.samples if one.label == 0] == ["a.jpg", "b.jpg"]
        assert data.skipped[OF_PROGRAMS] == 3


class TestSplitsOfTheFoldersOwn:
    @pytest.mark.parametrize(
        ("training", "kept_out"),
        [
            ("train", "test"),
            ("train", "val"),
            ("Training", "Validation"),
            ("train2017", "val2017"),
            ("train_set", "test_set"),
            ("trainval", "test"),
            ("train", "dev"),
            ("train", "eval"),
            ("training", "holdout"),
        ],
    )
    @pytest.mark.parametrize("form", ["{split}/{name}", "{name}/{split}", "{split}/{name}/deep"])
    def test_they_are_taken(self, tmp_path: Path, training: str, kept_out: str, form: str) -> None:
        counts = {training: 3, kept_out: 2}
        for split, count in counts.items():
            for name in ("cat", "dog"):
                folder = form.format(split=split, name=name)
                paint(tmp_path, *(f"{folder}/{number}.jpg" for number in range(count)))
        train, test = load(tmp_path, split="train"), load(tmp_path, split="test")
        assert train.classes == test.classes == ["cat", "dog"]
        assert (len(train), len(test)) == (6, 4)
        assert all(training in one.image_path.parts for one in train.samples)
        assert all(kept_out in one.image_path.parts for one in test.samples)

    def test_where_both_are_kept_out_validation_is_left_out_and_counted(self, tmp_path: Path) -> None:
        paint(tmp_path, *(f"{s}/{c}/{n}.jpg" for s in ("train", "val", "test") for c in ("cat", "dog") for n in "12"))
        data = load(tmp_path)
        assert (len(data), data.skipped) == (8, {"pictures for validation, beside a test split": 4})

    def test_parts_and_a_category_go_with_them(self, tmp_path: Path) -> None:
        paint(tmp_path, *(f"{split}/{name}/0.jpg" for split in ("train", "test") for name in ("cat", "dog")))
        (tmp_path / "parts.csv").write_text("image,part,x0,y0,x1,y1\ntest/cat/0.jpg,head,1,1,4,4\n")
        data = load(tmp_path, split="test", category="cat")
        assert [(one.label, list(one.parts)) for one in data.samples] == [(1, ["head"]), (0, [])]

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["train/0.jpg", "test/0.jpg"], "of which test, train are splits|found them in none"),
            (["train/cat/0.jpg", "train/dog/0.jpg", "test/0.jpg"], r"found them in train; give .*folder:.*/train'"),
            (["val/cat/0.jpg", "test/cat/0.jpg"], "got test, val, of which test, val are splits"),
            (["train/cat/0.jpg", "val/cat/0.jpg", "scenery/0.jpg"], "got scenery, train, val, of which train, val"),
            (["train/cat/0.jpg", "test/cat/0.jpg"], "at least two folders of pictures, one per class, in its splits"),
            (
                ["train/cat/0.jpg", "train/dog/0.jpg"],
                r"only the folder 'train'; it holds folders itself: give 'folder:",
            ),
            (
                ["trainA/0.jpg", "trainB/0.jpg", "testA/0.jpg", "testB/0.jpg"],
                "class folders with pictures in the splits",
            ),
            (
                ["cat_train/0.jpg", "cat_test/0.jpg", "dog_train/0.jpg"],
                "cat_test, cat_train, dog_train, which name both",
            ),
            (["photos/cat/0.jpg", "photos/dog/0.jpg"], r"only the folder 'photos'; .*give 'folder:.*/photos'"),
        ],
    )
    def test_splits_that_cannot_be_taken_are_never_classes(
        self, tmp_path: Path, names: list[str], message: str
    ) -> None:
        paint(tmp_path, *names)
        with pytest.raises(DataError, match=message):
            load(tmp_path)

    @pytest.mark.parametrize(
        "names", [("train", "bus"), ("testing ground", "sea"), ("trainer", "boot"), ("crash_test", "sea")]
    )
    def test_a_class_may_be_called_alike(self, tmp_path: Path, names: tuple[str, str]) -> None:
        paint(tmp_path, *(f"{name}/{number}.jpg" for name in names for number in range(2)))
        assert load(tmp_path).classes == sorted(names)


class TestCopies:
    @pytest.fixture
    def both_sides(self, two_classes: Path) -> tuple[str, str]:
        """Two new names of the class cat, one of each side of the split."""
        names = [f"cat/new{number}.jpg" for number in range(20)]
        sides = {side: next(name for name in names if assign_split(name) == side) for side in ("train", "test")}
        return sides["train"], sides["test"]

    def test_a_copy_on_the_other_side_of_the_split_is_told(
        self, two_classes: Path, both_sides: tuple[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in both_sides:
            write_picture(two_classes / name)
        load(two_classes, split="train")
        trained, kept_out = (two_classes / name for name in both_sides)
        assert f"stand in training too, byte for byte: 1, the first {kept_out}, which is {trained};" in caplog.text

    def test_a_copy_on_the_same_side_is_no_leak(self, two_classes: Path, caplog: pytest.LogCaptureFixture) -> None:
        names = [name for name in (f"cat/new{number}.jpg" for number in range(20)) if assign_split(name) == "train"]
        for name in names[:2]:
            write_picture(two_classes / name)
        load(two_classes)
        assert caplog.text == ""

    def test_a_copy_in_another_split_folder_or_data_set_is_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        paint(tmp_path, "train/cat/0.jpg", "train/dog/0.jpg", "test/dog/1.jpg")
        (tmp_path / "test" / "cat").mkdir()
        (tmp_path / "test/cat/7.jpg").write_bytes((tmp_path / "train/cat/0.jpg").read_bytes())
        load(tmp_path)
        assert "test/cat/7.jpg, which is" in caplog.text
        caplog.clear()
        load_dataset(f"cub:{write_cub(tmp_path / 'cub')}", split="all")  # its three birds are one picture
        assert "b.jpg, which is" in caplog.text

    def test_a_copy_in_another_class_is_told(self, two_classes: Path, caplog: pytest.LogCaptureFixture) -> None:
        (two_classes / "dog/9.jpg").write_bytes((two_classes / "cat/0.jpg").read_bytes())
        load(two_classes)
        assert "given as two classes or more, pixel for pixel the same: 1" in caplog.text
        assert "0.jpg as 'cat' and 'dog'" in caplog.text
        assert "leave each in one class" in caplog.text

    def test_two_objects_of_two_classes_on_one_picture_are_told_unless_they_are_cut_out(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        paint(tmp_path, "0.jpg", "1.jpg")
        boxes = [(0, 1, [0, 0, 3, 6]), (0, 2, [4, 0, 4, 6]), (1, 1, [0, 0, 8, 6])]
        coco = {
            "images": [{"id": n, "file_name": f"{n}.jpg", "width": 8, "height": 6} for n in (0, 1)],
            "annotations": [
                {"id": n, "image_id": image, "category_id": category, "bbox": box}
                for n, (image, category, box) in enumerate(boxes)
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        }
        (tmp_path / "c.json").write_text(json.dumps(coco))
        spec = f"coco:{tmp_path},{tmp_path / 'c.json'}"
        load_dataset(spec, split="all")
        assert "given as two classes or more, pixel for pixel the same: 1" in caplog.text
        assert "crop='object' (--crop object) cuts out each object" in caplog.text
        caplog.clear()
        load_dataset(spec, split="all", crop="object", margin=0)
        load_dataset(spec, split="all", category="dog")
        assert caplog.text == ""
