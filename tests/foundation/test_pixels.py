"""The same picture gives the same pixels from its file and from memory; no depth comes out black or white."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partcnn.datasets.pictures import check_picture, read_picture, read_reduced
from partcnn.explanation.given import given_picture
from partcnn.foundation.errors import ConfigError, DataError, ShapeError
from partcnn.foundation.pixels import to_rgb
from partcnn.networks.preprocessing import Preprocessing
from partcnn.plot import filter_gallery, heatmap_overlay

RAMP = np.linspace(0, 1, 80)[None].repeat(60, axis=0)  # black to white from left to right
EIGHT_BITS = (RAMP * 255).round().astype(np.uint8)


def sixteen_bits() -> Image.Image:
    return Image.fromarray((RAMP * 65535).round().astype(np.uint16))


def white_is_zero(path: Path) -> None:
    Image.fromarray(65535 - np.asarray(sixteen_bits())).save(path, tiffinfo={262: 0})


def twelve_bits(path: Path) -> None:
    """Two pixels in three bytes; Pillow reads such a file and writes none."""
    first, second = (RAMP * 4095).round().astype(np.uint16).reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    entries = {256: 80, 257: 60, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 60, 279: len(packed)}
    listed = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + int(value).to_bytes(4, "little")
        for tag, value in sorted(entries.items())
    )
    head = b"II*\0" + (8 + len(packed)).to_bytes(4, "little")
    path.write_bytes(head + packed + len(entries).to_bytes(2, "little") + listed + bytes(4))


FILES: dict[str, Any] = {
    "16.png": lambda path: sixteen_bits().save(path),
    "16.tif": lambda path: sixteen_bits().save(path),
    "negative.tif": white_is_zero,
    "12.tif": twelve_bits,
    "10.pgm": lambda path: path.write_bytes(b"P5 80 60 1023\n" + (RAMP * 1023).round().astype(">u2").tobytes()),
    "8.png": lambda path: Image.fromarray(EIGHT_BITS).save(path),
    "colours.png": lambda path: Image.fromarray(EIGHT_BITS).convert("P").save(path),
    "alpha.png": lambda path: Image.fromarray(EIGHT_BITS).convert("LA").save(path),
    "cmyk.tif": lambda path: Image.fromarray(EIGHT_BITS).convert("CMYK").save(path),
    "turned.png": lambda path: Image.fromarray(EIGHT_BITS).transpose(Image.Transpose.ROTATE_90).save(path, exif=TURN),
}
TURN = Image.Exif()
TURN[0x0112] = 6


@pytest.mark.parametrize("name", FILES)
def test_every_depth_is_scaled_alike_from_its_file_and_from_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FILES[name](path)
    preprocessing = Preprocessing((30, 40))
    from_file = given_picture(path, preprocessing)
    with Image.open(path) as picture:
        from_memory = given_picture(picture, preprocessing)
        directly = preprocessing(picture)
    assert from_file.picture is not None
    assert np.abs(np.asarray(from_file.picture).astype(int) - EIGHT_BITS[..., None]).max() <= 3
    assert torch.equal(from_file.network_input, from_memory.network_input)
    assert torch.equal(from_file.network_input[0], directly)
    assert read_reduced(path, (30, 40))[0].tobytes() == read_picture(path).tobytes()
    assert check_picture(path).size == (60, 80)


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA", "YCbCr", "HSV", "RGBX"])
def test_every_mode_of_pillow_keeps_its_brightness(mode: str) -> None:
    between = {"RGBa": "RGBA", "La": "LA", "PA": "P"}.get(mode, "RGB")  # Pillow goes there by steps
    picture = Image.fromarray(EIGHT_BITS).convert(between)
    found = np.asarray(to_rgb(picture.convert(mode))).astype(int)
    assert np.abs(found - EIGHT_BITS[..., None]).max() <= 3


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (RAMP.astype(np.float32), "32-bit floating point"),
        ((RAMP * 255).astype(np.float32), "32-bit floating point"),
        ((RAMP * 200).astype(np.int32), "32-bit whole numbers"),
        ((RAMP * 4e9).astype(np.int64).astype(np.int32), "32-bit whole numbers"),
    ],
    ids=["0 to 1", "0 to 255", "8 bits in 32", "32 bits"],
)
def test_a_picture_whose_white_nobody_knows_is_refused_by_name(tmp_path: Path, values: Any, kind: str) -> None:
    picture = Image.fromarray(values)
    picture.save(tmp_path / "x.tif")
    for read in (read_picture, check_picture, lambda path: given_picture(path, Preprocessing())):
        with pytest.raises(DataError, match=rf"x\.tif: expected pixels of 8 or 16 bits, got {kind}.*save it as"):
            read(tmp_path / "x.tif")
    with pytest.raises(DataError, match=rf"^image: expected pixels of 8 or 16 bits, got {kind}"):
        given_picture(picture, Preprocessing())
    with pytest.raises(DataError, match=kind):
        heatmap_overlay(picture, np.ones((3, 4)))


def test_a_truncated_picture_is_one_error_from_memory_too(tmp_path: Path) -> None:
    Image.effect_noise((80, 60), 50).save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:2000])
    with (
        Image.open(tmp_path / "x.png") as picture,
        pytest.raises(DataError, match="image: expected a readable picture"),
    ):
        given_picture(picture, Preprocessing())


def test_what_is_drawn_on_has_the_same_pixels() -> None:
    drawn = np.asarray(heatmap_overlay(sixteen_bits(), np.zeros((3, 4)))).astype(int)
    assert np.abs(drawn - EIGHT_BITS[..., None]).max() <= 1
    from matplotlib.figure import Figure

    axis = filter_gallery({"a": [sixteen_bits()]}, Figure().subplots(), tile_px=84)
    middle = np.asarray(axis.images[0].get_array())[42, 2:82, 0].astype(int)
    assert np.abs(middle - EIGHT_BITS[0]).max() <= 1


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3), np.uint8), b"bytes", None], ids=["array", "bytes", "nothing"])
def test_what_is_no_picture_is_told_what_would_be_one(image: Any) -> None:
    with pytest.raises(ConfigError, match="image: expected a path, a Pillow picture or a preprocessed tensor, got"):
        given_picture(image, Preprocessing())


def test_a_tensor_of_whole_numbers_is_not_taken_for_a_preprocessed_one() -> None:
    with pytest.raises(ShapeError, match=r"image: expected a preprocessed tensor of floats, got torch\.uint8"):
        given_picture(torch.zeros(3, 8, 8, dtype=torch.uint8), Preprocessing())
