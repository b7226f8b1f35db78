"""All measures of a layer's filters, each on the pictures of its category."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.evaluation.observation.layers import ALL, LayerObservation, known_categories
from partcnn.evaluation.observation.observer import Observation
from partcnn.evaluation.observation.parts import ClassHits, Hits, Overlaps
from partcnn.metrics.functional.activation import activation_shares, class_purity
from partcnn.metrics.functional.displacement import (
    COVERAGE_R2,
    instability_of_table,
    least_location_instability,
    scatter_of_table,
    tracking_of_table,
)
from partcnn.metrics.functional.results import PartMetric, hit_shares
from partcnn.model.mask import PartMask

# Measure → of a table of the strongest pictures [filter, part, rank, 6], its frame's diagonal and the dead filters.
OF_TABLES: dict[str, Callable[[Tensor, float, Tensor | None], PartMetric]] = {
    "part_tracking_r2": lambda table, diagonal, is_dead: tracking_of_table(table, diagonal, is_dead=is_dead),
    "location_instability": lambda table, diagonal, is_dead: instability_of_table(table, diagonal),
    "displacement_scatter": lambda table, diagonal, is_dead: scatter_of_table(table, diagonal),
}

# Measure → share of a category's filters, those of highest R² on the pictures that they are chosen on; at least one.
CHOSEN_SHARES = {"part_tracking_r2_top_quarter": 0.25, "part_tracking_r2_best": 0.0}


class LayerFigures:
    """Displacement measures and dead filters of one layer, each filter on the pictures of its category.

    Args:
        observed: the layer.
        categories: [filter] the class each filter serves, or `ALL`: every class but the background.
        diagonal: of the input, in pixels.
        num_parts: of the data set.

    Attributes:
        of_filters: measure → [filter]; nan where it could not be taken.
        by_part: measure → [filter, part].
    """

    def __init__(self, observed: LayerObservation, categories: Tensor, diagonal: float, num_parts: int) -> None:
        self.observed, self.categories, self.diagonal = observed, categories, diagonal
        self.owners: list[int] = categories.unique().tolist()
        self.is_dead = observed.is_dead(categories)
        nan = torch.full((len(categories), num_parts), math.nan, dtype=torch.float64)
        self.by_part = {name: nan.clone() for name in OF_TABLES}
        self.of_filters = {name: nan.new_full((len(categories),), math.nan) for name in OF_TABLES}
        for category in self.owners:
            filters = self.filters_of(category)
            table = observed.by_part(category, filters)
            for name, measure in OF_TABLES.items():
                found = measure(table, diagonal, self.is_dead[filters])
                self.by_part[name][filters], self.of_filters[name][filters] = found.per_filter, found.of_filters
        self.of_filters["dead_filters"] = self.is_dead

    def filters_of(self, category: int) -> Tensor:
        """[filter] numbers of a category's own."""
        return (self.categories == category).nonzero()[:, 0]

    @property
    def labels(self) -> list[int]:
        """The classes that own filters or have pictures, without the background."""
        return sorted({*self.owners, *self.observed.labels} - {ALL})

    @property
    def r2(self) -> Tensor:  # [filter, part]
        return self.by_part["part_tracking_r2"]

    @property
    def best_r2(self) -> Tensor:  # [filter], nan without a part
        return self.of_filters["part_tracking_r2"]

    def coverage(self, category: int | None = None) -> float:
        """The share of a category's measured parts, or of all, that some filter of the category follows."""
        flags = []
        for label in self.owners if category is None else [category]:
            r2 = self.r2[self.filters_of(label)]
            measured = (~r2.isnan()).any(dim=0)
            flags += (r2 >= COVERAGE_R2).any(dim=0)[measured].tolist()
        return mean(flags)

    def mean_r2(self, chosen: Iterable[Tensor]) -> float:
        """Of filters chosen in each category: their mean, and of these the mean over categories."""
        return mean(self.best_r2[own].nanmean().item() for own in chosen)

    def chosen(self, ranking: Tensor, share: float) -> list[Tensor]:
        """Of each category: its first filters by `ranking`, at least one."""
        chosen = []
        for category in self.owners:
            own = ((self.categories == category) & ~ranking.isnan()).nonzero()[:, 0]
            if len(own):
                order = ranking[own].argsort(descending=True, stable=True)
                chosen.append(own[order[: max(1, round(share * len(own)))]])
        return chosen

    def least_instability(self) -> float:
        """The paper's measure of several categories: of each filter the most stable one, whoever owns the filter."""
        return least_location_instability(
            [instability_of_table(self.observed.by_part(label), self.diagonal).per_filter for label in self.labels]
        )


@dataclass(frozen=True)
class ShareFigures:
    """Measures of the top layer that are shares; nan where no part is annotated."""

    hits: Hits  # [filter, part]
    overlaps: Overlaps  # of recorded pictures
    of_filters: dict[str, Tensor]  # measure → [filter]
    by_part: dict[str, Tensor]  # measure → [filter, part]
    activation_shares: Tensor  # [filter, class]
    thresholds: Tensor  # [filter]

    @classmethod
    def measured(
        cls, observation: Observation, categories: Tensor, found: tuple[ClassHits, Overlaps]
    ) -> "ShareFigures":
        """Of each filter on the pictures of its category; `found` is of `class_hits`."""
        activation = observation.top.class_activation
        by_class, overlaps = found
        hits = by_class.over(observation.top.serving(categories))
        by_part = {
            "part_interpretability": hit_shares(hits.overlap, hits.num_shown),
            "pointing_game": hit_shares(hits.pointing, hits.num_shown),
        }
        thresholds = torch.full((len(categories),), math.nan)
        of_filters = {name: found.of_filters for name, found in by_part.items()}
        return cls(
            hits=hits,
            overlaps=overlaps,
            of_filters=of_filters | {"class_purity": purity_of_filters(observation.top, categories)},
            by_part={name: found.per_filter for name, found in by_part.items()},
            activation_shares=activation_shares(activation),
            thresholds=thresholds if observation.parts is None else observation.parts.thresholds(),
        )

    def confusion(self, own: Tensor) -> Tensor:  # [filter] bool → [class]
        """How the activation of some filters is shared out over the classes, their mean."""
        return self.activation_shares[own].mean(dim=0)


def class_hits(observation: Observation, categories: Tensor, num_parts: int) -> tuple[ClassHits, Overlaps]:
    """See `PartObservation.hits`; none where no part is annotated. Filters that serve all classes have those on each
    class's pictures too."""
    serves, groups = observation.top.serving(categories), observation.top.groups
    if groups.is_multilabel:
        serves[categories == ALL, : groups.num_classes] = True
    if observation.parts is not None:
        return observation.parts.hits(serves, observation.records.is_wanted)
    nothing = torch.zeros(serves.shape[1], len(serves), num_parts, dtype=torch.int64)
    return ClassHits(nothing, nothing, nothing[:, 0]), {}


def purity_of_filters(observed: LayerObservation, categories: Tensor) -> Tensor:  # [filter]
    """The share of each filter's activation on its category; of `ALL` the mean on objects' pictures against theirs and
    the background's, nan without pictures of one."""
    if ALL not in categories:
        return class_purity(observed.class_activation, categories)
    groups = observed.groups
    if not observed.has_background:
        return torch.full((len(categories),), math.nan, dtype=torch.float64)
    sums, num_images = observed.activation_sum, observed.num_images
    on_objects = sums[:, groups.of_objects].sum(dim=1) / num_images[groups.of_objects].sum().clamp(min=1)
    on_background = sums[:, groups.background] / num_images[groups.background]
    total = on_objects + on_background
    return torch.where(total > 0, on_objects / total, 0.0)


def means(of_filters: Mapping[str, Tensor], own: Tensor | None = None) -> dict[str, float]:
    """Of figures [filter], nan left out, over some filters [filter] bool, or all."""
    wanted = slice(None) if own is None else own
    return {name: figures[wanted].double().nanmean().item() for name, figures in of_filters.items()}


def filter_categories(mask: PartMask, layer: LayerObservation) -> Tensor:
    """[filter]: the category each filter serves, or `ALL` where several classes share all filters; the paper's rule on
    these pictures where training set none."""
    known = known_categories(mask)
    if known is not None:
        return known
    activation = layer.class_activation.clone()
    if mask.background is not None:
        activation[:, mask.background] = -math.inf
    return activation.argmax(dim=1)


def best_over_parts(figures: Tensor) -> Tensor:  # [..., filter, part] -> [..., filter]
    """The highest of each filter's parts; nan where none is measured."""
    if figures.shape[-1] == 0:
        return figures.new_full(figures.shape[:-1], math.nan)
    best = figures.nan_to_num(nan=-math.inf).amax(dim=-1)
    return best.masked_fill(best == -math.inf, math.nan)


def nothing_of_dead(found: Tensor, is_dead: Tensor) -> Tensor:  # [resample, filter], [filter]
    """0 in place of nan for dead filters, which could not be measured."""
    return found.masked_fill(found.isnan() & is_dead, 0)


def mean(values: Iterable[float]) -> float:
    """Of those that are not nan; nan where there is none."""
    numbers = [float(value) for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
