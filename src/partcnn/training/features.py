"""The maps of a frozen trunk, computed once for every view or whole picture."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from partcnn.datasets import PartDataset
from partcnn.model.network import PictureFeatures
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.views import PictureViews

_CPU_BATCH = 8  # pictures through the trunk at once: activations of more leave the cache and are paged in anew


class FeatureViews:
    """The maps of a frozen trunk for every view of every picture, and batches of them, two views each.

    Args:
        maps: [image, view, channel, row, col], bfloat16 or float16: a trunk's maps, or pictures.
        frames: [image, view, 2, 3] of the views, see `PictureViews`.
        labels: [image].
        batch_size: pictures in a batch.
        seed: of their order and choice of views.
    """

    def __init__(self, maps: Tensor, frames: Tensor, labels: Tensor, *, batch_size: int, seed: int) -> None:
        self.maps, self.frames, self.labels, self.batch_size = maps, frames, labels, batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.maps) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """One epoch: maps [image, 2, channel, row, col] in float32, frames [image, 2, 2, 3], labels [image].

        The two views of a picture differ; with one view in all there is one in a batch.
        """
        num_images, num_views = self.maps.shape[:2]
        order = torch.randperm(num_images, generator=self._generator)
        views = torch.randint(num_views, (num_images, 1), generator=self._generator)
        if num_views > 1:
            others = torch.randint(1, num_views, (num_images, 1), generator=self._generator)
            views = torch.cat([views, (views + others) % num_views], dim=1)
        for chosen in order.split(self.batch_size):
            where = (chosen[:, None], views[chosen])
            yield self.maps[where].float(), self.frames[where], self.labels[chosen]


def compute_features(
    trunk: nn.Module,
    views: PictureViews,
    *,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    dtype: torch.dtype = torch.float16,
    on_progress: Callable[[int], None] | None = None,
) -> FeatureViews:
    """Run a frozen trunk once over every view.

    Args:
        trunk: pictures → maps; put in evaluation mode, on its own device. `nn.Identity()` keeps the pictures.
            A copy of it in the channels-last layout does the work.
        views: what to compute.
        batch_size, seed: of the result's batches.
        num_workers: processes that decode pictures.
        dtype: in which the maps are kept.
        on_progress: called with the number of pictures done.
    """
    device = next(trunk.parameters(), torch.zeros(())).device
    trunk.eval()
    fast = in_channels_last(trunk)
    maps: Tensor | None = None
    frames = torch.empty(len(views), views.num_views, 2, 3)
    labels = torch.empty(len(views), dtype=torch.long)
    done = 0
    # The memory is taken once: gathering batches and joining them would need it twice. No inference mode: its
    # tensors cannot be trained on, and a copy would need it twice too.
    with torch.no_grad():
        for pictures, batch_frames, batch_labels in picture_loader(views, device, num_workers):
            batches = trunk_batches(pictures.flatten(0, 1), device)
            found = torch.cat([fast(batch) for batch in batches]).unflatten(0, pictures.shape[:2])
            if maps is None:
                maps = torch.empty(len(views), *found.shape[1:], dtype=dtype)
            maps[done : done + len(found)] = found.to("cpu", dtype)
            frames[done : done + len(found)] = batch_frames
            labels[done : done + len(found)] = batch_labels
            done += len(found)
            if on_progress is not None:
                on_progress(done)
    assert maps is not None  # a data set has at least one picture
    return FeatureViews(maps, frames, labels, batch_size=batch_size, seed=seed)


def compute_picture_features(
    trunk: nn.Module, dataset: PartDataset, preprocessing: Preprocessing, *, num_workers: int = 0
) -> PictureFeatures:
    """Run a frozen trunk, as in `compute_features`, once over every picture as it is measured."""
    device = next(trunk.parameters(), torch.zeros(())).device
    fast = in_channels_last(trunk.eval())
    maps, sizes = [], []
    with torch.no_grad():
        for pictures, batch_sizes in picture_loader(_WholePictures(dataset, preprocessing), device, num_workers):
            maps += [fast(batch).cpu().contiguous() for batch in trunk_batches(pictures, device)]
            sizes.append(batch_sizes)
    return PictureFeatures(torch.cat(maps), torch.cat(sizes))


class _WholePictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures as they are measured, and their (height, width)."""

    def __init__(self, dataset: PartDataset, preprocessing: Preprocessing) -> None:
        self._dataset = dataset.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        example, size = self._dataset.example_and_size(index)
        return example.image, torch.tensor(size)


def picture_loader(views: Dataset[Any], device: torch.device, num_workers: int) -> DataLoader[Any]:
    return DataLoader(views, batch_size=16, num_workers=num_workers, pin_memory=device.type == "cuda")


def trunk_batches(pictures: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    inputs = pictures.to(device, memory_format=torch.channels_last, non_blocking=True)
    batches: tuple[Tensor, ...] = inputs.split(_CPU_BATCH if device.type == "cpu" else len(inputs))
    return batches


def in_channels_last(trunk: nn.Module) -> nn.Module:
    """A copy in the layout in which convolutions are faster."""
    return copy.deepcopy(trunk).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
