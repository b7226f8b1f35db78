"""Picture files: read, check, and set aside those that cannot be read."""

import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, TypeVar

from PIL import ExifTags, Image, UnidentifiedImageError

from partcnn.foundation.errors import DataError
from partcnn.foundation.files import file_state, read_whole
from partcnn.foundation.pixels import to_rgb

_CHECK_SIDE_PX = 32  # JPEG is decoded at up to 1/8 of its side, no smaller than this
_DRAFT_GAP = 2  # times the size that is wanted: less, and what the decoder skips would be seen (Pillow's thumbnail too)
_MAX_THREADS = 16
_MOST_BYTES = 1 << 31  # of a picture's file
_QUARTER_TURNS = range(5, 9)  # EXIF orientations that exchange width and height


@dataclass(frozen=True)
class FilePart:
    """A picture's file that lies whole within another file, as in a tar archive; read in place.

    Args:
        file: the other one.
        offset, size: of the picture in it, in bytes.
        name: of the picture, for people: the other file's and its own.
    """

    file: Path
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return self.name

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Its bytes.

        Raises:
            OSError: the other file is missing, or ends before.
        """
        with self.file.open(mode) as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(f"{self.file} ends before byte {self.offset + self.size}")
        return io.BytesIO(content)


PictureFile: TypeAlias = Path | FilePart
_T = TypeVar("_T")
_R = TypeVar("_R")


class PictureChangedError(DataError):
    """A picture's file does not hold any more what it held when it was hashed."""


def read_picture(path: PictureFile, digest: bytes | None = None) -> Image.Image:
    """A picture file as 8-bit RGB, turned as its EXIF tag asks.

    Of several frames the first is read. `to_rgb` says what becomes of other pixels.

    Args:
        path: of the file.
        digest: SHA-256 that the bytes which are decoded must have; None takes any.

    Raises:
        DataError: the file is missing, truncated or no picture, or the range of its pixels is not known; the message
            names it.
        PictureChangedError: the file's bytes have another digest.
    """
    with _opened(path, digest) as image:
        return to_rgb(image)


def read_reduced(
    path: PictureFile,
    resized_to: tuple[int, int],
    window: tuple[int, int, int, int] | None = None,
    digest: bytes | None = None,
) -> tuple[Image.Image, tuple[int, int]]:
    """A picture that is resized next: of a large JPEG the decoder makes 1/2, 1/4 or 1/8 of the side, which is faster.

    Args:
        path: of the file.
        resized_to: (height, width) that follows. No side comes smaller than twice that, unless the file is smaller.
        window: x0, y0, x1, y1 to cut out, in pixels of the picture that `read_picture` gives.
        digest: see `read_picture`.

    Returns:
        The picture or its window, and the (height, width) it has in full: the frame of its annotations.

    Raises:
        DataError: the file is missing, truncated or no picture; the message names it.
        PictureChangedError: the file's bytes have another digest.
    """
    with _opened(path, digest) as image:
        full = image.size
        is_turned = image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS
        wanted = (full[1], full[0]) if is_turned else full  # (width, height) after the turn
        size = wanted if window is None else (window[2] - window[0], window[3] - window[1])
        share = _DRAFT_GAP * max(resized_to[1] / size[0], resized_to[0] / size[1])
        if share < 1:
            image.draft(None, (math.ceil(full[0] * share), math.ceil(full[1] * share)))  # ignored by all but JPEG
        is_reduced = image.size != full
        decoded = to_rgb(image)
    if not is_reduced:  # Pillow turns TIFF by itself, and tells the size after the turn
        wanted = decoded.size
    if window is None:
        return decoded, (wanted[1], wanted[0])
    across, down = decoded.width / wanted[0], decoded.height / wanted[1]
    x0, y0, x1, y1 = window
    # The nearest pixels of a reduced picture: an edge is at most 1/4 of a pixel of the resized one off.
    cut = decoded.crop((round(x0 * across), round(y0 * down), round(x1 * across), round(y1 * down)))
    return cut, (y1 - y0, x1 - x0)


@dataclass(frozen=True)
class CheckedPicture:
    """A picture file that can be read, and what is in it.

    Args:
        size: (height, width) as `read_picture` gives it, after the turn that the EXIF tag asks for.
        digest: SHA-256 of the file's content.
        state: of the file when it was read (`partcnn.foundation.files.file_state`).
    """

    size: tuple[int, int]
    digest: bytes
    state: tuple[int, ...] | None


def check_picture(path: PictureFile) -> CheckedPicture:
    """Decode a picture to the end of its data, a JPEG at reduced size, and hash its file, which is opened once.

    Passing means that `read_picture` will not fail while the file stays as it is: headers alone would pass
    a truncated file. Flipped bytes that the decoder turns into wrong pixels without an error stay unnoticed.

    Raises:
        DataError: the file is missing, truncated or no picture; the message names it.
    """
    state = picture_state(path)  # before the file is read: a change while it is read gives another one
    with told(path):
        content = _content(path)  # hash and decode the same bytes, whoever writes to the file meanwhile
        return CheckedPicture(_decoded_size(content), _sha256(content), state)


def _decoded_size(content: bytes) -> tuple[int, int]:
    """(height, width) of a picture after the turn, once all of it was decoded."""
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        is_turned = image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS
        # mode None: JPEG only changes its scale, other formats ignore the call
        is_reduced = image.draft(None, (_CHECK_SIDE_PX, _CHECK_SIDE_PX)) is not None
        decoded = to_rgb(image)
    if not is_reduced:  # Pillow turns TIFF by itself, and tells the size after the turn
        return decoded.height, decoded.width
    return (width, height) if is_turned else (height, width)


def picture_state(path: PictureFile) -> tuple[int, ...] | None:
    """`file_state` of the file that a picture lies in."""
    return file_state(path if isinstance(path, Path) else path.file)


def file_digest(path: PictureFile) -> bytes:
    """SHA-256 of a file's content.

    Raises:
        DataError: the file cannot be read.
    """
    with told(path):
        return _sha256(_content(path))


def _content(picture: PictureFile) -> bytes:
    """All bytes of a picture's file."""
    if isinstance(picture, FilePart):
        return picture.open().read()
    return read_whole(picture, _MOST_BYTES)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def in_threads(items: Iterable[_T], function: Callable[[_T], _R]) -> list[_R]:
    """What the function gives for each item, in order."""
    # Pillow and hashlib release the interpreter's lock while they work, so threads suffice.
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def results_or_errors(items: Iterable[_T], function: Callable[[_T], _R]) -> list[_R | DataError]:
    """What the function gives for each item, or the DataError that it raises; in order, several threads."""

    def caught(item: _T) -> _R | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    return in_threads(items, caught)


@contextmanager
def _opened(path: PictureFile, digest: bytes | None) -> Iterator[Image.Image]:
    with told(path):
        content = _content(path)
        if digest is not None and _sha256(content) != digest:
            raise PictureChangedError("its content changed after it was hashed")
        with Image.open(io.BytesIO(content)) as image:
            yield image


@contextmanager
def told(picture: PictureFile | str) -> Iterator[None]:
    """Whatever goes wrong within with a picture is a DataError that names its file, or the argument that it is."""
    try:
        yield
    except MemoryError:
        raise
    except DataError as error:
        raise type(error)(f"{picture}: {error}") from error
    except UnidentifiedImageError as error:  # its own words show the object that was read from
        raise DataError(f"{picture}: expected a readable picture, got {_unknown_kind(picture)}") from error
    except Exception as error:  # broken files raise what each decoder happens to: OSError, SyntaxError, …
        raise DataError(f"{picture}: expected a readable picture, got {type(error).__name__}: {error}") from error


def _unknown_kind(picture: PictureFile | str) -> str:
    """What a file is that Pillow does not know, in words."""
    if isinstance(picture, str):
        return "one of no known picture format"
    if _content(picture)[:4] in (b"II*\0", b"MM\0*"):
        kinds = "cut short, or of pixels such as 64-bit floating point"
        return f"a TIFF that Pillow does not read ({kinds}); save it as 8 or 16 bits"
    return "a file of no known picture format"
