"""Networks whose filters are set by hand, and pictures with coloured spots for them: figures are known beforehand."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from partcnn.datasets import Catalogue, PartDataset, Point, Sample, assign_split
from partcnn.model.conversion import convert
from partcnn.model.mask import num_owners
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.networks.preprocessing import Preprocessing
from partcnn.objectives.registry import default_objective

SIDE = 64  # of the pictures and the input
CELL = 8  # pixels a cell: the maps are 8 × 8
RED, GREEN, BLUE = range(3)
Cell = tuple[int, int]  # (row, col)


def image_ids(split: str) -> list[str]:
    """Names of 30 photographs that fall into a split."""
    return [name for name in (f"photograph {i}" for i in range(400)) if assign_split(name) == split][:30]


def picture(path: Path, spots: dict[int, Cell], size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """Black, with a spot of each colour that fills one cell of the input."""
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    height, width = size[0] // 8, size[1] // 8
    for colour, (row, col) in spots.items():
        pixels[row * height : (row + 1) * height, col * width : (col + 1) * width, colour] = 255
    Image.fromarray(pixels).save(path)
    return path


def centre(cell: Cell, size: tuple[int, int] = (SIDE, SIDE)) -> Point:
    """(x, y) in the picture."""
    return Point((cell[1] + 0.5) * size[1] / 8, (cell[0] + 0.5) * size[0] / 8)


class Drawer:
    """Draws pictures with a part at a random cell and coloured spots at cells of one's choice."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.samples = folder, list[Sample]()
        self.random = np.random.default_rng(0)

    def cell(self) -> Cell:
        row, col = self.random.integers(0, 8, size=2).tolist()
        return row, col

    def add(self, image_id: str, label: int, spots: dict[int, Cell], parts: dict[str, Cell], size: int = SIDE) -> None:
        path = picture(self.folder / f"{len(self.samples)}.png", spots, (size, size))
        shapes = {name: [centre(cell, (size, size))] for name, cell in parts.items()}
        self.samples.append(Sample(path, label, None, shapes, image_id))

    def dataset(
        self, classes: Sequence[str], parts: Sequence[str] = ("beak",), split: str = "all", **task: object
    ) -> PartDataset:
        return PartDataset(Catalogue(self.samples, list(classes), list(parts), **task), split=split, spec="drawn:")


def pointer(
    filters: Sequence[tuple[int | None, float]], *, num_classes: int = 2, background: int | None = 0, **settings: object
) -> PartNetwork:
    """A network of which filter f is relu(brightness of a colour + bias) in each cell of 8 × 8 pixels."""
    trunk = nn.Sequential(OrderedDict(pool=nn.AvgPool2d(CELL), relu=nn.ReLU()))
    torch.manual_seed(0)
    settings = {"objective": default_objective(num_owners(num_classes, background)), **settings}
    model = convert(
        trunk,
        "relu",
        num_classes=num_classes,
        projection=0,
        hidden=0,
        filters=len(filters),
        background=background,
        input_size=(SIDE, SIDE),
        **settings,
    )
    assert isinstance(model, PartNetwork)
    (layer,) = model.part_layers
    with torch.no_grad():
        layer.weight.zero_()
        for index, (colour, bias) in enumerate(filters):
            if colour is not None:
                layer.weight[index, colour, 1, 1] = 1.0
            layer.bias[index] = bias
    conversion_of(model).preprocessing = Preprocessing((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)
    return model


def with_classes(model: PartNetwork, classes: Sequence[str]) -> PartNetwork:
    conversion_of(model).classes = list(classes)
    return model


BIRDS = {"classes": ["background", "bird"], "background": 0, "category": "bird"}
