"""A second look at some pictures of a data set: in another view, whether filters move with their pictures; with noise,
whether they stay where they are."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from partcnn.datasets import PartDataset, Sample
from partcnn.datasets.choice import chosen_objects, name_hash
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.views import MIN_CROP_FRAC, random_view, roomy_size

MOST_SECOND_VIEWS = 64
NOISE_STD, NOISE_LIMIT = 0.2, 0.25  # of the normalised input: Huang et al. (ICCV 2023)
_WHOLE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))  # the frame of a view that is the picture itself


class SecondLooks(Dataset[tuple[Tensor, Tensor]]):
    """At most 64 pictures of objects: always the same, in whatever order the pictures come.

    Which ones, and in what order, `partcnn.datasets.choice` says. The hash of a picture's name is the seed of what is
    drawn for it. Items are a network's input [channel, height, width] and its frame [2, 3], see
    `partcnn.networks.views`.

    Args:
        dataset: pictures; its own transform is not used.
        preprocessing: of the network.
        is_wanted: which pictures of objects are taken.

    Attributes:
        index: of the pictures in the data set.
    """

    def __init__(
        self, dataset: PartDataset, preprocessing: Preprocessing, is_wanted: Callable[[Sample], bool] = lambda _: True
    ) -> None:
        samples = dataset.samples
        self.index = chosen_objects(dataset, MOST_SECOND_VIEWS, is_wanted)
        self.samples: list[Sample] = [samples[number] for number in self.index]
        self.preprocessing = preprocessing

    @property
    def settings(self) -> tuple[object, ...]:
        """All that the items depend on beside the pictures."""
        names = [name_hash(sample) for sample in self.samples]
        return sorted(self.preprocessing.to_spec().items()), *self._drawn_by, names

    @property
    def _drawn_by(self) -> tuple[object, ...]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.index)

    def _generator(self, place: int) -> torch.Generator:
        return torch.Generator().manual_seed(name_hash(self.samples[place]))


class SecondViews(SecondLooks):
    """One random view of each: a crop, flipped half of the time.

    Args, Attributes: as of `SecondLooks`.
    """

    def __init__(self, dataset: PartDataset, preprocessing: Preprocessing) -> None:
        super().__init__(dataset, preprocessing)
        self._normalised = preprocessing.normalisation()
        self._room = roomy_size(preprocessing.input_size)

    @property
    def _drawn_by(self) -> tuple[object, ...]:
        return MIN_CROP_FRAC, self._room

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        picture, _ = self.samples[place].load_reduced(self._room)
        roomy = v2.Resize(self._room)(v2.functional.pil_to_tensor(picture))
        view, frame = random_view(roomy, self.preprocessing.input_size, self._generator(place))
        return self._normalised(view), frame


class NoisyPictures(SecondLooks):
    """Each as it is measured, with Gaussian noise in its normalised input: of deviation 0.2, clipped at ±0.25.

    Only pictures with an annotated part are taken: what is asked is whether the parts around a peak stay the same.

    Args, Attributes: as of `SecondLooks`.
    """

    def __init__(self, dataset: PartDataset, preprocessing: Preprocessing) -> None:
        super().__init__(dataset, preprocessing, lambda sample: bool(sample.parts))
        self._pictures = dataset.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)
        self._places = {number: place for place, number in enumerate(self.index)}

    @property
    def _drawn_by(self) -> tuple[object, ...]:
        return "noise", NOISE_STD, NOISE_LIMIT

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        picture = self._pictures[self.index[place]].image
        return picture + self._noise(place, picture), torch.tensor(_WHOLE)

    def of(self, pictures: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Those inputs [image, channel, height, width] that are of the pictures here, with their noise; and `index`,
        [image] of the pictures in the data set, of these."""
        own = [row for row, number in enumerate(index.tolist()) if number in self._places]
        noise = [self._noise(self._places[int(index[row])], pictures[row]) for row in own]
        return (pictures[own] + torch.stack(noise) if own else pictures[:0]), index[own]

    def _noise(self, place: int, picture: Tensor) -> Tensor:
        drawn = torch.randn(picture.shape, generator=self._generator(place))
        return (NOISE_STD * drawn).clamp(-NOISE_LIMIT, NOISE_LIMIT).to(picture)
