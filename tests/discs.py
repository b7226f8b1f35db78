"""Pictures of one bright disc, and a network whose filter 0 peaks where the disc is: answers that are known."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import nn

from partcnn.model.conversion import convert
from partcnn.model.network import PartNetwork, conversion_of

INPUT_PX = 128
CELL_PX = 8


class Brightness(nn.Sequential):
    """8 × 8 pixels → their brightness, four times; the network that `disc_model` stands on."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, CELL_PX, CELL_PX), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))


def disc_model(num_filters: int = 2, head: str = "additive") -> nn.Module:
    """Filter 0 is strongest where the picture is brightest, filter 1 where it is darkest, others nowhere."""
    torch.manual_seed(0)
    network = Brightness()
    network(torch.zeros(1, 3, INPUT_PX, INPUT_PX))
    with torch.no_grad():
        network[0].weight.fill_(1 / (3 * CELL_PX**2))
        network[0].bias.fill_(0.0)
        network[0].weight[1] *= -1
    settings = {"num_classes": 2, "background": 0, "input_size": (INPUT_PX, INPUT_PX)}
    if head == "original":
        model = convert(network, "1", head=head, **settings)
    else:
        settings |= {"objective": "exact", "projection": 0, "hidden": 0, "filters": num_filters, "grid": 4}
        model = convert(network, "1", **settings)
        assert isinstance(model, PartNetwork)
        layer = model.part_layers[0]
        with torch.no_grad():
            layer.weight.zero_()
            for index in range(min(2, num_filters)):
                layer.weight[index, index, 1, 1] = 1.0
            model.head.weight.mul_(0.1)
            model.head.weight[1, 0] = 5.0  # the disc speaks for class 1
    conversion_of(model).classes = ["night", "disc"]
    return model.eval()


def disc_picture(
    path: Path, size: tuple[int, int], place: tuple[float, float], *, orientation: int | None = None
) -> Path:
    """Write a dark picture with a white disc.

    Args:
        path: of the file.
        size: (width, height) as one sees it.
        place: (x, y) of the disc's middle in pixels as one sees it.
        orientation: EXIF tag 6 or 8: the file's pixels then lie on their side. None: no tag.
    """
    radius = 0.035 * min(size)
    picture = Image.new("RGB", size, (60, 60, 60))
    box = (place[0] - radius, place[1] - radius, place[0] + radius, place[1] + radius)
    ImageDraw.Draw(picture).ellipse(box, fill=(255, 255, 255))
    if orientation is None:
        picture.save(path, quality=95)
        return path
    turned = picture.transpose({6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(path, exif=exif, quality=95)
    return path


def disc_place(size: tuple[int, int], cell: tuple[int, int]) -> tuple[float, float]:
    """(x, y) in a picture of (width, height), stretched to the network's input, of the middle of a cell (row, col)."""
    row, col = cell
    x, y = ((index + 0.5) * CELL_PX / INPUT_PX for index in (col, row))
    return x * size[0], y * size[1]
