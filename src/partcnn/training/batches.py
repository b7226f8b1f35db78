"""An epoch's batches: of maps or pictures that were made once, or of pictures decoded anew in every epoch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    default_collate,
)

from partcnn.training.features import FeatureViews
from partcnn.training.views import PictureViews

_NO_PICTURE = -1


class EpochBatches:
    """Batches of maps that are in memory, or mapped there: every picture once an epoch, in two of its views.

    Args:
        features: maps or pictures, of every view.
        batch_size: pictures in a batch.
        seed: of their order and choice of views. Epochs follow each other: each has another order.
        share: (rank, number of ranks) among which each batch is shared out in one order, see `own_share`.
    """

    def __init__(self, features: FeatureViews, *, batch_size: int, seed: int, share: tuple[int, int] = (0, 1)) -> None:
        self.features, self.batch_size, self.share = features, batch_size, share
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
        for batch in order.split(self.batch_size):
            images = own_share(batch, self.share)
            rows = (images[:, None], views[images])
            yield maps[rows].float(), frames[rows], labels[images], images

    def _chosen_views(self, num_images: int, num_views: int) -> Tensor:  # [image, 2]
        first = torch.randint(num_views, (num_images, 1), generator=self._generator)
        if num_views == 1:
            return first
        steps = torch.randint(1, num_views, (num_images, 1), generator=self._generator)
        return torch.cat([first, (first + steps) % num_views], dim=1)


def own_share(batch: Tensor, share: tuple[int, int]) -> Tensor:
    """What a rank takes of a batch: a piece of it, the pieces in the ranks' order and at most one picture apart.

    Of fewer pictures than ranks the last ranks have none.
    """
    rank, num_ranks = share
    return batch.tensor_split(num_ranks)[rank]


class EpochLoader(DataLoader[tuple[Tensor, Tensor, int, int]]):
    """Batches as of `EpochBatches`, decoded anew.

    It tells its `PictureViews` which epoch it is, so that every epoch sees other crops, however many workers.

    Args:
        views: of the pictures.
        share: as of `EpochBatches`; among several ranks the order is that of `generator`, which they have alike.
        settings: of the DataLoader.
    """

    def __init__(self, views: PictureViews, *, share: tuple[int, int] = (0, 1), **settings: Any) -> None:
        pictures = _Numbered(views)
        if share[1] > 1:
            settings = _shared_out(pictures, share, **settings)
        super().__init__(pictures, **settings)
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
        return *self._views[max(index, 0)], index


def _shared_out(
    pictures: _Numbered,
    share: tuple[int, int],
    *,
    batch_size: int,
    shuffle: bool,
    generator: torch.Generator,
    **settings: Any,
) -> dict[str, Any]:
    """The settings of a loader, as given to one, for a rank's share of its batches."""
    order = RandomSampler(pictures, generator=generator) if shuffle else SequentialSampler(pictures)
    sampler = _Shares(BatchSampler(order, batch_size, drop_last=False), share)
    return settings | {"batch_sampler": sampler, "collate_fn": _collated, "generator": generator}


class _Shares(Sampler[list[int]]):
    """A rank's share of each batch; where it is none, `_NO_PICTURE` in its place, for a loader wants shapes."""

    def __init__(self, batches: BatchSampler, share: tuple[int, int]) -> None:
        self._batches, self._share = batches, share

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches:
            yield own_share(torch.tensor(batch), self._share).tolist() or [_NO_PICTURE]


def _collated(examples: list[tuple[Tensor, Tensor, int, int]]) -> list[Tensor]:
    batch: list[Tensor] = default_collate(examples)
    is_picture = batch[-1] != _NO_PICTURE
    return [values[is_picture] for values in batch]
