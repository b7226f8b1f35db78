"""Shards of pictures: what is read of them, and what is said of damaged ones."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partcnn.app.cli.commands import main
from partcnn.datasets import Box, PartDataset, Point
from partcnn.datasets.loading import load_dataset
from partcnn.datasets.readers import webdataset
from partcnn.foundation.errors import DataError
from tests.data_files import picture_bytes, write_shard

ANNOTATED = {
    "class": "cat",
    "object_box": [1, 2, 50, 39],
    "parts": [{"part": "head", "box": [3.5, 4, 10, 12]}, {"part": "eye", "xy": [7, 8]}],
}


def sample(key: str, label: str, ending: str = "png") -> dict[str, bytes]:
    return {f"{key}.{ending}": picture_bytes(ending), f"{key}.cls": label.encode()}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    files = sample("a", "1", "jpg") | sample("b", "10", "webp") | sample("c", "2")
    return write_shard(tmp_path / "train-000.tar", files)


def read(place: object, category: str | None = None, split: str = "all", **settings: int) -> PartDataset:
    return load_dataset(f"webdataset:{place}", category=category, split=split, **settings)


class TestWhatIsRead:
    def test_numbers_are_classes_in_their_order(self, shard: Path) -> None:
        data = read(shard)
        assert data.classes == ["1", "2", "10"]
        assert [one.label for one in data.samples] == [0, 2, 1]
        assert [one.image_path.name for one in data.samples] == ["a.jpg", "b.webp", "c.png"]

    def test_a_picture_is_the_one_in_the_archive(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="png")
        files = sample("a", "x") | {"deep/b.png": buffer.getvalue(), "deep/b.cls": b" y\n"} | sample("c", "x")
        data = read(write_shard(tmp_path / "s.tar", files))
        drawn = next(one for one in data.samples if one.image_path.name == "b.png")
        assert np.array_equal(np.asarray(drawn.load_image()), pixels)
        assert np.array_equal(np.asarray(drawn.load_reduced((40, 60))[0]), pixels)
        assert drawn.checked is not None
        assert drawn.checked.size == (40, 60)
        assert drawn.picture_digest() == drawn.checked.digest

    def test_json_gives_class_object_and_parts(self, tmp_path: Path) -> None:
        files = {"1.png": picture_bytes(), "1.json": json.dumps(ANNOTATED).encode()} | sample("2", "dog")
        data = read(write_shard(tmp_path / "s.tar", files))
        assert data.classes == ["cat", "dog"]
        assert data.samples[0].object_box == Box(1, 2, 50, 39)
        assert dict(data.samples[0].parts) == {"head": [Box(3.5, 4, 10, 12)], "eye": [Point(7, 8)]}
        cut = load_dataset(data.spec, split="all", crop="object")
        assert cut.samples[0].load_image().size == (55, 40)

    def test_a_category_stands_against_all_others(self, shard: Path) -> None:
        data = read(shard, category="10")
        assert data.classes == ["background", "10"]
        assert [one.label for one in data.samples] == [0, 1, 0]

    def test_braces_and_stars_name_shards(self, tmp_path: Path) -> None:
        for number in range(12):
            write_shard(tmp_path / f"t-{number:03d}.tar", sample("a", str(number % 2)))
        names = [one.image_id for one in read(f"{tmp_path}/t-{{000..011}}.tar").samples]
        assert names == [f"t-{number:03d}.tar/a" for number in range(12)]
        assert [one.image_id for one in read(f"{tmp_path}/t-*.tar").samples] == names
        assert [one.image_id for one in read(f"{tmp_path}/t-{{004,001}}.tar").samples] == [names[4], names[1]]
        assert len(read(f"{tmp_path}/t-0{{0,1}}{{0..1}}.tar").samples) == 4

    def test_two_patterns_are_the_two_sides(self, tmp_path: Path) -> None:
        for name in ("train-0", "train-1", "test-0"):
            write_shard(tmp_path / f"{name}.tar", sample("a", "x") | sample("b", "y"))
        place = f"{tmp_path}/train-{{0,1}}.tar,{tmp_path}/test-0.tar"
        assert len(read(place, split="train").samples) == 4
        assert [one.image_id for one in read(place, split="test").samples] == ["test-0.tar/a", "test-0.tar/b"]

    def test_one_pattern_is_split_by_shard_and_key_wherever_it_lies(self, tmp_path: Path) -> None:
        files = {name: content for n in range(40) for name, content in sample(f"k{n}", str(n % 2)).items()}
        sides = []
        for folder in ("one", "two"):
            data = read(write_shard(tmp_path / folder / "s.tar", files), split="train")
            sides.append([one.image_id for one in data.samples])
        assert sides[0] == sides[1]
        assert 20 <= len(sides[0]) <= 36

    def test_pictures_of_shards_are_trained_on_measured_and_shown(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PARTCNN_CACHE", str(tmp_path / "cache"))
        random = np.random.default_rng(0)
        files = {}
        for number in range(24):
            buffer = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, format="png")
            files |= {f"{number}.png": buffer.getvalue(), f"{number}.cls": str(number % 2).encode()}
        write_shard(tmp_path / "s.tar", files)
        out = str(tmp_path / "run")
        command = ["train", "--data", f"webdataset:{tmp_path}/s.tar", "--backbone", "demo", "--weights", "none"]
        command += ["--epochs", "1", "--workers", "2", "--network.input_size", "64", "--network.filters", "4"]
        assert main([*command, "--out", out]) == 0
        assert main(["report", out]) == 0
        assert main(["evaluate", out]) == 0


class TestDamage:
    """Each fault is one error that says where it is, or is left out and counted."""

    @pytest.mark.fault("data", "a shard is cut", "one error that names it and the byte")
    @pytest.mark.parametrize("keeps", [100, 512, 700, 1024, 1536, 2048, 3000])
    def test_a_shard_that_is_cut(self, shard: Path, keeps: int) -> None:
        shard.write_bytes(shard.read_bytes()[:keeps])
        with pytest.raises(DataError, match=r"train-000.tar"):
            read(shard)

    @pytest.mark.fault("data", "a shard is no tar archive, empty, or a picture", "one error that names it")
    @pytest.mark.parametrize("content", [b"", b"no archive" * 300, picture_bytes()], ids=["empty", "text", "picture"])
    def test_a_file_that_is_no_archive(self, shard: Path, content: bytes) -> None:
        shard.write_bytes(content)
        with pytest.raises(DataError, match=r"train-000.tar: expected a tar archive"):
            read(shard)

    @pytest.mark.fault("data", "a shard is compressed", "one error that says to unpack it")
    @pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
    def test_a_compressed_archive(self, shard: Path, kind: str) -> None:
        with tarfile.open(shard, f"w:{kind}") as tar:  # type: ignore[call-overload]
            tar.addfile(tarfile.TarInfo("a.cls"), io.BytesIO())
        with pytest.raises(DataError, match="not compressed, got"):
            read(shard)

    @pytest.mark.fault(
        "data", "a header within a shard is damaged", "one error that names the byte; no picture is lost silently"
    )
    def test_a_damaged_header_is_not_taken_for_the_end(self, shard: Path) -> None:
        content = bytearray(shard.read_bytes())
        with tarfile.open(shard) as tar:
            place = tar.getmember("b.webp").offset
        content[place + 150] ^= 1  # of the checksum
        shard.write_bytes(content)
        with pytest.raises(DataError, match=f"damaged bytes at {place}"):
            read(shard)

    @pytest.mark.fault("data", "two shards were put together with cat", "one error that says what to do")
    def test_an_archive_that_goes_on_behind_its_end(self, shard: Path) -> None:
        shard.write_bytes(shard.read_bytes() * 2)
        with pytest.raises(DataError, match="concatenate"):
            read(shard)

    @pytest.mark.fault("data", "a key stands twice in a shard", "one error that names the file")
    def test_a_key_that_stands_twice(self, tmp_path: Path) -> None:
        files = [*sample("a", "1").items(), *sample("b", "2").items(), *sample("a", "1").items()]
        with pytest.raises(DataError, match=r"s.tar: expected every file once, got 'a.png' again"):
            read(write_shard(tmp_path / "s.tar", files))

    @pytest.mark.fault("data", "a key has two pictures", "one error that names both")
    def test_a_key_with_two_pictures(self, tmp_path: Path) -> None:
        files = sample("a", "1") | {"a.jpg": picture_bytes("jpg")} | sample("b", "2")
        with pytest.raises(DataError, match=r"s.tar/a: expected one picture a key, got a.jpg, a.png"):
            read(write_shard(tmp_path / "s.tar", files))

    @pytest.mark.fault(
        "data", "pictures of a shard without a class, and classes without a picture", "left out and counted"
    )
    def test_what_lacks_its_other_half_is_left_out(self, shard: Path) -> None:
        files = (
            sample("a", "1") | sample("b", "2") | {"c.png": picture_bytes(), "d.cls": b"1", "e.png": picture_bytes()}
        )
        data = read(write_shard(shard, files | {"e.cls": b"  "}))
        assert len(data.samples) == 2
        assert data.skipped == {webdataset.NO_CLASS: 2, webdataset.NO_PICTURE: 1}

    @pytest.mark.fault("data", "a picture in a shard cannot be read", "left out up to max_bad, and named")
    def test_a_picture_that_cannot_be_read(self, shard: Path) -> None:
        files = sample("a", "1") | sample("b", "2") | {"c.jpg": picture_bytes("jpg")[:300], "c.cls": b"1"}
        data = read(write_shard(shard, files))
        assert (len(data.samples), data.num_bad) == (2, 1)
        with pytest.raises(DataError, match=r"max_bad = 0 .*train-000.tar/c.jpg: expected a readable picture"):
            read(shard, max_bad=0)

    @pytest.mark.fault("data", "names in a shard lead out of it, and links", "left out and counted; nothing is written")
    def test_names_that_lead_out(self, tmp_path: Path) -> None:
        tricks = {"../x.png": b"", "/etc/x.png": b"", "a/../../x.cls": b"", "C:\\x.png": b"", "..\\x.png": b""}
        place = tmp_path / "inner" / "s.tar"
        write_shard(place, sample("a", "1") | tricks | sample("b", "2"))
        with tarfile.open(place, "a") as tar:
            link = tarfile.TarInfo("l.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        data = read(place)
        assert len(data.samples) == 2
        assert sorted(data.skipped.values()) == [1, 5]
        assert [path.name for path in tmp_path.iterdir()] == ["inner"]

    @pytest.mark.fault("data", "files of other programs in a shard", "left out and counted")
    def test_files_without_a_key(self, shard: Path) -> None:
        data = read(
            write_shard(shard, sample("a", "1") | {".DS_Store": b"x", "__MACOSX/._a.png": b"x"} | sample("b", "2"))
        )
        assert data.skipped == {webdataset.NO_KEY: 2}

    @pytest.mark.fault("data", "a .json or .cls of a shard is damaged", "one error that names it")
    @pytest.mark.parametrize(
        ("said", "message"),
        [
            (b"{", "a.json: expected JSON"),
            (b"[1]", "a.json: expected a JSON object"),
            (b"\xff\xfe\xfd", "a.json: expected text in UTF-8"),
            (b'{"class": []}', "expected text for class"),
            (b'{"class": "x", "parts": 3}', "expected a list of parts"),
            (b'{"class": "x", "parts": [{"part": "head"}]}', "expected a part with its name and a box or xy"),
            (b'{"class": "x", "parts": [{"part": "head", "xy": [1]}]}', "expected two numbers for head"),
            (b'{"class": "x", "object_box": [3, 2, 1, 4]}', "x1 ≥ x0"),
        ],
    )
    def test_annotations_that_are_damaged(self, shard: Path, said: bytes, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read(write_shard(shard, {"a.png": picture_bytes(), "a.json": said} | sample("b", "2")))

    @pytest.mark.fault("data", "a shard of a range is missing", "one error that names the first")
    def test_a_hole_in_a_range(self, shard: Path) -> None:
        with pytest.raises(DataError, match=r"expected 3 shards by .*; 2 are no files, the first .*train-001.tar"):
            read(shard.parent / "train-{000..002}.tar")

    @pytest.mark.fault(
        "data", "shards on another machine, or a pattern without sense", "one error that says what to give"
    )
    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ("", "got no shards"),
            ("https://host/t-{0..3}.tar", "copy them here"),
            ("pipe:cat x.tar", "copy them here"),
            ("t-{0..999999999}.tar", "at most 100000 shards"),
            ("{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}", "at most 100000 shards"),
            ("t-{x}.tar", "expected a range"),
            ("nothing-*.tar", "found none"),
            ("{a,a}", "are no files"),
        ],
    )
    def test_patterns_that_name_nothing(
        self, place: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DataError, match=message):
            read(place)

    @pytest.mark.fault("data", "shards of one class, or an unknown category", "one error that lists what there is")
    def test_classes_that_are_too_few(self, shard: Path) -> None:
        with pytest.raises(DataError, match="category: expected one of 1, 10, 2; got 'x'"):
            read(shard, category="x")
        with pytest.raises(DataError, match="at least two classes, found only '1'"):
            read(write_shard(shard, sample("a", "1")))

    @pytest.mark.fault("data", "a shard is cut after it was opened", "the picture is named, not another one shown")
    def test_a_shard_that_changes_while_it_is_used(self, shard: Path) -> None:
        data = read(shard)
        last = data.samples[-1]
        before = last.picture_digest()
        shard.write_bytes(shard.read_bytes()[:3000])
        with pytest.raises(DataError, match=r"train-000.tar/c.png: expected a readable picture"):
            last.load_image()
        write_shard(shard, sample("a", "1", "jpg") | sample("b", "10", "webp") | {"c.png": picture_bytes(colour=1)})
        assert last.picture_digest() != before
