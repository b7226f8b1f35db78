"""How well all filters together tell where the landmarks are: the field's landmark regression error."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.metrics.functional.arguments import check_num_images, check_points


@dataclass(frozen=True)
class LandmarkRegression:
    """The error of a linear regression from all filters' points to the landmarks."""

    value: float  # mean distance over all visible landmarks of the test pictures, in % of the frame's side; nan: none
    per_part: Tensor  # [part] float64, the same of each landmark; nan where no picture shows it
    num_points: Tensor  # [part] int64, the test pictures that show it
    distances: Tensor  # [test picture, part] float64, in the frame's side; nan where it is not visible


def landmark_regression_error(
    train_places: Tensor,  # [picture, filter, 2]
    train_landmarks: Tensor,  # [picture, part, 2]
    test_places: Tensor,
    test_landmarks: Tensor,
) -> LandmarkRegression:
    """Landmark regression error of Choudhury et al. (2021), as SCOPS (2019) and PDiscoNet (2023) report it.

    For each landmark, over the training pictures that show it: the 2K coordinates of the filters and the landmark's two
    are standardised by their means and deviations there, coordinates of absent filters become 0, and a linear map
    without intercept is fitted by least squares. On the test pictures that show it the map predicts the landmark.

        error = 100 · mean over visible landmarks of ‖predicted − true‖

    A single perfect filter reaches 12 on birds, the mean landmark 18 (Choudhury et al., Table 1), and more filters
    lower the error by themselves: compare at equal K, beside `part_agreement`.

    Args:
        train_places, test_places: (x, y) of each filter in shares of the object's box; nan where it is absent.
        train_landmarks, test_landmarks: (x, y) of each landmark in the same frame; nan where it is not visible.

    Raises:
        ShapeError: tensors without the axes above, or training and test of different filters or parts.
        ConfigError: a coordinate is infinite.
    """
    for name, points, axis in (
        ("train_places", train_places, "filter"),
        ("train_landmarks", train_landmarks, "part"),
        ("test_places", test_places, "filter"),
        ("test_landmarks", test_landmarks, "part"),
    ):
        check_points(name, points, axis)
    check_num_images("train_landmarks", train_landmarks, len(train_places), "train_places")
    check_num_images("test_landmarks", test_landmarks, len(test_places), "test_places")
    for name, train, test in (("places", train_places, test_places), ("landmarks", train_landmarks, test_landmarks)):
        if train.shape[1] != test.shape[1]:
            raise ShapeError(f"test_{name}: expected {train.shape[1]} columns as in train_{name}, got {test.shape[1]}")
    distances = torch.stack(
        [
            _distances(train_places.double(), train_landmarks[:, part].double(), test_places.double(), truth.double())
            for part, truth in enumerate(test_landmarks.unbind(dim=1))
        ]
        or [torch.empty(0, dtype=torch.float64)]
    )
    return LandmarkRegression(
        value=100 * distances.nanmean().item(),
        per_part=100 * distances.nanmean(dim=1),
        num_points=(~distances.isnan()).sum(dim=1),
        distances=distances.T if test_landmarks.shape[1] else distances.new_empty(len(test_landmarks), 0),
    )


def _distances(places: Tensor, landmark: Tensor, test_places: Tensor, truth: Tensor) -> Tensor:
    """Of one landmark, [test picture], nan where it is not visible or was never seen in training."""
    is_shown = ~landmark.isnan().any(dim=1)
    if not is_shown.any():
        return truth.new_full((len(truth),), math.nan)
    inputs, target = places[is_shown].flatten(1), landmark[is_shown]
    center, scale = _center_and_scale(inputs)
    target_center, target_scale = _center_and_scale(target)
    weights = torch.linalg.lstsq(
        ((inputs - center) / scale).nan_to_num(nan=0.0).cpu(),
        ((target - target_center) / target_scale).cpu(),
        driver="gelsd",  # of the smallest weights where filters are copies of each other
    ).solution.to(target)
    predicted = ((test_places.flatten(1) - center) / scale).nan_to_num(nan=0.0) @ weights * target_scale + target_center
    distances: Tensor = (predicted - truth).norm(dim=1)
    return distances


def _center_and_scale(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each column over the rows that have it; 1 in place of a deviation of 0, or of no row."""
    center = values.nanmean(dim=0).nan_to_num(nan=0.0)
    scale = (values - center).square().nanmean(dim=0).sqrt()
    return center, torch.where(scale > 0, scale, 1.0)
