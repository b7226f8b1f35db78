"""Shapes, samples and the reading of picture files."""

import hashlib
import io
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partcnn.datasets import Box, MaskShape, Point, Sample, read_picture
from partcnn.datasets.pictures import check_picture, results_or_errors
from partcnn.foundation.errors import DataError

ORIENTATION_TAG = 0x0112
TURN_LEFT = 6  # the camera was held so that the stored picture must turn by 90° clockwise


def mask_of(rows: slice, cols: slice) -> MaskShape:
    mask = np.zeros((6, 8), dtype=bool)
    mask[rows, cols] = True
    return MaskShape(mask)


def sample_of(parts: dict[str, list[Box | Point | MaskShape]]) -> Sample:
    return Sample(Path("x.png"), 1, None, parts, "x")


class TestShapes:
    def test_the_centre_of_a_box_lies_between_its_edges(self) -> None:
        assert Box(2, 3, 7, 4).center == Point(4.5, 3.5)

    def test_a_point_is_its_own_centre(self) -> None:
        assert Point(2.25, 3).center == Point(2.25, 3)

    def test_the_box_of_a_mask_ends_at_the_far_edge_of_its_last_pixel(self) -> None:
        assert mask_of(slice(1, 3), slice(2, 7)).box == Box(2, 1, 7, 3)

    def test_the_mask_of_the_first_pixel_has_its_centre_at_one_half(self) -> None:
        assert mask_of(slice(0, 1), slice(0, 1)).center == Point(0.5, 0.5)

    def test_the_centre_of_a_mask_is_that_of_its_box(self) -> None:
        mask = np.zeros((6, 8), dtype=bool)
        mask[0, :] = True
        mask[5, 0] = True  # the centroid would lie near the top
        assert MaskShape(mask).center == Point(4, 3)

    @pytest.mark.parametrize(
        "mask",
        [np.zeros((4, 4), dtype=bool), np.ones((4, 4)), np.ones((1, 4, 4), dtype=bool)],
        ids=["empty", "float", "three axes"],
    )
    def test_what_is_no_mask_is_refused(self, mask: np.ndarray) -> None:
        with pytest.raises(DataError, match="mask: expected"):
            MaskShape(mask)


class TestLandmark:
    def test_it_is_the_centre_of_the_single_shape(self) -> None:
        assert sample_of({"head": [Box(0, 0, 4, 2)]}).landmark("head") == Point(2, 1)

    def test_a_part_that_is_absent_has_none(self) -> None:
        assert sample_of({"head": [Box(0, 0, 4, 2)]}).landmark("leg") is None

    def test_a_part_with_two_shapes_has_none(self) -> None:
        assert sample_of({"leg": [Box(0, 0, 4, 2), Box(4, 0, 6, 2)]}).landmark("leg") is None


class TestReadPicture:
    def test_the_exif_turn_is_applied(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (40, 20))
        image.paste((255, 255, 255), (0, 0, 40, 4))  # a bright upper edge, which the turn brings to the right
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = TURN_LEFT
        image.save(tmp_path / "turned.jpg", exif=exif)
        pixels = np.asarray(read_picture(tmp_path / "turned.jpg"))
        assert pixels.shape == (40, 20, 3)
        assert pixels[:, -2:].min() > 200
        assert pixels[:, :10].max() < 50

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
    def test_any_mode_becomes_rgb(self, mode: str, tmp_path: Path) -> None:
        path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
        Image.new("L", (6, 4), 255).convert(mode if mode != "I;16" else "L").convert(mode).save(path)
        image = read_picture(path)
        assert (image.mode, image.size) == ("RGB", (6, 4))

    def test_sixteen_bits_are_scaled_not_clipped(self, tmp_path: Path) -> None:
        levels = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
        Image.fromarray(levels).save(tmp_path / "deep.png")
        assert np.asarray(read_picture(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 128, 255]

    def test_a_palette_with_transparency_reads_without_a_warning(self, tmp_path: Path) -> None:
        image = Image.new("P", (4, 4))
        image.putpalette([200, 10, 10] * 256)
        image.save(tmp_path / "clear.png", transparency=bytes([0] * 256))
        assert read_picture(tmp_path / "clear.png").getpixel((0, 0)) == (200, 10, 10)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"absent\.jpg: expected a readable picture"):
            read_picture(tmp_path / "absent.jpg")


class TestCheckPicture:
    @pytest.mark.parametrize("format_name", ["jpeg", "png", "webp", "bmp"])
    @pytest.mark.parametrize("kept_frac", [0.05, 0.5, 0.95])
    def test_a_truncated_file_is_found(self, format_name: str, kept_frac: float, tmp_path: Path) -> None:
        encoded = noise_picture(format_name)
        path = tmp_path / f"cut.{format_name}"
        path.write_bytes(encoded[: int(len(encoded) * kept_frac)])
        with pytest.raises(DataError, match=f"cut.{format_name}: expected a readable picture"):
            check_picture(path)

    @pytest.mark.parametrize("format_name", ["jpeg", "png", "webp", "bmp"])
    def test_a_whole_file_passes(self, format_name: str, tmp_path: Path) -> None:
        (tmp_path / "whole").write_bytes(noise_picture(format_name))
        check_picture(tmp_path / "whole")

    def test_results_and_errors_come_in_the_order_of_the_items(self) -> None:
        def halve(number: int) -> int:
            if number % 2:
                raise DataError(f"odd {number}")
            return number // 2

        found = results_or_errors(range(50), halve)
        assert [str(one) for one in found] == [f"odd {n}" if n % 2 else str(n // 2) for n in range(50)]


def noise_picture(format_name: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_name)
    return file.getvalue()


class TestDigest:
    """A file that was checked is not opened again for its digest, unless it has changed."""

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        (tmp_path / "a").write_bytes(noise_picture("png"))
        sample = Sample(tmp_path / "a", 0, None, {}, "a")
        return replace(sample, checked=sample.check_image())

    def test_the_check_gives_the_digest_of_the_file(self, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = hashlib.sha256(sample.image_path.read_bytes()).digest()
        assert replace(sample, checked=None).picture_digest() == expected
        monkeypatch.setattr(Path, "open", None)
        assert sample.picture_digest() == expected

    def test_a_file_that_changed_since_is_read_again_also_where_size_and_date_are_kept(self, sample: Sample) -> None:
        content, status = sample.image_path.read_bytes(), sample.image_path.stat()
        time.sleep(0.05)  # file systems count time in steps of some milliseconds
        sample.image_path.write_bytes(content[::-1])
        os.utime(sample.image_path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert sample.picture_digest() == hashlib.sha256(content[::-1]).digest()

    def test_a_file_that_is_gone_is_told(self, sample: Sample) -> None:
        sample.image_path.unlink()
        with pytest.raises(DataError, match="a: expected a readable picture"):
            sample.picture_digest()

    def test_samples_of_one_picture_are_equal_whether_checked_or_not(self, sample: Sample) -> None:
        assert sample == replace(sample, checked=None)
