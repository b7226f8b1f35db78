"""A second look at some pictures of a data set: it shows an evaluation whether filters move with their pictures."""

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from partcnn.datasets import PartDataset, Sample
from partcnn.datasets.choice import chosen_objects, name_hash
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.views import MIN_CROP_FRAC, random_view, roomy_size

MOST_SECOND_VIEWS = 64


class SecondViews(Dataset[tuple[Tensor, Tensor]]):
    """One random view of at most 64 pictures of objects: always the same, in whatever order the pictures come.

    Which ones, and in what order, `partcnn.datasets.choice` says. The hash of a picture's name is the seed of its view.
    Items are a network's input [3, height, width] and the view's frame [2, 3], see `partcnn.networks.views`.

    Args:
        dataset: pictures; its own transform is not used.
        preprocessing: of the network.

    Attributes:
        index: of the pictures in the data set.
    """

    def __init__(self, dataset: PartDataset, preprocessing: Preprocessing) -> None:
        samples = dataset.samples
        self.index = chosen_objects(dataset, MOST_SECOND_VIEWS)
        self.samples: list[Sample] = [samples[number] for number in self.index]
        self.preprocessing = preprocessing
        self._normalised = preprocessing.normalisation()
        self._room = roomy_size(preprocessing.input_size)

    @property
    def settings(self) -> tuple[object, ...]:
        """All that the views depend on beside the pictures."""
        names = [name_hash(sample) for sample in self.samples]
        return sorted(self.preprocessing.to_spec().items()), MIN_CROP_FRAC, self._room, names

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[place]
        picture, _ = sample.load_reduced(self._room)
        roomy = v2.Resize(self._room)(v2.functional.pil_to_tensor(picture))
        generator = torch.Generator().manual_seed(name_hash(sample))
        view, frame = random_view(roomy, self.preprocessing.input_size, generator)
        return self._normalised(view), frame
