"""load_dataset, the split and the folder reader."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from partcnn.datasets import Catalogue, PartDataset, Sample, assign_split
from partcnn.datasets.loading import DATASETS, load_dataset
from partcnn.foundation.errors import ConfigError, DataError

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A folder with so many small pictures of each class: make_folder(cat=3, dog=2)."""

    def make(**num_pictures: int) -> Path:
        for name, num in num_pictures.items():
            (tmp_path / "pictures" / name).mkdir(parents=True)
            for index in range(num):
                colour = (index, *hashlib.sha1(name.encode()).digest()[:2])  # another one in each class
                Image.new("RGB", (5, 4), colour).save(tmp_path / "pictures" / name / f"{index:03d}.png")
        return tmp_path / "pictures"

    return make


def image_ids(dataset: PartDataset) -> set[str]:
    return {sample.image_id for sample in dataset.samples}


class TestSplit:
    @pytest.mark.parametrize("image_id", ["n01503061_10014", "fox/0007", "chat/été.jpg", ""])
    def test_the_split_is_the_leading_fraction_of_sha1(self, image_id: str) -> None:
        fraction = int(hashlib.sha1(image_id.encode("utf-8")).hexdigest()[:16], 16) / 16**16
        assert assign_split(image_id) == ("train" if fraction < 0.7 else "test")

    def test_the_split_of_a_name_never_changes(self) -> None:
        # written down once: a new release must not move anyone's test pictures into training
        assert [assign_split(f"fox/{index:04d}") for index in range(8)] == PINNED_SPLITS

    def test_about_seventy_percent_train(self) -> None:
        share = sum(assign_split(str(number)) == "train" for number in range(4000)) / 4000
        assert 0.68 < share < 0.72

    def test_train_and_test_share_nothing_and_make_up_all(self, make_folder: MakeFolder) -> None:
        data = load_dataset(f"folder:{make_folder(cat=20, dog=20)}", split="all")
        train, test = image_ids(data.with_split("train")), image_ids(data.with_split("test"))
        assert not train & test
        assert train | test == image_ids(data)
        assert len(data) == 40

    def test_a_new_file_moves_no_other(self, make_folder: MakeFolder) -> None:
        root = make_folder(cat=20, dog=20)
        before = image_ids(load_dataset(f"folder:{root}", split="test"))
        for index in range(5):
            Image.new("RGB", (4, 4)).save(root / "cat" / f"a{index}.png")
        after = image_ids(load_dataset(f"folder:{root}", split="test"))
        assert {name for name in after if "/a" not in name} == before

    def test_with_split_leaves_the_data_set_it_came_from_alone(self, make_folder: MakeFolder) -> None:
        train = load_dataset(f"folder:{make_folder(cat=20, dog=20)}")
        num_train = len(train)
        assert train.with_split("test").split == "test"
        assert (train.split, len(train)) == ("train", num_train)

    def test_an_unknown_split_names_those_there_are(self, make_folder: MakeFolder) -> None:
        with pytest.raises(ConfigError, match=r"split: expected one of train, test, all, got 'val'"):
            load_dataset(f"folder:{make_folder(cat=2, dog=2)}", split="val")

    def test_a_split_without_pictures_is_an_error(self, make_folder: MakeFolder) -> None:
        data = load_dataset(f"folder:{make_folder(bee=1, cat=1)}", split="train")
        assert len(data) == 2
        with pytest.raises(DataError, match="expected pictures in 'test', got none of 2; add pictures"):
            data.with_split("test")

    def test_a_class_without_pictures_in_a_split_is_warned_of(
        self, make_folder: MakeFolder, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, logger="partcnn"):
            load_dataset(f"folder:{make_folder(cat=20, dog=1)}", split=_other(assign_split("dog/000.png")))
        assert "has no picture of the class 'dog'" in caplog.text


class TestFolder:
    def test_without_a_category_every_subfolder_is_a_class(self, make_folder: MakeFolder) -> None:
        data = load_dataset(f"folder:{make_folder(dog=2, cat=3, ant=1)}", split="all")
        assert data.classes == ["ant", "cat", "dog"]
        assert [sample.label for sample in data.samples] == [0, 1, 1, 1, 2, 2]
        assert (data.background, data.category, data.parts) == (None, None, [])

    def test_with_a_category_all_others_are_background(self, make_folder: MakeFolder) -> None:
        root = make_folder(dog=2, cat=3, ant=1)
        data = load_dataset(f"folder:{root}", category="cat", split="all")
        assert data.classes == ["background", "cat"]
        assert (data.background, data.category) == (0, "cat")
        assert {s.image_path.parent.name for s in data.samples if s.label == 1} == {"cat"}
        assert [count.num_images for count in data.counts().values()] == [3, 3]

    def test_the_task_does_not_change_the_split(self, make_folder: MakeFolder) -> None:
        root = make_folder(dog=9, cat=9)
        assert image_ids(load_dataset(f"folder:{root}")) == image_ids(load_dataset(f"folder:{root}", category="cat"))

    def test_pictures_may_lie_deeper_and_are_named_by_their_posix_path(self, make_folder: MakeFolder) -> None:
        root = make_folder(cat=1, dog=1)
        (root / "cat" / "old").mkdir()
        Image.new("L", (4, 4)).save(root / "cat" / "old" / "x.jpg")
        data = load_dataset(f"folder:{root}", split="all")
        assert image_ids(data) == {"cat/000.png", "cat/old/x.jpg", "dog/000.png"}

    def test_hidden_leavings_of_other_programs_are_left_out(self, make_folder: MakeFolder) -> None:
        root = make_folder(cat=1, dog=1)
        (root / ".cache").mkdir()
        (root / "cat" / "._000.png").write_bytes(b"not a picture")
        data = load_dataset(f"folder:{root}", split="all", max_bad=0)
        assert data.classes == ["cat", "dog"]
        assert len(data) == 2

    @pytest.mark.parametrize(("folders", "found"), [({}, "no folder"), ({"cat": 1}, "only the folder 'cat'")])
    def test_fewer_than_two_classes_are_an_error(
        self, make_folder: MakeFolder, tmp_path: Path, folders: dict[str, int], found: str
    ) -> None:
        (tmp_path / "pictures").mkdir() if not folders else make_folder(**folders)
        with pytest.raises(DataError, match=f"pictures: expected at least two folders.*{found}"):
            load_dataset(f"folder:{tmp_path / 'pictures'}")

    def test_a_class_without_pictures_is_an_error(self, make_folder: MakeFolder) -> None:
        with pytest.raises(DataError, match="found none in dog"):
            load_dataset(f"folder:{make_folder(cat=2, dog=0)}")

    def test_an_unknown_category_lists_those_there_are(self, make_folder: MakeFolder) -> None:
        with pytest.raises(DataError, match="expected one of cat, dog; got 'bird'"):
            load_dataset(f"folder:{make_folder(cat=2, dog=2)}", category="bird")

    def test_the_background_cannot_be_the_category(self, make_folder: MakeFolder) -> None:
        with pytest.raises(DataError, match="give another class"):
            load_dataset(f"folder:{make_folder(cat=2, background=2)}", category="background")


class TestUnreadablePictures:
    def test_they_are_named_counted_and_left_out(
        self, make_folder: MakeFolder, caplog: pytest.LogCaptureFixture
    ) -> None:
        root = make_folder(cat=3, dog=3)
        (root / "cat" / "broken.jpg").write_bytes(b"not a picture")
        (root / "dog" / "empty.png").write_bytes(b"")
        with caplog.at_level(logging.WARNING, logger="partcnn"):
            data = load_dataset(f"folder:{root}", split="all")
        assert (len(data), data.num_bad) == (6, 2)
        assert len(caplog.records) == 1
        assert "2 of 8" in caplog.text
        assert "broken.jpg" in caplog.text
        assert "empty.png" in caplog.text

    def test_more_than_max_bad_are_an_error(self, make_folder: MakeFolder) -> None:
        root = make_folder(cat=3, dog=3)
        for index in range(2):
            (root / "cat" / f"broken{index}.jpg").write_bytes(b"not a picture")
        assert load_dataset(f"folder:{root}", split="all", max_bad=2).num_bad == 2
        with pytest.raises(DataError, match=r"at most max_bad = 1 unreadable pictures, got 2 of 8.*broken0\.jpg"):
            load_dataset(f"folder:{root}", max_bad=1)

    def test_a_negative_max_bad_is_an_error(self, make_folder: MakeFolder) -> None:
        with pytest.raises(ConfigError, match="max_bad"):
            load_dataset(f"folder:{make_folder(cat=2, dog=2)}", max_bad=-1)


class TestSpec:
    @pytest.mark.parametrize("spec", ["photos:/tmp", "nowhere", ""], ids=["scheme", "bare", "empty"])
    def test_an_unknown_kind_lists_those_there_are(self, spec: str) -> None:
        with pytest.raises(DataError, match=f"KIND one of {', '.join(DATASETS)}"):
            load_dataset(spec)

    def test_a_bare_path_is_told_how_to_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=f"'folder:{tmp_path}'"):
            load_dataset(str(tmp_path))

    @pytest.mark.parametrize("kind", ["folder", "animalpart"])
    def test_a_missing_place_is_named(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="absent: expected the folder of a data set, found nothing"):
            load_dataset(f"{kind}:{tmp_path / 'absent'}")

    @pytest.mark.parametrize("kind", ["folder", "animalpart"])
    def test_a_file_in_place_of_a_folder_is_named(self, kind: str, tmp_path: Path) -> None:
        (tmp_path / "file.txt").write_text("")
        with pytest.raises(DataError, match=r"file\.txt: expected the folder of a data set, got a file"):
            load_dataset(f"{kind}:{tmp_path / 'file.txt'}")

    @pytest.mark.parametrize("kind", ["folder", "animalpart"])
    def test_a_place_left_out_is_an_error(self, kind: str) -> None:
        with pytest.raises(DataError, match="expected the path of a folder after the colon"):
            load_dataset(f"{kind}:")


def _other(split: str) -> str:
    return "test" if split == "train" else "train"


PINNED_SPLITS = ["test", "train", "test", "train", "train", "train", "test", "test"]


@pytest.mark.fault("data", "a split lacks hundreds of classes", "one warning that counts them")
def test_many_classes_without_a_picture_are_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    names = [f"class {number}" for number in range(30)]
    samples = [Sample(Path(f"{label}.png"), label, None, {}, f"{label}", split="train") for label in range(30)]
    samples.append(Sample(Path("x.png"), 3, None, {}, "x", split="test"))
    PartDataset(Catalogue(samples, names, []), split="test", spec="mine")
    assert caplog.messages == ["mine: the split 'test' has no picture of 29 of 30 classes, the first 'class 0'"]
