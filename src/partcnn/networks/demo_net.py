"""A small network of our own, to train from nothing."""

from collections import OrderedDict

from torch import nn


class DemoNet(nn.Sequential):
    """Four 3×3 convolutions with batch norm and ReLU, then average and classify; stride 8.

    Small enough to train from random weights on two CPU cores. 112 × 112 pixels give 14 × 14 cells of 64
    filters at `features.block4`, each of which sees 31 × 31 pixels.
    """

    input_size = (112, 112)

    def __init__(self, num_classes: int = 1000) -> None:
        widths, strides = (3, 16, 32, 64, 64), (2, 2, 2, 1)
        blocks: OrderedDict[str, nn.Module] = OrderedDict(
            (f"block{i + 1}", _block(widths[i], widths[i + 1], stride)) for i, stride in enumerate(strides)
        )
        head = {
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "classifier": nn.Linear(64, num_classes),
        }
        super().__init__(OrderedDict(features=nn.Sequential(blocks), **head))


def _block(num_inputs: int, num_filters: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(num_inputs, num_filters, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(num_filters), relu=nn.ReLU(inplace=True)))
