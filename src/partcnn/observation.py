"""Run a network over pictures and keep, of every map, where it peaks and how strongly: what measurements need."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from partcnn.conversion import PartNetwork, conversion_of, evaluation_mode, recorded_feature_maps
from partcnn.datasets import PartDataset
from partcnn.errors import DataError
from partcnn.layers import part_masks
from partcnn.receptive_field import ReceptiveField, receptive_field
from partcnn.templates import map_peaks


@dataclass(frozen=True)
class LayerObservation:
    """What the filters of one part layer did on N pictures."""

    layer: str
    peak_cells: Tensor  # [image, filter, 2] (row, col)
    peaks_px: Tensor  # [image, filter, 2] (x, y) in continuous pixels of the input
    scores: Tensor  # [image, filter] activation at the peak, before the mask
    class_activation: Tensor  # [filter, class] mean over the class's pictures of the summed activation


@dataclass(frozen=True)
class Observation:
    """A network over a data set; images in the order of `dataset.samples`."""

    layers: list[LayerObservation]  # the top part layer last
    labels: Tensor  # [image]
    predictions: Tensor  # [image] class of the largest logit
    landmarks: Tensor  # [image, part, 2] (x, y) in continuous pixels of the input, nan where absent
    contributions: Tensor | None  # [label, class, filter] mean contribution of the top layer; None: no additive head
    input_size: tuple[int, int]

    @property
    def top(self) -> LayerObservation:
        return self.layers[-1]


def observe(model: nn.Module, dataset: PartDataset, *, batch_size: int = 32, num_workers: int = 0) -> Observation:
    """One pass over the pictures in evaluation mode; the model is left in the mode it was in.

    Memory grows by a few numbers per picture and filter, not with the pictures.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        DataError: the data set has other classes than the model.
    """
    record = conversion_of(model)
    num_classes = record.arguments["num_classes"]
    if len(dataset.classes) != num_classes:
        raise DataError(f"dataset: expected {num_classes} classes as the model has, got {', '.join(dataset.classes)}")
    preprocessing = record.preprocessing
    pictures = DataLoader(
        dataset.with_transform(preprocessing.transform()), batch_size=batch_size, num_workers=num_workers
    )
    names = [name for name, _ in part_masks(model)]
    gathered = _Gathered(names, num_classes)
    with evaluation_mode(model), torch.inference_mode(), recorded_feature_maps(model) as maps:
        device = next(model.parameters()).device
        for example in pictures:
            logits = model(example.image.to(device))
            gathered.add(logits, maps, example, _contributions(model, maps[names[-1]]))
        fields = {name: receptive_field(model, name, preprocessing.input_size) for name in names}
    return gathered.observation(fields, preprocessing.input_size)


class _Gathered:
    """What `observe` keeps between batches."""

    def __init__(self, names: list[str], num_classes: int) -> None:
        self.num_classes = num_classes
        self.cells: dict[str, list[Tensor]] = {name: [] for name in names}
        self.scores: dict[str, list[Tensor]] = {name: [] for name in names}
        self.activation: dict[str, Tensor] = {}
        self.contributions: Tensor | None = None
        self.labels: list[Tensor] = []
        self.predictions: list[Tensor] = []
        self.landmarks: list[Tensor] = []

    def add(self, logits: Tensor, maps, example, contributions: Tensor | None) -> None:  # type: ignore[no-untyped-def]
        labels = example.label
        is_class = torch.nn.functional.one_hot(labels, self.num_classes).double()
        for name in self.cells:
            found = maps[name]
            self.cells[name].append(map_peaks(found).cpu())
            self.scores[name].append(found.amax(dim=(2, 3)).float().cpu())
            activation = found.sum(dim=(2, 3)).double().cpu().T @ is_class  # [filter, class]
            self.activation[name] = self.activation.get(name, 0) + activation
        if contributions is not None:
            total = torch.einsum("icf,il->lcf", contributions.double().cpu(), is_class)
            self.contributions = total if self.contributions is None else self.contributions + total
        self.labels.append(labels)
        self.predictions.append(logits.argmax(dim=1).cpu())
        self.landmarks.append(example.landmarks)

    def observation(self, fields: dict[str, ReceptiveField], input_size: tuple[int, int]) -> Observation:
        labels = torch.cat(self.labels)
        counts = torch.bincount(labels, minlength=self.num_classes).clamp(min=1)
        layers = []
        for name, field in fields.items():
            cells = torch.cat(self.cells[name])
            scores = torch.cat(self.scores[name])
            layers.append(
                LayerObservation(name, cells, field.centers_px(cells), scores, self.activation[name] / counts)
            )
        contributions = None if self.contributions is None else self.contributions / counts[:, None, None]
        return Observation(
            layers, labels, torch.cat(self.predictions), torch.cat(self.landmarks), contributions, input_size
        )


def _contributions(model: nn.Module, top_maps: Tensor) -> Tensor | None:
    if not isinstance(model, PartNetwork):
        return None
    _, mask = list(part_masks(model))[-1]
    return model.head.contributions(mask.masked(top_maps))
