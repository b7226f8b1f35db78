"""An epoch's batches: of maps or pictures that were made once, or of pictures decoded anew in every epoch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from partcnn.training.features import FeatureViews
from partcnn.training.views import PictureViews


class EpochBatches:
    """Batches of maps that are in memory, or mapped there: every picture once an epoch, in two of its views.

    Args:
        features: maps or pictures, of every view.
        batch_size: pictures in a batch.
        seed: of their order and choice of views. Epochs follow each other: each has another order.
    """

    def __init__(self, features: FeatureViews, *, batch_size: int, seed: int) -> None:
        self.features, self.batch_size = features, batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.features.maps) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """One epoch: maps [image, 2, channel, row, col] in float32, frames [image, 2, 2, 3], labels [image]; and where
        they are known, how far each cell is the object's, [image, 2, row, col].

        The two views of a picture differ; with one view in all there is one in a batch.
        """
        maps, frames, labels = self.features.maps, self.features.frames, self.features.labels
        order = torch.randperm(len(maps), generator=self._generator)
        views = self._chosen_views(*maps.shape[:2])
        for images in order.split(self.batch_size):
            rows = (images[:, None], views[images])
            shares = () if self.features.object_share is None else (self.features.object_share[rows].float(),)
            yield maps[rows].float(), frames[rows], labels[images], *shares

    def _chosen_views(self, num_images: int, num_views: int) -> Tensor:  # [image, 2]
        first = torch.randint(num_views, (num_images, 1), generator=self._generator)
        if num_views == 1:
            return first
        steps = torch.randint(1, num_views, (num_images, 1), generator=self._generator)
        return torch.cat([first, (first + steps) % num_views], dim=1)


class EpochLoader(DataLoader[tuple[Tensor, Tensor, int]]):
    """Tells its `PictureViews` which epoch it is, so that every epoch sees other crops, however many workers."""

    def __iter__(self) -> Any:
        assert isinstance(self.dataset, PictureViews)
        self.dataset.epoch += 1  # before workers are started: they see the data set as it is then
        return super().__iter__()
