"""Which parts lie around the filters' peaks: consistency, stability and part purity, as others measure them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from partcnn.evaluation.figures import LayerFigures, best_over_parts, mean, nothing_of_dead
from partcnn.evaluation.observation.groups import in_groups
from partcnn.evaluation.observation.noise import NoiseObservation
from partcnn.evaluation.observation.together import TogetherObservation
from partcnn.metrics.functional.baselines import constant_peaks, random_peaks
from partcnn.metrics.functional.consistency import (
    CONSISTENT,
    are_shown,
    consistency,
    parts_in_boxes,
    stability,
    stable_boxes,
)
from partcnn.metrics.functional.part_purity import HITS, merged_sides, part_purity, strongest_windows
from partcnn.metrics.functional.strongest import INDEX

Resampled = Callable[[Tensor], Tensor]  # counts [resample, picture] → [resample, filter]
AROUND_PEAKS = ("consistency", "stability", "part_purity")
_NUM_RANDOM = 16


class AroundPeaksFigures:
    """Of each filter on the pictures of its category.

    Args:
        noise: what was seen with noise. None: stability is nan.
        together: what was seen of all pictures of objects.
        figures: of each filter.
        parts: names.

    Attributes:
        of_filters: measure → [filter]; nan where no part is visible. A dead filter without a picture to be stable on
            has stability 0.
        by_part: of consistency the shares [filter, part].
    """

    def __init__(
        self, noise: NoiseObservation | None, together: TogetherObservation, figures: LayerFigures, parts: list[str]
    ) -> None:
        self.figures, self.parts, self.input_size = figures, parts, together.input_size
        self.labels, self.landmarks = together.labels, together.landmarks_px
        self.peaks, self.scores = together.peaks_px, together.scores
        nothing = torch.full((len(figures.categories),), math.nan, dtype=torch.float64)
        self.of_filters = {name: nothing.clone() for name in AROUND_PEAKS}
        self.by_part = {"consistency": nothing[:, None].repeat(1, len(parts))}
        self.noise = noise if noise is not None and len(noise) and len(self.labels) else None
        self.noise_labels = torch.zeros(0, dtype=torch.int64) if self.noise is None else self.noise.labels
        for category in figures.owners if parts and len(self.labels) else []:
            rows, filters = self.pictures_of(category), figures.filters_of(category)
            seen = (self.peaks[rows][:, filters], self.scores[rows][:, filters], self.landmarks[rows], self.input_size)
            if len(rows):
                found = consistency(*seen)
                self.by_part["consistency"][filters] = found.per_filter
                self.of_filters["consistency"][filters] = found.of_filters
                self.of_filters["part_purity"][filters] = part_purity(*seen, parts=parts).of_filters
        for name, found_of in self.resampled_noise().items():
            every = torch.ones(1, len(self.noise_labels), dtype=torch.float64)
            self.of_filters[name] = found_of(every)[0]

    def pictures_of(self, category: int, labels: Tensor | None = None) -> Tensor:
        """[picture] numbers of those that show an object of the category."""
        return self.figures.observed.pictures_of(category, self.labels if labels is None else labels)

    def serving(self, labels: Tensor) -> Tensor:
        """[picture, filter] bool: which filters are measured on pictures of these labels."""
        return in_groups(labels, self.figures.observed.serving(self.figures.categories).T)

    def windows(self) -> tuple[Tensor, Tensor]:
        """[filter, rank] of each filter's strongest pictures their numbers, −1: none; and what was in the window there,
        [filter, rank, merged part]."""
        tables = {}
        for category in self.figures.owners:
            rows, filters = self.pictures_of(category), self.figures.filters_of(category)
            tables[category] = strongest_windows(
                self.peaks[rows][:, filters],
                self.scores[rows][:, filters],
                self.landmarks[rows],
                self.input_size,
                parts=self.parts,
                image_index=rows,
            )[:, 0]
        most = max((table.shape[1] for table in tables.values()), default=0)
        shape = (len(self.figures.categories), most)
        index = torch.full(shape, -1)
        hits = torch.zeros(*shape, len(merged_sides(self.parts)), dtype=torch.float64)
        for category, table in tables.items():
            filters, ranks = self.figures.filters_of(category)[:, None], torch.arange(table.shape[1])
            index[filters, ranks] = table[..., INDEX].long()
            hits[filters, ranks] = table[..., HITS]
        return index, hits

    def resampled(self, most: int) -> dict[str, Resampled]:
        """Measure → of counts [resample, picture] the figures of filters [resample, filter].

        Args:
            most: pictures that consistency's looks at; of more, so many are drawn.
        """
        if not self.parts or not len(self.labels):
            return {}
        return {"consistency": _ResampledConsistency(self, most), "part_purity": _ResampledPurity(self)}

    def resampled_noise(self) -> dict[str, Resampled]:
        """The same of the pictures that were looked at with noise, whose labels are `noise_labels`."""
        if self.noise is None:
            return {}
        (before, after), (scores, noisy_scores) = self.noise.peaks, self.noise.scores
        found = stable_boxes(before, scores, after, noisy_scores, self.noise.landmarks, self.input_size)
        is_same, is_counted = (found & self.serving(self.noise_labels)).double()
        is_dead = self.figures.is_dead
        return {"stability": lambda drawn: nothing_of_dead((drawn @ is_same) / (drawn @ is_counted), is_dead)}

    def baselines(self) -> dict[str, dict[str, float]]:
        """Of a filter that answers the middle of the picture, and of ones that answer a point drawn anew in each."""
        if not self.parts or not len(self.labels):
            return {}
        generator = torch.Generator().manual_seed(0)
        answers: dict[str, Callable[[Tensor], Tensor]] = {
            "constant_point": lambda landmarks: constant_peaks(landmarks, self.input_size),
            "random_filter": lambda landmarks: random_peaks(
                landmarks, self.input_size, generator=generator, num_filters=_NUM_RANDOM
            ),
        }
        return {name: self._of_points(points) for name, points in answers.items()}

    def _of_points(self, points: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Of filters that fire alike on every picture, at the points that are given for its landmarks."""
        found: dict[str, list[float]] = {name: [] for name in AROUND_PEAKS}
        for category in self.figures.owners:
            landmarks = self.landmarks[self.pictures_of(category)]
            if not len(landmarks):
                continue
            peaks = points(landmarks)
            scores = peaks.new_ones(peaks.shape[:2])
            found["consistency"].append(consistency(peaks, scores, landmarks, self.input_size).value)
            purity = part_purity(peaks, scores, landmarks, self.input_size, parts=self.parts)
            found["part_purity"].append(purity.value)
            if self.noise is not None:
                landmarks = self.noise.landmarks[self.pictures_of(category, self.noise_labels)]
                before, after = points(landmarks), points(landmarks)
                scores = before.new_ones(before.shape[:2])
                shares = stability(before, scores, after, scores, landmarks, self.input_size)
                found["stability"].append(shares.nanmean().item())
        return {name: mean(values) for name, values in found.items()}


class _ResampledConsistency:
    """Of counts [resample, picture] which filters are consistent, [resample, filter]."""

    def __init__(self, found: AroundPeaksFigures, most: int) -> None:
        self._rows = torch.arange(len(found.labels))
        if len(self._rows) > most:
            self._rows = torch.randperm(len(self._rows), generator=torch.Generator().manual_seed(0))[:most]
        rows = self._rows
        serves = found.serving(found.labels[rows])[..., None]
        inside = parts_in_boxes(found.peaks[rows], found.scores[rows], found.landmarks[rows], found.input_size)
        shown = are_shown(found.landmarks[rows])[:, None] & serves
        self._counted = torch.stack([inside & serves, shown], dim=1).float()  # [picture, 2, filter, part]

    def __call__(self, drawn: Tensor) -> Tensor:
        # Counts are whole numbers, exact in float32 too, and many.
        hits, number = (drawn[:, self._rows].float() @ self._counted.flatten(1)).double().chunk(2, dim=1)
        best = best_over_parts((hits / number).unflatten(1, self._counted.shape[2:]))  # 0 / 0 is nan
        return (best >= CONSISTENT).double().masked_fill(best.isnan(), math.nan)


class _ResampledPurity:
    """Of counts [resample, picture] the part purity [resample, filter]; the ten strongest pictures stay the chosen."""

    def __init__(self, found: AroundPeaksFigures) -> None:
        self._index, self._hits = found.windows()

    def __call__(self, drawn: Tensor) -> Tensor:
        counts = drawn[:, self._index.clamp(min=0)].masked_fill(self._index < 0, 0)  # [resample, filter, rank]
        hits = torch.einsum("sfr,frp->sfp", counts, self._hits.to(counts))
        return best_over_parts(hits / counts.sum(dim=2, keepdim=True))  # 0 / 0 is nan
