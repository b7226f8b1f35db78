"""Crops to the object, and pictures of every kind, through load_dataset."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partcnn.datasets import Box, MaskShape, PartDataset, Point, Sample
from partcnn.datasets.loading import load_dataset
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.placement import crop_to_object
from partcnn.foundation.errors import ConfigError, DataError
from tests.data_files import write_picture

HEADER = "image,part,x0,y0,x1,y1\n"


def marked(size: tuple[int, int], spot: tuple[int, int, int, int], mode: str = "RGB") -> Image.Image:
    """Black, with a white box at the spot."""
    image = Image.new("L", size)
    image.paste(255, spot)
    return image.convert(mode)


def read(root: Path, rows: str, **options: Any) -> PartDataset:
    (root / "parts.csv").write_text(HEADER + rows)
    return load_dataset(f"folder:{root}", split="all", max_bad=0, **options)


@pytest.fixture
def spotted(tmp_path: Path) -> Path:
    """a/x.png with a white spot at 30…34 × 20…26, and a picture without annotations."""
    (tmp_path / "a").mkdir()
    marked((80, 60), (30, 20, 34, 26)).save(tmp_path / "a" / "x.png")
    write_picture(tmp_path / "b" / "y.png")
    return tmp_path


SPOT = "a/x.png,spot,30,20,34,26\n"


def white_box(image: Image.Image) -> tuple[int, int, int, int]:
    box = image.convert("L").point(lambda value: 255 if value > 128 else 0).getbbox()
    assert box is not None
    return box


class TestCrop:
    @pytest.mark.parametrize(
        ("object_box", "margin", "window"),
        [
            ("20,10,60,50", 0.0, (20, 10, 60, 50)),
            ("20,10,60,50", 0.1, (16, 6, 64, 54)),
            ("20.5,10.5,60.5,50.5", 0.0, (20, 10, 61, 51)),
            ("20,10,60,50", 1.0, (0, 0, 80, 60)),
            ("-5,10,60,50", 0.0, (0, 10, 60, 50)),
        ],
        ids=["box", "margin", "fractions", "edges", "over the edge"],
    )
    def test_parts_follow_to_the_pixel(
        self, spotted: Path, object_box: str, margin: float, window: tuple[int, int, int, int]
    ) -> None:
        sample = read(spotted, f"{SPOT}a/x.png,object,{object_box}\n", crop="object", margin=margin).samples[0]
        image = sample.load_image()
        assert image.size == (window[2] - window[0], window[3] - window[1])
        assert sample.parts == {"spot": [Box(*white_box(image))]}

    def test_a_picture_without_an_object_box_stays_whole(self, spotted: Path) -> None:
        data = read(spotted, f"{SPOT}a/x.png,object,20,10,60,50\n", crop="object")
        assert data.samples[1].load_image().size == (60, 40)

    def test_a_part_outside_the_crop_is_gone_and_one_across_its_edge_keeps_its_centre(self, spotted: Path) -> None:
        rows = "a/x.png,object,20,10,60,50\na/x.png,far,0,0,10,10\na/x.png,edge,50,10,70,20\n"
        sample = read(spotted, rows, crop="object", margin=0).samples[0]
        assert sample.parts == {"edge": [Box(30, 0, 50, 10)]}

    def test_points_boxes_and_masks_move_together(self) -> None:
        mask = np.zeros((60, 80), dtype=bool)
        mask[20:26, 30:34] = True
        parts: dict[str, list[Any]] = {"p": [Point(32, 23)], "b": [Box(30, 20, 34, 26)], "m": [MaskShape(mask)]}
        sample = Sample(Path("x.png"), 0, Box(25, 15, 45, 35), PackedShapes(parts), "x")
        moved = crop_to_object(sample, (60, 80), margin=0.0)
        assert {part: moved.landmark(part) for part in parts} == dict.fromkeys(parts, Point(7, 8))
        assert moved.parts["m"][0].box == Box(5, 5, 9, 11)
        assert moved.object_box == Box(0, 0, 20, 20)

    def test_landmarks_of_the_example_are_on_the_spot(self, spotted: Path) -> None:
        example: Any = read(spotted, f"{SPOT}a/x.png,object,20,10,60,50\n", crop="object", margin=0)[0]
        rows, cols = torch.nonzero(example.image[0] > 128, as_tuple=True)
        middle = [(float(cells.min() + cells.max()) + 1) / 2 for cells in (cols, rows)]
        assert example.landmarks[0].tolist() == pytest.approx(middle, abs=1)

    def test_drawn_pictures_are_cropped_too(self) -> None:
        whole, cropped = (load_dataset("demo:2", category="cat", split="all", crop=crop) for crop in (None, "object"))
        for before, after in zip(whole.samples, cropped.samples, strict=True):
            assert (after.load_image().size == before.load_image().size) == (before.object_box is None)
        mask = cropped.samples[-1].parts["head"][0]
        assert isinstance(mask, MaskShape)
        assert mask.mask.shape[::-1] == cropped.samples[-1].load_image().size

    def test_the_split_is_that_of_the_whole_pictures(self, shared: Path) -> None:
        specs = f"cub:{shared / 'data' / 'original_layouts' / 'CUB_200_2011'}"
        whole, cropped = (load_dataset(specs, split="test", crop=crop) for crop in (None, "object"))
        assert [s.image_id for s in whole.samples] == [s.image_id for s in cropped.samples]

    def test_without_object_boxes_there_is_nothing_to_crop_to(self, spotted: Path) -> None:
        with pytest.raises(DataError, match="expected object boxes to crop to, found none"):
            read(spotted, SPOT, crop="object")

    @pytest.mark.parametrize("options", [{"crop": "face"}, {"margin": -0.1}, {"margin": float("nan")}])
    def test_what_cannot_be_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=next(iter(options))):
            load_dataset("demo:2", **options)


class TestPictures:
    """Annotations and pixels agree whatever the file is; the annotated frame is the picture as one sees it."""

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_exif_orientation(self, tmp_path: Path, orientation: int) -> None:
        seen = marked((80, 60), (30, 20, 34, 26))
        stored = {
            1: [],
            2: [Image.Transpose.FLIP_LEFT_RIGHT],
            3: [Image.Transpose.ROTATE_180],
            4: [Image.Transpose.FLIP_TOP_BOTTOM],
            5: [Image.Transpose.TRANSPOSE],
            6: [Image.Transpose.ROTATE_90],
            7: [Image.Transpose.TRANSVERSE],
            8: [Image.Transpose.ROTATE_270],
        }[orientation]
        image = seen
        for step in stored:
            image = image.transpose(step)
        exif = Image.Exif()
        exif[0x0112] = orientation
        (tmp_path / "a").mkdir()
        image.save(tmp_path / "a" / "x.jpg", exif=exif, quality=100)
        write_picture(tmp_path / "b" / "y.png")
        data = read(tmp_path, "a/x.jpg,spot,30,20,34,26\na/x.jpg,object,10,10,70,50\na/x.jpg,far,78,58,79,59\n")
        assert data.skipped == {}  # x = 78 lies outside the stored picture of a quarter turn
        assert white_box(data.samples[0].load_image()) == (30, 20, 34, 26)
        cropped = load_dataset(data.spec, split="all", crop="object", margin=0).samples[0]
        assert cropped.parts == {"spot": [Box(*white_box(cropped.load_image()))]}

    @pytest.mark.parametrize(
        ("mode", "name"),
        [("L", "x.jpg"), ("CMYK", "x.jpg"), ("P", "x.png"), ("P", "x.webp"), ("1", "x.png"), ("LA", "x.png")],
    )
    def test_grey_cmyk_and_palette(self, tmp_path: Path, mode: str, name: str) -> None:
        (tmp_path / "a").mkdir()
        image = marked((80, 60), (30, 20, 34, 26), "RGB" if name.endswith("webp") else mode)
        image.save(tmp_path / "a" / name)
        write_picture(tmp_path / "b" / "y.png")
        data = read(tmp_path, f"a/{name},spot,30,20,34,26\na/{name},object,20,10,60,50\n", crop="object", margin=0)
        image = data.samples[0].load_image()
        assert (image.mode, image.size) == ("RGB", (40, 40))
        assert data.samples[0].parts == {"spot": [pytest.approx(white_box(image), abs=1)]}

    def test_a_truncated_jpeg_is_named_and_counted(self, tmp_path: Path) -> None:
        path = write_picture(tmp_path / "a" / "x.jpg", (400, 300))
        write_picture(tmp_path / "a" / "whole.jpg")
        write_picture(tmp_path / "b" / "y.png")
        path.write_bytes(path.read_bytes()[:-200])
        assert load_dataset(f"folder:{tmp_path}", split="all").num_bad == 1
        with pytest.raises(DataError, match=r"x\.jpg: expected a readable picture"):
            load_dataset(f"folder:{tmp_path}", split="all", max_bad=0)


def test_packed_shapes_are_the_shapes() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        height, width = random.integers(1, 40, 2)
        mask = random.random((height, width)) < 0.1
        mask[random.integers(height), random.integers(width)] = True
        (found, point) = PackedShapes({"a": [MaskShape(mask), Point(1, 2)]})["a"]
        assert isinstance(found, MaskShape)
        assert (found.mask == mask).all()
        assert point == Point(1, 2)
