"""Pictures as a network's inputs, in several random views."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from partcnn.datasets import PartDataset
from partcnn.foundation.errors import ConfigError
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.views import MIN_CROP_FRAC, random_view, roomy_size

_WHOLE_FRAME = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class ShrunkPicture(NamedTuple):
    """A decoded picture in the two sizes that its views are made of; default collation stacks it.

    Args:
        sample_index: of the sample in `dataset.samples`.
        whole: uint8 [3, height, width] of the network's input; empty where no view is the whole picture.
        roomy: uint8 [3, height, width], 8/7 of that, to cut random crops from; empty where there are none.
        size: [2] (height, width) of the picture, the frame of its annotations.
    """

    sample_index: int
    whole: Tensor
    roomy: Tensor
    size: Tensor


class PictureViews(Dataset[tuple[Tensor, Tensor, int | Tensor]]):
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
        min_crop_frac: float = MIN_CROP_FRAC,
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
        self._room, self._input_size = roomy_size(preprocessing.input_size), preprocessing.input_size
        self._min_crop_frac = min_crop_frac
        self._to_whole, self._to_roomy = v2.Resize(preprocessing.input_size), v2.Resize(self._room)
        self.normalised = preprocessing.normalisation()
        self._num_random = num_views if is_random else num_views - 1
        self._is_remembering = False
        self._remembered: dict[int, ShrunkPicture] = {}

    def at_random(self, num_views: int) -> "PictureViews":
        """Views of the same pictures, the first of each random too."""
        return PictureViews(
            self.dataset,
            self.preprocessing,
            num_views=num_views,
            min_crop_frac=self._min_crop_frac,
            is_random=True,
            seed=self.seed,
        )

    def pinned(self) -> "PictureViews":
        """The same views, of pictures that are held to the bytes that they have now; see `Sample.pinned`."""
        other = copy.copy(self)
        other.dataset, other._remembered = self.dataset.pinned(), {}
        return other

    @property
    def settings(self) -> tuple[object, ...]:
        """All that the views of given pictures depend on."""
        recipe = sorted(self.preprocessing.to_spec().items())
        return recipe, self.num_views, self._min_crop_frac, self.is_random, self.seed, self.epoch, self._room

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def num_values(self) -> int:
        """Of all views of all pictures, three channels a pixel."""
        height, width = self._input_size
        return len(self) * self.num_views * 3 * height * width

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int | Tensor]:
        return self.views_and_size(index)[:3]

    def views_and_size(self, index: int) -> tuple[Tensor, Tensor, int | Tensor, Tensor]:
        """A picture's views, their frames and its label, and [2] its (height, width) in its annotations' frame."""
        picture = self.shrunk(index)
        views = [] if self.is_random else [(self.normalised(picture.whole), _WHOLE_FRAME)]
        # a hash of integers is the same everywhere
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch, index)) % 2**63)
        views += [self._random_view(picture.roomy, generator) for _ in range(self._num_random)]
        pictures, frames = zip(*views, strict=True)
        return torch.stack(pictures), torch.stack(frames), self.dataset.label(index), picture.size

    def shrunk(self, index: int) -> ShrunkPicture:
        """A picture, decoded, or as it is remembered."""
        if index in self._remembered:
            return self._remembered[index]
        picture, size = self.dataset.samples[index].load_reduced(self._room)
        pixels = v2.functional.pil_to_tensor(picture)
        none = pixels.new_empty(0)
        whole = none if self.is_random else self._to_whole(pixels)
        roomy = self._to_roomy(pixels) if self._num_random else none
        return ShrunkPicture(index, whole, roomy, torch.tensor(size))

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Within it, pictures that were given to `remember` are not decoded again. Each takes 350 kB at 224 px."""
        self._is_remembering = True
        try:
            yield
        finally:
            self._is_remembering = False
            self._remembered = {}

    def remember(self, picture: ShrunkPicture) -> None:
        """Keep a copy of a picture; outside of `remembering` nothing is kept."""
        if self._is_remembering:
            index, *pixels = picture
            self._remembered[index] = ShrunkPicture(index, *(values.clone() for values in pixels))

    def _random_view(self, picture: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        view, frame = random_view(picture, self._input_size, generator, min_crop_frac=self._min_crop_frac)
        return self.normalised(view), frame
