"""A network over a data set → how well its filters follow parts, per filter and in all."""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from partcnn.checkpoint import write_text
from partcnn.conversion import conversion_of
from partcnn.datasets import PartDataset
from partcnn.errors import DataError
from partcnn.layers import PartMask, part_masks
from partcnn.observation import LayerObservation, Observation, observe
from partcnn.part_metrics import (
    constant_point_baseline,
    dead_filters,
    displacement_scatter,
    location_instability,
    part_tracking,
)

SCHEMA_VERSION = 1
COVERAGE_R2 = 0.5  # a part counts as covered by a filter of at least this R²
_NUM_TOP_IMAGES = 8


@dataclass(frozen=True)
class TopImage:
    """A picture on which a filter fires strongly."""

    image_path: str
    sample: int  # index in the data set's samples
    score: float  # activation at the peak
    peak_px: tuple[float, float]  # (x, y) in continuous pixels of the network's input, not of the file
    peak_cell: tuple[int, int]  # (row, col)


@dataclass(frozen=True)
class FilterEvaluation:
    """One filter of the top part layer, on the pictures of its category."""

    layer: str
    filter: int
    category: str
    best_part: str | None  # None without annotated parts, and for a dead filter
    part_tracking_r2: float  # of the best part; nan without annotated parts; 0 for a dead filter
    r2_by_part: dict[str, float]
    location_instability: float  # mean over parts, fraction of the diagonal
    displacement_scatter: float  # of the best part, fraction of the diagonal
    is_dead: bool
    class_weight: dict[str, float]  # mean contribution to each class's logit
    top_images: list[TopImage] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """Figures of a network on a data set.

    Args:
        summary: see `docs/metrics.md`; shares between 0 and 1, R² at most 1. What could not be measured is nan, in
            JSON null; what was not asked for (a selection) is None.
        filters: one entry per filter of the top part layer.
        lower_layers: mean R², instability and dead share of the part layers below the top one.
        classes: in the order of the logits.
        parts: names.
        data: spec, category, split, number of pictures.
        schema_version: of the JSON.
    """

    summary: dict[str, Any]
    filters: list[FilterEvaluation]
    lower_layers: dict[str, dict[str, float]]
    classes: list[str]
    parts: list[str]
    data: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    def table(self) -> Table:
        """The summary and the ten best filters, for a terminal."""
        table = Table(title=f"{self.data['spec']} {self.data['category'] or 'all categories'}, {self.data['split']}")
        table.add_column("measure")
        table.add_column("value", justify="right")
        for name, value in self.summary.items():
            table.add_row(name, shown(value))
        return table

    def filter_table(self, most: int = 10) -> Table:
        """The filters of highest R²."""
        table = Table(title=f"best {min(most, len(self.filters))} of {len(self.filters)} filters by R²")
        for name in ("filter", "category", "part", "R²", "instability", "scatter"):
            table.add_column(name, justify="left" if name in ("category", "part") else "right")
        ordered = sorted(self.filters, key=lambda one: -_or_low(one.part_tracking_r2))
        for one in ordered[:most]:
            table.add_row(
                str(one.filter),
                one.category,
                one.best_part or "–",
                shown(one.part_tracking_r2),
                shown(one.location_instability),
                shown(one.displacement_scatter),
            )
        return table

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write all figures; nan becomes null. The file is replaced whole."""
        path = Path(path)
        write_text(path, self.dumps() + "\n")
        return path

    def dumps(self) -> str:
        """The JSON text of `to_json`."""
        return json.dumps(_without_nan(asdict(self)), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> "Evaluation":
        """Read what `to_json` wrote.

        Raises:
            DataError: the file is missing or is something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content.pop("schema_version") > SCHEMA_VERSION:
                raise DataError(f"{path}: written by a later partcnn; upgrade to read it")
            filters = [_filter_from(entry) for entry in content.pop("filters")]
            return cls(filters=filters, **content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected the JSON that Evaluation.to_json writes ({error})") from error


def evaluate(
    model: nn.Module,
    dataset: PartDataset,
    *,
    selection: PartDataset | None = None,
    top: int = 100,
    batch_size: int = 32,
    num_workers: int = 0,
) -> Evaluation:
    """Measure what the filters of the top part layer follow.

    Every filter is measured on the pictures of its own category: the one it was given, or, where the paper's
    rule assigns it, the one it fires on most.

    Args:
        model: made by `partcnn.convert`.
        dataset: the pictures to measure on; to say something, pictures the model was not trained on.
        selection: the pictures on which "best" filters are chosen. None takes the data set's training split
            where `dataset` is its test split; otherwise those figures are None.
        top: images per filter and part, as in the paper.
        batch_size, num_workers: of the pass.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        DataError: the data set has other classes than the model.
    """
    if selection is None and dataset.split == "test":
        selection = dataset.with_split("train")
    observation = observe(model, dataset, batch_size=batch_size, num_workers=num_workers)
    chosen = observe(model, selection, batch_size=batch_size, num_workers=num_workers) if selection else None
    masks = [mask for _, mask in part_masks(model)]
    layers = [
        _LayerFigures(layer, observation, _categories(mask, layer), top)
        for mask, layer in zip(masks, observation.layers, strict=True)
    ]
    figures = layers[-1]
    ranking = None
    if chosen is not None:
        ranking = _LayerFigures(chosen.top, chosen, figures.categories, top).best_r2
    record = conversion_of(model)
    num_images = len(observation.labels)
    return Evaluation(
        summary=_summary(figures, observation, ranking) | {"num_images": num_images},
        filters=_filters(figures, observation, dataset, record.classes),
        lower_layers={layer.observed.layer: layer.means() for layer in layers[:-1]},
        classes=list(record.classes),
        parts=list(dataset.parts),
        data={
            "spec": dataset.spec,
            "category": dataset.category,
            "split": dataset.split,
            "num_images": num_images,
        },
    )


class _LayerFigures:
    """All measures of one layer's filters, each on the pictures of its category."""

    def __init__(self, observed: LayerObservation, observation: Observation, categories: Tensor, top: int) -> None:
        self.observed, self.categories = observed, categories
        num_filters, num_parts = observed.scores.shape[1], observation.landmarks.shape[1]
        nan = torch.full((num_filters, num_parts), math.nan, dtype=torch.float64)
        self.r2, self.instability, self.scatter = nan, nan.clone(), nan.clone()
        self.is_dead = torch.zeros(num_filters, dtype=torch.bool)
        self.constant_point: dict[int, float] = {}
        self.owners = categories.unique().tolist()
        for category in self.owners:
            filters = (categories == category).nonzero()[:, 0]
            images = observation.labels == category
            if not images.any():
                continue
            peaks, scores = observed.peaks_px[images][:, filters], observed.scores[images][:, filters]
            landmarks, size = observation.landmarks[images], observation.input_size
            is_dead = dead_filters(scores)
            self.is_dead[filters] = is_dead
            self.r2[filters] = part_tracking(peaks, scores, landmarks, size, top=top, is_dead=is_dead).per_filter
            self.instability[filters] = location_instability(peaks, scores, landmarks, size, top=top).per_filter
            self.scatter[filters] = displacement_scatter(peaks, scores, landmarks, size, top=top).per_filter
            self.constant_point[category] = constant_point_baseline(landmarks, size, top=top).value

    @property
    def best_r2(self) -> Tensor:  # [filter], nan without a part
        low = self.r2.nan_to_num(nan=-math.inf)
        best = low.amax(dim=1) if low.shape[1] else low.new_full((len(low),), -math.inf)
        return best.masked_fill(best == -math.inf, math.nan)

    @property
    def best_scatter(self) -> Tensor:  # [filter]
        high = self.scatter.nan_to_num(nan=math.inf)
        best = high.amin(dim=1) if high.shape[1] else high.new_full((len(high),), math.inf)
        return best.masked_fill(best == math.inf, math.nan)

    def means(self) -> dict[str, float]:
        return {
            "part_tracking_r2": self.best_r2.nanmean().item(),
            "location_instability": self.instability.nanmean(dim=1).nanmean().item(),
            "dead_filters": self.is_dead.double().mean().item(),
        }

    def covered_share(self) -> float:
        """Of the parts of every category that has filters: those some filter of it follows."""
        flags = []
        for category in self.owners:
            r2 = self.r2[self.categories == category]
            measured = (~r2.isnan()).any(dim=0)
            flags += (r2 >= COVERAGE_R2).any(dim=0)[measured].tolist()
        return _mean(flags)

    def chosen(self, ranking: Tensor, share: float) -> float:
        """Mean R² of each category's first filters by `ranking`, at least one, averaged over categories."""
        means = []
        for category in self.owners:
            own = (self.categories == category) & ~ranking.isnan()
            if own.any():
                count = max(1, round(share * int(own.sum())))
                order = ranking[own].argsort(descending=True, stable=True)[:count]
                means.append(self.best_r2[own][order].nanmean().item())
        return _mean(means)


def _summary(figures: _LayerFigures, observation: Observation, ranking: Tensor | None) -> dict[str, Any]:
    means = figures.means()
    return {
        "accuracy": (observation.predictions == observation.labels).double().mean().item(),
        "part_tracking_r2": means["part_tracking_r2"],
        "part_tracking_r2_top_quarter": None if ranking is None else figures.chosen(ranking, 0.25),
        "part_tracking_r2_best": None if ranking is None else figures.chosen(ranking, 0.0),
        "location_instability": means["location_instability"],
        "constant_point_instability": _mean(figures.constant_point.values()),
        "displacement_scatter": figures.best_scatter.nanmean().item(),
        "coverage": figures.covered_share(),
        "dead_filters": means["dead_filters"],
        "num_filters": len(figures.categories),
    }


def _filters(
    figures: _LayerFigures, observation: Observation, dataset: PartDataset, classes: list[str]
) -> list[FilterEvaluation]:
    observed = figures.observed
    best_r2, scatter = figures.best_r2, figures.best_scatter
    instability = figures.instability.nanmean(dim=1)
    entries = []
    for index, category in enumerate(figures.categories.tolist()):
        r2 = figures.r2[index]
        weight = {}
        if observation.contributions is not None:
            weight = dict(zip(classes, observation.contributions[category, :, index].tolist(), strict=True))
        has_part = not best_r2[index].isnan() and not figures.is_dead[index]  # a dead filter follows no part
        best = None if not has_part else dataset.parts[int(r2.nan_to_num(nan=-math.inf).argmax())]
        entries.append(
            FilterEvaluation(
                layer=observed.layer,
                filter=index,
                category=classes[category],
                best_part=best,
                part_tracking_r2=best_r2[index].item(),
                r2_by_part=dict(zip(dataset.parts, r2.tolist(), strict=True)),
                location_instability=instability[index].item(),
                displacement_scatter=scatter[index].item(),
                is_dead=bool(figures.is_dead[index]),
                class_weight=weight,
                top_images=_top_images(observed, observation.labels == category, index, dataset),
            )
        )
    return entries


def _top_images(observed: LayerObservation, is_own: Tensor, index: int, dataset: PartDataset) -> list[TopImage]:
    own = is_own.nonzero()[:, 0]
    order = observed.scores[own, index].argsort(descending=True, stable=True)[:_NUM_TOP_IMAGES]
    images = []
    for sample in own[order].tolist():
        x, y = observed.peaks_px[sample, index].tolist()
        row, col = observed.peak_cells[sample, index].tolist()
        path = str(dataset.samples[sample].image_path)
        images.append(TopImage(path, sample, observed.scores[sample, index].item(), (x, y), (row, col)))
    return images


def _categories(mask: PartMask, layer: LayerObservation) -> Tensor:
    """[filter]: the category each filter serves; the paper's rule on these pictures where training set none."""
    if mask.assignment == "even" or bool((mask.class_activation > 0).any()):
        return mask.filter_category.cpu()
    activation = layer.class_activation.clone()
    if mask.background is not None:
        activation[:, mask.background] = -math.inf
    return activation.argmax(dim=1)


def shown(value: Any) -> str:
    """A figure for people: three decimals, a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _filter_from(entry: dict[str, Any]) -> FilterEvaluation:
    entry = dict(entry)
    images = [
        TopImage(**{**image, "peak_px": tuple(image["peak_px"]), "peak_cell": tuple(image["peak_cell"])})
        for image in entry.pop("top_images")
    ]
    numbers = ("part_tracking_r2", "location_instability", "displacement_scatter")
    entry |= {name: math.nan for name in numbers if entry[name] is None}
    entry["r2_by_part"] = {part: math.nan if r2 is None else r2 for part, r2 in entry["r2_by_part"].items()}
    return FilterEvaluation(top_images=images, **entry)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean(values: Iterable[float]) -> float:
    numbers = [float(value) for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def _or_low(value: float) -> float:
    return -math.inf if math.isnan(value) else value
