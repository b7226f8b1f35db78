"""Bootstrap intervals over the pictures, drawn anew within each class, or all at once where one may show several."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from partcnn.evaluation.around_peaks import AroundPeaksFigures
from partcnn.evaluation.figures import LayerFigures, ShareFigures, best_over_parts
from partcnn.evaluation.observation.layers import ALL
from partcnn.evaluation.observation.observer import Observation
from partcnn.evaluation.together import TogetherFigures, num_followed
from partcnn.evaluation.unannotated import UnannotatedFigures
from partcnn.foundation.labels import are_marks
from partcnn.metrics.functional.agreement import adjusted_rand_index, normalized_mutual_information
from partcnn.metrics.functional.displacement import COVERAGE_R2
from partcnn.metrics.functional.spread import ResampledInstability, ResampledSpread, images_of
from partcnn.metrics.significance import bootstrap_intervals

_FEWEST = 2  # pictures that show a part: fewer have no variance
_MOST_ELEMENTS = 2**22  # float64 of one batch of resamples


def measured_intervals(
    figures: LayerFigures,
    shares: ShareFigures,
    together: TogetherFigures,
    alone: UnannotatedFigures,
    around: AroundPeaksFigures,
    observation: Observation,
    chosen: dict[str, list[Tensor]],
) -> dict[str, tuple[float, float]]:
    """(low, high) of the measures of the summary; those that cannot be had are left out.

    Args:
        figures, shares, together, alone, around: what was measured.
        observation: on what.
        chosen: name in the summary → filters of each category whose R² is averaged.
    """
    intervals: dict[str, tuple[float, float]] = {}
    protocol, (num_filters, num_parts) = observation.protocol, figures.r2.shape
    if protocol.resamples:
        for resampling in (
            _Displacements(figures, together, observation, chosen),
            _Shares(figures, shares, observation),
            _Together(together),
            _OfFilters(alone.resampled, None if alone.views is None else alone.views.labels, num_filters),
            _OfFilters(around.resampled(protocol.most_recorded), around.labels, num_filters * (10 + 2 * num_parts)),
            _OfFilters(around.resampled_noise(), around.noise_labels, num_filters),
        ):
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

    def __init__(
        self,
        figures: LayerFigures,
        together: TogetherFigures,
        observation: Observation,
        chosen: dict[str, list[Tensor]],
    ) -> None:
        self.figures, self.chosen, self.best_parts = figures, chosen, together.best_parts
        followed = [] if self.best_parts is None else ["parts_followed"]
        self.names = [*_DISPLACEMENTS, "coverage", *followed, *chosen, *_INSTABILITIES]
        self.num_elements = max(1, 12 * figures.r2.numel())  # moments and what comes of them
        self._spreads: dict[int, ResampledSpread] = {}
        self._of_all: dict[int, ResampledInstability] = {}  # of every filter, whoever owns it
        self._constant: dict[int, ResampledInstability] = {}
        answers = {} if observation.parts is None else observation.parts.baseline_tables
        by_class: dict[int, Tensor] = {}
        self._owned = owned = {label for owner in figures.owners for label in figures.observed.classes_of(owner)}
        self._told_apart = {*figures.labels}
        for category in sorted(self._told_apart | owned):
            table = figures.observed.by_part(category)
            is_owner = category in owned
            constant = answers[category].by_part()[:1] if is_owner and category in answers else table[:0]
            images = images_of(table, constant)
            if len(images) < _FEWEST:
                continue
            by_class[category] = images
            self._of_all[category] = ResampledInstability(table, figures.diagonal, images)
            self._constant[category] = ResampledInstability(constant, figures.diagonal, images)
        self._classes = list(by_class)
        self._draws = _Draws(list(by_class.values()), are_apart=not observation.top.groups.is_multilabel)
        self.sizes = self._draws.sizes
        self._members: dict[int, tuple[list[int], Tensor]] = {}  # owner → its classes' counts, and their order
        for owner in figures.owners:
            own = [label for label in figures.observed.classes_of(owner) if label in by_class]
            if own:
                images, order = torch.cat([by_class[label] for label in own]).sort()
                table = figures.observed.by_part(owner, figures.filters_of(owner))
                self._members[owner] = ([self._classes.index(label) for label in own], order)
                self._spreads[owner] = ResampledSpread(table, figures.diagonal, images)

    def __call__(self, *drawn: Tensor) -> Tensor:  # each [resample, image] -> [measure, resample]
        counts = self._draws.of_groups(drawn)
        num_resamples, num_filters = len(counts[0]), len(self.figures.categories)
        per_filter = {name: torch.full((num_resamples, num_filters), math.nan).double() for name in _DISPLACEMENTS}
        covered: list[Tensor] = []
        followed: list[Tensor] = []
        for owner, spread in self._spreads.items():
            members, order = self._members[owner]
            own = torch.cat([counts[member] for member in members], dim=1)[:, order]
            filters, found = self.figures.filters_of(owner), spread(own)
            r2 = found.tracked_share
            is_dead = self.figures.is_dead[filters]
            r2 = r2.masked_fill(is_dead[:, None] & ~found.distance.isnan(), 0.0)
            per_filter["part_tracking_r2"][:, filters] = best_over_parts(r2)
            per_filter["location_instability"][:, filters] = found.instability.nanmean(dim=2)
            per_filter["displacement_scatter"][:, filters] = -best_over_parts(-found.scatter)
            follows = (r2 >= COVERAGE_R2).any(dim=1).double()
            covered.append(follows.masked_fill(r2.isnan().all(dim=1), math.nan))
            if self.best_parts is not None:
                followed.append(num_followed(r2, self.best_parts[filters]).double())
        rows = [values.nanmean(dim=1) for values in per_filter.values()]
        nothing = torch.full((num_resamples,), math.nan).double()
        rows.append(torch.cat(covered, dim=1).nanmean(dim=1) if covered else nothing)
        if self.best_parts is not None:
            rows.append(torch.stack(followed).mean(dim=0) if followed else nothing)
        r2 = per_filter["part_tracking_r2"]
        for groups in self.chosen.values():
            means = [r2[:, filters].nanmean(dim=1) for filters in groups]  # none where no training picture shows a part
            rows.append(torch.stack(means).nanmean(dim=0) if means else nothing)
        return torch.stack([*rows, *self._instabilities(counts)])

    def _instabilities(self, counts: Sequence[Tensor]) -> list[Tensor]:  # each [resample], in the order of the names
        by_category = [
            [
                one[category](drawn)
                for category, drawn in zip(self._classes, counts, strict=True)
                if category in of_these
            ]
            for one, of_these in ((self._of_all, self._told_apart), (self._constant, self._owned))
        ]
        nothing = torch.full((len(counts[0]),), math.nan, dtype=torch.float64)
        least = constant = nothing
        if by_category[0]:
            of_filters = torch.stack([-one.nanmean(dim=2) for one in by_category[0]], dim=-1)
            least = -best_over_parts(of_filters).nanmean(dim=1)
        if by_category[1]:  # of a category the constant point's mean is over parts, then over categories
            constant = torch.cat([one.nanmean(dim=2) for one in by_category[1]], dim=1).nanmean(dim=1)
        return [least, constant]


_DISPLACEMENTS = ("part_tracking_r2", "location_instability", "displacement_scatter")
_INSTABILITIES = ("least_location_instability", "constant_point_instability")


class _Shares:
    """Counts of each class's pictures → accuracy and the measures that are shares."""

    def __init__(self, figures: LayerFigures, shares: ShareFigures, observation: Observation) -> None:
        self.categories, self.groups = figures.categories, observation.top.groups
        self.has_background = observation.top.has_background
        # In a multi-label task the logits of all classes count in accuracy, which groups of pictures do not have.
        accuracy = [] if self.groups.is_multilabel else ["accuracy"]
        self.names = [*accuracy, "class_purity", "dead_filters", "pointing_game", "part_interpretability"]
        self.num_parts = figures.r2.shape[1]
        self.num_elements = max(1, 2 * len(self.categories) * (2 + 2 * self.num_parts))
        self._strata: list[tuple[int, Tensor, Tensor, Tensor, Tensor, Tensor]] = []
        records, serves = observation.records, observation.top.serving(figures.categories)
        pictures: list[Tensor] = []
        for label in range(len(self.groups)):
            index, is_right, sums = records.of_group(label)
            if not len(index):
                continue
            filters = serves[:, label].nonzero()[:, 0]
            nothing = torch.zeros(len(filters), self.num_parts, dtype=torch.bool)
            known = shares.overlaps if len(filters) else {}
            overlap = torch.stack([known.get((label, number), nothing) for number in index.tolist()])
            hits = torch.stack([records.pointing(index, filters), overlap], dim=1)  # [image, 2, filter, part]
            shown = records.shown(index)
            # Counts of hits are whole numbers, exact in float32 too, and many.
            self._strata.append((label, filters, is_right.double(), sums.double(), shown.double(), hits.float()))
            pictures.append(index)
        self._draws = _Draws(pictures, are_apart=not self.groups.is_multilabel)
        self.sizes = self._draws.sizes

    def __call__(self, *drawn_pictures: Tensor) -> Tensor:
        counts = self._draws.of_groups(drawn_pictures)
        num_resamples, num_filters = len(counts[0]), len(self.categories)
        zeros = torch.zeros(num_resamples, num_filters).double()
        right, total, own, silent, number = zeros[:, 0].clone(), *(zeros.clone() for _ in range(4))
        hit_counts, num_shown = (zeros[None, :, :, None].repeat(n, 1, 1, self.num_parts) for n in (2, 1))
        on_background = zeros.clone()
        for (label, filters, is_right, sums, shown, hits), drawn in zip(self._strata, counts, strict=True):
            right += drawn @ is_right
            drawn_in_all = drawn.sum(dim=1, keepdim=True)
            activation = drawn @ sums
            if label < self.groups.num_classes:
                # Mean over the class's pictures. A rare class may be left out where all are drawn at once.
                total += (activation / drawn_in_all).masked_fill(drawn_in_all == 0, 0.0)
            if label == self.groups.background:
                on_background = activation / drawn_in_all
            own[:, filters] += activation[:, filters]
            is_silent = (sums[:, filters] <= 0).double()  # activations are ≥ 0: no sum, no peak
            silent[:, filters] += drawn @ is_silent
            number[:, filters] += drawn_in_all
            found = (drawn.float() @ hits.flatten(1)).double().view(num_resamples, *hits.shape[1:]).movedim(1, 0)
            hit_counts[:, :, filters] += found
            num_shown[:, :, filters] += (drawn @ shown)[:, None]
        own /= number  # 0 / 0 is nan: a filter without a picture
        if ALL in self.categories:
            total = own + on_background if self.has_background else torch.full_like(own, math.nan)
        purity = torch.where(total != 0, own / total, 0.0)
        is_dead = (2 * silent > number).double().masked_fill(number == 0, math.nan)
        hit_share = best_over_parts(hit_counts / num_shown)
        accuracy = [] if self.groups.is_multilabel else [right / sum(self.sizes)]
        return torch.stack([*accuracy, *(share.nanmean(dim=1) for share in (purity, is_dead, *hit_share))])


class _Together:
    """Counts of each class's pictures → what the filters say together. `effective_filters` has no interval: it would
    need the products of all maps of every picture; nor has `hidden_firing`, of few pictures that hide a part."""

    names = ("crowded", "landmark_error", "landmarks_held", "held_outside", "nmi", "ari", "fg_nmi", "fg_ari")

    def __init__(self, together: TogetherFigures) -> None:
        own = together.counted
        self._draws = _Draws.of_labels(together.labels[own])
        self.sizes = self._draws.sizes
        self._pairs = torch.stack([together.num_near, together.num_both], dim=1)[own].double()
        self._held = torch.cat([together.num_points, together.num_held], dim=1)[own].double()
        distances = together.distances[own]
        self._distances = torch.stack([distances.nansum(dim=1), (~distances.isnan()).sum(dim=1).double()], dim=1)
        clusters = together.clusters[own].long()
        self._pictures, parts = (clusters[..., 0] >= 0).nonzero(as_tuple=True)  # [point]
        self._shape = (int(clusters.max()) + 1 if clusters.numel() else 0, clusters.shape[1])
        self._entries = [one[self._pictures, parts] * clusters.shape[1] + parts for one in clusters.unbind(dim=2)]
        self.num_elements = max(1, len(parts), 4 * math.prod(self._shape))

    def __call__(self, *counts: Tensor) -> Tensor:
        drawn = self._draws.of_pictures(counts)
        near, both = (drawn @ self._pairs).unbind(dim=1)
        distance, number = (drawn @ self._distances).unbind(dim=1)
        held_points, points, held, outside = (drawn @ self._held).unbind(dim=1)
        rows = [near / both, 100 * distance / number, held_points / points, outside / held]  # 0 / 0 is nan
        of_points = drawn[:, self._pictures]
        for entries in self._entries:
            table = drawn.new_zeros(len(drawn), math.prod(self._shape)).index_add_(1, entries, of_points)
            table = table.view(len(drawn), *self._shape)
            is_empty = table.sum(dim=(1, 2)) == 0
            for score in (normalized_mutual_information, adjusted_rand_index):
                rows.append(score(table).masked_fill(is_empty, math.nan))
        return torch.stack(rows)


class _OfFilters:
    """Counts of each class's pictures → the mean over filters of measures that are known of each.

    What filters are known by in identity, the means of the other half's features, stays as it is; so do the strongest
    pictures of part purity.
    """

    def __init__(
        self, resampled: Mapping[str, Callable[[Tensor], Tensor]], labels: Tensor | None, num_elements: int
    ) -> None:
        self._resampled, self.names = resampled, list(resampled)
        self._draws = _Draws.of_labels(labels if labels is not None and self.names else torch.zeros(0))
        self.sizes = self._draws.sizes
        self.num_elements = max(1, 8 * num_elements)

    def __call__(self, *counts: Tensor) -> Tensor:
        drawn = self._draws.of_pictures(counts)
        return torch.stack([found(drawn).nanmean(dim=1) for found in self._resampled.values()])


class _Draws:
    """How often pictures of groups are drawn: within each group; or, where a picture may be in several, all at once.

    Args:
        pictures: numbers of each group's, no number twice.
        are_apart: whether no picture is in two groups.
    """

    def __init__(self, pictures: Sequence[Tensor], *, are_apart: bool = True) -> None:
        drawn_apart = list(pictures)
        self._places: list[Tensor] | None = None
        if pictures and not are_apart:
            pool = torch.cat(drawn_apart).unique()
            self._places = [torch.searchsorted(pool, numbers) for numbers in pictures]
            drawn_apart = [pool]
        self.sizes = [len(numbers) for numbers in drawn_apart]
        self._order = torch.cat(drawn_apart).argsort() if drawn_apart else torch.zeros(0, dtype=torch.long)

    @classmethod
    def of_labels(cls, labels: Tensor) -> "_Draws":
        """Pictures in the groups of their labels [picture]; with marks [picture, class] all are one group."""
        if are_marks(labels):
            labels = torch.zeros(len(labels))
        return cls([(labels == label).nonzero()[:, 0] for label in labels.unique()])

    def of_groups(self, drawn: Sequence[Tensor]) -> Sequence[Tensor]:
        """Counts as they were drawn, [resample, picture] for each of `sizes` → for each group."""
        return drawn if self._places is None else [drawn[0][:, places] for places in self._places]

    def of_pictures(self, drawn: Sequence[Tensor]) -> Tensor:
        """Counts as they were drawn → [resample, picture], in the order of the pictures' numbers."""
        return torch.cat(list(drawn), dim=1)[:, self._order]
