"""What the filters of one part layer did: sums by class, and the pictures on which each fires most."""

from collections.abc import Callable

import torch
from torch import Tensor

from partcnn.evaluation.observation.strongest import NUM_TOP_IMAGES, ClassTables, joined_tables
from partcnn.metrics.functional.strongest import PEAK
from partcnn.model.mask import PartMask
from partcnn.networks.probing.receptive_field import ReceptiveField

ALL = -1  # in place of a class: all of them but the background, which filters serve that are shared


def known_categories(mask: PartMask) -> Tensor | None:
    """[filter]: the category each filter serves, or `ALL` where several classes share all filters; None where training
    set none."""
    if mask.serves_all:
        return torch.full((mask.num_filters,), ALL)
    if mask.assignment == "even" or bool((mask.class_activation > 0).any()):
        return mask.filter_category.cpu()
    return None


class LayerObservation:
    """Grows by nothing but the tables of the strongest pictures of each class.

    Args:
        layer: dotted name of its mask.
        field: of its cells.
        num_filters, num_classes, num_parts: of what is added.
        background: the class that owns no filter; its pictures enter the sums alone.
        top: images per filter and part.

    Attributes:
        activation_sum: [filter, class] of the maps' sums.
        num_silent: [filter, class] pictures on which the filter is silent.
        num_images: [class].
    """

    def __init__(
        self,
        layer: str,
        field: ReceptiveField,
        *,
        num_filters: int,
        num_classes: int,
        num_parts: int,
        background: int | None,
        top: int,
    ) -> None:
        self.layer, self.field, self.num_filters = layer, field, num_filters
        self.activation_sum = torch.zeros(num_filters, num_classes, dtype=torch.float64)
        self.num_silent = torch.zeros(num_filters, num_classes, dtype=torch.int64)
        self.num_images = torch.zeros(num_classes, dtype=torch.int64)
        self._tables: dict[int, ClassTables] = {}
        self.background, self._num_parts, self._top = background, num_parts, top

    def add(
        self,
        cells: Tensor,  # [image, filter, 2] (row, col)
        scores: Tensor,  # [image, filter], see `PartMask.peak_scores`
        sums: Tensor,  # [image, filter] of the map
        labels: Tensor,  # [image]
        landmarks: Tensor,  # [image, part, 2] (x, y) in pixels of the input
        index: Tensor,  # [image] of the picture in the data set
    ) -> None:
        """One batch, on the CPU."""
        is_class = torch.nn.functional.one_hot(labels, len(self.num_images))
        self.activation_sum += sums.double().T @ is_class.double()
        self.num_silent += (scores <= 0).long().T @ is_class
        self.num_images += is_class.sum(dim=0)
        for label in labels.unique().tolist():
            if label == self.background:
                continue
            tables = self._tables.setdefault(label, ClassTables(self.num_filters, self._num_parts, self._top))
            own = labels == label
            tables.add(cells[own].short(), scores[own], landmarks[own], index[own])

    @property
    def labels(self) -> list[int]:
        """The classes, but the background, that have pictures."""
        return sorted(self._tables)

    @property
    def class_activation(self) -> Tensor:
        """[filter, class]: mean over the class's pictures of the summed activation."""
        return self.activation_sum / self.num_images.clamp(min=1)

    def classes_of(self, category: int) -> list[int]:
        """The class itself, or, of `ALL`, those that have pictures."""
        return self.labels if category == ALL else [category]

    def serving(self, categories: Tensor) -> Tensor:
        """[filter], each a class or `ALL` → [filter, class] bool: whose pictures each filter is measured on."""
        classes = torch.arange(len(self.num_images))
        is_object = classes != (-1 if self.background is None else self.background)
        return torch.where((categories == ALL)[:, None], is_object, categories[:, None] == classes)

    def is_dead(self, categories: Tensor) -> Tensor:
        """[filter] bool: silent on more than half of the pictures of its category."""
        serves = self.serving(categories).long()
        return (self.num_silent * serves).sum(dim=1) * 2 > serves @ self.num_images

    def by_part(self, category: int, filters: Tensor | None = None) -> Tensor:
        """Table [filter, part, rank, 6] of a class's pictures, or of `ALL`, of some filters or all; peaks in pixels of
        the input."""
        table = self._joined(category, lambda tables: tables.by_part(filters), self._top).clone()
        table[..., PEAK] = self.field.centers_px(table[..., PEAK])
        return table

    def of_all(self, category: int) -> Tensor:
        """Table [filter, rank, 6] of the strongest pictures of a class, or of `ALL`, peaks as cells."""
        return self._joined(category, lambda tables: tables.of_all()[:, None], NUM_TOP_IMAGES)[:, 0]

    def _joined(self, category: int, table_of: Callable[[ClassTables], Tensor], top: int) -> Tensor:
        own = [self._tables[label] for label in self.classes_of(category) if label in self._tables]
        tables = [table_of(one) for one in own or [ClassTables(self.num_filters, self._num_parts, self._top)]]
        return tables[0] if len(tables) == 1 else joined_tables(tables, top)


def observed_maps(
    maps: Tensor,  # [image, filter, row, col] after the ReLU and before the mask
    cells: Tensor,  # [image, filter, 2] (row, col)
    scores: Tensor,  # [image, filter]
    labels: Tensor,  # [image]
    landmarks: Tensor,  # [image, part, 2] (x, y) in pixels of the input
    field: ReceptiveField,
    *,
    num_classes: int,
    background: int | None = None,
    top: int = 100,
) -> LayerObservation:
    """What a pass over the pictures finds of a layer, where its maps of all pictures are at hand.

    Args:
        maps, cells, scores, labels, landmarks: of all pictures; see `LayerObservation.add`.
        field, num_classes, background, top: see `LayerObservation`.
    """
    num_filters, num_parts = maps.shape[1], landmarks.shape[1]
    sizes = {"num_filters": num_filters, "num_classes": num_classes, "num_parts": num_parts}
    observed = LayerObservation("", field, **sizes, background=background, top=top)
    observed.add(cells, scores.float(), activation_sums(maps, scores), labels, landmarks, torch.arange(len(maps)))
    return observed


def activation_sums(maps: Tensor, scores: Tensor) -> Tensor:  # [image, filter], on the CPU
    """Of each map [image, filter, row, col]; 0 where its filter is silent, by its score [image, filter]."""
    return maps.sum(dim=(2, 3)).float().cpu().where(scores > 0, 0)
