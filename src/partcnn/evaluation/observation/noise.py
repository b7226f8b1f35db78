"""What the filters of the top layer did on some pictures, and on the same pictures with noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from partcnn.networks.probing.receptive_field import ReceptiveField


class NoiseObservation:
    """Of the pictures of `partcnn.model.second_views.NoisyPictures`, rows in the order of their numbers.

    Args:
        field: of the layer's cells.
        index: of the pictures in the data set.
    """

    def __init__(self, field: ReceptiveField, index: Sequence[int]) -> None:
        self._field, self._index = field, torch.tensor(list(index), dtype=torch.int64)
        self._whole: list[tuple[Tensor, ...]] = []
        self._noisy: list[tuple[Tensor, ...]] = []

    def add_whole(
        self,
        index: Tensor,  # [image] of the picture in the data set
        cells: Tensor,  # [image, filter, 2] (row, col), in fractions of cells
        scores: Tensor,  # [image, filter], 0 where a filter is silent
        labels: Tensor,  # [image], or [image, group] marks
        landmarks: Tensor,  # [image, part, 2] (x, y) in pixels of the input
    ) -> None:
        """One batch of whole pictures, of any; those that are not looked at with noise are left out."""
        own = torch.isin(index, self._index)
        if own.any():
            self._whole.append((index[own], cells[own], scores[own], labels[own], landmarks[own]))

    def add_noisy(self, index: Tensor, cells: Tensor, scores: Tensor) -> None:
        """One batch with noise, in any order: index, cells and scores as above."""
        self._noisy.append((index, cells, scores))

    def __len__(self) -> int:
        return len(self._index)

    @property
    def labels(self) -> Tensor:
        """[picture], or [picture, group] marks."""
        return _in_order(self._whole, 3)

    @property
    def landmarks(self) -> Tensor:
        """[picture, part, 2] (x, y) in pixels of the input; nan where a part is not visible."""
        return _in_order(self._whole, 4)

    @property
    def peaks(self) -> tuple[Tensor, Tensor]:
        """[picture, filter, 2] (x, y) in pixels of the input, without noise and with it."""
        before, after = (self._field.centers_px(_in_order(rows, 1).float()) for rows in (self._whole, self._noisy))
        return before, after

    @property
    def scores(self) -> tuple[Tensor, Tensor]:
        """[picture, filter], without noise and with it."""
        return _in_order(self._whole, 2), _in_order(self._noisy, 2)


def _in_order(rows: list[tuple[Tensor, ...]], column: int) -> Tensor:
    order = torch.cat([row[0] for row in rows]).argsort()
    return torch.cat([row[column] for row in rows])[order]
