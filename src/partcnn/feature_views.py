"""Pictures as a network's inputs, in several random views, and the maps of a frozen trunk computed once per view."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from partcnn import _torchvision  # noqa: F401

# isort: split
from torchvision.transforms import v2

from partcnn.backbones import Preprocessing
from partcnn.datasets import PartDataset
from partcnn.errors import ConfigError

_ROOM_TO_CROP = 8 / 7  # pictures are resized to 256 px before a crop of 224, the custom for ImageNet


class PictureViews(Dataset[tuple[Tensor, int]]):
    """Each picture as `num_views` inputs: [view, 3, height, width] and its label.

    The first view is the picture as it is measured, unless `num_views` is 1 and `is_random`; the others are
    random crops with flips. Views depend on the seed, the epoch, the picture and nothing else.

    Args:
        dataset: pictures; its own transform is not used.
        preprocessing: of the network.
        num_views: at least 1.
        min_crop_frac: smallest side of a random crop, as a share of the picture's side, in (0, 1].
        is_random: make the first view random too, for training on pictures that are decoded in every epoch.
        seed: of the crops.
    """

    def __init__(
        self,
        dataset: PartDataset,
        preprocessing: Preprocessing,
        *,
        num_views: int = 1,
        min_crop_frac: float = 0.7,
        is_random: bool = False,
        seed: int = 0,
    ) -> None:
        if num_views < 1 or not 0 < min_crop_frac <= 1:
            raise ConfigError(
                f"num_views, min_crop_frac: expected at least 1 and a share in (0, 1], got {num_views}, {min_crop_frac}"
            )
        self.dataset, self.num_views, self.is_random, self.seed = dataset, num_views, is_random, seed
        self.epoch = 0
        height, width = preprocessing.input_size
        finish = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(preprocessing.mean, preprocessing.std)]
        room = (round(height * _ROOM_TO_CROP), round(width * _ROOM_TO_CROP))
        aspect = width / height
        self._whole = preprocessing.transform()
        self._room = v2.Resize(room, antialias=True)
        self._random = v2.Compose(
            [
                v2.RandomResizedCrop((height, width), scale=(min_crop_frac**2, 1), ratio=(aspect, aspect)),
                v2.RandomHorizontalFlip(),
                *finish,
            ]
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        sample = self.dataset.samples[index]
        picture = v2.functional.pil_to_tensor(sample.load_image())
        views = [] if self.is_random else [self._whole(picture)]
        num_random = self.num_views - len(views)
        if num_random:
            roomy = self._room(picture)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(hash((self.seed, self.epoch, index)))  # a hash of integers is the same everywhere
                views += [self._random(roomy) for _ in range(num_random)]
        return torch.stack(views), sample.label


class FeatureViews:
    """The maps of a frozen trunk for every view of every picture, and batches of them, one view each.

    Args:
        maps: [image, view, channel, row, col], half precision: a trunk's maps, or pictures.
        labels: [image].
        batch_size: of the batches.
        seed: of their order and choice of views.
    """

    def __init__(self, maps: Tensor, labels: Tensor, *, batch_size: int, seed: int) -> None:
        self.maps, self.labels, self.batch_size = maps, labels, batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.maps) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: maps [image, channel, row, col] in float32 and labels [image]."""
        order = torch.randperm(len(self.maps), generator=self._generator)
        view = torch.randint(self.maps.shape[1], (len(self.maps),), generator=self._generator)
        for chosen in order.split(self.batch_size):
            yield self.maps[chosen, view[chosen]].float(), self.labels[chosen]


class EpochLoader(DataLoader[tuple[Tensor, int]]):
    """Tells its `PictureViews` which epoch it is, so that every epoch sees other crops, however many workers."""

    def __iter__(self) -> Any:
        assert isinstance(self.dataset, PictureViews)
        self.dataset.epoch += 1  # before workers are started: they see the data set as it is then
        return super().__iter__()


def compute_features(
    trunk: nn.Module,
    views: PictureViews,
    *,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> FeatureViews:
    """Run a frozen trunk once over every view.

    Args:
        trunk: pictures → maps; put in evaluation mode, on its own device. `nn.Identity()` keeps the pictures.
        views: what to compute.
        batch_size, seed: of the result's batches.
        num_workers: processes that decode pictures.
        on_progress: called with the number of pictures done.
    """
    device = next(trunk.parameters(), torch.zeros(())).device
    trunk.eval()
    maps: Tensor | None = None
    labels = torch.empty(len(views), dtype=torch.long)
    done = 0
    # The memory is taken once: gathering batches and joining them would need it twice. No inference mode: its
    # tensors cannot be trained on, and a copy would need it twice too.
    with torch.no_grad():
        for pictures, batch_labels in DataLoader(views, batch_size=16, num_workers=num_workers):
            found = trunk(pictures.flatten(0, 1).to(device)).unflatten(0, pictures.shape[:2])
            if maps is None:
                maps = torch.empty(len(views), *found.shape[1:], dtype=torch.float16)
            maps[done : done + len(found)] = found.to("cpu", torch.float16)
            labels[done : done + len(found)] = batch_labels
            done += len(found)
            if on_progress is not None:
                on_progress(done)
    assert maps is not None  # a data set has at least one picture
    return FeatureViews(maps, labels, batch_size=batch_size, seed=seed)
