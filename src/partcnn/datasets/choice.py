"""Some pictures of a data set, the same ones whatever their order: each class gets its share."""

import zlib
from collections.abc import Callable

from partcnn.datasets.part_dataset import PartDataset
from partcnn.datasets.samples import Sample


def chosen_objects(dataset: PartDataset, most: int, is_wanted: Callable[[Sample], bool] = lambda _: True) -> list[int]:
    """Numbers of at most so many pictures of objects, ordered by a hash of their names.

    The pictures are put in the order of their classes, and within these of the hash, and taken at even distances.

    Args:
        dataset: pictures; those of its background are left out.
        most: at least 1.
        is_wanted: which pictures of objects are taken.
    """
    samples = dataset.samples
    objects = [n for n, one in enumerate(samples) if dataset.shows_object(one) and is_wanted(one)]
    objects.sort(key=lambda number: (samples[number].labels, name_hash(samples[number])))
    count = min(most, len(objects))
    chosen = [objects[place * len(objects) // count] for place in range(count)]
    return sorted(chosen, key=lambda number: name_hash(samples[number]))


def name_hash(sample: Sample) -> int:
    """The same everywhere, and wherever the file lies."""
    return zlib.crc32(f"{sample.image_id} {sample.image_path.name}".encode(errors="surrogateescape"))
