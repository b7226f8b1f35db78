"""What the filters of one part layer did: sums by class, and the pictures on which each fires most."""

import torch
from torch import Tensor

from partcnn.evaluation.observation.strongest import ClassTables
from partcnn.metrics.functional.strongest import PEAK
from partcnn.networks.probing.receptive_field import ReceptiveField


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
        num_silent: [filter, class] pictures whose peak is not above 0.
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
        self._background, self._num_parts, self._top = background, num_parts, top

    def add(
        self,
        cells: Tensor,  # [image, filter, 2] (row, col)
        scores: Tensor,  # [image, filter] activation at the peak, before the mask
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
            if label == self._background:
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

    @property
    def is_dead(self) -> Tensor:
        """[filter, class] bool: silent on more than half of the class's pictures."""
        return self.num_silent * 2 > self.num_images

    def by_part(self, label: int, filters: Tensor | None = None) -> Tensor:
        """Table [filter, part, rank, 6] of a class's pictures, of some filters or all, peaks in pixels of the input."""
        if label not in self._tables:
            return ClassTables(self.num_filters, self._num_parts, self._top).by_part(filters)
        table = self._tables[label].by_part(filters).clone()
        table[..., PEAK] = self.field.centers_px(table[..., PEAK])
        return table

    def of_all(self, label: int) -> Tensor:
        """Table [filter, rank, 6] of a class's strongest pictures, peaks as cells."""
        if label not in self._tables:
            return ClassTables(self.num_filters, self._num_parts, self._top).of_all()
        return self._tables[label].of_all()


def observed_maps(
    maps: Tensor,  # [image, filter, row, col] after the ReLU and before the mask
    cells: Tensor,  # [image, filter, 2] (row, col)
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
        maps, cells, labels, landmarks: of all pictures; see `LayerObservation.add`.
        field, num_classes, background, top: see `LayerObservation`.
    """
    num_filters, num_parts = maps.shape[1], landmarks.shape[1]
    sizes = {"num_filters": num_filters, "num_classes": num_classes, "num_parts": num_parts}
    observed = LayerObservation("", field, **sizes, background=background, top=top)
    scores, sums = maps.amax(dim=(2, 3)).float(), maps.sum(dim=(2, 3)).float()
    observed.add(cells, scores, sums, labels, landmarks, torch.arange(len(maps)))
    return observed
