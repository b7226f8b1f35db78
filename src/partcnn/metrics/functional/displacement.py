"""How well filters follow object parts: location instability, tracking R², displacement scatter, coverage.

Every measure takes the same four things, for N images of one category:

    peaks      [image, filter, 2]  (x, y), centre of the receptive field of the map's peak
    scores     [image, filter]     the activation there; it only ranks the images
    landmarks  [image, part, 2]    (x, y), centre of the part's box; nan where the image does not show the part
    image_size (height, width)     the frame that peaks and landmarks lie in

all in continuous pixels of that frame (the left edge is x = 0, the right edge x = width). The protocol is that
of Zhang, Wu & Zhu (2018), Sec. 5: for each filter and part, the `top` images of highest score among those that
show the part; equal scores keep the order of the images. Fewer than two such images: nan, left out of averages.
Everything is computed in float64 on the device of `peaks`, without gradient.

Location instability alone can be won by a filter that always answers the image centre. Quote it beside
`constant_point_baseline`, and beside part tracking, where every constant point gets 0.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional.arguments import checked_diagonal
from partcnn.metrics.functional.results import BestPartMetric, PartMetric, with_best_part
from partcnn.metrics.functional.spread import spread
from partcnn.metrics.functional.strongest import num_ranked, strongest_images

COVERAGE_R2 = 0.5  # from which on a filter counts as following a part, and the part as covered


def location_instability(
    peaks: Tensor,  # [image, filter, 2]
    scores: Tensor,  # [image, filter]
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    *,
    top: int = 100,
) -> PartMetric:
    """How much the distance between a filter's peak and a part varies; lower is better.

    Zhang, Wu & Zhu (2018), Sec. 5:  d = ‖landmark − peak‖ / diagonal,  D_{f,k} = √var_image(d) with the N−1
    variance of the authors' code; the value is the mean over parts, then over filters.

    Args:
        peaks: (x, y) in pixels of the frame, finite.
        scores: finite or infinite, not nan.
        landmarks: (x, y) in pixels of the frame, nan where absent.
        image_size: (height, width) of the frame, above 0; the paper's is the network's input, 224 × 224.
        top: the number of images per filter and part, at least 2.

    Returns:
        Fractions of the diagonal, ≥ 0; nan where fewer than two images show the part.

    Raises:
        ShapeError: axes or sizes do not fit together.
        ConfigError: `top` is below 2, or a number is nan or infinite that may not be.
    """
    diagonal = checked_diagonal(image_size)
    return instability_of_table(strongest_images(peaks, scores, landmarks, top=top), diagonal)


def instability_of_table(table: Tensor, diagonal: float) -> PartMetric:
    """`location_instability` of a table of `strongest_images`; the diagonal in its pixels."""
    per_filter = spread(table, diagonal).instability
    return PartMetric(per_filter, per_filter.nanmean(dim=1).nanmean().item(), num_ranked(table))


def least_location_instability(per_category: Sequence[Tensor]) -> float:  # each [filter, part]
    """The paper's measure for several categories: of each filter the most stable category, mean over filters.

    Zhang, Wu & Zhu (2018), Sec. 5:  mean_f min_c mean_{k ∈ parts of c} D_{f,k}, where D of category c is taken
    over the pictures of c. Lower is better; with more categories a filter has more to choose from, so that the
    figures of tasks with different numbers of categories cannot be compared.

    Args:
        per_category: `location_instability(...).per_filter` of each category, of the same filters.

    Returns:
        A fraction of the diagonal, ≥ 0; categories without a measured part are left out, nan when none is left.

    Raises:
        ShapeError: the categories have different numbers of filters, or there is none.
    """
    sizes = {tuple(instability.shape[:1]) for instability in per_category}
    if len(sizes) != 1:
        raise ShapeError(
            f"per_category: expected [filter, part] of the same filters for each, got {sorted(sizes)} filters"
        )
    means = torch.stack([instability.nanmean(dim=1) for instability in per_category])  # [category, filter]
    least = means.nan_to_num(nan=math.inf).amin(dim=0)
    return least.masked_fill(least == math.inf, math.nan).nanmean().item()


def part_tracking(
    peaks: Tensor,  # [image, filter, 2]
    scores: Tensor,  # [image, filter]
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    *,
    top: int = 100,
    is_dead: Tensor | None = None,  # [filter] bool
) -> BestPartMetric:
    """Share of a part's movement that a filter's peak follows, R²; higher is better.

    R²_{f,k} = 1 − var(landmark − peak) / var(landmark), variances over images, summed over x and y (N or N−1
    cancels). 1: follows exactly, a constant offset is allowed; 0: as good as a point that never moves;
    negative: worse than that. The value is the mean over filters of each one's best part. Not in the paper.

    Args:
        peaks, scores, landmarks, image_size, top: as in `location_instability`.
        is_dead: filters that are silent on their category (`dead_filters`). A silent filter is a constant,
            so its R² is 0 in every part that two images show, and it stays in the average.

    Returns:
        At most 1. nan where fewer than two images show the part, and, for a filter that is not dead, where the
        landmark is at the same point in all of its images: what never moves cannot be followed.

    Raises:
        ShapeError, ConfigError: as in `location_instability`.
    """
    diagonal = checked_diagonal(image_size)
    return tracking_of_table(strongest_images(peaks, scores, landmarks, top=top), diagonal, is_dead=is_dead)


def tracking_of_table(table: Tensor, diagonal: float, *, is_dead: Tensor | None = None) -> BestPartMetric:
    """`part_tracking` of a table of `strongest_images`; the diagonal in its pixels."""
    per_filter, num_images = spread(table, diagonal).tracked_share, num_ranked(table)
    if is_dead is not None:
        dead = _checked_dead(is_dead, num_filters=per_filter.shape[0]).to(per_filter.device)
        per_filter = per_filter.masked_fill(dead[:, None] & (num_images >= 2), 0.0)
    return with_best_part(per_filter, num_images, sign=1)


def displacement_scatter(
    peaks: Tensor,  # [image, filter, 2]
    scores: Tensor,  # [image, filter]
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    *,
    top: int = 100,
) -> BestPartMetric:
    """Spread of the vector from a filter's peak to a part; lower is better.

    √(var_x + var_y)(landmark − peak) / diagonal, with N−1 variances. A constant offset has no scatter; a
    constant point has that of the landmark itself. Unlike location instability, a part that circles the peak at
    one distance is not taken for one that stays put. The value is the mean over filters of the smallest over
    parts. Not in the paper.

    Args:
        peaks, scores, landmarks, image_size, top: as in `location_instability`.

    Returns:
        Fractions of the diagonal, ≥ 0; nan where fewer than two images show the part. The best part is the one
        of smallest scatter.

    Raises:
        ShapeError, ConfigError: as in `location_instability`.
    """
    diagonal = checked_diagonal(image_size)
    return scatter_of_table(strongest_images(peaks, scores, landmarks, top=top), diagonal)


def scatter_of_table(table: Tensor, diagonal: float) -> BestPartMetric:
    """`displacement_scatter` of a table of `strongest_images`; the diagonal in its pixels."""
    return with_best_part(spread(table, diagonal).scatter, num_ranked(table), sign=-1)


def coverage(r2_per_filter: Tensor, *, threshold: float = COVERAGE_R2) -> float:  # [filter, part]
    """Fraction of parts that have a filter with R² ≥ threshold, between 0 and 1; higher is better.

    Args:
        r2_per_filter: `part_tracking(...).per_filter`.
        threshold: above 0 (which every constant point reaches) and at most 1.

    Returns:
        Parts that are nan for every filter are not counted; nan when none is left.

    Raises:
        ShapeError: not two axes.
        ConfigError: the threshold is outside (0, 1].
    """
    if r2_per_filter.ndim != 2:
        raise ShapeError(f"r2_per_filter: expected [filter, part], got shape {tuple(r2_per_filter.shape)}")
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold: expected a number above 0 and at most 1, got {threshold}")
    is_measured = (~r2_per_filter.isnan()).any(dim=0)
    is_covered = (r2_per_filter >= threshold).any(dim=0)  # nan ≥ threshold is false
    return is_covered[is_measured].double().mean().item()


def _checked_dead(is_dead: Tensor, *, num_filters: int) -> Tensor:
    if is_dead.dtype != torch.bool or is_dead.shape != (num_filters,):
        raise ShapeError(
            f"is_dead: expected [filter] = ({num_filters},) of bool, "
            f"got {tuple(is_dead.shape)} of {is_dead.dtype}; dead_filters(scores) gives it"
        )
    return is_dead
