"""A second look at some pictures of a data set: it shows an evaluation whether filters move with their pictures."""

import zlib

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from partcnn.datasets import PartDataset, Sample
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.views import MIN_CROP_FRAC, random_view, roomy_size

MOST_SECOND_VIEWS = 64


class SecondViews(Dataset[tuple[Tensor, Tensor]]):
    """One random view of at most 64 pictures of objects: always the same, in whatever order the pictures come.

    The pictures are put in the order of their classes, and within these of a hash of their names, and taken at even
    distances. The hash is the seed of a picture's view, and their order here. Items are a network's input
    [3, height, width] and the view's frame [2, 3], see `partcnn.networks.views`.

    Args:
        dataset: pictures; its own transform is not used.
        preprocessing: of the network.

    Attributes:
        index: of the pictures in the data set.
    """

    def __init__(self, dataset: PartDataset, preprocessing: Preprocessing) -> None:
        samples = dataset.samples
        objects = [number for number, sample in enumerate(samples) if sample.label != dataset.background]
        objects.sort(key=lambda number: (samples[number].label, _name_hash(samples[number])))
        count = min(MOST_SECOND_VIEWS, len(objects))
        chosen = [objects[place * len(objects) // count] for place in range(count)]
        self.index = sorted(chosen, key=lambda number: _name_hash(samples[number]))
        self.samples: list[Sample] = [samples[number] for number in self.index]
        self.preprocessing = preprocessing
        self._normalised = preprocessing.normalisation()
        self._room = roomy_size(preprocessing.input_size)

    @property
    def settings(self) -> tuple[object, ...]:
        """All that the views depend on beside the pictures."""
        names = [_name_hash(sample) for sample in self.samples]
        return sorted(self.preprocessing.to_spec().items()), MIN_CROP_FRAC, self._room, names

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[place]
        picture, _ = sample.load_reduced(self._room)
        roomy = v2.Resize(self._room)(v2.functional.pil_to_tensor(picture))
        generator = torch.Generator().manual_seed(_name_hash(sample))
        view, frame = random_view(roomy, self.preprocessing.input_size, generator)
        return self._normalised(view), frame


def _name_hash(sample: Sample) -> int:
    """The same everywhere, and wherever the file lies."""
    return zlib.crc32(f"{sample.image_id} {sample.image_path.name}".encode(errors="surrogateescape"))
