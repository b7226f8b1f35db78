"""How well filters follow object parts: location instability, tracking R², scatter, coverage, baselines.

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
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class PartMetric:
    """One measure of every filter on every part."""

    per_filter: Tensor  # [filter, part] float64; nan where it is not defined
    value: float  # the measure's own average over parts and filters; nan when nothing is defined
    num_images: Tensor  # [filter, part] int64, the images that the measure was taken on


@dataclass(frozen=True)
class BestPartMetric(PartMetric):
    """A measure that is averaged over filters with each filter on its best part."""

    best_per_filter: Tensor  # [filter] float64; nan for a filter that has no part to be measured on
    best_part: Tensor  # [filter] int64, the first of equals; without meaning where best_per_filter is nan


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
    diagonal = _diagonal(image_size)

    def instability(peaks: Tensor, landmarks: Tensor) -> Tensor:
        distances = torch.linalg.vector_norm(landmarks - peaks, dim=-1) / diagonal
        deviation: Tensor = distances.std(dim=0, correction=1)
        return deviation

    per_filter, num_images = _measure_each_part(instability, peaks, scores, landmarks, top)
    return PartMetric(per_filter, per_filter.nanmean(dim=1).nanmean().item(), num_images)


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
    _diagonal(image_size)
    per_filter, num_images = _measure_each_part(_tracked_share, peaks, scores, landmarks, top)
    if is_dead is not None:
        dead = _checked_dead(is_dead, num_filters=per_filter.shape[0]).to(per_filter.device)
        per_filter = per_filter.masked_fill(dead[:, None] & (num_images >= 2), 0.0)
    return _with_best_part(per_filter, num_images, sign=1)


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
    diagonal = _diagonal(image_size)

    def scatter(peaks: Tensor, landmarks: Tensor) -> Tensor:
        return _total_variance(landmarks - peaks).sqrt() / diagonal

    per_filter, num_images = _measure_each_part(scatter, peaks, scores, landmarks, top)
    return _with_best_part(per_filter, num_images, sign=-1)


def coverage(r2_per_filter: Tensor, *, threshold: float = 0.5) -> float:  # [filter, part]
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


def dead_filters(scores: Tensor) -> Tensor:  # [image, filter] -> [filter] bool
    """Filters that are silent, score ≤ 0, on more than half of the images given.

    Args:
        scores: the peak of each map after the ReLU, on the images of the filters' own category.

    Returns:
        True for dead filters. Without an image nothing is known and none is dead.

    Raises:
        ShapeError: not two axes.
        ConfigError: a score is nan.
    """
    _check_scores(scores)
    return (scores <= 0).sum(dim=0) * 2 > scores.shape[0]


def constant_point_baseline(
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    point: tuple[float, float] | None = None,
    *,
    top: int = 100,
) -> PartMetric:
    """Location instability of a filter that answers one point on every image: what looking must beat.

    All images tie in score, so the first `top` that show a part are taken. With `top` no smaller than the
    number of images, all are.

    Args:
        landmarks, image_size, top: as in `location_instability`.
        point: (x, y) in pixels of the frame; None takes the centre.

    Returns:
        The measure of that one filter, fractions of the diagonal: per_filter is [1, part].

    Raises:
        ShapeError, ConfigError: as in `location_instability`.
    """
    _diagonal(image_size)
    _check_points("landmarks", landmarks, "part")
    height, width = image_size
    point = (width / 2, height / 2) if point is None else point
    if len(point) != 2 or not all(math.isfinite(coordinate) for coordinate in point):
        raise ConfigError(f"point: expected a finite (x, y) in pixels, got {tuple(point)}")
    peaks = landmarks.new_tensor(point, dtype=torch.float64).expand(landmarks.shape[0], 1, -1)
    scores = peaks.new_zeros(landmarks.shape[0], 1)
    return location_instability(peaks, scores, landmarks, image_size, top=top)


def random_point_baseline(
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    *,
    generator: torch.Generator,
    num_filters: int = 64,
    top: int = 100,
) -> PartMetric:
    """Location instability of filters that answer a new point, uniform over the frame, on every image.

    Args:
        landmarks, image_size, top: as in `location_instability`; all images tie in score.
        generator: draws the points, on its own device.
        num_filters: how many such filters, at least 1; the value is their mean.

    Returns:
        The measure of each of these filters, fractions of the diagonal.

    Raises:
        ShapeError, ConfigError: as in `location_instability`; `num_filters` is below 1.
    """
    _diagonal(image_size)
    _check_points("landmarks", landmarks, "part")
    if num_filters < 1:
        raise ConfigError(f"num_filters: expected at least 1, got {num_filters}")
    height, width = image_size
    shape = (landmarks.shape[0], num_filters, 2)
    points = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    peaks = (points * points.new_tensor([width, height])).to(landmarks.device)
    return location_instability(peaks, peaks.new_zeros(shape[:2]), landmarks, image_size, top=top)


def _measure_each_part(
    measure: Callable[[Tensor, Tensor], Tensor],  # peaks and landmarks [image, filter, 2] -> [filter]
    peaks: Tensor,
    scores: Tensor,
    landmarks: Tensor,
    top: int,
) -> tuple[Tensor, Tensor]:  # [filter, part] float64, [filter, part] int64
    _check_arguments(peaks, scores, landmarks, top)
    peaks = peaks.detach().to(torch.float64)
    scores = scores.detach().to(peaks.device, torch.float64)
    landmarks = landmarks.detach().to(peaks.device, torch.float64)
    shape = (peaks.shape[1], landmarks.shape[1])
    per_filter = peaks.new_full(shape, math.nan)
    num_images = torch.zeros(shape, dtype=torch.int64, device=peaks.device)
    # Sorted stably, and not by topk: on a tie the first image is the one meant.
    order = scores.T.sort(dim=1, descending=True, stable=True).indices  # [filter, image]
    for part, part_landmarks in enumerate(landmarks.unbind(dim=1)):
        is_shown = ~part_landmarks.isnan().any(dim=-1)
        shown_in_order = is_shown[order]
        is_chosen = shown_in_order & (shown_in_order.cumsum(dim=1) <= top)
        num_chosen = min(top, int(is_shown.sum()))
        num_images[:, part] = num_chosen
        if num_chosen >= 2 and shape[0] > 0:  # torch warns of the variance of nothing
            chosen = order[is_chosen].view(shape[0], num_chosen).T  # [image, filter]
            chosen_peaks = peaks.gather(0, chosen[..., None].expand(-1, -1, 2))
            per_filter[:, part] = measure(chosen_peaks, part_landmarks[chosen])
    return per_filter, num_images


def _tracked_share(peaks: Tensor, landmarks: Tensor) -> Tensor:
    landmark_variance = _total_variance(landmarks)
    share = 1 - _total_variance(landmarks - peaks) / landmark_variance
    return share.masked_fill(landmark_variance == 0, math.nan)


def _total_variance(points: Tensor) -> Tensor:  # [image, filter, 2] -> [filter]
    return points.var(dim=0, correction=1).sum(dim=-1)


def _with_best_part(per_filter: Tensor, num_images: Tensor, *, sign: int) -> BestPartMetric:
    num_filters, num_parts = per_filter.shape
    if num_parts == 0:
        best_per_filter = per_filter.new_full((num_filters,), math.nan)
        best_part = num_images.new_zeros(num_filters)
    else:
        goodness = (sign * per_filter).nan_to_num(nan=-math.inf)
        # torch promises no order among ties: the first part equal to the best is the one meant.
        best_part = (goodness == goodness.amax(dim=1, keepdim=True)).to(torch.uint8).argmax(dim=1)
        best_per_filter = per_filter.gather(1, best_part[:, None]).squeeze(1)
    return BestPartMetric(
        per_filter=per_filter,
        value=best_per_filter.nanmean().item(),
        num_images=num_images,
        best_per_filter=best_per_filter,
        best_part=best_part,
    )


def _diagonal(image_size: tuple[int, int]) -> float:
    if len(image_size) != 2 or not all(0 < side < math.inf for side in image_size):
        raise ShapeError(
            f"image_size: expected (height, width) above 0, got {tuple(image_size)}; "
            "give the size of the frame that peaks and landmarks lie in"
        )
    return math.hypot(*image_size)


def _check_arguments(peaks: Tensor, scores: Tensor, landmarks: Tensor, top: int) -> None:
    _check_points("peaks", peaks, "filter")
    _check_scores(scores)
    _check_points("landmarks", landmarks, "part")
    if scores.shape != peaks.shape[:2]:
        raise ShapeError(
            f"scores: expected [image, filter] = {tuple(peaks.shape[:2])} as in peaks, "
            f"got {tuple(scores.shape)}; give the activation at each peak"
        )
    if landmarks.shape[0] != peaks.shape[0]:
        raise ShapeError(
            f"landmarks: expected {peaks.shape[0]} images as in peaks, got {landmarks.shape[0]}; "
            "give every image a row, nan where it does not show a part"
        )
    if not peaks.isfinite().all():
        raise ConfigError("peaks: expected finite pixels, got nan or infinity; leave such images out")
    if top < 2:
        raise ConfigError(f"top: expected at least 2 images, got {top}; one image has no variance")


def _check_points(name: str, points: Tensor, axis: str) -> None:
    if points.ndim != 3 or points.shape[2] != 2:
        raise ShapeError(f"{name}: expected [image, {axis}, 2] with (x, y) last, got shape {tuple(points.shape)}")
    if points.isinf().any():
        raise ConfigError(f"{name}: expected finite pixels, got infinity; mark an absent part with nan")


def _check_scores(scores: Tensor) -> None:
    if scores.ndim != 2:
        raise ShapeError(f"scores: expected [image, filter], got shape {tuple(scores.shape)}")
    if scores.isnan().any():
        raise ConfigError("scores: expected numbers to rank images by, got nan; look at the maps' values")


def _checked_dead(is_dead: Tensor, *, num_filters: int) -> Tensor:
    if is_dead.dtype != torch.bool or is_dead.shape != (num_filters,):
        raise ShapeError(
            f"is_dead: expected [filter] = ({num_filters},) of bool, "
            f"got {tuple(is_dead.shape)} of {is_dead.dtype}; dead_filters(scores) gives it"
        )
    return is_dead
