"""What the measures ask of their arguments, with one clear error where it is not so."""

import math

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError


def checked_diagonal(image_size: tuple[int, int]) -> float:
    """Of the frame (height, width), in its pixels."""
    if len(image_size) != 2 or not all(0 < side < math.inf for side in image_size):
        raise ShapeError(
            f"image_size: expected (height, width) above 0, got {tuple(image_size)}; "
            "give the size of the frame that peaks and landmarks lie in"
        )
    return math.hypot(*image_size)


def check_peaks(peaks: Tensor, scores: Tensor, landmarks: Tensor, top: int) -> None:
    check_scored_peaks(peaks, scores, landmarks)
    if not peaks.isfinite().all():
        raise ConfigError("peaks: expected finite pixels, got nan or infinity; leave such images out")
    check_top(top)


def check_scored_peaks(peaks: Tensor, scores: Tensor, landmarks: Tensor | None = None) -> None:
    """Landmarks are those of the same images, where a measure has them."""
    check_points("peaks", peaks, "filter")
    check_scores(scores)
    if scores.shape != peaks.shape[:2]:
        raise ShapeError(
            f"scores: expected [image, filter] = {tuple(peaks.shape[:2])} as in peaks, "
            f"got {tuple(scores.shape)}; give the activation at each peak"
        )
    if landmarks is not None:
        check_points("landmarks", landmarks, "part")
        check_num_images("landmarks", landmarks, len(peaks), "peaks")


def check_top(top: int) -> None:
    if top < 2:
        raise ConfigError(f"top: expected at least 2 images, got {top}; one image has no variance")


def check_num_images(name: str, tensor: Tensor, num_images: int, other: str) -> None:
    if len(tensor) != num_images:
        raise ShapeError(
            f"{name}: expected {num_images} images as in {other}, got {len(tensor)}; "
            "give every image a row, empty or nan where it does not show a part"
        )


def check_points(name: str, points: Tensor, axis: str) -> None:
    if points.ndim != 3 or points.shape[2] != 2:
        raise ShapeError(f"{name}: expected [image, {axis}, 2] with (x, y) last, got shape {tuple(points.shape)}")
    if points.isinf().any():
        raise ConfigError(f"{name}: expected finite pixels, got infinity; mark an absent part with nan")


def check_scores(scores: Tensor) -> None:
    if scores.ndim != 2:
        raise ShapeError(f"scores: expected [image, filter], got shape {tuple(scores.shape)}")
    if scores.isnan().any():
        raise ConfigError("scores: expected numbers to rank images by, got nan; look at the maps' values")


def check_maps(feature_maps: Tensor) -> None:
    if feature_maps.ndim != 4:
        raise ShapeError(f"feature_maps: expected [image, filter, row, col], got shape {tuple(feature_maps.shape)}")
    if feature_maps.isnan().any():
        raise ConfigError("feature_maps: expected activations, got nan; look at the network's weights")


def check_regions(regions: Tensor) -> None:
    if regions.ndim != 4 or regions.dtype != torch.bool:
        raise ShapeError(
            f"regions: expected bool [image, part, row, col], got {regions.dtype} {tuple(regions.shape)}; "
            "box_region and disc_region make one of a box or a point"
        )


def check_fraction(name: str, value: float, *, is_one_allowed: bool = False) -> None:
    if not (0 < value < 1 or (is_one_allowed and value == 1)):
        raise ConfigError(
            f"{name}: expected a number above 0 and {'at most' if is_one_allowed else 'below'} 1, got {value}"
        )


def check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ConfigError(f"{name}: expected a number above 0, got {value}")
