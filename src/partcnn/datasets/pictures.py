"""Picture files: read one in RGB, check one, and set aside those that cannot be read."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from partcnn.errors import DataError

_CHECK_SIDE_PX = 32  # JPEG is decoded at up to 1/8 of its side, no smaller than this
_MAX_THREADS = 16
_T = TypeVar("_T")


def read_picture(path: Path) -> Image.Image:
    """A picture file as 8-bit RGB, turned as its EXIF tag asks.

    Grey, palette, CMYK and 16-bit pictures are converted; transparency is dropped, as torchvision's
    `ImageFolder` does; of several frames the first is read.

    Raises:
        DataError: the file is missing, truncated or no picture; the message names it.
    """
    return _decode(path, is_reduced=False)


def check_picture(path: Path) -> None:
    """Decode a picture to the end of its data, a JPEG at reduced size.

    Passing means that `read_picture` will not fail while the file stays as it is: headers alone would pass
    a truncated file. Flipped bytes that the decoder turns into wrong pixels without an error stay unnoticed.

    Raises:
        DataError: the file is missing, truncated or no picture; the message names it.
    """
    _decode(path, is_reduced=True)


def find_errors(items: Iterable[_T], check: Callable[[_T], None]) -> list[DataError | None]:
    """The DataError that `check` raises for each item, None where it passes; in order, several threads."""

    def caught(item: _T) -> DataError | None:
        try:
            check(item)
        except DataError as error:
            return error
        return None

    # Pillow releases the interpreter's lock while it decodes, so threads suffice.
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(caught, items))


def _decode(path: Path, *, is_reduced: bool) -> Image.Image:
    try:
        with Image.open(path) as image:
            if is_reduced:
                # mode None: JPEG only changes its scale, other formats ignore the call
                image.draft(None, (_CHECK_SIDE_PX, _CHECK_SIDE_PX))
            return _to_rgb(ImageOps.exif_transpose(image))
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
