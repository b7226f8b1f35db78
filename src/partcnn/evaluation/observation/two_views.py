"""What the filters of the top layer did on some pictures, and on a random view of each: no annotation needed."""

from collections.abc import Iterable

import torch
from torch import Tensor

from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.objectives.competing import mean_features
from partcnn.objectives.equivariance import in_pictures


class TwoViewsObservation:
    """Of the pictures of `partcnn.model.second_views.SecondViews`, rows in its order.

    Args:
        field: of the layer's cells.
        index: of the pictures in the data set.
    """

    def __init__(self, field: ReceptiveField, index: Iterable[int]) -> None:
        self._field, self._index = field, torch.tensor(list(index), dtype=torch.int64)
        self._whole: list[tuple[Tensor, ...]] = []
        self._second: list[tuple[Tensor, ...]] = []

    def add_whole(
        self,
        index: Tensor,  # [image] of the picture in the data set
        labels: Tensor,  # [image], or [image, group] marks
        maps: Tensor,  # [image, filter, row, col] before the mask, on any device
        cells: Tensor,  # [image, filter, 2] (row, col), in fractions of cells
        features: Tensor | None,  # [image, channel, row, col] below the maps; None where the network has none
    ) -> None:
        """One batch of whole pictures, of any; those that have no second view are left out."""
        own = torch.isin(index, self._index)
        if not own.any():
            return
        maps, found = maps[own.to(maps.device)], torch.empty(int(own.sum()), maps.shape[1], 0)
        if features is not None and features.shape[2:] == maps.shape[2:]:
            found = mean_features(maps.float(), features[own.to(features.device)].float()).cpu()
        self._whole.append((index[own], labels[own], self._in_view(cells[own]), _has_place(maps), found))

    def add_second(self, maps: Tensor, cells: Tensor, frames: Tensor) -> None:
        """One batch of second views in their order: maps and cells as above, and their frames [image, 2, 3]."""
        self._second.append((in_pictures(self._in_view(cells), frames), _has_place(maps), frames))

    @property
    def labels(self) -> Tensor:
        """[picture], or [picture, group] marks."""
        return self._of_whole(1) if self._whole else self._index

    @property
    def first(self) -> Tensor:
        """[picture, filter, 2] places (x, y) on the whole picture, in fractions of its sides."""
        return self._of_whole(2)

    @property
    def second(self) -> Tensor:
        """[picture, filter, 2] those of the other view, carried into the picture."""
        return self._of_second(0)

    @property
    def have_places(self) -> Tensor:
        """[picture, filter] bool: the map is not 0 throughout, in both views. One of shares never is, also of a filter
        that is silent: its centroid then counts as it is."""
        return self._of_whole(3) & self._of_second(1)

    @property
    def features(self) -> Tensor | None:
        """[picture, filter, channel]: the feature under each filter on the whole picture; None: there is none."""
        found = self._of_whole(4)
        return found if found.shape[2] else None

    def places_of(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points [2, picture, point, 2] of the whole pictures and of the other views → both in the pictures."""
        return points[0], in_pictures(points[1], self._of_second(2))

    def _of_whole(self, column: int) -> Tensor:
        index = torch.cat([row[0] for row in self._whole])
        order = index.argsort()[self._index.argsort().argsort()]  # rows as they came → as in `index`
        return torch.cat([row[column] for row in self._whole])[order]

    def _of_second(self, column: int) -> Tensor:
        return torch.cat([row[column] for row in self._second])

    def _in_view(self, cells: Tensor) -> Tensor:  # [image, filter, 2] → the same, (x, y) in fractions of the view
        height, width = self._field.input_size
        return self._field.centers_px(cells.float()) / torch.tensor([width, height])


def _has_place(maps: Tensor) -> Tensor:  # [image, filter] bool
    return maps.amax(dim=(2, 3)).cpu() > 0
