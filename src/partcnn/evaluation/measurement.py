"""A network over a data set → an evaluation."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.datasets import PartDataset
from partcnn.evaluation.baselines import measured_baselines
from partcnn.evaluation.figures import LayerFigures, ShareFigures, best_over_parts, filter_categories, mean
from partcnn.evaluation.intervals import measured_intervals
from partcnn.evaluation.observation import LayerObservation, Observation, Protocol, observe
from partcnn.evaluation.observation.pictures import describe_shapes
from partcnn.evaluation.result import COVERAGE_R2, Evaluation, FilterEvaluation, TopImage
from partcnn.model.mask import part_masks
from partcnn.model.network import PictureFeatures, conversion_of

CHOSEN_SHARES = {"part_tracking_r2_top_quarter": 0.25, "part_tracking_r2_best": 0.0}


def evaluate(
    model: nn.Module,
    dataset: PartDataset,
    *,
    selection: PartDataset | None = None,
    top: int = 100,
    batch_size: int = 32,
    num_workers: int = 0,
    protocol: Protocol | None = None,
    features: Callable[[PartDataset], PictureFeatures] | None = None,
) -> Evaluation:
    """Measure what the filters of the top part layer follow.

    Every filter is measured on the pictures of its own category: the one it was given, or, where the paper's
    rule assigns it, the one it fires on most. One pass over each data set; memory does not grow with them.

    Args:
        model: made by `partcnn.convert`.
        dataset: the pictures to measure on; to say something, pictures the model was not trained on.
        selection: the pictures on which "best" filters are chosen. None takes the data set's training split
            where `dataset` is its test split; otherwise those figures are None.
        top: images per filter and part, as in the paper.
        batch_size, num_workers: of the pass.
        protocol: the other numbers of the measures, such as the radius of the discs; its `top` then counts.
        features: gives the trunk's maps of a data set that are known already, see `training.cached_features`. Then no
            picture is decoded, and memory grows with what it gives.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        DataError: the data set has other classes than the model.
    """
    protocol = protocol or Protocol(top=top)
    if selection is None and dataset.split == "test":
        selection = dataset.with_split("train")
    passes: dict[str, Any] = {"protocol": protocol, "batch_size": batch_size, "num_workers": num_workers}

    def observed(pictures: PartDataset) -> Observation:
        return observe(model, pictures, features=None if features is None else features(pictures), **passes)

    measured = _Measured(model, observed(dataset), dataset)
    chosen, by_split = dict[str, list[Tensor]](), dict[str, dict[str, Any]]()
    if selection is not None:
        other = _Measured(model, observed(selection), selection, measured.figures.categories)
        ranking = other.figures.best_r2
        chosen = {name: measured.figures.chosen(ranking, share) for name, share in CHOSEN_SHARES.items()}
        by_split[selection.split] = other.summary(None) | {"num_images": other.observation.num_images}
        other.close()
    summary = measured.summary(chosen if selection is not None else None)
    summary |= {"num_images": measured.observation.num_images}
    evaluation = measured.evaluation(summary, chosen, by_split | {dataset.split: summary})
    measured.close()
    return evaluation


class _Measured:
    """One pass over a data set, and every figure of it."""

    def __init__(
        self, model: nn.Module, observation: Observation, dataset: PartDataset, categories: Tensor | None = None
    ) -> None:
        self.observation, self.dataset = observation, dataset
        self.classes = list(conversion_of(model).classes)
        self.diagonal = math.hypot(*observation.input_size)
        num_parts = len(dataset.parts)
        masks = [mask for _, mask in part_masks(model)]
        self.layers = []
        for mask, layer in zip(masks, observation.layers, strict=True):
            is_top = layer is observation.top
            own = categories if categories is not None and is_top else filter_categories(mask, layer)
            self.layers.append(LayerFigures(layer, own, self.diagonal, num_parts))
        self.figures = self.layers[-1]
        self.shares = ShareFigures.measured(observation, self.figures.categories, num_parts)
        self.baselines, self.constant_point = measured_baselines(observation, self.figures.owners, self.diagonal)

    def close(self) -> None:
        if self.observation.parts is not None:
            self.observation.parts.close()

    def summary(self, chosen: dict[str, list[Tensor]] | None) -> dict[str, Any]:
        figures, confusion = self.figures, self.observation.confusion
        means = figures.means() | self.shares.means(torch.ones_like(figures.is_dead))
        best = figures.best_r2
        selected = {
            name: None if chosen is None else mean(best[own].nanmean().item() for own in chosen.get(name, []))
            for name in CHOSEN_SHARES
        }
        return {
            "accuracy": _share(confusion.diagonal().sum(), confusion.sum()),
            "part_tracking_r2": means["part_tracking_r2"],
            **selected,
            "location_instability": means["location_instability"],
            "constant_point_instability": mean(self.constant_point.values()),
            "least_location_instability": figures.least_instability(),
            "displacement_scatter": means["displacement_scatter"],
            "coverage": means["coverage"],
            "part_interpretability": means["part_interpretability"],
            "pointing_game": means["pointing_game"],
            "purity": means["purity"],
            "dead_filters": means["dead_filters"],
            "num_filters": len(figures.categories),
        }

    def evaluation(
        self, summary: dict[str, Any], chosen: dict[str, list[Tensor]], by_split: dict[str, dict[str, Any]]
    ) -> Evaluation:
        dataset, figures = self.dataset, self.figures
        confusion = self.shares.confusion
        return Evaluation(
            summary=summary,
            filters=self._filters(),
            lower_layers={layer.observed.layer: _lower_means(layer) for layer in self.layers[:-1]},
            classes=self.classes,
            parts=list(dataset.parts),
            data={
                "spec": dataset.spec,
                "category": dataset.category,
                "split": dataset.split,
                "num_images": summary["num_images"],
            },
            by_category={self.classes[label]: self._category(label) for label in figures.owners},
            by_part={self.classes[label]: self._parts(label) for label in figures.owners},
            by_split=by_split,
            confusion={self.classes[label]: self._by_class(confusion[label]) for label in figures.owners},
            intervals=measured_intervals(figures, self.shares, self.observation, chosen),
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

    def _category(self, label: int) -> dict[str, float]:
        confusion, own = self.observation.confusion, self.figures.categories == label
        return {
            "num_images": int(confusion[label].sum()),
            "num_filters": int(own.sum()),
            "accuracy": _share(confusion[label, label], confusion[label].sum()),  # of this class's pictures
            **self.figures.means(label),
            "constant_point_instability": self.constant_point[label],
            **self.shares.means(own),
        }

    def _parts(self, label: int) -> dict[str, dict[str, Any]]:
        filters, shares = self.figures.filters_of(label), self.shares
        r2 = self.figures.r2[filters]
        best = r2.nan_to_num(nan=-math.inf).argmax(dim=0)
        return {
            part: {
                "num_images": int(shares.hits.num_shown[filters[0], k]),
                "best_filter": None if r2[:, k].isnan().all() else int(filters[best[k]]),
                "part_tracking_r2": r2[best[k], k].item(),
                "num_following": int((r2[:, k] >= COVERAGE_R2).sum()),
                "location_instability": self.figures.instability[filters, k].nanmean().item(),
                "part_interpretability": shares.interpretability[filters, k].max().item(),
                "pointing_game": shares.pointing[filters, k].max().item(),
            }
            for k, part in enumerate(self.dataset.parts)
        }

    def _filters(self) -> list[FilterEvaluation]:
        figures, shares, parts = self.figures, self.shares, self.dataset.parts
        best_r2, scatter = figures.best_r2.tolist(), figures.best_scatter.tolist()
        instability = figures.instability.nanmean(dim=1).tolist()
        interpretability = best_over_parts(shares.interpretability).tolist()
        pointing = best_over_parts(shares.pointing).tolist()
        top_images = {label: self.figures.observed.of_all(label) for label in figures.owners}
        entries = []
        for index, label in enumerate(figures.categories.tolist()):
            is_dead = bool(figures.is_dead[index])
            has_part = not math.isnan(best_r2[index]) and not is_dead  # a dead filter follows no part
            best = int(figures.r2[index].nan_to_num(nan=-math.inf).argmax()) if has_part else None
            entries.append(
                FilterEvaluation(
                    layer=figures.observed.layer,
                    filter=index,
                    category=self.classes[label],
                    best_part=None if best is None else parts[best],
                    part_tracking_r2=best_r2[index],
                    r2_by_part=self._by_part(figures.r2[index]),
                    location_instability=instability[index],
                    displacement_scatter=scatter[index],
                    is_dead=is_dead,
                    class_weight=self._class_weight(label, index),
                    top_images=_top_images(figures.observed, top_images[label][index], self.dataset),
                    part_interpretability=interpretability[index],
                    interpretability_by_part=self._by_part(shares.interpretability[index]),
                    pointing_game=pointing[index],
                    pointing_by_part=self._by_part(shares.pointing[index]),
                    instability_by_part=self._by_part(figures.instability[index]),
                    purity=shares.purity[index].item(),
                    activation_share=self._by_class(shares.activation_shares[index]),
                    activation_threshold=shares.thresholds[index].item(),
                )
            )
        return entries

    def _class_weight(self, label: int, index: int) -> dict[str, float]:
        contributions = self.observation.contributions
        return {} if contributions is None else self._by_class(contributions[label, :, index])

    def _by_class(self, figures: Tensor) -> dict[str, float]:
        return dict(zip(self.classes, figures.tolist(), strict=True))

    def _by_part(self, figures: Tensor) -> dict[str, float]:
        return dict(zip(self.dataset.parts, figures.tolist(), strict=True))


def _lower_means(layer: LayerFigures) -> dict[str, float]:
    means = layer.means()
    return {name: means[name] for name in ("part_tracking_r2", "location_instability", "dead_filters")}


def _top_images(observed: LayerObservation, rows: Tensor, dataset: PartDataset) -> list[TopImage]:
    images = []
    for score, sample, row, col, *_ in rows[~rows[:, 1].isnan()].tolist():
        x, y = observed.field.centers_px(torch.tensor([row, col])).tolist()
        path = str(dataset.samples[int(sample)].image_path)
        images.append(TopImage(path, int(sample), score, (x, y), (int(row), int(col))))
    return images


def _share(count: Tensor, total: Tensor) -> float:
    return count.item() / total.item() if total.item() else math.nan
