"""Pictures that a network of these tests learns in a moment."""

import numpy as np
import pytest
from PIL import Image

from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    """20 pictures of noise, half of them with a red square somewhere."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index in range(20):
        name = ("clutter", "square")[index % 2]
        pixels = random.integers(60, 130, size=(40, 40, 3), dtype=np.uint8)
        if name == "square":
            row, col = random.integers(0, 28, size=2)
            pixels[row : row + 12, col : col + 12] = (255, 30, 20)
        (root / name).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return load_dataset(f"folder:{root}", split="all")
