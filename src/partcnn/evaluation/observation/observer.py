"""One pass of a network over a data set."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from partcnn.datasets import PartDataset
from partcnn.evaluation.observation.answers import Answers
from partcnn.evaluation.observation.contributions import ContributionSums
from partcnn.evaluation.observation.groups import PictureGroups
from partcnn.evaluation.observation.layers import LayerObservation, activation_sums, known_categories
from partcnn.evaluation.observation.noise import NoiseObservation
from partcnn.evaluation.observation.parts import PartObservation
from partcnn.evaluation.observation.pictures import SHAPE_KINDS, ObservedPictures
from partcnn.evaluation.observation.protocol import Protocol
from partcnn.evaluation.observation.records import PictureRecords
from partcnn.evaluation.observation.together import TogetherObservation
from partcnn.evaluation.observation.two_views import TwoViewsObservation
from partcnn.metrics.functional.quantile import activation_bins
from partcnn.model.class_names import with_classes_of
from partcnn.model.mask import PartMask, part_masks
from partcnn.model.network import (
    PartNetwork,
    PictureFeatures,
    SecondFeatures,
    conversion_of,
    layer_field,
    recorded_feature_maps,
    unwrapped,
)
from partcnn.model.second_views import NoisyPictures, SecondLooks, SecondViews
from partcnn.networks.probing.probe import evaluation_mode
from partcnn.objectives.part_places import exact_places


@dataclass(frozen=True)
class Observation:
    """A network over a data set. Nothing in it grows with the number of pictures but `records`, up to its limit, and
    what filters do `together`, by 10 bytes a filter."""

    layers: list[LayerObservation]  # the top part layer last
    parts: PartObservation | None  # of the top layer; None where no part is annotated
    together: TogetherObservation  # of the top layer
    views: TwoViewsObservation | None  # of the top layer; None where no second view was asked for
    noise: NoiseObservation | None  # of the top layer; None as `views`, and where no part is annotated
    records: PictureRecords  # what the bootstrap looks at
    answers: Answers
    contributions: ContributionSums | None  # of the top layer; None: no additive head
    num_shapes: dict[str, int]  # part annotations by kind
    input_size: tuple[int, int]
    protocol: Protocol

    @property
    def top(self) -> LayerObservation:
        return self.layers[-1]

    @property
    def num_images(self) -> int:
        return self.answers.num_pictures


def observe(
    model: nn.Module,
    dataset: PartDataset,
    *,
    protocol: Protocol | None = None,
    batch_size: int = 32,
    num_workers: int = 0,
    features: PictureFeatures | None = None,
    has_second_views: bool = True,
) -> Observation:
    """One pass over the pictures in evaluation mode, each decoded once; the model is left in the mode it was in.

    Then at most 64 of the objects' pictures are looked at once more, each in a random view, the same at each call:
    a crop, its sides at least 0.7 of the picture's, flipped half of the time. And where parts are annotated, at most 64
    of the pictures that show one pass the network once more with noise, also the same at each call.

    Args:
        model: made by `partcnn.convert`.
        dataset: the pictures; its classes are the model's by their names.
        protocol: numbers of the measures.
        batch_size, num_workers: of the pass.
        features: of these pictures, for a `PartNetwork`: no picture is decoded and the trunk does not run. Where they
            lack those of the second views or of the noisy pictures, these are looked at all the same.
        has_second_views: whether they, and the noisy pictures, are looked at.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        DataError: the data set has other classes than the model.
    """
    record = conversion_of(model)
    dataset = with_classes_of(model, dataset)
    protocol = protocol or Protocol()
    seconds = SecondViews(dataset, record.preprocessing) if has_second_views else None
    noisy = NoisyPictures(dataset, record.preprocessing) if has_second_views and dataset.parts else None
    observer = _Observer(model, dataset, protocol, seconds, noisy)
    pictures = ObservedPictures(
        dataset,
        record.preprocessing.transform(),
        grid=protocol.grid(record.preprocessing.input_size),
        input_size=record.preprocessing.input_size,
        point_radius_px=protocol.radius(observer.layers[-1].field.stride_px),
        sizes=None if features is None else features.sizes,
    )
    loader = DataLoader(pictures, batch_size=batch_size, num_workers=num_workers if features is None else 0)
    disturbed: list[tuple[Tensor, Tensor]] = []  # inputs with noise, and of which pictures
    with evaluation_mode(model), torch.inference_mode(), recorded_feature_maps(model) as maps:
        device = next(model.parameters()).device
        for batch in loader:
            if features is None:
                logits, below = _passed(model, batch.example.image.to(device))
            else:
                below = features.maps[batch.example.sample_index].to(device)
                logits = unwrapped(model).forward_from_features(below)  # type: ignore[operator]
            observer.add(logits.cpu(), {name: maps[name] for name in maps}, batch, below)
            if noisy is not None and features is None:  # the pictures are at hand: none is decoded again
                disturbed.append(noisy.of(batch.example.image, batch.example.sample_index))
        known = None if features is None else features.second
        for frames in _second_passes(model, seconds, known, batch_size, num_workers):
            observer.add_second(dict(maps), frames)
        if disturbed:  # few in each batch: together they pass the network faster
            inputs, index = (torch.cat(rows) for rows in zip(*disturbed, strict=True))
            for some, numbers in zip(inputs.split(batch_size), index.split(batch_size), strict=True):
                model(some.to(device))
                observer.add_noisy(dict(maps), numbers)
        if noisy is not None and features is not None:
            first = 0
            for frames in _second_passes(model, noisy, features.noisy, batch_size, num_workers):
                observer.add_noisy(dict(maps), torch.tensor(noisy.index[first : first + len(frames)]))
                first += len(frames)
    return observer.observation()


def _passed(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """The logits, and the maps below the part layers, where the network tells them apart."""
    network = unwrapped(model)
    if not isinstance(network, PartNetwork):
        return model(images), None
    below = network.features(images)
    return network.forward_from_features(below), below


def _second_passes(
    model: nn.Module, looks: SecondLooks | None, known: SecondFeatures | None, batch_size: int, num_workers: int
) -> Iterator[Tensor]:
    """The model runs over the second looks, batch by batch, or over the maps that are known of them; yields frames."""
    device = next(model.parameters()).device
    if looks is None or not len(looks):
        return
    if known is not None:
        for below, frames in zip(known.maps.split(batch_size), known.frames.split(batch_size), strict=True):
            unwrapped(model).forward_from_features(below.to(device))  # type: ignore[operator]
            yield frames
    else:
        for inputs, frames in DataLoader(looks, batch_size=batch_size, num_workers=num_workers):
            model(inputs.to(device))
            yield frames


class _Observer:
    """What `observe` keeps between batches."""

    def __init__(
        self,
        model: nn.Module,
        dataset: PartDataset,
        protocol: Protocol,
        seconds: SecondViews | None,
        noisy: NoisyPictures | None,
    ) -> None:
        self.input_size = conversion_of(model).preprocessing.input_size
        num_classes, num_parts = len(dataset.classes), len(dataset.parts)
        masks = dict(part_masks(model))
        top_mask = list(masks.values())[-1]
        self.groups = groups = PictureGroups(num_classes, top_mask.background, dataset.is_multilabel)
        self.masks: list[PartMask] = list(masks.values())
        self.layers = [
            LayerObservation(
                name,
                layer_field(model, name),
                num_filters=mask.num_filters,
                groups=groups,
                num_parts=num_parts,
                top=protocol.top,
            )
            for name, mask in masks.items()
        ]
        self.protocol = replace(protocol, places=protocol.places or top_mask.places)
        network = unwrapped(model)
        self.network = network if isinstance(network, PartNetwork) else None
        self.parts = None
        if num_parts:
            self.parts = PartObservation(
                self.layers[-1].field,
                num_filters=top_mask.num_filters,
                num_groups=len(groups),
                num_parts=num_parts,
                protocol=protocol,
            )
        self.together = TogetherObservation(top_mask, self.layers[-1].field, background=groups.background)
        self.views = None if seconds is None else TwoViewsObservation(self.layers[-1].field, seconds.index)
        self.noise = None if noisy is None else NoiseObservation(self.layers[-1].field, noisy.index)
        self.records = PictureRecords(len(dataset), num_parts, most=protocol.most_recorded)
        self.answers = Answers(groups)
        known = known_categories(top_mask)
        serves = None if known is None else self.layers[-1].serving(known)
        self.contributions = None
        if self.network:
            self.contributions = ContributionSums(serves, top_mask.num_filters, num_classes, len(groups))
        self.num_shapes = torch.zeros(len(SHAPE_KINDS), dtype=torch.int64)

    def add(self, logits: Tensor, maps: dict[str, Tensor], batch: Any, below: Tensor | None) -> None:
        """One batch of `ObservedPicture`, stacked; `below`: the maps below the part layers."""
        is_right = self.answers.add(logits, batch.example.label)
        self.num_shapes += batch.num_shapes.sum(dim=0)
        rows, groups = self.groups.rows(batch.example.label)  # a picture stands in each of its groups
        labels, index = self.groups.marks(batch.example.label), batch.example.sample_index
        landmarks = batch.example.landmarks
        of_rows = (groups, landmarks[rows], index[rows])
        for layer, mask in zip(self.layers, self.masks, strict=True):
            found = maps[layer.layer]
            places = self._places(found, mask)
            cells, scores = places.round().long(), mask.peak_scores(found).float().cpu()
            sums = activation_sums(found, scores)
            layer.add(cells[rows], scores[rows], sums[rows], *of_rows)
        masked = mask.masked(found)  # of the top layer, the last
        self.together.add_maps(masked)
        boxes = batch.example.object_box
        self.together.add(found[rows], places[rows], scores[rows], groups, landmarks[rows], boxes[rows])
        if self.views is not None:
            self.views.add_whole(index, labels, found, places, below)
        if self.noise is not None:
            self.noise.add_whole(index, places, scores, labels, landmarks)
        if self.network is not None and self.contributions is not None:
            self.contributions.add(self.network.contributions(masked)[rows], groups)
        self.records.add(index[rows], groups, is_right if is_right.ndim == 1 else is_right.all(dim=1)[rows], sums[rows])
        if self.parts is not None:
            bins = activation_bins(masked).cpu()
            self.parts.add_to_thresholds(bins)
            regions = batch.regions[rows]
            shown = regions.flatten(2).any(dim=2)
            is_annotated, hits = self.parts.add(bins[rows], cells[rows], scores[rows], regions, *of_rows)
            self.records.add_hits(index[rows][is_annotated], shown[is_annotated], hits)

    def add_second(self, maps: dict[str, Tensor], frames: Tensor) -> None:
        """One batch of second views."""
        assert self.views is not None
        found = maps[self.layers[-1].layer]
        self.views.add_second(found, self._places(found, self.masks[-1]), frames)

    def add_noisy(self, maps: dict[str, Tensor], index: Tensor) -> None:
        """One batch of pictures with noise: `index` [image] of them in the data set."""
        assert self.noise is not None
        found, mask = maps[self.layers[-1].layer], self.masks[-1]
        self.noise.add_noisy(index, self._places(found, mask), mask.peak_scores(found).float().cpu())

    def _places(self, maps: Tensor, mask: PartMask) -> Tensor:  # [image, filter, 2] (row, col), in fractions of cells
        return exact_places(maps, self.protocol.places or mask.places, beta=mask.template_slope).cpu()

    def observation(self) -> Observation:
        return Observation(
            self.layers,
            self.parts,
            self.together,
            self.views,
            self.noise,
            self.records,
            self.answers,
            self.contributions,
            dict(zip(SHAPE_KINDS, self.num_shapes.tolist(), strict=True)),
            self.input_size,
            self.protocol,
        )
