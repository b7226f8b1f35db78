"""A network over a data set → an evaluation."""

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.datasets import PartDataset
from partcnn.datasets.arguments import check_dataset
from partcnn.evaluation.around_peaks import AROUND_PEAKS, AroundPeaksFigures
from partcnn.evaluation.baselines import measured_baselines
from partcnn.evaluation.figures import (
    CHOSEN_SHARES,
    LayerFigures,
    ShareFigures,
    best_over_parts,
    class_hits,
    filter_categories,
    mean,
    means,
)
from partcnn.evaluation.intervals import measured_intervals
from partcnn.evaluation.observation.layers import ALL, LayerObservation
from partcnn.evaluation.observation.observer import Observation, observe
from partcnn.evaluation.observation.pictures import describe_shapes
from partcnn.evaluation.observation.protocol import Protocol
from partcnn.evaluation.result import Evaluation, FilterEvaluation, TopImage
from partcnn.evaluation.together import TogetherFigures
from partcnn.evaluation.unannotated import OF_TWO_VIEWS, UnannotatedFigures
from partcnn.foundation.errors import ConfigError
from partcnn.metrics.functional.displacement import COVERAGE_R2
from partcnn.metrics.measures import MEASURES
from partcnn.model.class_names import with_classes_of
from partcnn.model.mask import ALL_CATEGORIES, part_masks, top_mask
from partcnn.model.network import PictureFeatures, conversion_of

_LOWER = ("part_tracking_r2", "location_instability", "dead_filters")  # of the layers below the top one


def evaluate(
    model: nn.Module,
    dataset: PartDataset,
    *,
    selection: PartDataset | None = None,
    top: int | None = None,
    batch_size: int = 32,
    num_workers: int = 0,
    protocol: Protocol | None = None,
    features: Callable[..., PictureFeatures | None] | None = None,
) -> Evaluation:
    """Measure what the filters of the top part layer follow.

    Every filter is measured on the pictures of its own category: the one it was given, or, where the paper's
    rule assigns it, the one it fires on most; filters that compete serve all classes of objects alike, and are measured
    on the pictures of all. One pass over each data set, and two more of at most 64 pictures of objects in `dataset`, in
    a random view and, where parts are annotated, with noise, the same at each call; memory grows by some 10 bytes a
    picture and filter.

    Args:
        model: made by `partcnn.convert`.
        dataset: the pictures to measure on; to say something, pictures the model was not trained on. Its classes are
            the model's by their names, in whatever order; those of a model that was never told names, by their numbers.
        selection: the pictures that the model was trained on: on them "best" filters and their parts are chosen, and
            the regression from places to landmarks is fitted. None takes the data set's training split where
            `dataset` is its test split; otherwise those figures are None. With a picture that is also in `dataset`,
            parts followed and landmark error stay None.
        top: images per filter and part; None takes the protocol's, 100 as in the paper.
        batch_size, num_workers: of the pass.
        protocol: all numbers of the measures, such as the radius of the discs; not together with `top`.
        features: gives the trunk's maps that are known already, of a data set and whether its second views are
            wanted, see `training.cached_features.picture_features`. Then no picture is decoded, unless it
            gives None.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        DataError: the data set has other classes than the model.
        ConfigError: both `top` and `protocol` are given.
    """
    if protocol is not None and top is not None:
        raise ConfigError(
            f"top: expected none beside a protocol, which has its own, got {top}; give Protocol(top={top})"
        )
    conversion_of(model)  # raises for another network
    check_dataset(dataset)
    protocol = protocol or (Protocol() if top is None else Protocol(top=top))
    dataset = with_classes_of(model, dataset)
    selection = None if selection is None else with_classes_of(model, selection)
    if selection is None and dataset.split == "test":
        selection = dataset.with_split("train")
    passes: dict[str, Any] = {"protocol": protocol, "batch_size": batch_size, "num_workers": num_workers}

    def observed(pictures: PartDataset, *, has_second_views: bool) -> Observation:
        known = None if features is None else features(pictures, has_second_views=has_second_views)
        return observe(model, pictures, features=known, has_second_views=has_second_views, **passes)

    seen = observed(dataset, has_second_views=True)
    categories = filter_categories(top_mask(model)[1], seen.top)
    training = None
    if selection is not None:
        training = _Measured(model, observed(selection, has_second_views=False), selection, categories)
    measured = _Measured(model, seen, dataset, categories, training)
    chosen, by_split = dict[str, list[Tensor]](), dict[str, dict[str, Any]]()
    if training is not None:
        ranking = training.figures.best_r2
        chosen = {name: measured.figures.chosen(ranking, share) for name, share in CHOSEN_SHARES.items()}
        by_split[training.dataset.split] = training.summary(None)
        training.close()
    summary = measured.summary(chosen if selection is not None else None)
    evaluation = measured.evaluation(summary, chosen, by_split | {dataset.split: summary})
    measured.close()
    return evaluation


def _are_apart(dataset: PartDataset, selection: PartDataset) -> bool:
    known = {(sample.image_id, sample.image_path) for sample in dataset.samples}
    return not any((sample.image_id, sample.image_path) in known for sample in selection.samples)


_Figures = tuple[LayerFigures, ShareFigures, TogetherFigures, UnannotatedFigures, AroundPeaksFigures]


class _Measured:
    """One pass over a data set, and every figure of it.

    Args:
        categories: [filter] of the top layer.
        training: the same of the pictures trained on.
    """

    def __init__(
        self,
        model: nn.Module,
        observation: Observation,
        dataset: PartDataset,
        categories: Tensor,
        training: "_Measured | None" = None,
    ) -> None:
        self.observation, self.dataset = observation, dataset
        self.training = training if training is not None and _are_apart(dataset, training.dataset) else None
        self.classes = list(conversion_of(model).classes)
        self.precision = observation.answers.average_precision()
        self.diagonal = math.hypot(*observation.input_size)
        num_parts = len(dataset.parts)
        masks = [mask for _, mask in part_masks(model)]
        self.lower_layers = [
            LayerFigures(layer, filter_categories(mask, layer), self.diagonal, num_parts)
            for mask, layer in zip(masks[:-1], observation.layers[:-1], strict=True)
        ]
        self._hits = class_hits(observation, categories, num_parts)
        sums, serves = observation.contributions, observation.top.serving(categories)
        self._contributions = None if sums is None else sums.of(serves)  # [class, filter]
        measured = self._measured_as(categories)
        self.figures, self.shares, self.together, self.alone, self.around = measured
        self.of_filters, self.by_part = _of_filters(measured), _of_parts(measured)
        self.baselines, self.constant_point = measured_baselines(observation, self.figures.owners, self.diagonal)
        for known in (self.together.baselines(), self.alone.baselines(), self.around.baselines()):
            self.baselines |= {name: self.baselines.get(name, {}) | found for name, found in known.items()}

    def _measured_as(self, categories: Tensor) -> _Figures:
        """The top layer, each filter on the pictures of such a category."""
        num_parts, training = len(self.dataset.parts), self.training
        figures = LayerFigures(self.observation.top, categories, self.diagonal, num_parts)
        shares = ShareFigures.measured(self.observation, categories, self._hits)
        other = None if training is None else training.together_of(categories)
        together = TogetherFigures(self.observation.together, figures, other)
        alone = UnannotatedFigures(self.observation.views, self.observation.together, figures)
        around = AroundPeaksFigures(
            self.observation.noise, self.observation.together, figures, list(self.dataset.parts)
        )
        return figures, shares, together, alone, around

    def together_of(self, categories: Tensor) -> TogetherFigures:
        """What the filters say together, each serving such a category."""
        if categories.equal(self.figures.categories):
            return self.together
        figures = LayerFigures(self.observation.top, categories, self.diagonal, len(self.dataset.parts))
        return TogetherFigures(self.observation.together, figures)

    def close(self) -> None:
        if self.observation.parts is not None:
            self.observation.parts.close()

    def summary(self, chosen: dict[str, list[Tensor]] | None) -> dict[str, Any]:
        """Over all filters; None where a choice was not asked for."""
        figures, answers = self.figures, self.observation.answers
        found = {
            "accuracy": answers.accuracy(),
            **self._precision(),
            **self.together.of(),
            **means(self.of_filters),
            **{name: None if chosen is None else figures.mean_r2(chosen.get(name, [])) for name in CHOSEN_SHARES},
            "constant_point_instability": mean(self.constant_point.values()),
            "least_location_instability": figures.least_instability(),
            "coverage": figures.coverage(),
            "num_filters": len(figures.categories),
            "num_images": self.observation.num_images,
        }
        if self.observation.views is None:
            found |= dict.fromkeys((*OF_TWO_VIEWS, "stability"))
        if not self.dataset.parts:
            found |= dict.fromkeys(AROUND_PEAKS)
        return _in_order(found)

    def _precision(self, label: int | None = None) -> dict[str, float]:
        """Of a class, or the mean; nothing where each picture shows one class."""
        if self.precision is None:
            return {}
        return {"mean_average_precision": mean(self.precision) if label is None else self.precision[label]}

    def evaluation(
        self, summary: dict[str, Any], chosen: dict[str, list[Tensor]], by_split: dict[str, dict[str, Any]]
    ) -> Evaluation:
        dataset, figures = self.dataset, self.figures
        by_category, parts_by_category = self._categories()
        return Evaluation(
            summary=summary,
            filters=self._filters(),
            lower_layers={layer.observed.layer: _lower_means(layer) for layer in self.lower_layers},
            classes=self.classes,
            parts=list(dataset.parts),
            data={
                "spec": dataset.spec,
                "category": dataset.category,
                "split": dataset.split,
                "num_images": summary["num_images"],
            },
            by_category=by_category,
            by_part={self._name(one): self._parts(one, figures, self.shares, self.by_part) for one in figures.owners}
            | parts_by_category,
            by_split=by_split,
            confusion={
                self._name(one): self._by_class(self.shares.confusion(figures.filters_of(one)))
                for one in figures.owners
            },
            intervals=measured_intervals(
                figures, self.shares, self.together, self.alone, self.around, self.observation, chosen
            ),
            baselines=self.baselines,
            protocol=self._protocol(),
        )

    def _protocol(self) -> dict[str, Any]:
        protocol, parts = asdict(self.observation.protocol), self.observation.parts
        if parts is not None:
            protocol |= {"radius_px": parts.radius_px, "tolerance_px": parts.tolerance_px}
        return protocol | {
            "input_size": list(self.observation.input_size),
            "regions": describe_shapes(self.observation.num_shapes),
        }

    def _name(self, category: int) -> str:
        return ALL_CATEGORIES if category == ALL else self.classes[category]

    def _categories(self) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, dict[str, Any]]]]:
        """Of every class its filters on its pictures; where filters are shared, all of them, and by part, too. In a
        multi-label task also how well classes without filters are found."""
        figures, top, answers = self.figures, self.observation.top, self.observation.answers
        if ALL not in figures.owners:
            others = [] if self.precision is None else [one for one in top.labels if one not in figures.owners]
            return {
                self.classes[one]: self._category(one, figures, self.of_filters, self.together)
                for one in figures.owners
            } | {
                self.classes[one]: {
                    "accuracy": answers.accuracy(one),
                    **self._precision(one),
                    "num_images": int(answers.num_images[one]),
                }
                for one in others
            }, {}
        found, parts = {}, {}
        _, constant = measured_baselines(self.observation, top.labels, self.diagonal)
        self.constant_point |= constant
        for label in top.labels:
            own, shares, together, *_ = measured = self._measured_as(torch.full_like(figures.categories, label))
            found[self.classes[label]] = self._category(label, own, _of_filters(measured), together)
            parts[self.classes[label]] = self._parts(label, own, shares, _of_parts(measured))
        return found, parts

    def _category(
        self, label: int, figures: LayerFigures, of_filters: dict[str, Tensor], together: TogetherFigures
    ) -> dict[str, float]:
        answers, own = self.observation.answers, figures.categories == label
        found = {
            "accuracy": answers.accuracy(label),
            **self._precision(label),
            **{name: figure for name, figure in together.of(label).items() if figure is not None},
            **means(of_filters, own),
            "constant_point_instability": self.constant_point[label],
            "coverage": figures.coverage(label),
            "num_filters": int(own.sum()),
            "num_images": int(answers.num_images[label]),
        }
        return _in_order(found)

    def _parts(
        self, label: int, figures: LayerFigures, shares: ShareFigures, by_part: dict[str, Tensor]
    ) -> dict[str, dict[str, Any]]:
        filters = figures.filters_of(label)
        r2 = figures.r2[filters]
        best = r2.nan_to_num(nan=-math.inf).argmax(dim=0)
        known = [name for name, measure in MEASURES.items() if measure.by_part]
        highest = {name: best_over_parts(by_part[name][filters].T) for name in known}  # of each part
        return {
            part: {
                "num_images": int(shares.hits.num_shown[filters[0], k]),
                "best_filter": None if r2[:, k].isnan().all() else int(filters[best[k]]),
                "num_following": int((r2[:, k] >= COVERAGE_R2).sum()),
                **{name: of_parts[k].item() for name, of_parts in highest.items()},
            }
            for k, part in enumerate(self.dataset.parts)
        }

    def _filters(self) -> list[FilterEvaluation]:
        figures, shares = self.figures, self.shares
        top_images = {label: figures.observed.of_all(label) for label in figures.owners}
        return [
            FilterEvaluation(
                layer=figures.observed.layer,
                filter=index,
                category=self._name(label),
                best_part=self._best_part(index),
                class_weight=self._class_weight(label, index),
                top_images=_top_images(figures.observed, top_images[label][index], self.dataset),
                activation_share=self._by_class(shares.activation_shares[index]),
                activation_threshold=shares.thresholds[index].item(),
                **self._measured(index),
            )
            for index, label in enumerate(figures.categories.tolist())
        ]

    def _measured(self, index: int) -> dict[str, Any]:
        """What the table of measures knows of a filter, by its fields; what has none goes to `others`."""
        rows = MEASURES.values()
        found = {one.by_filter: self.of_filters[one.name][index].item() for one in rows if one.by_filter}
        by_part = {one.by_part: self._by_part(self.by_part[one.name][index]) for one in rows if one.by_part}
        known = {field.name for field in fields(FilterEvaluation)}
        others = {name: figure for name, figure in found.items() if name not in known}
        return {name: figure for name, figure in found.items() if name in known} | by_part | {"others": others}

    def _best_part(self, index: int) -> str | None:
        """Of highest R²; None where there is none, and of a dead filter, which follows no part."""
        if self.figures.is_dead[index] or self.figures.best_r2[index].isnan():
            return None
        return self.dataset.parts[int(self.figures.r2[index].nan_to_num(nan=-math.inf).argmax())]

    def _class_weight(self, label: int, index: int) -> dict[str, float]:
        if self._contributions is None:
            return {}
        own = self.observation.top.classes_of(label)
        num_images = self.observation.answers.num_images[own].sum()
        return self._by_class(self._contributions[:, index] / num_images.clamp(min=1))

    def _by_class(self, figures: Tensor) -> dict[str, float]:
        return dict(zip(self.classes, figures.tolist(), strict=True))

    def _by_part(self, figures: Tensor) -> dict[str, float]:
        return dict(zip(self.dataset.parts, figures.tolist(), strict=True))


def _of_filters(measured: _Figures) -> dict[str, Tensor]:  # measure → [filter]
    figures, shares, _, alone, around = measured
    return figures.of_filters | shares.of_filters | alone.of_filters | around.of_filters


def _of_parts(measured: _Figures) -> dict[str, Tensor]:  # measure → [filter, part]
    figures, shares, *_, around = measured
    return figures.by_part | shares.by_part | around.by_part


def _in_order(found: dict[str, Any]) -> dict[str, Any]:
    """As the table of measures, in which each must have a row."""
    order = list(MEASURES)
    return dict(sorted(found.items(), key=lambda entry: order.index(entry[0])))


def _lower_means(layer: LayerFigures) -> dict[str, float]:
    found = means(layer.of_filters)
    return {name: found[name] for name in _LOWER}


def _top_images(observed: LayerObservation, rows: Tensor, dataset: PartDataset) -> list[TopImage]:
    images = []
    for score, sample, row, col, *_ in rows[~rows[:, 1].isnan()].tolist():
        x, y = observed.field.centers_px(torch.tensor([row, col])).tolist()
        path = str(dataset.samples[int(sample)].image_path)
        images.append(TopImage(path, int(sample), score, (x, y), (int(row), int(col))))
    return images
