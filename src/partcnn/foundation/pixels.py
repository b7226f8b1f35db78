"""A Pillow picture of any kind of pixels as the 8-bit RGB that everything here works on."""

import numpy as np
from PIL import Image, ImageOps

from partcnn.foundation.errors import DataError

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO = 0
_SCALED_TO_16_BITS = ("PNG", "PPM")  # files whose 16-bit grey Pillow may give as 32-bit whole numbers
_UNKNOWN_RANGE = {"F": "32-bit floating point", "I": "32-bit whole numbers"}


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture as 8-bit RGB, turned as its EXIF tag asks; the same from a file and from memory.

    Grey of 12 and 16 bits is scaled to 8; palette, CMYK and Lab pictures are converted; transparency is dropped, as
    torchvision's `ImageFolder` does.

    Raises:
        DataError: nobody knows the range of its pixels (floating point, 32-bit whole numbers), or Pillow cannot
            convert them; the message names the kind, not the file.
    """
    bits, is_negative = _grey_bits(image), _is_negative(image)  # before the turn, which loses the format
    turned = ImageOps.exif_transpose(image)
    if bits is not None:
        grey = (np.asarray(turned) >> (bits - 8)).clip(0, 255).astype(np.uint8)
        return Image.fromarray(255 - grey if is_negative else grey).convert("RGB")
    if turned.mode == "RGBa" or turned.mode == "La":
        turned = turned.convert(turned.mode.upper())  # Pillow takes premultiplied colours no other way
    elif turned.mode == "P" and "transparency" in turned.info:
        turned = turned.convert("RGBA")  # straight to RGB, Pillow warns about each such file
    try:
        return turned if turned.mode == "RGB" else turned.convert("RGB")  # which would be one more copy
    except ValueError as error:
        raise DataError(f"expected pixels that convert to RGB, got mode {image.mode!r} ({error})") from error


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """The picture with a longer side of at most so many pixels; a smaller one as it is."""
    scale = min(1.0, side / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)


def _grey_bits(image: Image.Image) -> int | None:
    """Of grey of more than 8 bits, in how many its white is written; None for all other pictures."""
    if image.mode.startswith("I;16"):
        written = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
        return int(written[0])
    if image.mode == "I" and image.format in _SCALED_TO_16_BITS:
        return 16
    if image.mode in _UNKNOWN_RANGE:
        raise DataError(
            f"expected pixels of 8 or 16 bits, got {_UNKNOWN_RANGE[image.mode]} (mode {image.mode!r}), of which nobody "
            "knows what is white; save it as 8 or 16 bits"
        )
    return None


def _is_negative(image: Image.Image) -> bool:
    """Whether 0 is white in a 16-bit TIFF; of 8 bits Pillow turns it around itself."""
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
