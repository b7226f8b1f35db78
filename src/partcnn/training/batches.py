"""An epoch's batches: of maps or pictures that were made once, or of pictures decoded anew in every epoch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

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
        """One epoch: maps [image, 2, channel, row, col] in float32, frames [image, 2, 2, 3], labels [image], and the
        pictures' numbers [image].

        The two views of a picture differ; with one view in all there is one in a batch.
        """
        maps, frames, labels = self.features.maps, self.features.frames, self.features.labels
        order = torch.randperm(len(maps), generator=self._generator)
        views = self._chosen_views(*maps.shape[:2])
        for images in order.split(self.batch_size):
            rows = (images[:, None], views[images])
            yield maps[rows].float(), frames[rows], labels[images], images

    def _chosen_views(self, num_images: int, num_views: int) -> Tensor:  # [image, 2]
        first = torch.randint(num_views, (num_images, 1), generator=self._generator)
        if num_views == 1:
            return first
        steps = torch.randint(1, num_views, (num_images, 1), generator=self._generator)
        return torch.cat([first, (first + steps) % num_views], dim=1)


class EpochLoader(DataLoader[tuple[Tensor, Tensor, int, int]]):
    """Batches as of `EpochBatches`, decoded anew.

    It tells its `PictureViews` which epoch it is, so that every epoch sees other crops, however many workers.

    Args:
        views: of the pictures.
        settings: of the DataLoader.
    """

    def __init__(self, views: PictureViews, **settings: Any) -> None:
        super().__init__(_Numbered(views), **settings)
        self.views = views

    def __iter__(self) -> Any:
        self.views.epoch += 1  # before workers are started: they see the views as they are then
        return super().__iter__()


class _Numbered(Dataset[tuple[Tensor, Tensor, int, int]]):
    """Views, frames and label of each picture, and its number."""

    def __init__(self, views: PictureViews) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int, int]:
        return *self._views[index], index
