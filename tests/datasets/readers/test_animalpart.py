"""The reader of the Animal-Part data: on a small made-up set, then on the real one where it is at hand."""

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from partcnn.datasets import Box, PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError

CATEGORIES = {"n1": "giant panda", "n2": "red panda", "n3": "domestic cat", "n4": "cattle"}


def record(wnid: str, index: int, photograph: str | None = None) -> dict:
    return {
        "image": f"images/{wnid}/{index:05d}.jpg",
        "wnid": wnid,
        "category": CATEGORIES[wnid],
        "object_box": [1, 2, 18, 11.5],
        "parts": [
            {"part": "leg", "box": [1, 6, 3, 11]},
            {"part": "head", "box": [4, 2, 8.5, 6]},
            {"part": "leg", "box": [9, 6, 11, 11]},
        ],
        "imagenet_id": photograph or f"{wnid}_{index}",
    }


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Four categories of twelve pictures, the first four crops of one photograph; six of background."""
    records = [record(wnid, i, f"{wnid}_0" if i < 4 else None) for wnid in CATEGORIES for i in range(12)]
    (tmp_path / "images.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + "\n")
    files = [r["image"] for r in records] + [f"background/{i:05d}.jpg" for i in range(6)]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 12)).save(tmp_path / file)
    return tmp_path


class TestSmall:
    def test_one_category_stands_against_the_background(self, small: Path) -> None:
        data = load_dataset(f"animalpart:{small}", category="cattle", split="all")
        assert data.classes == ["background", "cattle"]
        assert (data.background, data.category, data.parts) == (0, "cattle", ["head", "leg"])
        assert [sample.label for sample in data.samples] == [0] * 6 + [1] * 12

    def test_all_categories_stand_without_background(self, small: Path) -> None:
        data = load_dataset(f"animalpart:{small}", split="all")
        assert data.classes == ["cattle", "domestic cat", "giant panda", "red panda"]
        assert (data.background, data.category, len(data)) == (None, None, 48)
        by_folder = {s.image_path.parent.name: data.classes[s.label] for s in data.samples}
        assert by_folder == CATEGORIES

    def test_boxes_of_a_part_are_kept_in_order(self, small: Path) -> None:
        sample = load_dataset(f"animalpart:{small}", category="cattle", split="all").samples[-1]
        assert sample.object_box == Box(1, 2, 18, 11.5)
        assert sample.parts == {"leg": [Box(1, 6, 3, 11), Box(9, 6, 11, 11)], "head": [Box(4, 2, 8.5, 6)]}

    def test_counts_are_pictures_per_class_and_part(self, small: Path) -> None:
        counts = load_dataset(f"animalpart:{small}", category="cattle", split="all").counts()
        assert {name: count.num_images for name, count in counts.items()} == {"background": 6, "cattle": 12}
        assert counts["cattle"].num_part_images == {"head": 12, "leg": 12}
        assert counts["background"].num_part_images == {"head": 0, "leg": 0}

    def test_crops_of_one_photograph_fall_on_one_side(self, small: Path) -> None:
        data = load_dataset(f"animalpart:{small}", split="all")
        assert photographs(data.with_split("train")).isdisjoint(photographs(data.with_split("test")))
        assert len(photographs(data)) == 4 * 9

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [("n3", "domestic cat"), ("domestic cat", "domestic cat"), ("cat", "domestic cat"), ("giant", "giant panda")],
    )
    def test_a_category_goes_by_identifier_name_or_unique_word(self, small: Path, wanted: str, found: str) -> None:
        assert load_dataset(f"animalpart:{small}", category=wanted, split="all").category == found

    def test_a_word_of_two_names_is_ambiguous(self, small: Path) -> None:
        with pytest.raises(DataError, match=r"'panda' could be giant panda \(n1\), red panda \(n2\)"):
            load_dataset(f"animalpart:{small}", category="panda")

    @pytest.mark.parametrize("wanted", ["dragon", "catt", ""])
    def test_an_unknown_category_lists_those_there_are(self, small: Path, wanted: str) -> None:
        with pytest.raises(DataError, match=r"expected one of cattle \(n4\), domestic cat \(n3\), giant panda"):
            load_dataset(f"animalpart:{small}", category=wanted)

    def test_a_picture_that_is_listed_but_missing_counts_as_unreadable(self, small: Path) -> None:
        (small / "images" / "n4" / "00005.jpg").unlink()
        data = load_dataset(f"animalpart:{small}", category="cattle", split="all")
        assert (len(data), data.num_bad) == (17, 1)

    def test_without_background_pictures_one_category_cannot_be_learned(self, small: Path) -> None:
        for file in (small / "background").iterdir():
            file.unlink()
        with pytest.raises(DataError, match="expected background pictures"):
            load_dataset(f"animalpart:{small}", category="cattle")

    def test_a_folder_without_the_index_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"images\.jsonl in this folder, found none"):
            load_dataset(f"animalpart:{tmp_path}")

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", "line 1: expected JSON"),
            ("[1]", "line 1: expected an object with image"),
            (json.dumps({"image": "x.jpg"}), "line 1: .*lacks wnid, category"),
            (json.dumps({**record("n4", 0), "object_box": [1, 2, 3]}), r"line 1 .*00000\.jpg.: expected four numbers"),
            (json.dumps({**record("n4", 0), "parts": [{"part": "leg"}]}), r"line 1 .*00000\.jpg.: expected parts as"),
            (json.dumps({**record("n4", 0), "object_box": [9, 2, 3, 4]}), "line 1 .*expected x1 ≥ x0"),
            (json.dumps({**record("n4", 0), "object_box": [1, 2, 3, math.nan]}), "line 1 .*finite number.*y1, got nan"),
            (json.dumps({**record("n4", 0), "image": "../x.jpg"}), "line 1: expected the name of a picture within"),
            (f"{json.dumps(record('n4', 0))}\n" * 2, "line 2: expected every image once.*first in .*line 1"),
            ("", "got an empty file"),
        ],
        ids=["json", "object", "keys", "three corners", "no box", "negative box", "nan", "outside", "twice", "empty"],
    )
    def test_a_malformed_index_is_located(self, tmp_path: Path, line: str, message: str) -> None:
        (tmp_path / "images.jsonl").write_text(line + "\n")
        with pytest.raises(DataError, match=message):
            load_dataset(f"animalpart:{tmp_path}")


@pytest.fixture(scope="module")
def birds(shared: Path) -> PartDataset:
    return load_dataset(f"animalpart:{shared / 'data' / 'animalpart'}", category="bird", split="all", max_bad=0)


@pytest.fixture(scope="module")
def animals(shared: Path) -> PartDataset:
    return load_dataset(f"animalpart:{shared / 'data' / 'animalpart'}", split="all", max_bad=0)


class TestReal:
    def test_birds_and_background_are_all_there(self, birds: PartDataset) -> None:
        assert {name: count.num_images for name, count in birds.counts().items()} == {"background": 700, "bird": 236}
        assert birds.parts == ["head", "leg"]

    def test_a_bird_goes_by_its_identifier(self, birds: PartDataset) -> None:
        assert load_dataset(birds.spec, category="n01503061", split="all").samples == birds.samples

    def test_all_categories_are_there(self, animals: PartDataset) -> None:
        assert (len(animals.classes), len(animals)) == (24, 5151)

    def test_no_photograph_is_on_both_sides(self, animals: PartDataset) -> None:
        assert len(photographs(animals)) < len(animals)  # some photographs have several crops
        assert photographs(animals.with_split("train")).isdisjoint(photographs(animals.with_split("test")))

    def test_the_test_side_holds_about_thirty_percent(self, animals: PartDataset) -> None:
        assert len(animals.with_split("test")) / len(animals) == pytest.approx(0.3, abs=0.02)

    def test_boxes_lie_inside_their_pictures(self, birds: PartDataset) -> None:
        for sample in birds.samples:
            width, height = sample.load_image().size
            boxes = [sample.object_box] if sample.object_box else []
            for box in boxes + [box for shapes in sample.parts.values() for box in shapes]:
                assert 0 <= box.x0 < box.x1 <= width, sample.image_path
                assert 0 <= box.y0 < box.y1 <= height, sample.image_path


def photographs(data: PartDataset) -> set[str]:
    return {sample.image_id for sample in data.samples}
