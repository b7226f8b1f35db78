"""The images on which each filter fires most, among those that show a part: chosen in one go, or merged piece by piece.

A table [filter, part, rank, column] holds them, strongest first, float64; equal scores keep the order of the images'
indices; unused ranks at the end are nan. Columns: score, image index, x and y of the peak, x and y of the landmark.
Merging the tables of two sets of images gives the table of both, so the memory is that of `top` images per filter and
part, however many there are.
"""

import math

import torch
from torch import Tensor

from partcnn.metrics.functional.arguments import check_peaks

SCORE, INDEX, PEAK, LANDMARK = 0, 1, slice(2, 4), slice(4, 6)
NUM_COLUMNS = 6


def empty_table(num_filters: int, num_parts: int, top: int, device: torch.device | None = None) -> Tensor:
    """No images yet: [filter, part, top, 6] of nan."""
    return torch.full((num_filters, num_parts, top, NUM_COLUMNS), math.nan, dtype=torch.float64, device=device)


def strongest_images(
    peaks: Tensor,  # [image, filter, 2]
    scores: Tensor,  # [image, filter]
    landmarks: Tensor,  # [image, part, 2]
    *,
    top: int,
    image_index: Tensor | None = None,  # [image]
) -> Tensor:
    """The `top` images of highest score per filter and part, among those that show the part.

    Zhang, Wu & Zhu (2018), Sec. 5. Computed in float64 on the device of `peaks`, without gradient.

    Args:
        peaks, scores, landmarks: as in `location_instability`.
        top: at least 2.
        image_index: a number of each image's own, that tells it apart when tables are merged, below 2⁵³; None counts.

    Returns:
        The table [filter, part, rank, 6], with as many ranks as the most shown part needs.

    Raises:
        ShapeError, ConfigError: as in `location_instability`.
    """
    check_peaks(peaks, scores, landmarks, top)
    peaks = peaks.detach().to(torch.float64)
    scores = scores.detach().to(peaks.device, torch.float64)
    landmarks = landmarks.detach().to(peaks.device, torch.float64)
    index = torch.arange(len(peaks)) if image_index is None else image_index
    is_shown = ~landmarks.isnan().any(dim=-1)  # [image, part]
    num_ranks = min(top, int(is_shown.sum(dim=0).max())) if is_shown.numel() else 0
    by_index = index.to(peaks.device).argsort(stable=True)
    rows = torch.cat([scores[..., None], index.to(peaks)[:, None, None].expand(*scores.shape, 1), peaks], dim=-1)[
        by_index
    ]
    # Sorted stably, and not by topk: on a tie the image of the lower index is the one meant.
    order = rows[..., SCORE].T.sort(dim=1, descending=True, stable=True).indices  # [filter, image]
    landmarks, is_shown = landmarks[by_index], is_shown[by_index]
    table = empty_table(peaks.shape[1], landmarks.shape[1], num_ranks, peaks.device)
    for part in range(landmarks.shape[1]):
        num_chosen = min(top, int(is_shown[:, part].sum()))
        if num_chosen and len(table):
            shown_in_order = is_shown[order, part]
            chosen = order[shown_in_order & (shown_in_order.cumsum(dim=1) <= top)].view(len(table), num_chosen)
            filters = torch.arange(len(table), device=peaks.device)[:, None]
            table[:, part, :num_chosen, :4] = rows[chosen, filters]
            table[:, part, :num_chosen, LANDMARK] = landmarks[chosen, part]
    return table


def merged_tables(tables: Tensor) -> Tensor:  # [table, filter, part, rank, 6] -> [filter, part, rank, 6]
    """The table of all images that the tables were made from; an image that is in several counts once."""
    rows = tables.movedim(0, 2).flatten(2, 3)  # [filter, part, table · rank, 6]
    rows = _sorted(rows, rows[..., INDEX], descending=False)  # unused ranks, nan, come last
    is_again = rows[..., 1:, INDEX] == rows[..., :-1, INDEX]
    rows[..., 1:, :].masked_fill_(is_again[..., None], math.nan)
    # An unused rank goes behind every image, also one of score −inf: among equals its index, nan, is later.
    rows = _sorted(rows, rows[..., INDEX], descending=False)
    rows = _sorted(rows, rows[..., SCORE].nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf), descending=True)
    return rows[..., : tables.shape[3], :]


def num_ranked(table: Tensor) -> Tensor:
    """[filter, part] int64: the images in the table."""
    return (~table[..., INDEX].isnan()).sum(dim=-1)


def _sorted(rows: Tensor, key: Tensor, *, descending: bool) -> Tensor:
    order = key.sort(dim=-1, descending=descending, stable=True).indices
    return rows.gather(-2, order[..., None].expand(rows.shape))
