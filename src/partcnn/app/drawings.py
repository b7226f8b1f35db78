"""Drawn pictures as files, to try commands on that take a picture."""

from pathlib import Path

from partcnn.app.settings import read_settings
from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.model.saving.shipped import SHIPPED_DIRECTORY

_NUM_PICTURES = 2  # of each class


def unseen_drawings() -> PartDataset:
    """The drawings that were kept out of the network that comes with the package, `demo:`."""
    settings = read_settings(SHIPPED_DIRECTORY)
    return load_dataset(settings.data, category=settings.category, split="test")


def write_drawings(dataset: PartDataset, directory: Path, *, num_pictures: int = _NUM_PICTURES) -> list[Path]:
    """Write the first drawings of each class as PNG files, such as giraffe-0007.png.

    Args:
        dataset: of drawings.
        directory: made where missing; files of the same names there are replaced.
        num_pictures: of each class.

    Returns:
        The files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for label, name in enumerate(dataset.classes):
        of_class = [sample for sample in dataset.samples if sample.label == label]
        for sample in of_class[:num_pictures]:
            files.append(directory / f"{name}-{sample.image_path.stem}.png")
            sample.load_image().save(files[-1])
    return files
