"""Picture files: read one in RGB, check one, and set aside those that cannot be read."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from partcnn.errors import DataError

_CHECK_SIDE_PX = 32  # JPEG is decoded at up to 1/8 of its side, no smaller than this
_MAX_THREADS = 16
_QUARTER_TURNS = range(5, 9)  # EXIF orientations that exchange width and height
_T = TypeVar("_T")
_R = TypeVar("_R")


def read_picture(path: Path) -> Image.Image:
    """A picture file as 8-bit RGB, turned as its EXIF tag asks.

    Grey, palette, CMYK and 16-bit pictures are converted; transparency is dropped, as torchvision's
    `ImageFolder` does; of several frames the first is read.

    Raises:
        DataError: the file is missing, truncated or no picture; the message names it.
    """
    with _opened(path) as image:
        return _to_rgb(ImageOps.exif_transpose(image))


def check_picture(path: Path) -> tuple[int, int]:
    """Decode a picture to the end of its data, a JPEG at reduced size.

    Passing means that `read_picture` will not fail while the file stays as it is: headers alone would pass
    a truncated file. Flipped bytes that the decoder turns into wrong pixels without an error stay unnoticed.

    Returns:
        (height, width) as `read_picture` gives it, after the turn that the EXIF tag asks for.

    Raises:
        DataError: the file is missing, truncated or no picture; the message names it.
    """
    with _opened(path) as image:
        width, height = image.size
        is_turned = image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS
        # mode None: JPEG only changes its scale, other formats ignore the call
        is_reduced = image.draft(None, (_CHECK_SIDE_PX, _CHECK_SIDE_PX)) is not None
        decoded = _to_rgb(ImageOps.exif_transpose(image))
    if not is_reduced:  # Pillow turns TIFF by itself, and tells the size after the turn
        return decoded.height, decoded.width
    return (width, height) if is_turned else (height, width)


def results_or_errors(items: Iterable[_T], function: Callable[[_T], _R]) -> list[_R | DataError]:
    """What the function gives for each item, or the DataError that it raises; in order, several threads."""

    def caught(item: _T) -> _R | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    # Pillow releases the interpreter's lock while it decodes, so threads suffice.
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(caught, items))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except MemoryError:
        raise
    except Exception as error:  # broken files raise what each decoder happens to: OSError, SyntaxError, …
        raise DataError(f"{path}: expected a readable picture, got {type(error).__name__}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: Pillow would clip at 255, a white picture
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns about each such file
    return image.convert("RGB")
