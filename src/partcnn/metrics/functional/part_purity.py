"""Whether what a filter fires on most shows one part: the part purity of PIP-Net."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional.arguments import check_peaks
from partcnn.metrics.functional.consistency import are_shown, parts_in_boxes
from partcnn.metrics.functional.results import BestPartMetric, with_best_part
from partcnn.metrics.functional.strongest import INDEX

WINDOW_FRAC = 32 / 224  # of the picture's sides: the window around a peak
NUM_PICTURES = 10  # of each filter
HITS = slice(2, None)  # columns of a table, behind score and index
_SIDES = {"left", "right", "l", "r"}


def part_purity(
    peaks: Tensor,  # [image, filter, 2]
    scores: Tensor,  # [image, filter]
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    *,
    parts: Sequence[str] | None = None,
    top: int = NUM_PICTURES,
    window_frac: float = WINDOW_FRAC,
) -> BestPartMetric:
    """The share of a filter's ten strongest pictures on which its best part lies in a small window around its peak.

    Nauta, Schlötterer, van Keulen & Seifert, "PIP-Net: Patch-based intuitive prototypes for interpretable image
    classification" (CVPR 2023):

        purity_fk = pictures with the point of part k in the window / pictures, of the ten on which f fires most
        value     = mean over filters of max_k purity_fk

    The window has 32 of 224 of the picture's height and of its width, edges included. Left and right of one part are
    one part, in the window where either is. Higher is better.

    Args:
        peaks, scores, landmarks, image_size: as of `consistency`. A filter that is silent on one of the ten misses.
        parts: their names, see `merged_sides`; None: none is left or right of another.
        top: pictures of each filter, at least 2, of those that show some part; where these are fewer, all.
        window_frac: side of the window as a share of the picture's, in (0, 1].

    Returns:
        Shares in 0–1 of [filter, merged part], in the order of `merged_sides`; nan where no picture shows any part.

    Raises:
        ShapeError: axes or sizes do not fit together.
        ConfigError: a number is outside its range, or not finite where it must be.
    """
    table = strongest_windows(
        peaks, scores, landmarks, image_size, parts=parts, top=top, window_frac=window_frac, image_index=None
    )
    return purity_of_table(table)


def strongest_windows(
    peaks: Tensor,
    scores: Tensor,
    landmarks: Tensor,
    image_size: tuple[int, int],
    *,
    parts: Sequence[str] | None,
    top: int = NUM_PICTURES,
    window_frac: float = WINDOW_FRAC,
    image_index: Tensor | None = None,
) -> Tensor:  # [filter, 1, rank, 2 + merged part] float64
    """A table as of `metrics.functional.strongest`, which merges as these do: score, index, and what is in the window.

    Arguments and errors are those of `part_purity`; `image_index` [image] is a number of each image's own.
    """
    check_peaks(peaks, scores, landmarks, top)
    groups = merged_sides([str(part) for part in range(landmarks.shape[1])] if parts is None else parts)
    if parts is not None and len(parts) != landmarks.shape[1]:
        raise ShapeError(
            f"parts: expected a name for each of {landmarks.shape[1]} parts of landmarks, got {len(parts)}"
        )
    is_inside = parts_in_boxes(peaks, scores, landmarks, image_size, box_frac=window_frac)
    merged = [is_inside[..., members].any(dim=2) for members in groups.values()]
    hits = torch.stack(merged, dim=2) if merged else is_inside
    index = (torch.arange(len(peaks)) if image_index is None else image_index).to(peaks.device)
    is_shown = are_shown(landmarks).any(dim=1).to(peaks.device)
    by_index = index.argsort(stable=True)  # of equal scores the image of the lower index is the one meant
    rows = by_index[is_shown[by_index]]
    ranked = scores.detach().to(peaks.device, torch.float64)[rows].sort(dim=0, descending=True, stable=True)
    chosen = rows[ranked.indices[:top].T]  # [filter, rank]
    filters = torch.arange(peaks.shape[1], device=peaks.device)[:, None]
    columns = [ranked.values[:top].T[..., None], index[chosen][..., None], hits[chosen, filters]]
    return torch.cat([column.double() for column in columns], dim=2)[:, None]


def purity_of_table(table: Tensor) -> BestPartMetric:
    """`part_purity` of a table of `strongest_windows`."""
    is_used = ~table[:, 0, :, INDEX].isnan()
    number = is_used.sum(dim=1, keepdim=True)
    hits = table[:, 0, :, HITS].nan_to_num().sum(dim=1)
    return with_best_part(hits / number.double(), number.expand(hits.shape), sign=1)  # 0 / 0 is nan


def empty_windows(num_filters: int, num_merged: int, top: int) -> Tensor:
    """The table of no pictures yet."""
    return torch.full((num_filters, 1, top, 2 + num_merged), torch.nan, dtype=torch.float64)


def merged_sides(parts: Sequence[str]) -> dict[str, list[int]]:
    """Parts that are the same but for their side: name without it → numbers of the parts, in their order.

    A name is taken apart at spaces, underscores, hyphens, points and where a capital follows a small letter; of its
    words "left", "right", "l" and "r" name a side. What is left, in small letters, is the part: "left eye",
    "eye_left", "rightEye" and "l-eye" are one, "eye". A name that is nothing but a side is a part of its own.

    Raises:
        ConfigError: a name stands there twice.
    """
    if len(set(parts)) < len(parts):
        raise ConfigError(f"parts: expected different names, got {list(parts)}")
    found: dict[str, list[int]] = {}
    for number, part in enumerate(parts):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).lower()
        kept = [word for word in re.split(r"[\s_.\-]+", words) if word and word not in _SIDES]
        found.setdefault(" ".join(kept) or part, []).append(number)
    return found
