"""The authors' own layout of Animal-Part: a made-up one in both versions of MATLAB files, then the real frogs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from partcnn.datasets import Box, PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError
from tests.data_files import NO_ENTRY, TRUTH, frog_entry, write_animalpart_original, write_mat5, write_mat73

FROG = "n01639765"
HEADS = f"{TRUTH}/{FROG}/truth_part01.mat"


@pytest.fixture(params=[write_mat73, write_mat5], ids=["v7.3", "v5"])
def write_mat(request: pytest.FixtureRequest) -> Callable[..., Path]:
    return request.param


@pytest.fixture
def small(tmp_path: Path, write_mat: Callable[..., Path]) -> Path:
    return write_animalpart_original(tmp_path, write_mat)


def read(root: Path, category: str | None = "frog", **options: Any) -> PartDataset:
    return load_dataset(f"animalpart:{root}", category=category, split="all", **options)


class TestSmall:
    def test_boxes_are_edges_in_the_whole_frame(self, small: Path) -> None:
        first, second = (sample for sample in read(small).samples if sample.label)
        assert first.object_box == Box(10, 20, 234, 132)
        # x: xmin + (56 ± 28/2) · 223/224 of MATLAB's pixels, so 11 + 41.8125 is its first pixel, whose edge is 51.8125
        assert first.parts.keys() == {"head"}
        assert first.parts["head"] == [pytest.approx((51.8125, 20 + 56 * 111 / 224, 80.6875, 21 + 168 * 111 / 224))]
        assert second.object_box == Box(0, 0, 300, 200)
        assert len(second.parts["leg"]) == 2
        assert second.landmark("leg") is None  # two boxes: which one a filter should follow is undefined

    def test_one_category_stands_against_the_negatives(self, small: Path) -> None:
        data = read(small)
        assert (data.classes, data.parts, data.background) == (["background", "frog"], ["head", "leg"], 0)
        assert [sample.label for sample in data.samples] == [0, 0, 1, 1]

    def test_all_categories_stand_without_background(self, small: Path) -> None:
        data = read(small, None)
        assert (data.classes, data.background, len(data)) == (["frog"], None, 2)

    def test_an_object_below_fifty_by_fifty_is_left_out_and_counted(self, small: Path) -> None:
        assert read(small).skipped == {"objects smaller than 50×50 pixels": 1}

    def test_the_photograph_is_named_by_the_truth_file(self, small: Path) -> None:
        assert [sample.image_id for sample in read(small, None).samples] == ["n01639765_7", "n01639765_9"]

    def test_without_data_mat_the_boxes_come_from_the_truth_files(self, small: Path) -> None:
        (small / "detanimalpart" / f"{FROG}_obj" / "img" / "data.mat").unlink()
        data = read(small, None)
        assert [sample.object_box for sample in data.samples] == [Box(10, 20, 234, 132), Box(0, 0, 300, 200)]
        assert data.skipped == {"pictures without an object box": 1}

    def test_an_unknown_folder_is_told_both_layouts(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"images\.jsonl.*nor the folders detanimalpart and interpretableCNN"):
            read(tmp_path / "empty")

    def test_a_missing_picture_is_counted_as_unreadable(self, small: Path) -> None:
        (small / "detanimalpart" / f"{FROG}_obj" / "img" / "img" / "00001.jpg").unlink()
        assert read(small).num_bad == 1
        with pytest.raises(DataError, match=r"00001\.jpg"):
            read(small, max_bad=0)

    def test_without_the_heads_the_file_is_named(self, small: Path) -> None:
        (small / HEADS).unlink()
        with pytest.raises(DataError, match=r"truth_part01\.mat: expected the boxes of the heads"):
            read(small)


class TestDamaged:
    def test_a_truncated_mat_file_is_named(self, small: Path) -> None:
        content = (small / HEADS).read_bytes()
        (small / HEADS).write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=r"truth_part01\.mat: expected"):
            read(small)

    @pytest.mark.parametrize("content", [b"", b"no MATLAB file", b"\x89HDF\r\n\x1a\n" + bytes(2000)])
    def test_what_is_no_mat_file_is_named(self, small: Path, content: bytes) -> None:
        (small / HEADS).write_bytes(content)
        with pytest.raises(DataError, match=r"truth_part01\.mat: expected a MATLAB file"):
            read(small)

    def test_another_variable_is_named(self, small: Path, write_mat: Callable[..., Path]) -> None:
        write_mat(small / HEADS, "other", [NO_ENTRY] * 3)
        with pytest.raises(DataError, match="expected the variable 'truth'"):
            read(small)

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (frog_entry((1, 1, 99, 99), [[np.nan], [9]], [[9], [9]], "x"), "entry 1.*finite number.*pHW_center"),
            (frog_entry((1, 1, 99, 99), [[9], [9]], [[-9], [9]], "x"), "entry 1.*pHW_scale of at least 0"),
            (frog_entry((99, 1, 1, 99), [[9], [9]], [[9], [9]], "x"), "entry 1.*expected x1 ≥ x0"),
            (frog_entry(("no", 1, 1, 99), [[9], [9]], [[9], [9]], "x"), "entry 1.*finite number for xmin, got 'no'"),  # type: ignore[arg-type]
            (frog_entry((1, 1, 99, 99), [[9], [9]], [[9, 9], [9, 9]], "x"), "entry 1.*as many pHW_scale"),
            (frog_entry((1, 1, 99, 99), [[9], [9], [9]], [[9], [9], [9]], "x"), r"entry 1.*array \[2, box\]"),
        ],
        ids=["nan", "negative size", "negative box", "text", "numbers differ", "three rows"],
    )
    def test_a_malformed_entry_is_located(
        self, small: Path, write_mat: Callable[..., Path], entry: dict[str, Any], message: str
    ) -> None:
        write_mat(small / HEADS, "truth", [entry, NO_ENTRY, NO_ENTRY])
        with pytest.raises(DataError, match=rf"truth_part01\.mat, {message}"):
            read(small)

    def test_files_of_different_length_are_told(self, small: Path, write_mat: Callable[..., Path]) -> None:
        write_mat(small / HEADS, "truth", [NO_ENTRY] * 2)
        with pytest.raises(DataError, match=r"truth_part01\.mat: expected 3 entries"):
            read(small)

    def test_a_part_outside_the_picture_is_left_out_and_counted(
        self, small: Path, write_mat: Callable[..., Path]
    ) -> None:
        far = frog_entry((1, 1, 300, 200), [[112], [400]], [[20], [20]], "n01639765_7")
        write_mat(small / HEADS, "truth", [far, NO_ENTRY, NO_ENTRY])
        data = read(small)
        assert data.skipped["parts outside their picture"] == 1
        assert data.samples[2].parts == {}


@pytest.fixture(scope="module")
def frogs(shared: Path) -> PartDataset:
    return read(shared / "data" / "original_layouts", max_bad=0)


class TestReal:
    """Against the compact copy, which was made from the same files by other hands, and raw counts."""

    def test_every_box_is_that_of_the_compact_copy(self, shared: Path, frogs: PartDataset) -> None:
        lines = (shared / "data" / "animalpart" / "images.jsonl").read_text().splitlines()
        records = [record for record in map(json.loads, lines) if record["wnid"] == FROG]
        by_file = {f"{FROG}_obj/img/img/{s.image_path.name}": s for s in frogs.samples if s.label}
        num_boxes = 0
        for record in records:
            sample = by_file[record["source_file"]]
            assert sample.image_id == record["imagenet_id"]
            assert list(sample.load_image().size) == record["source_size"]
            assert in_crop(sample.object_box, record) == pytest.approx(record["object_box"], abs=0.02)
            for part in ("head", "leg"):
                expected = [entry["box"] for entry in record["parts"] if entry["part"] == part]
                found = [in_crop(box, record) for box in sample.parts.get(part, [])]
                assert found == [pytest.approx(box, abs=0.02) for box in expected]
                num_boxes += len(expected)
        assert (len(records), num_boxes) == (171, 271)

    def test_frogs_without_a_part_are_kept(self, frogs: PartDataset) -> None:
        assert sum(not sample.parts for sample in frogs.samples if sample.label) == 179 - 171

    def test_counts_are_those_of_the_raw_files(self, shared: Path, frogs: PartDataset) -> None:
        counts = frogs.counts()
        assert {name: count.num_images for name, count in counts.items()} == {"background": 5, "frog": 179}
        for part, file in (("head", "truth_part01.mat"), ("leg", "truth_part02.mat")):
            with h5py.File(shared / "data" / "original_layouts" / TRUTH / FROG / file) as raw:
                centers = [raw[reference] for reference in raw["truth/pHW_center"][:, 0]]
                filled = [center for center in centers if "MATLAB_empty" not in center.attrs]
            assert counts["frog"].num_part_images[part] == len(filled)

    def test_a_damaged_copy_is_one_error(self, shared: Path, tmp_path: Path) -> None:
        for folder in ("detanimalpart", "interpretableCNN"):
            shutil.copytree(shared / "data" / "original_layouts" / folder, tmp_path / folder, copy_function=copy_data)
        file = tmp_path / "detanimalpart" / f"{FROG}_obj" / "img" / "data.mat"
        content = file.read_bytes()
        file.write_bytes(content[:300_000] + bytes(200_000) + content[500_000:])
        with pytest.raises(DataError, match=r"data\.mat"):
            read(tmp_path, max_bad=1000)


def copy_data(source: str, target: str) -> None:
    """Annotations only: pictures may be missing here."""
    Path(target).touch() if source.lower().endswith(("jpg", "jpeg")) else shutil.copyfile(source, target)


def in_crop(box: Any, record: dict[str, Any]) -> list[float]:
    """A box of the whole frame in pixels of the compact copy's picture, cut at its edges."""
    x0, y0, x1, y1 = record["source_crop"]
    scale_x, scale_y = record["width"] / (x1 - x0), record["height"] / (y1 - y0)
    moved = np.array(
        [(box.x0 - x0) * scale_x, (box.y0 - y0) * scale_y, (box.x1 - x0) * scale_x, (box.y1 - y0) * scale_y]
    )
    return np.clip(moved, 0, [record["width"], record["height"]] * 2).tolist()
