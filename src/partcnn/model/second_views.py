"""A second look at some pictures of a data set, by which an evaluation sees whether filters move with their pictures."""

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from partcnn.datasets import PartDataset, Sample
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.views import MIN_CROP_FRAC, random_view, roomy_size

MOST_SECOND_VIEWS = 64
_SEED = 0


class SecondViews(Dataset[tuple[Tensor, Tensor]]):
    """One random view of at most 64 pictures of objects, taken at even distances: always the same ones.

    Items are a network's input [3, height, width] and the view's frame [2, 3], see `partcnn.networks.views`.

    Args:
        dataset: pictures; its own transform is not used.
        preprocessing: of the network.

    Attributes:
        index: of the pictures in the data set, ascending.
    """

    def __init__(self, dataset: PartDataset, preprocessing: Preprocessing) -> None:
        objects = [number for number, sample in enumerate(dataset.samples) if sample.label != dataset.background]
        count = min(MOST_SECOND_VIEWS, len(objects))
        self.index = [objects[place * len(objects) // count] for place in range(count)]
        self.samples: list[Sample] = [dataset.samples[number] for number in self.index]
        self.preprocessing = preprocessing
        self._normalised = preprocessing.normalisation()
        self._room = roomy_size(preprocessing.input_size)

    @property
    def settings(self) -> tuple[object, ...]:
        """All that the views of given pictures depend on."""
        return sorted(self.preprocessing.to_spec().items()), MIN_CROP_FRAC, self._room, _SEED, self.index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        picture, _ = self.samples[place].load_reduced(self._room)
        roomy = v2.Resize(self._room)(v2.functional.pil_to_tensor(picture))
        # a hash of integers is the same everywhere
        generator = torch.Generator().manual_seed(hash((_SEED, self.index[place])) % 2**63)
        view, frame = random_view(roomy, self.preprocessing.input_size, generator)
        return self._normalised(view), frame
