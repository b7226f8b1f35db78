"""What filters are worth, from their places on the whole pictures of both splits."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from partcnn.evaluation.figures import mean
from partcnn.metrics.functional import (
    BestPartMetric,
    constant_point_baseline,
    dead_filters,
    location_instability,
    part_tracking,
)
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.objectives.part_places import part_places


@dataclass(frozen=True)
class Peaks:
    """Where filters fire on pictures, and where the parts are."""

    places: Tensor  # [image, filter, 2], (x, y) in pixels of the input
    scores: Tensor  # [image, filter], activation at the peak
    landmarks: Tensor  # [image, part, 2], in pixels of the input; nan where absent
    labels: Tensor  # [image]

    @classmethod
    def of_maps(
        cls, maps: Tensor, field: ReceptiveField, landmarks: Tensor, labels: Tensor, places: str = "peak"
    ) -> "Peaks":
        """Of maps [image, filter, row, col], read as `partcnn.objectives.part_places` says."""
        found = field.centers_px(part_places(maps, places).double())
        return cls(found, maps.amax(dim=(2, 3)), landmarks, labels)

    def of_category(self, category: int, filters: Tensor) -> "Peaks":
        """On the pictures of one category, of some filters."""
        own = self.labels == category
        return Peaks(self.places[own][:, filters], self.scores[own][:, filters], self.landmarks[own], self.labels[own])


def filter_figures(
    train: Peaks, test: Peaks, filter_category: Tensor, parts: list[str], image_size: tuple[int, int]
) -> dict[str, Any]:
    """Figures on the test pictures, every filter on its own category's, as `partcnn.evaluate` takes them.

    Args:
        train, test: peaks on the training pictures and on those kept out.
        filter_category: [filter], the class of each.
        parts: names in the order of the landmarks.
        image_size: (height, width) of the input.

    Returns:
        `part_tracking_r2`, the mean over filters of each one's best part; the same of the best quarter and the
        best one of each category, chosen on training pictures; `r2`, per part the mean over filters; `best_r2`,
        per part the filter that is best on training pictures, mean over categories; `location_instability`,
        `constant_point_instability`, `dead_filters`. Parts that a category does not have are left out.
    """
    rows = [
        _of_category(train, test, category, filter_category, parts, image_size)
        for category in filter_category.unique().tolist()
    ]
    figures: dict[str, Any] = {
        name: torch.cat([row[name] for row in rows]).nanmean().item()
        for name in ("part_tracking_r2", "location_instability", "dead_filters")
    }
    for name in ("part_tracking_r2_top_quarter", "part_tracking_r2_best", "constant_point_instability"):
        figures[name] = mean(row[name] for row in rows)
    for name in ("r2", "best_r2"):
        by_part = {part: mean(row[name].get(part, math.nan) for row in rows) for part in parts}
        figures[name] = {part: value for part, value in by_part.items() if not math.isnan(value)}
    return figures


def _of_category(
    train: Peaks, test: Peaks, category: int, filter_category: Tensor, parts: list[str], image_size: tuple[int, int]
) -> dict[str, Any]:
    """The first three per filter, the others for the category."""
    filters = (filter_category == category).nonzero().squeeze(1)
    own, own_train = test.of_category(category, filters), train.of_category(category, filters)
    tracking, ranking = tracking_of_peaks(own, image_size), tracking_of_peaks(own_train, image_size)
    order = ranking.best_per_filter.nan_to_num(nan=-math.inf).argsort(descending=True, stable=True)
    quarter = order[: max(1, round(len(order) / 4))]
    best = ranking.per_filter.nan_to_num(nan=-math.inf).argmax(dim=0)  # [part]
    instability = location_instability(own.places, own.scores, own.landmarks, image_size)
    return {
        "part_tracking_r2": tracking.best_per_filter,
        "location_instability": instability.per_filter.nanmean(dim=1),
        "dead_filters": dead_filters(own.scores).double(),
        "part_tracking_r2_top_quarter": tracking.best_per_filter[quarter].nanmean().item(),
        "part_tracking_r2_best": tracking.best_per_filter[order[0]].item(),
        "constant_point_instability": constant_point_baseline(own.landmarks, image_size).value,
        "r2": dict(zip(parts, tracking.per_filter.nanmean(dim=0).tolist(), strict=True)),
        "best_r2": {part: tracking.per_filter[best[index], index].item() for index, part in enumerate(parts)},
    }


def tracking_of_peaks(peaks: Peaks, image_size: tuple[int, int]) -> BestPartMetric:
    """`part_tracking`, silent filters counted as R² 0."""
    is_dead = dead_filters(peaks.scores)
    return part_tracking(peaks.places, peaks.scores, peaks.landmarks, image_size, is_dead=is_dead)
