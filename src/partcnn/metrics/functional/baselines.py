"""What filters get that do not look: one that answers the same point on every picture, and ones that answer at random.

Quote them beside every measure. Location instability is the one that the constant point wins.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError
from partcnn.metrics.functional.arguments import check_num_images, check_points, check_regions, checked_diagonal
from partcnn.metrics.functional.displacement import displacement_scatter, location_instability, part_tracking
from partcnn.metrics.functional.interpretability import IOU_THRESHOLD, part_ious
from partcnn.metrics.functional.pointing import TOLERANCE_PX, pointing_game
from partcnn.metrics.functional.regions import cell_discs
from partcnn.metrics.functional.results import PartMetric, hit_shares


@dataclass(frozen=True)
class Baseline:
    """The measures of filters that do not look, in the measures' units; nan where there was nothing to measure."""

    location_instability: float
    part_tracking_r2: float
    displacement_scatter: float
    pointing_game: float
    part_interpretability: float


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
    peaks = constant_peaks(landmarks, image_size, point)
    return location_instability(peaks, peaks.new_zeros(len(peaks), 1), landmarks, image_size, top=top)


def constant_peaks(
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    point: tuple[float, float] | None = None,
) -> Tensor:  # [image, 1, 2]
    """The peaks of one filter that answers one point, the centre where it is None, on each picture of the landmarks.

    Raises:
        ShapeError, ConfigError: as in `constant_point_baseline`.
    """
    checked_diagonal(image_size)
    check_points("landmarks", landmarks, "part")
    height, width = image_size
    point = (width / 2, height / 2) if point is None else point
    if len(point) != 2 or not all(math.isfinite(coordinate) for coordinate in point):
        raise ConfigError(f"point: expected a finite (x, y) in pixels, got {tuple(point)}")
    return landmarks.new_tensor(point, dtype=torch.float64).expand(landmarks.shape[0], 1, -1)


def random_peaks(
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    *,
    generator: torch.Generator,
    num_filters: int = 64,
) -> Tensor:  # [image, filter, 2]
    """The peaks of filters that answer a new point, uniform over the frame, on each picture of the landmarks.

    Args:
        landmarks, image_size: as in `location_instability`.
        generator: draws the points, on its own device.
        num_filters: how many such filters, at least 1.

    Raises:
        ShapeError, ConfigError: as in `location_instability`; `num_filters` is below 1.
    """
    checked_diagonal(image_size)
    check_points("landmarks", landmarks, "part")
    if num_filters < 1:
        raise ConfigError(f"num_filters: expected at least 1, got {num_filters}")
    height, width = image_size
    shape = (landmarks.shape[0], num_filters, 2)
    points = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    return (points * points.new_tensor([width, height])).to(landmarks.device)


def measure_baseline(
    peaks: Tensor,  # [image, filter, 2]
    landmarks: Tensor,  # [image, part, 2]
    regions: Tensor,  # [image, part, grid row, grid col] bool
    image_size: tuple[int, int],
    *,
    radius_px: float,
    top: int = 100,
    iou_threshold: float = IOU_THRESHOLD,
    tolerance_px: float = TOLERANCE_PX,
) -> Baseline:
    """Every measure of filters that fire equally strongly at one point of each picture.

    The points are `constant_peaks` or `random_peaks`; what they fire on is one disc around the peak. Such filters
    are never dead; their class purity is 1 / number of categories.

    Args:
        peaks: (x, y) in pixels of the frame.
        landmarks, regions: of the pictures, nan and empty where one does not show a part.
        image_size: (height, width) of the frame.
        radius_px, top, iou_threshold, tolerance_px: of the measures.

    Raises:
        ShapeError, ConfigError: as in the measures.
    """
    check_regions(regions)
    check_num_images("regions", regions, len(peaks), "peaks")
    scores = peaks.new_ones(peaks.shape[:2])
    arguments = (peaks, scores, landmarks, image_size)
    hits = torch.zeros(peaks.shape[1], regions.shape[1], dtype=torch.int64)
    for points, region in zip(peaks, regions, strict=True):
        discs = cell_discs(points[:, None], radius_px, (regions.shape[2], regions.shape[3]), image_size)
        is_above = torch.eye(len(points), dtype=torch.bool)[None, :, :, None]  # filter f fires in cell f alone
        hits += (part_ious(is_above, region[None], discs)[0] > iou_threshold).cpu()
    return Baseline(
        location_instability=location_instability(*arguments, top=top).value,
        part_tracking_r2=part_tracking(*arguments, top=top).value,
        displacement_scatter=displacement_scatter(*arguments, top=top).value,
        pointing_game=pointing_game(peaks, scores, regions, image_size, tolerance_px=tolerance_px).value,
        part_interpretability=hit_shares(hits, regions.any(dim=3).any(dim=2).sum(dim=0)).value,
    )
