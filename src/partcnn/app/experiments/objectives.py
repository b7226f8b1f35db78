"""Objectives side by side: the same trunk, pictures, splits and seeds for every method, and the ceiling beside them.

A method is a set of changes to the settings of `partcnn train`; two have names of their own: "classifier", the
trunk untouched under a new linear classifier, and "ceiling", a detector trained with the labels of the parts.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from partcnn.app.experiments.detector import mean_cells, train_detector
from partcnn.app.experiments.filter_figures import filter_figures
from partcnn.app.experiments.linear_classifier import train_linear_classifier
from partcnn.app.experiments.trunk_maps import MeasuredPictures, RememberingTrunk, TaskMaps, task_maps
from partcnn.app.runs import NetworkSettings, RunSettings, built_network, recipe_of
from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation.figures import LayerFigures, mean
from partcnn.evaluation.observation.layers import observed_maps
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.errors import ConfigError
from partcnn.foundation.files import write_text
from partcnn.model.mask import part_masks, top_mask
from partcnn.model.network import PartNetwork, conversion_of, layer_field
from partcnn.networks.probing.probe import evaluation_mode
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.objectives.part_places import PLACES, part_places
from partcnn.training.fitting import fit
from partcnn.training.recipe import Recipe
from partcnn.training.threads import fitting_threads

_log = logging.getLogger("partcnn")

CEILING, CLASSIFIER = "ceiling", "classifier"
SEVERAL = "all"  # a row's category where all are told apart
_KEY = ("data", "backbone", "layers", "category", "method", "seed")


@dataclass(frozen=True)
class ObjectivesConfig:
    """What is compared with what.

    Args:
        methods: name → changes to `RunSettings`, such as {"objective": "exact", "recipe": {"epochs": 5}}. The
            names "ceiling" and "classifier" take none.
        backbone, weights, layers: of the trunk, as in `partcnn train`.
        categories: each against background; "all" for every category of the data set. None: all told apart.
        seeds: of weights, order, choice of views and dropout.
        input_size: side of the square input in pixels; None takes what `partcnn train` takes.
        num_views: of every picture, made once for all methods; None takes the recipe's.
        part: the part whose R² heads the table.
        chosen_on: full names of categories on which settings were chosen; the table tells them from those that confirm.
        crop, margin: of the pictures, as in `partcnn.load_dataset`.
    """

    methods: Mapping[str, Mapping[str, Any]]
    backbone: str = "resnet18"
    weights: str | None = None
    layers: str = "auto"
    categories: Sequence[str] | None = ("all",)
    seeds: Sequence[int] = (0, 1, 2)
    input_size: int | None = None
    num_views: int | None = None
    part: str = "head"
    chosen_on: Sequence[str] = ()
    crop: str | None = None
    margin: float = 0.1

    @classmethod
    def read(cls, file: Path, *, only: Sequence[str] | None = None, **changes: Any) -> "ObjectivesConfig":
        """From a YAML file, with changes of those that are not None.

        Args:
            file: holds values of this class by name.
            only: keep these methods alone.
            changes: values in place of the file's.

        Raises:
            ConfigError: the file is missing or holds something else; or it has not all of the methods wanted.
        """
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            config = cls(**content)
        except (OSError, yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
            raise ConfigError(f"config: expected a YAML file of {cls.__name__}, got {file} ({error})") from error
        config = replace(config, **{name: value for name, value in changes.items() if value is not None})
        unknown = set(only or ()) - config.methods.keys()
        if unknown:
            raise ConfigError(f"methods: expected of {', '.join(config.methods)}, got {', '.join(sorted(unknown))}")
        if only:
            config = replace(config, methods={name: config.methods[name] for name in only})
        for name, method in config.methods.items():
            if name in (CEILING, CLASSIFIER) and method:
                raise ConfigError(f"methods: {name} takes no settings, got {dict(method)}")
            if name not in (CEILING, CLASSIFIER):
                method_settings(config, name, data="", category=None, seed=0)
        return config


def method_settings(
    config: ObjectivesConfig, method: str, *, data: str, category: str | None, seed: int
) -> RunSettings:
    """The settings with which `partcnn train` trains this method's network.

    Raises:
        ConfigError: a change is unknown or outside what it may be.
    """
    changes = dict(config.methods[method])
    try:
        nested: dict[str, Any] = {
            "network": NetworkSettings(input_size=config.input_size, **changes.pop("network", {})),
            "recipe": Recipe(**changes.pop("recipe", {})),
        }
        return RunSettings(
            data=data,
            out="",
            category=category,
            backbone=config.backbone,
            weights=config.weights,
            layers=config.layers,
            seed=seed,
            crop=config.crop,
            margin=config.margin,
            **nested,
            **changes,
        )
    except TypeError as error:
        raise ConfigError(f"methods: {method}: {error}") from error


def run_benchmark(
    config: ObjectivesConfig, data: str, file: Path, *, cache: FeatureCache | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Train and measure all that `file` does not hold yet; after every network the rows so far.

    Args:
        config: what to compare.
        data: KIND:PLACE.
        file: JSON, written after every network; several processes may work on categories of their own in one file.
        cache: where the trunk's maps are kept for later runs. None keeps none.

    Yields:
        All rows of the file: `category`, `method`, `seed`, `accuracy`, `seconds`, the `filter_figures` of places read
        as peaks, and under "expected" those of places read so (`partcnn.objectives.part_places`).
    """
    memory: dict[str, RememberingTrunk] = {}
    for category in _categories(config, data):
        train = load_dataset(data, category=category, crop=config.crop, margin=config.margin)
        label: dict[str, Any] = {
            "data": data.partition(":")[0],
            "backbone": config.backbone,
            "layers": config.layers,
            "category": train.category or SEVERAL,
        }
        wanted = [label | {"method": method, "seed": seed} for seed in config.seeds for method in config.methods]
        task: Task | None = None
        for row in wanted:
            if _key(row) in {_key(one) for one in read_rows(file)}:
                continue
            task = task or Task.of(config, data, category, train, memory, cache)
            began = time.monotonic()
            with fitting_threads(torch.device("cpu")):  # a detector's loop too is one of small operations
                figures = task.measured(row["method"], row["seed"])
            figures |= {"seconds": round(time.monotonic() - began, 1)}
            rows = [*read_rows(file), row | {name: _or_none(value) for name, value in figures.items()}]
            write_text(file, json.dumps({"rows": rows}, indent=1) + "\n")
            _log.info("%s, %s, seed %d: %.0f s", row["category"], row["method"], row["seed"], rows[-1]["seconds"])
            yield rows


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file that `run_benchmark` wrote; none where it is missing.

    Raises:
        ConfigError: the file holds something else.
    """
    if not file.is_file():
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["rows"]
        for row in rows:
            _key(row)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"out: expected the JSON of an earlier benchmark, got {file} ({error!r})") from error
    return rows


@dataclass(frozen=True)
class Task:
    """One category against background, or all categories: its pictures' maps, and the methods trained on them."""

    config: ObjectivesConfig
    data: str
    category: str | None
    dataset: PartDataset  # the training split
    maps: TaskMaps
    field: ReceptiveField  # of the trunk's cells, which all layers above share

    @classmethod
    def of(
        cls,
        config: ObjectivesConfig,
        data: str,
        category: str | None,
        train: PartDataset,
        memory: dict[str, RememberingTrunk],
        cache: FeatureCache | None,
    ) -> "Task":
        """Runs the trunk, whose maps are remembered for the tasks that follow."""
        network = NetworkSettings(input_size=config.input_size)
        settings = RunSettings(data, "", category, config.backbone, config.weights, config.layers, network=network)
        recipe = Recipe() if config.num_views is None else Recipe(num_views=config.num_views)
        model, _ = built_network(settings, train, recipe)
        if not isinstance(model, PartNetwork):
            raise ConfigError("methods: expected head='additive', whose frozen trunk all methods share")
        preprocessing = conversion_of(model).preprocessing
        layer = layer_field(model, next(part_masks(model))[0])
        model.trunk = memory.setdefault(config.backbone, RememberingTrunk(model.trunk))
        maps = task_maps(model, preprocessing, train, train.with_split("test"), recipe, cache)
        return cls(config, data, category, train, maps, layer)

    def measured(self, method: str, seed: int) -> dict[str, Any]:
        """Train by one method, and its figures on the pictures kept out."""
        if method == CEILING:
            return self._ceiling(seed)
        if method == CLASSIFIER:
            return self._classifier()
        settings = method_settings(self.config, method, data=self.data, category=self.category, seed=seed)
        recipe = recipe_of(settings)
        model, _ = built_network(settings, self.dataset, recipe)
        assert isinstance(model, PartNetwork)
        if self.maps.projection:
            model.projection.load_state_dict(self.maps.projection)
        fit(model, self.dataset, recipe, seed=seed, features=self.maps.views, is_progress_shown=False)
        _, mask = top_mask(model)

        def measured(pictures: MeasuredPictures) -> tuple[Tensor, Tensor]:
            logits, maps = [], []
            with evaluation_mode(model), torch.no_grad():
                for batch in pictures.maps.split(64):
                    logits.append(model.forward_from_features(self.maps.projected(batch)))
                    assert mask.feature_maps is not None
                    maps.append(mask.feature_maps)
            return torch.cat(maps), torch.cat(logits)

        train, _ = measured(self.maps.train)
        test, logits = measured(self.maps.test)
        figures = self._figures(train, test, mask.filter_category, mask.peak_scores)
        return figures | {"accuracy": _accuracy(logits, self.maps.test.labels)}

    def _ceiling(self, seed: int) -> dict[str, Any]:
        """A detector per category and part, each a "filter" that is measured on its own part alone."""
        views, (height, width) = self.maps.views, self.field.input_size
        found: dict[str, list[dict[str, Any]]] = {places: [] for places in PLACES}
        owners = [label for label in range(len(self.dataset.classes)) if label != self.dataset.background]
        for label in owners:
            for index, part in enumerate(self.dataset.parts):
                landmarks = self.maps.train.landmarks[:, index] / torch.tensor([width, height])
                landmarks = landmarks.masked_fill((self.maps.train.labels != label)[:, None], torch.nan)
                if len(landmarks) == int(landmarks.isnan().any(dim=1).sum()):
                    continue
                detector = train_detector(
                    views.maps[:], views.frames, landmarks.to(views.frames), self.field, seed=seed
                )
                for places, figures in self._detected(detector, label, index).items():
                    if part in figures["r2"]:
                        found[places].append(figures)
        peak, expected = (self._detectors(found[places]) for places in PLACES)
        return peak | {"expected": expected}

    def _detectors(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Of all detectors, of one part each."""
        values = {part: [one["r2"][part] for one in found if part in one["r2"]] for part in self.dataset.parts}
        by_part = {part: mean(r2) for part, r2 in values.items() if r2}
        instability = mean(one["location_instability"] for one in found)
        return {"r2": by_part, "best_r2": by_part, "location_instability": instability}

    def _detected(self, detector: nn.Module, label: int, index: int) -> dict[str, dict[str, Any]]:
        """The figures by how a place is read: the cell of most log-odds, or the mean cell under their softmax."""
        pictures = self.maps.test
        with torch.no_grad():
            scores = torch.cat([detector(self.maps.projected(batch)) for batch in pictures.maps.split(64)])
        maps = scores - scores.amax(dim=(2, 3)).min() + 1  # log-odds: none means "silent"
        cells = {"peak": part_places(scores, "peak"), "expected": mean_cells(scores).round()}  # as a filter's
        own = replace(pictures, landmarks=pictures.landmarks[:, index : index + 1])
        found = {
            places: self._layer(maps, cells[places], _peaks(maps), own, torch.tensor([label])) for places in PLACES
        }
        part = [self.dataset.parts[index]]
        return {name: filter_figures(one, one, part, own.landmarks, own.labels) for name, one in found.items()}

    def _classifier(self) -> dict[str, Any]:
        """The trunk's own channels as filters, and a linear classifier on their means over the map.

        A channel belongs to the category on whose training pictures it fires most.
        """
        train, test = self.maps.train, self.maps.test
        pooled, pooled_test = train.maps.mean(dim=(2, 3)), test.maps.mean(dim=(2, 3))
        linear = train_linear_classifier(pooled, train.labels, len(self.dataset.classes))
        activation = torch.stack([pooled[train.labels == label].mean(dim=0) for label in range(linear.out_features)])
        if self.dataset.background is not None:
            activation[self.dataset.background] = -torch.inf
        figures = self._figures(train.maps, test.maps, activation.argmax(dim=0), _peaks)
        with torch.no_grad():
            logits = linear(pooled_test.double())
        return figures | {"accuracy": _accuracy(logits, test.labels)}

    def _figures(
        self, train: Tensor, test: Tensor, filter_category: Tensor, scores_of: Callable[[Tensor], Tensor]
    ) -> dict[str, Any]:
        """Of the maps [image, filter, row, col] of both splits: of their peaks, and of their expected places."""

        def read(places: str) -> dict[str, Any]:
            own, kept_out = (
                self._layer(maps, part_places(maps, places), scores_of(maps), pictures, filter_category)
                for maps, pictures in ((train, self.maps.train), (test, self.maps.test))
            )
            pictures = self.maps.test
            return filter_figures(own, kept_out, list(self.dataset.parts), pictures.landmarks, pictures.labels)

        return read("peak") | {"expected": read("expected")}

    def _layer(
        self, maps: Tensor, cells: Tensor, scores: Tensor, pictures: MeasuredPictures, filter_category: Tensor
    ) -> LayerFigures:
        """The evaluation's figures of these maps, each filter at its cell [image, filter, 2], with its score there."""
        num_classes, background = len(self.dataset.classes), self.dataset.background
        observed = observed_maps(
            maps,
            cells,
            scores,
            pictures.labels,
            pictures.landmarks,
            self.field,
            num_classes=num_classes,
            background=background,
        )
        num_parts = pictures.landmarks.shape[1]
        return LayerFigures(observed, filter_category, math.hypot(*self.field.input_size), num_parts)


def _peaks(maps: Tensor) -> Tensor:  # [image, filter, row, col] → [image, filter]
    return maps.amax(dim=(2, 3))


def _categories(config: ObjectivesConfig, data: str) -> list[str | None]:
    if config.categories is None:
        return [None]
    if "all" in config.categories:
        return list(load_dataset(data, split="all", crop=config.crop, margin=config.margin).classes)
    return list(config.categories)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(dim=1) == labels).double().mean().item()


def _or_none(value: Any) -> Any:
    """nan is not JSON."""
    if isinstance(value, dict):
        return {name: _or_none(one) for name, one in value.items()}
    return None if value != value else value
