"""The maps of a frozen trunk, computed once for every view or whole picture."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from partcnn.datasets import PartDataset
from partcnn.foundation.row_shards import Rows
from partcnn.model.network import PictureFeatures, SecondFeatures
from partcnn.model.second_views import SecondLooks
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.fast_trunk import fast_trunk
from partcnn.training.views import PictureViews

BATCH_OF_PICTURES = 16  # that loaders decode at a time, and a shard is of whole ones of
_CPU_BATCH = 8  # pictures through the trunk at once: activations of more leave the cache and are paged in anew


@dataclass(frozen=True, eq=False)
class FeatureViews:
    """The maps of a frozen trunk for every view of every picture; or the views themselves.

    Args:
        maps: [image, view, channel, row, col], bfloat16 or float16: a trunk's maps, or pictures. Of many they are
            shards in files, of which the rows that are asked for are read.
        frames: [image, view, 2, 3] of the views, see `PictureViews`.
        labels: [image], or [image, class] marks, as of `PartDataset.labels`.
    """

    maps: Rows
    frames: Tensor
    labels: Tensor


def compute_features(
    trunk: nn.Module,
    views: PictureViews,
    *,
    num_workers: int = 0,
    dtype: torch.dtype = torch.float16,
    on_progress: Callable[[int], None] | None = None,
) -> FeatureViews:
    """Run a frozen trunk once over every view; all is kept in memory.

    Args:
        trunk: pictures → maps; put in evaluation mode, on its own device. `nn.Identity()` keeps the pictures.
            A faster copy of it does the work.
        views: what to compute.
        num_workers: processes that decode pictures.
        dtype: in which the maps are kept.
        on_progress: called with the number of pictures done.
    """
    num_images = len(views)
    maps, frames, labels = _Rows(num_images, dtype), _Rows(num_images), _Rows(num_images, torch.long)
    for batch in batches_of_views(trunk, views, range(num_images), num_workers=num_workers, dtype=dtype):
        for rows, name in ((maps, "maps"), (frames, "frames"), (labels, "labels")):
            rows.add(batch[name])
        if on_progress is not None:
            on_progress(maps.num_filled)
    return FeatureViews(maps.values, frames.values, labels.values)


def compute_picture_features(
    trunk: nn.Module, dataset: PartDataset, preprocessing: Preprocessing, *, num_workers: int = 0
) -> PictureFeatures:
    """Run a frozen trunk, as in `compute_features`, once over every picture as it is measured; all is in memory."""
    maps, sizes = _Rows(len(dataset)), _Rows(len(dataset), torch.long)
    for batch in batches_of_pictures(trunk, dataset, preprocessing, range(len(dataset)), num_workers=num_workers):
        maps.add(batch["maps"])
        sizes.add(batch["sizes"])
    return PictureFeatures(maps.values, sizes.values)


def compute_second_features(trunk: nn.Module, views: SecondLooks, *, num_workers: int = 0) -> SecondFeatures:
    """Run a frozen trunk, as in `compute_features`, once over every second view or noisy picture."""
    device, fast = device_of(trunk), fast_trunk(trunk.eval())
    maps, frames = _Rows(len(views)), _Rows(len(views))
    with torch.no_grad():
        for inputs, batch_frames in picture_loader(views.__getitem__, range(len(views)), device, num_workers):
            for batch in trunk_batches(inputs, device):
                maps.add(fast(batch))
            frames.add(batch_frames)
    return SecondFeatures(maps.values, frames.values)


def batches_of_views(
    trunk: nn.Module,
    views: PictureViews,
    images: Sequence[int],
    *,
    num_workers: int = 0,
    dtype: torch.dtype = torch.float16,
    keeps_whole: bool = False,
) -> Iterator[dict[str, Tensor]]:
    """Run a frozen trunk once over every view of some pictures, 16 of them at a time.

    Args:
        trunk, views, num_workers, dtype: as of `compute_features`.
        images: numbers of the pictures.
        keeps_whole: give the first view's maps also in the trunk's own precision, with the pictures' sizes.

    Yields:
        On the CPU `maps` [image, view, channel, row, col], `frames` and `labels` as of `FeatureViews`; where
        `keeps_whole`, `whole` and `sizes`, as of `PictureFeatures`.
    """
    device, fast = device_of(trunk), fast_trunk(trunk.eval())
    # No inference mode: its tensors cannot be trained on, and a copy of them would need their memory twice.
    with torch.no_grad():
        for pictures, frames, labels, sizes in picture_loader(views.views_and_size, images, device, num_workers):
            made = torch.cat([fast(batch) for batch in trunk_batches(pictures.flatten(0, 1), device)])
            made = made.unflatten(0, pictures.shape[:2])
            found = {"maps": _kept(made, dtype), "frames": frames, "labels": labels}
            yield found | ({"whole": _kept(made[:, 0], torch.float32), "sizes": sizes} if keeps_whole else {})


def batches_of_pictures(
    trunk: nn.Module,
    dataset: PartDataset,
    preprocessing: Preprocessing,
    images: Sequence[int],
    *,
    num_workers: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Run a frozen trunk once over some pictures as they are measured, 16 at a time: `maps` and `sizes`."""
    device, fast = device_of(trunk), fast_trunk(trunk.eval())
    pictures_of = dataset.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)
    with torch.no_grad():
        for example, sizes in picture_loader(pictures_of.example_and_size, images, device, num_workers):
            maps = [_kept(fast(batch), torch.float32) for batch in trunk_batches(example.image, device)]
            yield {"maps": torch.cat(maps), "sizes": torch.stack(sizes, dim=1)}


def _kept(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """On the CPU, row by row, as they lie in a file: in another order of memory sums would round otherwise."""
    return maps.to("cpu", dtype).contiguous()


class _Rows:
    """A tensor on the CPU that is filled batch by batch.

    Its memory is taken once: gathering batches and joining them would need it twice.
    """

    def __init__(self, num_rows: int, dtype: torch.dtype = torch.float32) -> None:
        self.values = torch.empty(num_rows, dtype=dtype)
        self.num_filled = 0

    def add(self, batch: Tensor) -> None:
        if self.num_filled == 0:
            self.values = torch.empty(len(self.values), *batch.shape[1:], dtype=self.values.dtype)
        self.values[self.num_filled : self.num_filled + len(batch)] = batch.to("cpu", self.values.dtype)
        self.num_filled += len(batch)


class _Made(Dataset[Any]):
    """What a function makes of each index."""

    def __init__(self, make: Callable[[int], Any], indices: Sequence[int]) -> None:
        self._make, self._indices = make, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: int) -> Any:
        return self._make(self._indices[position])


def picture_loader(
    make: Callable[[int], Any], indices: Sequence[int], device: torch.device, num_workers: int
) -> DataLoader[Any]:
    """Batches of 16 of what `make` makes of each index; it decodes pictures, in `num_workers` processes."""
    return DataLoader(
        _Made(make, indices), batch_size=BATCH_OF_PICTURES, num_workers=num_workers, pin_memory=device.type == "cuda"
    )


def trunk_batches(pictures: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """Pictures on a device, channels last, as many at once as it is fastest with."""
    inputs = pictures.to(device, memory_format=torch.channels_last, non_blocking=True)
    batches: tuple[Tensor, ...] = inputs.split(_CPU_BATCH if device.type == "cpu" else len(inputs))
    return batches


def device_of(network: nn.Module) -> torch.device:
    """Where its first parameter lies; the CPU where it has none."""
    return next(network.parameters(), torch.zeros(())).device
