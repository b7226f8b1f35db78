"""Bootstrap intervals over the pictures, drawn anew within each class."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from partcnn.evaluation.figures import LayerFigures, ShareFigures, best_over_parts
from partcnn.evaluation.observation.observer import Observation
from partcnn.metrics.functional.displacement import COVERAGE_R2
from partcnn.metrics.functional.spread import ResampledInstability, ResampledSpread, images_of
from partcnn.metrics.significance import bootstrap_intervals

_FEWEST = 2  # pictures that show a part: fewer have no variance
_MOST_ELEMENTS = 2**22  # float64 of one batch of resamples


def measured_intervals(
    figures: LayerFigures, shares: ShareFigures, observation: Observation, chosen: dict[str, list[Tensor]]
) -> dict[str, tuple[float, float]]:
    """(low, high) of the measures of the summary; those that cannot be had are left out.

    Args:
        figures, shares: what was measured.
        observation: on what.
        chosen: name in the summary → filters of each category whose R² is averaged.
    """
    intervals: dict[str, tuple[float, float]] = {}
    protocol = observation.protocol
    if protocol.resamples:
        for resampling in (_Displacements(figures, observation, chosen), _Shares(figures, shares, observation)):
            if not resampling.sizes:
                continue
            found = bootstrap_intervals(
                resampling,
                resampling.sizes,
                resamples=protocol.resamples,
                confidence=protocol.confidence,
                batch=max(1, min(protocol.resamples, _MOST_ELEMENTS // resampling.num_elements)),
            )
            intervals |= dict(zip(resampling.names, found, strict=True))
    return {name: interval for name, interval in intervals.items() if all(map(math.isfinite, interval))}


class _Displacements:
    """Counts of each category's pictures that show a part → the displacement measures."""

    def __init__(self, figures: LayerFigures, observation: Observation, chosen: dict[str, list[Tensor]]) -> None:
        self.figures, self.chosen = figures, chosen
        self.names = [*_DISPLACEMENTS, "coverage", *chosen, *_INSTABILITIES]
        self.num_elements = max(1, 12 * figures.r2.numel())  # moments and what comes of them
        self.sizes: list[int] = []
        self._spreads: dict[int, ResampledSpread] = {}
        self._of_all: dict[int, ResampledInstability] = {}  # of every filter, whoever owns it
        self._constant: dict[int, ResampledInstability] = {}
        answers = {} if observation.parts is None else observation.parts.baseline_tables
        for category in figures.labels:
            table, is_owner = figures.observed.by_part(category), category in figures.owners
            constant = answers[category].by_part()[:1] if is_owner and category in answers else table[:0]
            images = images_of(table, constant)
            if len(images) < _FEWEST:
                continue
            self.sizes.append(len(images))
            self._spreads[category] = ResampledSpread(table[figures.filters_of(category)], figures.diagonal, images)
            self._of_all[category] = ResampledInstability(table, figures.diagonal, images)
            self._constant[category] = ResampledInstability(constant, figures.diagonal, images)

    def __call__(self, *counts: Tensor) -> Tensor:  # each [resample, image] -> [measure, resample]
        num_resamples, num_filters = len(counts[0]), len(self.figures.categories)
        per_filter = {name: torch.full((num_resamples, num_filters), math.nan).double() for name in _DISPLACEMENTS}
        covered: list[Tensor] = []
        for (category, spread), drawn in zip(self._spreads.items(), counts, strict=True):
            filters, found = self.figures.filters_of(category), spread(drawn)
            r2 = found.tracked_share
            is_dead = self.figures.is_dead[filters]
            r2 = r2.masked_fill(is_dead[:, None] & ~found.distance.isnan(), 0.0)
            per_filter["part_tracking_r2"][:, filters] = best_over_parts(r2)
            per_filter["location_instability"][:, filters] = found.instability.nanmean(dim=2)
            per_filter["displacement_scatter"][:, filters] = -best_over_parts(-found.scatter)
            follows = (r2 >= COVERAGE_R2).any(dim=1).double()
            covered.append(follows.masked_fill(r2.isnan().all(dim=1), math.nan))
        rows = [values.nanmean(dim=1) for values in per_filter.values()]
        rows.append(torch.cat(covered, dim=1).nanmean(dim=1))
        r2 = per_filter["part_tracking_r2"]
        for groups in self.chosen.values():
            rows.append(torch.stack([r2[:, filters].nanmean(dim=1) for filters in groups]).nanmean(dim=0))
        return torch.stack([*rows, *self._instabilities(counts)])

    def _instabilities(self, counts: Sequence[Tensor]) -> list[Tensor]:  # each [resample], in the order of the names
        by_category = [
            [one[category](drawn) for category, drawn in zip(self._spreads, counts, strict=True)]
            for one in (self._of_all, self._constant)
        ]
        least = -best_over_parts(torch.stack([-one.nanmean(dim=2) for one in by_category[0]], dim=-1))
        # Of a category the constant point's mean is over parts, then over categories.
        constant = torch.cat([one.nanmean(dim=2) for one in by_category[1]], dim=1)
        return [least.nanmean(dim=1), constant.nanmean(dim=1)]


_DISPLACEMENTS = ("part_tracking_r2", "location_instability", "displacement_scatter")
_INSTABILITIES = ("least_location_instability", "constant_point_instability")


class _Shares:
    """Counts of each class's pictures → accuracy and the measures that are shares."""

    names = ("accuracy", "purity", "dead_filters", "pointing_game", "part_interpretability")

    def __init__(self, figures: LayerFigures, shares: ShareFigures, observation: Observation) -> None:
        self.categories = figures.categories
        num_parts = figures.r2.shape[1]
        self.num_elements = max(1, 2 * len(self.categories) * (2 + 2 * num_parts))
        self._strata: list[tuple[int, Tensor, Tensor, Tensor, Tensor]] = []
        records = observation.records
        for label in range(len(observation.confusion)):
            index, is_right, sums = records.of_class(label)
            if not len(index):
                continue
            filters = figures.filters_of(label)
            nothing = torch.zeros(len(filters), num_parts, dtype=torch.bool)
            overlap = torch.stack([shares.overlaps.get(number, nothing) for number in index.tolist()])
            hits = torch.stack([records.pointing(index, filters), overlap], dim=1)  # [image, 2, filter, part]
            shown = records.shown(index)
            # Counts of hits are whole numbers, exact in float32 too, and many.
            self._strata.append((label, is_right.double(), sums.double(), shown.double(), hits.float()))
        self.sizes = [len(is_right) for _, is_right, *_ in self._strata]

    def __call__(self, *counts: Tensor) -> Tensor:
        num_resamples, num_filters = len(counts[0]), len(self.categories)
        right, total = torch.zeros(num_resamples).double(), torch.zeros(num_resamples, num_filters).double()
        own = torch.full((num_resamples, num_filters), math.nan).double()
        is_dead = own.clone()
        hit_share = torch.full((2, num_resamples, num_filters), math.nan).double()
        for (label, is_right, sums, shown, hits), drawn in zip(self._strata, counts, strict=True):
            filters = (self.categories == label).nonzero()[:, 0]
            right += drawn @ is_right
            activation = drawn @ sums / drawn.sum(dim=1, keepdim=True)  # mean over the class's pictures
            total += activation
            own[:, filters] = activation[:, filters]
            is_silent = (sums[:, filters] <= 0).double()  # activations are ≥ 0: no sum, no peak
            is_dead[:, filters] = (2 * (drawn @ is_silent) > drawn.sum(dim=1, keepdim=True)).double()
            found = (drawn.float() @ hits.flatten(1)).double().view(num_resamples, *hits.shape[1:]).movedim(1, 0)
            hit_share[:, :, filters] = best_over_parts(found / (drawn @ shown)[:, None])
        purity = torch.where(total > 0, own / total, 0.0)
        return torch.stack(
            [right / sum(self.sizes), *(share.nanmean(dim=1) for share in (purity, is_dead, *hit_share))]
        )
