"""Large JPEGs are decoded at a fraction of their size; annotations stay in the frame of the whole picture."""

import dataclasses
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partcnn.datasets import Box, MaskShape, PartDataset, Point, Sample
from partcnn.datasets.catalogue import Catalogue
from partcnn.datasets.pictures import check_picture, file_digest, read_picture, read_reduced
from partcnn.datasets.placement import crop_to_object
from partcnn.evaluation.observation.pictures import ObservedPictures
from partcnn.foundation.errors import DataError
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.views import PictureViews

WIDTH, HEIGHT = 1600, 1200
SQUARE = Box(900, 240, 1100, 440)  # bright, in the whole picture as it is shown
INPUT = (120, 160)
TURNS = {None: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def write(path: Path, orientation: int | None = None) -> Path:
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([rows * 60 // HEIGHT, cols * 60 // WIDTH, (rows + cols) % 50], axis=2).astype(np.uint8)
    pixels[int(SQUARE.y0) : int(SQUARE.y1), int(SQUARE.x0) : int(SQUARE.x1)] = 255
    shown = Image.fromarray(pixels)
    exif = Image.Exif()
    turn = TURNS[orientation]
    if orientation is not None and turn is not None:
        shown = shown.transpose(turn)  # as the camera's sensor lay
        exif[0x0112] = orientation
    shown.save(path, **({"exif": exif, "quality": 92} if path.suffix == ".jpg" else {}))
    return path


def sample(path: Path) -> Sample:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[int(SQUARE.y0) : int(SQUARE.y1), int(SQUARE.x0) : int(SQUARE.x1)] = True
    parts = {"box": [SQUARE], "point": [Point(*SQUARE.center)], "mask": [MaskShape(mask)]}
    return Sample(path, 0, Box(800, 200, 1400, 600), parts, "a")


def bright_center(picture: torch.Tensor) -> list[float]:
    """(x, y) of the bright square, in shares of the sides."""
    bright = (picture.float().mean(dim=0) > 160).float()
    height, width = bright.shape
    xs, ys = (torch.arange(side) + 0.5 for side in (width, height))
    return [float(bright.sum(0) @ xs / bright.sum() / width), float(bright.sum(1) @ ys / bright.sum() / height)]


@pytest.mark.parametrize("orientation", TURNS)
def test_a_large_jpeg_comes_smaller_turned_as_its_tag_asks_and_tells_its_full_size(
    tmp_path: Path, orientation: int | None
) -> None:
    path = write(tmp_path / "a.jpg", orientation)
    picture, size = read_reduced(path, INPUT)
    assert size == (HEIGHT, WIDTH)
    assert picture.size == (WIDTH // 4, HEIGHT // 4)  # 1/8 would be below twice the 160 × 120 that follow
    full = read_picture(path)
    assert full.size == (WIDTH, HEIGHT)
    small = np.asarray(picture.resize((160, 120))).astype(int)
    assert np.abs(small - np.asarray(full.resize((160, 120)))).mean() < 1.5  # of 255


@pytest.mark.parametrize(
    ("resized_to", "factor"),
    [((75, 100), 8), ((76, 100), 4), ((75, 101), 4), ((300, 400), 2), ((301, 400), 1), ((2000, 2000), 1)],
)
def test_no_side_comes_smaller_than_twice_what_follows(
    tmp_path: Path, resized_to: tuple[int, int], factor: int
) -> None:
    picture, _ = read_reduced(write(tmp_path / "a.jpg"), resized_to)
    assert picture.size == (WIDTH // factor, HEIGHT // factor)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_other_formats_come_whole(tmp_path: Path, name: str) -> None:
    picture, size = read_reduced(write(tmp_path / name), (10, 10))
    assert (picture.size, size) == ((WIDTH, HEIGHT), (HEIGHT, WIDTH))


@pytest.mark.parametrize("is_cropped", [False, True])
@pytest.mark.parametrize("orientation", [None, 6])
def test_landmarks_boxes_and_regions_are_where_they_were(
    tmp_path: Path, is_cropped: bool, orientation: int | None
) -> None:
    one = sample(write(tmp_path / "a.jpg", orientation))
    if is_cropped:
        one = crop_to_object(one, (HEIGHT, WIDTH), 0.1)
    dataset = PartDataset(Catalogue([one], ["x"], ["box", "mask", "point"]))
    transform = Preprocessing(INPUT, (0, 0, 0), (1 / 255, 1 / 255, 1 / 255)).transform()
    whole = dataset.with_transform(transform)
    reduced = dataset.with_transform(transform, resized_to=INPUT)
    assert one.load_reduced(INPUT)[0].width < one.load_image().width
    expected, found = whole[0], reduced[0]
    assert found.image.shape == expected.image.shape
    torch.testing.assert_close(found.landmarks, expected.landmarks)
    torch.testing.assert_close(found.object_box, expected.object_box)
    assert reduced.example_and_size(0)[1] == whole.example_and_size(0)[1] == one.load_image().size[::-1]
    center = torch.tensor(bright_center(found.image)) * torch.tensor(INPUT[::-1])
    torch.testing.assert_close(center.expand(3, 2), found.landmarks, atol=0.5, rtol=0)
    pictures = ObservedPictures(dataset, transform, grid=(30, 40), input_size=INPUT, point_radius_px=2.0)
    regions = pictures[0].regions
    for region in regions:
        middle = torch.tensor(bright_center(region[None] * 255.0)) * torch.tensor(INPUT[::-1])
        torch.testing.assert_close(middle, center, atol=2.1, rtol=0)  # half a step of the grid
    assert torch.equal(regions[0], regions[1])


def test_views_are_the_same_crops_of_it(tmp_path: Path) -> None:
    one = sample(write(tmp_path / "a.jpg"))
    Image.open(one.image_path).save(tmp_path / "a.png")
    exact = dataclasses.replace(one, image_path=tmp_path / "a.png")
    views = [
        PictureViews(PartDataset(Catalogue([each], ["x"], [])), Preprocessing(INPUT), num_views=4)[0]
        for each in (one, exact)
    ]
    assert torch.equal(views[0][1], views[1][1])
    assert (views[0][0] - views[1][0]).abs().mean() < 0.03  # standard deviations of ImageNet's pixels


def test_a_data_set_without_a_transform_is_squashed_from_a_reduced_picture(tmp_path: Path) -> None:
    one = sample(write(tmp_path / "a.jpg"))
    dataset = PartDataset(Catalogue([one], ["x"], ["box"]), image_size=INPUT)
    expected = torch.tensor([[SQUARE.center.x / 10, SQUARE.center.y / 10]])
    torch.testing.assert_close(dataset[0].landmarks, expected)
    torch.testing.assert_close(dataset.with_transform(None)[0].landmarks, expected)


def tiff_of_doubles() -> bytes:
    """4 × 4 pixels of 64-bit floating point, none of them written down."""
    entries = {256: 4, 257: 4, 258: 64, 259: 1, 262: 1, 273: 134, 277: 1, 278: 4, 279: 128, 339: 3}
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return head + b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries.items()) + bytes(132)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (tiff_of_doubles(), r"a TIFF that Pillow does not read .* 8 or 16 bits"),
        (b"no picture at all", "a file of no known picture format$"),
    ],
    ids=["64-bit floating point", "text"],
)
def test_a_file_that_pillow_does_not_know_is_named_by_its_kind(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.tif: expected a readable picture, got {what}"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.fault("picture", "A pipe in place of a picture", "One sentence; nothing waits")
def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    for read in (read_picture, check_picture, file_digest, lambda path: read_reduced(path, INPUT)):
        with pytest.raises(DataError, match=r"a\.jpg: expected a readable picture, got OSError: it is no plain file"):
            read(tmp_path / "a.jpg")


@pytest.mark.fault("picture", "A file of terabytes in place of a picture", "One sentence; it is not read")
def test_a_file_of_terabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(1 << 40)  # of holes: it takes no room
    with pytest.raises(
        DataError, match=r"a\.jpg: expected a readable picture, got OSError: it holds more than 2048 MiB"
    ):
        check_picture(tmp_path / "a.jpg")
