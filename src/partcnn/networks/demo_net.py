"""Small networks of our own, to train from nothing."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn


class DemoNet(nn.Sequential):
    """Four 3×3 convolutions with batch norm and ReLU, then average and classify; stride 8.

    Small enough to train from random weights on two CPU cores. 112 × 112 pixels give 14 × 14 cells of 64
    filters at `features.block4`, each of which sees 31 × 31 pixels.
    """

    input_size = (112, 112)

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__(_blocks_and_head(num_classes, (16, 32, 64, 64), (2, 2, 2, 1), (1, 1, 1, 1)))


class WideFieldNet(nn.Sequential):
    """A `DemoNet` that sees more: five wider convolutions, the last two dilated.

    160 × 160 pixels give 20 × 20 cells of 96 filters at `features.block5`, each of which sees 79 × 79 pixels: a head
    and the neck that it sits on.
    """

    input_size = (160, 160)
    features: nn.Sequential
    classifier: nn.Linear

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__(_blocks_and_head(num_classes, (24, 48, 96, 96, 96), (2, 2, 2, 1, 1), (1, 1, 1, 2, 2)))


def _blocks_and_head(
    num_classes: int, widths: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> OrderedDict[str, nn.Module]:
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (num_inputs, *block) in enumerate(zip((3, *widths[:-1]), widths, strides, dilations, strict=True)):
        blocks[f"block{i + 1}"] = _block(num_inputs, *block)
    return OrderedDict(
        features=nn.Sequential(blocks),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(widths[-1], num_classes),
    )


def _block(num_inputs: int, num_filters: int, stride: int, dilation: int) -> nn.Sequential:
    conv = nn.Conv2d(num_inputs, num_filters, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(num_filters), relu=nn.ReLU(inplace=True)))
