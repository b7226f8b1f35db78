"""All measures of a layer's filters, each on the pictures of its category."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.evaluation.observation import Hits, LayerObservation, Observation
from partcnn.evaluation.result import COVERAGE_R2
from partcnn.metrics.functional import (
    activation_shares,
    category_confusion,
    filter_purity,
    instability_of_table,
    least_location_instability,
    scatter_of_table,
    tracking_of_table,
)
from partcnn.metrics.functional.results import hit_shares
from partcnn.model.mask import PartMask


class LayerFigures:
    """Displacement measures [filter, part] and dead filters of one layer.

    Args:
        observed: the layer.
        categories: [filter] the class each filter serves.
        diagonal: of the input, in pixels.
        num_parts: of the data set.
    """

    def __init__(self, observed: LayerObservation, categories: Tensor, diagonal: float, num_parts: int) -> None:
        self.observed, self.categories, self.diagonal = observed, categories, diagonal
        nan = torch.full((len(categories), num_parts), math.nan, dtype=torch.float64)
        self.r2, self.instability, self.scatter = nan, nan.clone(), nan.clone()
        self.owners: list[int] = categories.unique().tolist()
        self.is_dead = observed.is_dead[torch.arange(len(categories)), categories]
        for category in self.owners:
            filters = self.filters_of(category)
            table, is_dead = observed.by_part(category, filters), self.is_dead[filters]
            self.r2[filters] = tracking_of_table(table, diagonal, is_dead=is_dead).per_filter
            self.instability[filters] = instability_of_table(table, diagonal).per_filter
            self.scatter[filters] = scatter_of_table(table, diagonal).per_filter

    def filters_of(self, category: int) -> Tensor:
        """[filter] numbers of a category's own."""
        return (self.categories == category).nonzero()[:, 0]

    @property
    def labels(self) -> list[int]:
        """The classes that own filters or have pictures, without the background."""
        return sorted({*self.owners, *self.observed.labels})

    @property
    def best_r2(self) -> Tensor:  # [filter], nan without a part
        return best_over_parts(self.r2)

    @property
    def best_scatter(self) -> Tensor:  # [filter]
        return -best_over_parts(-self.scatter)

    def means(self, category: int | None = None) -> dict[str, float]:
        """Over the filters of a category, or over all."""
        own = torch.ones_like(self.is_dead) if category is None else self.categories == category
        return {
            "part_tracking_r2": self.best_r2[own].nanmean().item(),
            "location_instability": self.instability[own].nanmean(dim=1).nanmean().item(),
            "displacement_scatter": self.best_scatter[own].nanmean().item(),
            "coverage": mean(self.covered(self.owners if category is None else [category])),
            "dead_filters": self.is_dead[own].double().mean().item(),
        }

    def covered(self, categories: Iterable[int]) -> list[float]:
        """Of every measured part of these categories: 1 where some filter of the category follows it."""
        flags = []
        for category in categories:
            r2 = self.r2[self.filters_of(category)]
            measured = (~r2.isnan()).any(dim=0)
            flags += (r2 >= COVERAGE_R2).any(dim=0)[measured].tolist()
        return flags

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
    overlaps: dict[int, Tensor]  # picture → [filter of its class, part] bool, of recorded pictures
    interpretability: Tensor  # [filter, part]
    pointing: Tensor  # [filter, part]
    purity: Tensor  # [filter]
    activation_shares: Tensor  # [filter, class]
    confusion: Tensor  # [class, class]
    thresholds: Tensor  # [filter]

    @classmethod
    def measured(cls, observation: Observation, categories: Tensor, num_parts: int) -> "ShareFigures":
        """Of each filter on the pictures of its category."""
        activation = observation.top.class_activation
        if observation.parts is None:
            nothing = torch.zeros(len(categories), num_parts, dtype=torch.int64)
            hits, overlaps = Hits(nothing, nothing, nothing), dict[int, Tensor]()
            thresholds = torch.full((len(categories),), math.nan)
        else:
            hits, overlaps = observation.parts.hits(categories, observation.records.is_wanted)
            thresholds = observation.parts.thresholds()
        return cls(
            hits=hits,
            overlaps=overlaps,
            interpretability=hit_shares(hits.overlap, hits.num_shown).per_filter,
            pointing=hit_shares(hits.pointing, hits.num_shown).per_filter,
            purity=filter_purity(activation, categories),
            activation_shares=activation_shares(activation),
            confusion=category_confusion(activation, categories),
            thresholds=thresholds,
        )

    def means(self, own: Tensor) -> dict[str, float]:
        """Over the filters [filter] bool."""
        return {
            "part_interpretability": best_over_parts(self.interpretability)[own].nanmean().item(),
            "pointing_game": best_over_parts(self.pointing)[own].nanmean().item(),
            "purity": self.purity[own].mean().item(),
        }


def filter_categories(mask: PartMask, layer: LayerObservation) -> Tensor:
    """[filter]: the category each filter serves; the paper's rule on these pictures where training set none."""
    if mask.assignment == "even" or bool((mask.class_activation > 0).any()):
        return mask.filter_category.cpu()
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


def mean(values: Iterable[float]) -> float:
    """Of those that are not nan; nan where there is none."""
    numbers = [float(value) for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
