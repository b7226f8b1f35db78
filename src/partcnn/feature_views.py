"""Pictures as a network's inputs, in several random views, and the maps of a frozen trunk computed once per view."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from partcnn import _torchvision  # noqa: F401

# isort: split
from torchvision.transforms import v2

from partcnn.backbones import Preprocessing
from partcnn.conversion import PartNetwork
from partcnn.datasets import PartDataset
from partcnn.errors import ConfigError

_WHOLE_FRAME = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_PROJECTION_PICTURES = 256
_LEAST_VARIANCE_FRAC = 1e-3
COMPONENT_VARIANCE = 0.07  # the mean one's, as it is in ResNet-18's layer3, on which the recipe was chosen
_CPU_BATCH = 8  # pictures through the trunk at once: activations of more leave the cache and are paged in anew
_ROOM_TO_CROP = 8 / 7  # pictures are resized to 256 px before a crop of 224, the custom for ImageNet


class PictureViews(Dataset[tuple[Tensor, Tensor, int]]):
    """Each picture as `num_views` inputs: [view, 3, height, width], their frames [view, 2, 3], and its label.

    The first view is the picture as it is measured, unless `is_random`; the others are random crops with flips.
    Views depend on the seed, the epoch, the picture and nothing else. A frame carries a point of the view to the
    picture: (x, y, 1) in fractions of the view's sides → (x, y) in fractions of the picture's.

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
        self.preprocessing = preprocessing
        self.epoch = 0
        height, width = preprocessing.input_size
        finish = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(preprocessing.mean, preprocessing.std)]
        self._room = (round(height * _ROOM_TO_CROP), round(width * _ROOM_TO_CROP))
        self._input_size, self._min_crop_frac = [height, width], min_crop_frac
        self._whole = preprocessing.transform()
        self._resized = v2.Resize(self._room, antialias=True)
        self._finish = v2.Compose(finish)

    @property
    def settings(self) -> tuple[object, ...]:
        """All that the views of given pictures depend on."""
        recipe = sorted(self.preprocessing.to_spec().items())
        return recipe, self.num_views, self._min_crop_frac, self.is_random, self.seed, self.epoch, self._room

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        sample = self.dataset.samples[index]
        picture = v2.functional.pil_to_tensor(sample.load_reduced(self._room)[0])
        views = [] if self.is_random else [(self._whole(picture), _WHOLE_FRAME)]
        num_random = self.num_views - len(views)
        if num_random:
            roomy = self._resized(picture)
            # a hash of integers is the same everywhere
            generator = torch.Generator().manual_seed(hash((self.seed, self.epoch, index)) % 2**63)
            views += [self._random_view(roomy, generator) for _ in range(num_random)]
        pictures, frames = zip(*views, strict=True)
        return torch.stack(pictures), torch.stack(frames), sample.label

    def _random_view(self, picture: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A crop of the picture's own shape, its area uniform, flipped half of the time; and its frame."""
        share, left, top, flip = torch.rand(4, generator=generator).tolist()
        side = math.sqrt(self._min_crop_frac**2 + share * (1 - self._min_crop_frac**2))
        height, width = picture.shape[1:]
        crop_height, crop_width = round(side * height), round(side * width)
        y, x = round(top * (height - crop_height)), round(left * (width - crop_width))
        view = v2.functional.resized_crop(picture, y, x, crop_height, crop_width, self._input_size, antialias=True)
        x0, y0, across, down = x / width, y / height, crop_width / width, crop_height / height
        if flip < 0.5:
            view, x0, across = v2.functional.horizontal_flip(view), x0 + across, -across
        return self._finish(view), torch.tensor([[across, 0.0, x0], [0.0, down, y0]])


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


@dataclass(frozen=True)
class PictureFeatures:
    """Whole pictures of a data set, as a network above the trunk needs them to be measured.

    Args:
        maps: [picture, channel, row, col] float32, projected.
        sizes: [picture, 2] (height, width) of the pictures, the frame of their annotations.
    """

    maps: Tensor
    sizes: Tensor


class EpochLoader(DataLoader[tuple[Tensor, Tensor, int]]):
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
    fast = _channels_last(trunk)
    maps: Tensor | None = None
    frames = torch.empty(len(views), views.num_views, 2, 3)
    labels = torch.empty(len(views), dtype=torch.long)
    done = 0
    # The memory is taken once: gathering batches and joining them would need it twice. No inference mode: its
    # tensors cannot be trained on, and a copy would need it twice too.
    with torch.no_grad():
        for pictures, batch_frames, batch_labels in _loader(views, device, num_workers):
            batches = _batches_of(pictures.flatten(0, 1), device)
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
    fast = _channels_last(trunk.eval())
    maps, sizes = [], []
    with torch.no_grad():
        for pictures, batch_sizes in _loader(_WholePictures(dataset, preprocessing), device, num_workers):
            maps += [fast(batch).cpu().contiguous() for batch in _batches_of(pictures, device)]
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


def set_projection(model: PartNetwork, views: PictureViews, *, num_workers: int = 0) -> None:
    """Set the projection to the principal components of the trunk's maps on at most 256 of the pictures, centred.

    Components are scaled to half-way between their own variance and one variance for all (a power of −1/4 of the
    variance): the small ones that tell parts apart are heard, the smallest, noise, are not made loud. The one variance
    is the same for every trunk, so that one recipe suits them all: maps of SqueezeNet deviate from their mean some 70
    times as far as those of ResNet-18. A model without a projection stays as it is.

    Args:
        model: its trunk is put in evaluation mode.
        views: of the training pictures, which are used whole.
        num_workers: processes that decode pictures.
    """
    layer = model.projection
    if not isinstance(layer, nn.Conv2d):
        return
    model.trunk.eval()
    device = layer.weight.device
    trunk = _channels_last(model.trunk)
    whole = PictureViews(views.dataset, views.preprocessing)
    step = max(1, -(-len(whole) // _PROJECTION_PICTURES))
    chosen = torch.utils.data.Subset(whole, range(0, len(whole), step))
    total = torch.zeros(layer.in_channels, dtype=torch.float64)
    products = torch.zeros(layer.in_channels, layer.in_channels, dtype=torch.float64)
    count = 0
    with torch.no_grad():
        for pictures, _, _ in _loader(chosen, device, num_workers):
            for batch in _batches_of(pictures[:, 0], device):
                cells = trunk(batch).movedim(1, -1).flatten(0, 2).double().cpu()
                total += cells.sum(dim=0)
                products += cells.T @ cells
                count += len(cells)
        mean = total / count
        variances, components = torch.linalg.eigh(products / count - mean.outer(mean))
        variances = variances.flip(0)[: layer.out_channels]
        variances = variances.clamp(min=_LEAST_VARIANCE_FRAC * variances.mean().item())  # silent channels stay so
        components = components.flip(1)[:, : layer.out_channels]
        scaled = COMPONENT_VARIANCE * (variances / variances.mean()).sqrt()
        weight = (components * (scaled / variances).sqrt()).T
        layer.weight.copy_(weight[..., None, None])
        assert layer.bias is not None
        layer.bias.copy_(-weight @ mean)


def _loader(views: Dataset[Any], device: torch.device, num_workers: int) -> DataLoader[Any]:
    return DataLoader(views, batch_size=16, num_workers=num_workers, pin_memory=device.type == "cuda")


def _batches_of(pictures: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    inputs = pictures.to(device, memory_format=torch.channels_last, non_blocking=True)
    batches: tuple[Tensor, ...] = inputs.split(_CPU_BATCH if device.type == "cpu" else len(inputs))
    return batches


def _channels_last(trunk: nn.Module) -> nn.Module:
    """A copy in the layout in which convolutions are faster."""
    return copy.deepcopy(trunk).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
