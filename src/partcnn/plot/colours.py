"""A colour for each filter, the same on every picture: far from one another, also with red-green blindness."""

from functools import cache

import numpy as np
import numpy.typing as npt

from partcnn.foundation.errors import ConfigError

_LEVELS = 12  # of red, green and blue, among whose mixtures colours are chosen
_LIGHTNESS = (0.5, 0.9)  # of OKLab: neither lost in shadows nor in white paper
_LEAST_CHROMA = 0.12  # of OKLab: a picture's greys are no filter's colour
_LIGHTNESS_WEIGHT = 0.5  # a picture's own light and dark shines through, hue stays
_COLOUR_BLIND_SCALE = 1.5  # distances of a plane count as much as those of a space
_FIRST = [(0.0, 0.45, 0.9), (1.0, 0.6, 0.0)]  # blue, orange
_MOST = 128  # colours before they begin anew

# Linear RGB as people without red-sensitive or green-sensitive cones see it: Machado, Oliveira & Fernandes, "A
# physiologically-based model for simulation of color vision deficiency" (IEEE TVCG 2009), severity 1.
_PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
_DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]

_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear RGB

# Linear RGB → cones → OKLab: Ottosson, "A perceptual color space for image processing" (2020).
_TO_CONES = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
             [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
_TO_LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
           [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip


def filter_colours(num_filters: int) -> npt.NDArray[np.uint8]:  # [filter, 3]
    """Red, green and blue of each filter; that of a filter does not depend on how many there are.

    Each next colour is the one farthest from the nearest of those before. The distance is one in OKLab, the
    smallest of three: as seen with all cones, lightness weighing half; and, times 1.5, without red-sensitive and
    without green-sensitive ones. The first two are blue and orange; after 128 they begin anew.

    Raises:
        ConfigError: the number is below 1.
    """
    if num_filters < 1:
        raise ConfigError(f"num_filters: expected at least 1, got {num_filters}")
    palette = _palette(min(num_filters, _MOST))
    return palette[np.arange(num_filters) % len(palette)]


def web_colour(colour: npt.ArrayLike) -> str:
    """Red, green and blue in 0–255 → "#0073e6"."""
    red, green, blue = np.asarray(colour).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def ink_on(colour: npt.ArrayLike) -> str:
    """Black or white, whichever has more contrast (WCAG 2) to red, green and blue in 0–255: at least 4.5."""
    luminance = float(_linear(np.asarray(colour) / 255) @ _LUMINANCE)
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


@cache
def _palette(count: int) -> npt.NDArray[np.uint8]:
    levels = np.linspace(0, 1, _LEVELS)
    mixtures = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    candidates = np.concatenate([_FIRST, mixtures])
    views = seen_colours(candidates)
    lightness, chroma = views[0, :, 0].copy(), np.hypot(views[0, :, 1], views[0, :, 2])
    is_fit = (lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1]) & (chroma >= _LEAST_CHROMA)
    views *= np.array([1, _COLOUR_BLIND_SCALE, _COLOUR_BLIND_SCALE])[:, None, None]
    views[0, :, 0] *= _LIGHTNESS_WEIGHT
    nearest = np.where(is_fit, np.inf, -np.inf)
    chosen = list[int]()
    while len(chosen) < count:
        number = len(chosen)
        chosen.append(number if number < len(_FIRST) else int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(views - views[:, chosen[-1:]], axis=2).min(axis=0))
    return (255 * candidates[chosen]).round().astype(np.uint8)


def seen_colours(colours: npt.ArrayLike) -> npt.NDArray[np.float64]:  # [3, colour, 3]
    """sRGB colours [colour, 3] in 0–1 → OKLab, as seen with all cones, and without red- or green-sensitive ones."""
    linear = _linear(np.asarray(colours, dtype=np.float64))
    seen = [linear] + [(linear @ np.transpose(matrix)).clip(0, 1) for matrix in (_PROTANOPIA, _DEUTERANOPIA)]
    return np.stack([np.cbrt(one @ np.transpose(_TO_CONES)) @ np.transpose(_TO_LAB) for one in seen])


def _linear(colours: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
