"""What the filters of one part layer did: sums by class, and the pictures on which each fires most."""

from collections.abc import Callable

import torch
from torch import Tensor

from partcnn.evaluation.observation.groups import PictureGroups, in_groups
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
        num_filters, num_parts: of what is added.
        groups: of the pictures; the background's enter the sums alone.
        top: images per filter and part.

    Attributes:
        activation_sum: [filter, group] of the maps' sums.
        num_silent: [filter, group] pictures on which the filter is silent.
        num_images: [group].
    """

    def __init__(
        self,
        layer: str,
        field: ReceptiveField,
        *,
        num_filters: int,
        groups: PictureGroups,
        num_parts: int,
        top: int,
    ) -> None:
        self.layer, self.field, self.num_filters, self.groups = layer, field, num_filters, groups
        self.activation_sum = torch.zeros(num_filters, len(groups), dtype=torch.float64)
        self.num_silent = torch.zeros(num_filters, len(groups), dtype=torch.int64)
        self.num_images = torch.zeros(len(groups), dtype=torch.int64)
        self._tables: dict[int, ClassTables] = {}
        self._num_parts, self._top = num_parts, top

    def add(
        self,
        cells: Tensor,  # [image, filter, 2] (row, col)
        scores: Tensor,  # [image, filter], see `PartMask.peak_scores`
        sums: Tensor,  # [image, filter] of the map
        labels: Tensor,  # [image], a group of each
        landmarks: Tensor,  # [image, part, 2] (x, y) in pixels of the input
        index: Tensor,  # [image] of the picture in the data set
    ) -> None:
        """One batch, on the CPU."""
        is_class = torch.nn.functional.one_hot(labels, len(self.num_images))
        self.activation_sum += sums.double().T @ is_class.double()
        self.num_silent += (scores <= 0).long().T @ is_class
        self.num_images += is_class.sum(dim=0)
        for label in labels.unique().tolist():
            if label == self.groups.background:
                continue
            tables = self._tables.setdefault(label, ClassTables(self.num_filters, self._num_parts, self._top))
            own = labels == label
            tables.add(cells[own].short(), scores[own], landmarks[own], index[own])

    @property
    def labels(self) -> list[int]:
        """The classes, but the background, that have pictures."""
        return sorted(label for label in self._tables if label < self.groups.num_classes)

    @property
    def has_background(self) -> bool:
        """Whether there are pictures without an object."""
        background = self.groups.background
        return background is not None and bool(self.num_images[background])

    @property
    def class_activation(self) -> Tensor:
        """[filter, class]: mean over the class's pictures of the summed activation."""
        means = self.activation_sum / self.num_images.clamp(min=1)
        return means[:, : self.groups.num_classes]

    def classes_of(self, category: int) -> list[int]:
        """The groups of a category's pictures: the class itself, or, of `ALL`, those of objects that have pictures."""
        return [group for group in self.groups.of_objects if group in self._tables] if category == ALL else [category]

    def pictures_of(self, category: int, labels: Tensor) -> Tensor:
        """[picture] numbers of those that show an object of the category; labels as of `PictureGroups.marks`."""
        is_own = torch.isin(torch.arange(len(self.groups)), torch.tensor(self.classes_of(category)))
        return in_groups(labels, is_own).nonzero()[:, 0]

    def serving(self, categories: Tensor) -> Tensor:
        """[filter], each a class or `ALL` → [filter, group] bool: whose pictures each filter is measured on."""
        groups = torch.arange(len(self.groups))
        is_object = torch.isin(groups, torch.tensor(self.groups.of_objects))
        return torch.where((categories == ALL)[:, None], is_object, categories[:, None] == groups)

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
        field, top: see `LayerObservation`.
        num_classes, background: see `PictureGroups`.
    """
    groups, num_parts = PictureGroups(num_classes, background), landmarks.shape[1]
    observed = LayerObservation("", field, num_filters=maps.shape[1], groups=groups, num_parts=num_parts, top=top)
    observed.add(cells, scores.float(), activation_sums(maps, scores), labels, landmarks, torch.arange(len(maps)))
    return observed


def activation_sums(maps: Tensor, scores: Tensor) -> Tensor:  # [image, filter], on the CPU
    """Of each map [image, filter, row, col]; 0 where its filter is silent, by its score [image, filter]."""
    return maps.sum(dim=(2, 3)).float().cpu().where(scores > 0, 0)
