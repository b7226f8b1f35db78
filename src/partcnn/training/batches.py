"""An epoch's batches: of maps or pictures that were made once, or of pictures decoded anew in every epoch."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from partcnn.training.features import FeatureViews
from partcnn.training.views import PictureViews

_NO_PICTURE = -1


class EpochOrder:
    """What each epoch draws, and how far into an epoch training is: a training can go on where it was stopped.

    Args:
        num_images, batch_size: of the pictures and of a batch of them.
        seed: of all that is drawn. Epochs follow each other: each has another order.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        self.num_images, self.batch_size = num_images, batch_size
        self.generator = torch.Generator().manual_seed(seed)
        self._began = self.generator.get_state()  # before this epoch drew
        self._taken = 0  # batches of this epoch
        self._skipped = 0  # batches of the next epoch that were taken before the training was stopped

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size)

    def start(self) -> tuple[Tensor, int]:
        """A new epoch: its pictures in order, and the first batch that is still to come."""
        self._began = self.generator.get_state()
        self._taken, self._skipped = self._skipped, 0
        return torch.randperm(self.num_images, generator=self.generator), self._taken

    def take(self) -> None:
        """One more batch."""
        self._taken += 1

    def state_dict(self) -> dict[str, Any]:
        """Where training is, for `load_state_dict`: after the last batch of an epoch, before the next one."""
        if self._taken == len(self):
            return {"generator": self.generator.get_state(), "taken": 0}
        return {"generator": self._began, "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["generator"])
        self._skipped = state["taken"]


class EpochBatches:
    """Batches of maps that are in memory, or mapped there: every picture once an epoch, in two of its views.

    Args:
        features: maps or pictures, of every view.
        batch_size: pictures in a batch.
        seed: of their order and choice of views, `EpochOrder`.
        share: (rank, number of ranks) among which each batch is shared out in one order, see `own_share`.
    """

    def __init__(self, features: FeatureViews, *, batch_size: int, seed: int, share: tuple[int, int] = (0, 1)) -> None:
        self.features, self.share = features, share
        self._order = EpochOrder(len(features.maps), batch_size, seed)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """One epoch: maps [image, 2, channel, row, col] in float32, frames [image, 2, 2, 3], labels [image], and the
        pictures' numbers [image].

        The two views of a picture differ; with one view in all there is one in a batch.
        """
        maps, frames, labels = self.features.maps, self.features.frames, self.features.labels
        order, first = self._order.start()
        views = self._chosen_views(*maps.shape[:2])
        for batch in order.split(self._order.batch_size)[first:]:
            images = own_share(batch, self.share)
            rows = (images[:, None], views[images])
            self._order.take()
            yield maps[rows].float(), frames[rows], labels[images], images

    def state_dict(self) -> dict[str, Any]:
        return self._order.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._order.load_state_dict(state)

    def _chosen_views(self, num_images: int, num_views: int) -> Tensor:  # [image, 2]
        generator = self._order.generator
        first = torch.randint(num_views, (num_images, 1), generator=generator)
        if num_views == 1:
            return first
        steps = torch.randint(1, num_views, (num_images, 1), generator=generator)
        return torch.cat([first, (first + steps) % num_views], dim=1)


def own_share(batch: Tensor, share: tuple[int, int]) -> Tensor:
    """What a rank takes of a batch: a piece of it, the pieces in the ranks' order and at most one picture apart.

    Of fewer pictures than ranks the last ranks have none.
    """
    rank, num_ranks = share
    return batch.tensor_split(num_ranks)[rank]


class EpochLoader(DataLoader[tuple[Tensor, Tensor, int | Tensor, int]]):
    """Batches as of `EpochBatches`, decoded anew.

    It tells its `PictureViews` which epoch it is, so that every epoch sees other crops, however many workers.

    Args:
        views: of the pictures.
        batch_size, seed, share: as of `EpochBatches`.
        settings: of the DataLoader.
    """

    def __init__(
        self,
        views: PictureViews,
        *,
        batch_size: int,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        **settings: Any,
    ) -> None:
        self.views, self._order = views, EpochOrder(len(views), batch_size, seed)
        super().__init__(
            _Numbered(views),
            batch_sampler=_Shares(self._order, share),
            collate_fn=_collated if share[1] > 1 else None,
            generator=torch.Generator(),  # of its own: it seeds the workers, on which views do not depend
            **settings,
        )

    def __iter__(self) -> Any:
        self.views.epoch += 1  # before workers are started: they see the views as they are then
        return self._counted(super().__iter__())

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:  # workers are ahead of what is taken
            self._order.take()
            yield batch

    def state_dict(self) -> dict[str, Any]:
        state = self._order.state_dict()
        return {**state, "epoch": self.views.epoch - (state["taken"] > 0)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._order.load_state_dict(state)
        self.views.epoch = state["epoch"]


class _Shares(Sampler[list[int]]):
    """A rank's share of each batch; where it is none, `_NO_PICTURE` in its place, for a loader wants shapes."""

    def __init__(self, order: EpochOrder, share: tuple[int, int]) -> None:
        self._order, self._share = order, share

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[list[int]]:
        order, first = self._order.start()
        for batch in order.split(self._order.batch_size)[first:]:
            yield own_share(batch, self._share).tolist() or [_NO_PICTURE]


class _Numbered(Dataset[tuple[Tensor, Tensor, int | Tensor, int]]):
    """Views, frames and label of each picture, and its number."""

    def __init__(self, views: PictureViews) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int | Tensor, int]:
        return *self._views[max(index, 0)], index


def _collated(examples: list[tuple[Tensor, Tensor, int | Tensor, int]]) -> list[Tensor]:
    batch: list[Tensor] = default_collate(examples)
    is_picture = batch[-1] != _NO_PICTURE
    return [values[is_picture] for values in batch]
