"""What filters are worth on remembered maps of whole pictures: the evaluation's own figures, in a row by part."""

import math
from typing import Any

import torch
from torch import Tensor

from partcnn.evaluation.figures import CHOSEN_SHARES, LayerFigures, mean, means
from partcnn.metrics.functional.baselines import constant_point_baseline

_SUMMARY = ("part_tracking_r2", "location_instability", "dead_filters")


def filter_figures(
    train: LayerFigures, test: LayerFigures, parts: list[str], landmarks: Tensor, labels: Tensor
) -> dict[str, Any]:
    """Figures on the test pictures, every filter on its own category's.

    Args:
        train, test: of the same filters on the training pictures and on those kept out.
        parts: names in the order of the landmarks.
        landmarks: [image, part, 2] of the test pictures, (x, y) in pixels of the input.
        labels: [image] of the test pictures.

    Returns:
        `part_tracking_r2`, the mean over filters of each one's best part; the same of the best quarter and the
        best one of each category, chosen on training pictures; `r2`, per part the mean over filters; `best_r2`,
        per part the filter that is best on training pictures, mean over categories; `location_instability`,
        `constant_point_instability`, `dead_filters`. Parts that a category does not have are left out.
    """
    summary = means(test.of_filters)
    image_size = test.observed.field.input_size
    constant = (constant_point_baseline(landmarks[labels == category], image_size) for category in test.owners)
    return {
        **{name: summary[name] for name in _SUMMARY},
        **{name: test.mean_r2(test.chosen(train.best_r2, share)) for name, share in CHOSEN_SHARES.items()},
        "constant_point_instability": mean(one.value for one in constant),
        "r2": _named(parts, [test.r2[test.filters_of(category)].nanmean(dim=0) for category in test.owners]),
        "best_r2": _named(parts, [_of_the_best(train, test, category) for category in test.owners]),
    }


def _of_the_best(train: LayerFigures, test: LayerFigures, category: int) -> Tensor:  # [part]
    """R² on each part of the filter that is best on it on training pictures."""
    filters = test.filters_of(category)
    best = train.r2[filters].nan_to_num(nan=-math.inf).argmax(dim=0)
    return test.r2[filters].gather(0, best[None])[0]


def _named(parts: list[str], by_category: list[Tensor]) -> dict[str, float]:
    """Part → mean over categories; without parts that none has."""
    values = [mean(column) for column in torch.stack(by_category).T.tolist()]
    return {part: value for part, value in zip(parts, values, strict=True) if not math.isnan(value)}
