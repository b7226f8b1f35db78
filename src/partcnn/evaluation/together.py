"""What the filters say together, which copies of one filter cannot win: the field's yardsticks, and ours beside."""

import math
from typing import Any

import torch
from torch import Tensor

from partcnn.evaluation.figures import LayerFigures, mean
from partcnn.evaluation.observation.together import TogetherObservation
from partcnn.metrics.functional.absence import hidden_firing
from partcnn.metrics.functional.agreement import agreement_of_clusters
from partcnn.metrics.functional.crowding import crowded_pairs
from partcnn.metrics.functional.displacement import COVERAGE_R2
from partcnn.metrics.functional.landmarks import landmark_regression_error
from partcnn.metrics.functional.map_statistics import participation_ratio


class TogetherFigures:
    """Of the filters of every category on its pictures; of several categories together where nothing else is said.

    Args:
        seen: what was observed.
        figures: of each filter alone, on the same pictures.
        training: the same of the pictures that the network was trained on, from which the landmarks' regression and
            the filters' best parts are had. None: `landmark_error` and `parts_followed` are not measured.

    Attributes:
        counted: [picture] numbers of those that count where nothing else is said: each once, or once for each class
            that it shows and that has filters of its own.
        num_near, num_both: [picture] pairs of filters, see `crowded_pairs`.
        distances: [picture, part], see `LandmarkRegression`; nan throughout without `training`.
        num_held: [picture, 2] cells that filters hold, and those outside the object's box; 0 where nothing is a rest.
        num_points: [picture, 2] landmarks that filters hold, and all that are visible; 0 where nothing is a rest.
        best_parts: [filter] on the training pictures; −1 where there is none. None without `training`.
    """

    def __init__(
        self, seen: TogetherObservation, figures: LayerFigures, training: "TogetherFigures | None" = None
    ) -> None:
        self.figures, self.labels, self.clusters = figures, seen.labels, seen.clusters
        self.places, self.landmarks, self.middles = seen.places, seen.landmarks, seen.middles
        self.peaks, self.num_held, self.num_points = seen.peaks, seen.held, _held_points(seen)
        self._correlation = None if seen.moments is None else seen.moments.correlation
        self.num_near, self.num_both = (torch.zeros(len(self.labels), dtype=torch.int64) for _ in range(2))
        self.distances = self.landmarks.new_full(self.landmarks.shape[:2], math.nan, dtype=torch.float64)
        self._training, self._has_rest = training, seen.has_rest
        self.counted = torch.arange(len(self.labels))
        if figures.observed.groups.is_multilabel:
            self.counted = torch.cat([self.pictures_of(owner) for owner in figures.owners])
        cells, fires = seen.cells, seen.fires
        for category in figures.owners:
            rows, filters = self.pictures_of(category), figures.filters_of(category)
            self.num_near[rows], self.num_both[rows] = crowded_pairs(cells[rows][:, filters], fires[rows][:, filters])
            if training is not None:
                self.distances[rows] = self._errors(training, category, self.places[:, filters])
        self.best_parts = None if training is None else _best_parts(training.figures)

    def pictures_of(self, category: int) -> Tensor:
        """[picture] numbers of those that show an object of the category."""
        return self.figures.observed.pictures_of(category, self.labels)

    def of(self, category: int | None = None) -> dict[str, Any]:
        """Measure → figure, of one category or of all; None for what was not asked for, nan where nothing is there."""
        whole = slice(None)
        rows = self.counted if category is None else self.pictures_of(category)
        filters = whole if category is None else self.figures.filters_of(category)
        agreement = agreement_of_clusters(self.clusters[rows])
        has_training = self._training is not None
        correlation = self._correlation
        return {
            "parts_followed": self._parts_followed(category) if has_training else None,
            "landmark_error": 100 * self.distances[rows].nanmean().item() if has_training else None,
            "nmi": agreement.nmi,
            "ari": agreement.ari,
            "fg_nmi": agreement.fg_nmi,
            "fg_ari": agreement.fg_ari,
            "effective_filters": math.nan
            if correlation is None
            else participation_ratio(correlation[filters][:, filters]),
            "crowded": float(self.num_near[rows].sum() / self.num_both[rows].sum().double()),
            **self._held_shares(rows),
            "hidden_firing": self._hidden_firing(category) if has_training else None,
        }

    def _held_shares(self, rows: Tensor | slice) -> dict[str, float | None]:
        """None where no cell can be nobody's."""
        if not self._has_rest:
            return {"landmarks_held": None, "held_outside": None}
        held, outside = self.num_held[rows].sum(dim=0).double()
        held_points, points = self.num_points[rows].sum(dim=0).double()
        return {"landmarks_held": float(held_points / points), "held_outside": float(outside / held)}

    def _hidden_firing(self, category: int | None) -> float | None:
        """Mean over the parts that some filter follows on training pictures; of several categories, over all theirs.
        None where no part can be measured."""
        owners = self.figures.owners if category is None else [category]
        found = mean(share for one in owners for share in self._firing_of_parts(one))
        return None if math.isnan(found) else found

    def _firing_of_parts(self, category: int) -> list[float]:
        """Of every part with a filter that follows it on training pictures, the best one there."""
        assert self._training is not None
        filters, rows = self.figures.filters_of(category), self.pictures_of(category)
        is_shown = ~self.landmarks[rows].isnan().any(dim=2)
        is_annotated = is_shown.any(dim=1)
        r2, best = self._training.figures.r2[filters].nan_to_num(nan=-math.inf).max(dim=0)
        followed = r2 >= COVERAGE_R2
        scores = self.peaks[rows][:, filters[best[followed]]]
        firing: list[float] = hidden_firing(scores[is_annotated], is_shown[is_annotated][:, followed]).tolist()
        return firing

    def baselines(self) -> dict[str, dict[str, float]]:
        """Of the middle of the picture, and of one single filter that points at a part exactly, the best such part."""
        training = self._training
        if training is None or not self.landmarks.numel() or not training.landmarks.numel():
            return {}
        nobody = self._all_errors(training, training.middles, self.middles)
        one_part = [
            self._all_errors(training, training.landmarks[:, part, None], self.landmarks[:, part, None])
            for part in range(self.landmarks.shape[1])
        ]
        return {
            "constant_point": {"landmark_error": nobody, "parts_followed": 0.0},
            "perfect_filter": {"landmark_error": min(one_part, key=_or_high), "parts_followed": 1.0},
        }

    def _all_errors(self, training: "TogetherFigures", train_places: Tensor, places: Tensor) -> float:
        errors = [self._errors(training, one, places, train_places).flatten() for one in self.figures.owners]
        return 100 * torch.cat(errors).nanmean().item()

    def _errors(
        self, training: "TogetherFigures", category: int, places: Tensor, train_places: Tensor | None = None
    ) -> Tensor:  # [picture of the category, part]
        rows, train_rows = self.pictures_of(category), training.pictures_of(category)
        if train_places is None:
            train_places = training.places[:, self.figures.filters_of(category)]
        return landmark_regression_error(
            train_places[train_rows], training.landmarks[train_rows], places[rows], self.landmarks[rows]
        ).distances

    def _parts_followed(self, category: int | None) -> float:
        """Of a category; of several their mean."""
        if category is None and len(self.figures.owners) > 1:
            return mean(self._parts_followed(one) for one in self.figures.owners)
        filters = self.figures.filters_of(self.figures.owners[0] if category is None else category)
        assert self.best_parts is not None
        r2 = self.figures.r2[filters]
        if r2.isnan().all():
            return math.nan
        return int(num_followed(r2, self.best_parts[filters]))


def _held_points(seen: TogetherObservation) -> Tensor:  # [picture, 2]
    clusters = seen.clusters[..., 0]
    is_shown, num_filters = clusters >= 0, seen.fires.shape[1]
    counts = torch.stack([is_shown & (clusters < num_filters), is_shown], dim=2).sum(dim=1)
    return counts if seen.has_rest else torch.zeros_like(counts)


def num_followed(r2: Tensor, best_parts: Tensor) -> Tensor:  # [..., filter, part], [filter] → [...]
    """The number of different parts among the best ones of filters that follow theirs; −1: has no best part."""
    is_best = best_parts[:, None] == torch.arange(r2.shape[-1])
    found: Tensor = ((r2 >= COVERAGE_R2) & is_best).any(dim=-2).sum(dim=-1)
    return found


def _best_parts(figures: LayerFigures) -> Tensor:  # [filter]
    if not figures.r2.shape[1]:
        return torch.full((len(figures.r2),), -1)
    best = figures.r2.nan_to_num(nan=-math.inf).argmax(dim=1)
    return torch.where(figures.best_r2.isnan(), -1, best)


def _or_high(value: float) -> float:
    return math.inf if math.isnan(value) else value
