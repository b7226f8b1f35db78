"""A data set as an argument."""

from partcnn.datasets.part_dataset import PartDataset
from partcnn.foundation.errors import DataError


def check_dataset(dataset: object) -> None:
    """Whether it is a data set of this package.

    Raises:
        DataError: it is something else, such as the text that names one, or a list of pictures.
    """
    if not isinstance(dataset, PartDataset):
        kind = type(dataset).__name__
        raise DataError(f"dataset: expected one of partcnn.load_dataset, as load_dataset('folder:PATH'), got a {kind}")
