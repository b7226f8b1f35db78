"""The average piece of picture at a filter's peak: sharp where the filter always means the same thing."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from partcnn.reporting.gathering import Gathered

PATCH_PX = 48  # side of an average as kept
PATCH_FRAC = 0.4  # side of the piece, as a share of the picture's shorter side
MOST_AVERAGED = 40  # the strongest pictures of a filter
COLUMNS = 16  # of the sheet


def patch_sheet(gathered: Gathered, categories: Sequence[list[int]]) -> bytes:
    """A JPEG of all filters' averages in rows of `COLUMNS`; grey for a filter that never fires.

    Args:
        gathered: the pictures and peaks.
        categories: [filter] the classes whose pictures count.
    """
    num_filters = len(categories)
    wanted: dict[int, list[int]] = {}
    for filter_index, own in enumerate(categories):
        is_own = torch.tensor([not {*own}.isdisjoint(picture.labels) for picture in gathered.pictures])
        scores = gathered.scores[:, filter_index].where(is_own, -1.0)
        order = scores.argsort(descending=True, stable=True)[:MOST_AVERAGED]
        for place in order[scores[order] > 0].tolist():
            wanted.setdefault(place, []).append(filter_index)
    sums = np.zeros((num_filters, PATCH_PX, PATCH_PX, 3))
    counts = np.zeros(num_filters)
    for place, filters in wanted.items():
        for filter_index, patch in zip(filters, _patches(gathered, place, filters), strict=True):
            sums[filter_index] += patch
            counts[filter_index] += 1
    means = np.where(counts[:, None, None, None] > 0, sums / np.maximum(counts, 1)[:, None, None, None], 128)
    buffer = io.BytesIO()
    _sheet(means).save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def _patches(gathered: Gathered, place: int, filters: list[int]) -> list[npt.NDArray[np.float64]]:
    picture = gathered.pictures[place]
    with Image.open(io.BytesIO(picture.jpeg)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    half = max(1, round(min(picture.width, picture.height) * PATCH_FRAC / 2))
    padded = Image.fromarray(np.pad(pixels, ((half, half), (half, half), (0, 0)), mode="edge"))
    cells = gathered.cells[place, filters]
    cols = gathered.field.map_size[1]
    centers = gathered.field.centers_px(torch.stack([cells // cols, cells % cols], dim=-1))
    height, width = gathered.field.input_size
    found = []
    for x, y in (centers / torch.tensor([width, height])).clamp(0, 1).tolist():
        left, top = x * picture.width, y * picture.height  # half further to the right in the padded picture
        box = (left, top, left + 2 * half, top + 2 * half)
        found.append(np.asarray(padded.resize((PATCH_PX, PATCH_PX), Image.Resampling.BILINEAR, box=box), dtype=float))
    return found


def _sheet(means: npt.NDArray[np.float64]) -> Image.Image:
    rows = -(-len(means) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * PATCH_PX, rows * PATCH_PX), (128, 128, 128))
    for index, mean in enumerate(means.round().clip(0, 255).astype(np.uint8)):
        row, col = divmod(index, COLUMNS)
        sheet.paste(Image.fromarray(mean), (col * PATCH_PX, row * PATCH_PX))
    return sheet
