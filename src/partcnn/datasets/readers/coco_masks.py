"""Segmentations of COCO as masks: polygons and run lengths, compressed ones with pycocotools (the extra `coco`)."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from partcnn.datasets.annotations import Skips, number, whole_number
from partcnn.datasets.samples import MaskShape
from partcnn.foundation.errors import DataError

NO_PIXEL = "segmentations that cover no pixel"
_FIRST = ord("0")  # of the 64 letters of compressed run lengths


def segmentation_mask(segmentation: Any, size: tuple[int, int], place: str, skips: Skips) -> MaskShape | None:
    """A mask of a picture; None, and counted, where it covers no pixel.

    Args:
        segmentation: a list of polygons [x, y, x, y, …] in continuous pixels, together one shape, or
            {"size": [height, width], "counts": …} with run lengths, a list or compressed.
        size: (height, width) of the picture.
        place: where it stands, for messages.
        skips: counted here.

    Raises:
        DataError: it is neither, holds what is no finite number, is of another size than the picture, or is
            compressed and pycocotools is not installed.
    """
    mask = _runs(segmentation, size, place) if isinstance(segmentation, dict) else _polygons(segmentation, size, place)
    if mask.any():
        return MaskShape(mask)
    skips.add(NO_PIXEL, place)
    return None


def is_empty_segmentation(segmentation: Any) -> bool:
    """None, [] or [[]], as exporters write it where only the box was drawn."""
    return not segmentation or (isinstance(segmentation, list) and all(polygon == [] for polygon in segmentation))


def _polygons(polygons: Any, size: tuple[int, int], place: str) -> npt.NDArray[np.bool_]:
    mask = np.zeros(size, dtype=np.bool_)
    for polygon in [one for one in polygons if one != []] if isinstance(polygons, list) else [None]:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise DataError(f"{place}: expected polygons of at least three points [x, y, x, y, …], got {polygon!r:.60}")
        corners = np.array([number(value, "a polygon", place) for value in polygon]).reshape(-1, 2)
        mask |= _filled(corners, size)
    return mask


def _filled(corners: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels whose middle lies within a polygon."""
    mask = np.zeros(size, dtype=np.bool_)
    limits = np.array([size[1], size[0]])
    low = np.floor(corners.min(axis=0).clip(0, limits)).astype(int)
    high = np.ceil(corners.max(axis=0).clip(0, limits)).astype(int)
    if (high > low).all():
        from matplotlib.path import Path as Outline

        cols, rows = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        middles = np.column_stack([cols.ravel(), rows.ravel()]) + 0.5
        mask[low[1] : high[1], low[0] : high[0]] = Outline(corners).contains_points(middles).reshape(cols.shape)
    return mask


def _runs(segmentation: dict[str, Any], size: tuple[int, int], place: str) -> npt.NDArray[np.bool_]:
    if _size(segmentation.get("size"), place) != size:
        raise DataError(
            f"{place}: expected run lengths of the picture's [height, width] {list(size)}, "
            f"got {segmentation.get('size')!r:.60}"
        )
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        lengths = [whole_number(count, "run lengths", place) for count in counts]
        if min(lengths, default=0) < 0 or sum(lengths) != size[0] * size[1]:
            raise DataError(f"{place}: expected run lengths of at least 0 that add up to {size[0]} × {size[1]}")
        is_inside = np.arange(len(lengths)) % 2 == 1  # the first run is outside; runs go down the columns
        return np.repeat(is_inside, lengths).reshape(size[::-1]).T
    return _decompressed(counts, size, place)


def _size(values: Any, place: str) -> tuple[int, ...] | None:
    return tuple(whole_number(value, "size", place) for value in values) if isinstance(values, list) else None


def _decompressed(counts: Any, size: tuple[int, int], place: str) -> npt.NDArray[np.bool_]:
    code = counts.encode("ascii", "replace") if isinstance(counts, str) else b""
    # pycocotools reads on past the end of a code whose last number goes on: look at it first.
    if not code or not all(_FIRST <= byte < _FIRST + 64 for byte in code) or (code[-1] - _FIRST) & 32:
        raise DataError(f"{place}: expected counts as run lengths, a list or compressed, got {counts!r:.60}")
    try:
        from pycocotools import mask as coco_mask
    except ImportError as error:
        raise DataError(f"{place}: compressed run lengths need pycocotools; pip install 'partcnn[coco]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of numpy 2, about pycocotools' own arrays
            decoded = coco_mask.decode({"size": list(size), "counts": code})
    except Exception as error:  # Cython's own
        raise DataError(f"{place}: expected run lengths, got {type(error).__name__}: {error}") from error
    return np.asarray(decoded, dtype=np.bool_)
