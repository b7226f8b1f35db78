"""VGG-M and VGG-S, two of the networks of the interpretable-CNN paper: Chatfield et al. (2014), "Return of the Devil in
the Details", Table 1, CNN-M and CNN-S.

Layers have the names that their Caffe models gave them. Pooling windows may run past the right and lower edge, as
Caffe's do, except VGG-S's pool2, which then gives the 17 × 17 cells of the paper's code. The Caffe model of VGG-S
differs from its Table 1 in one thing: its conv2 has no padding. That changes no weight's shape.
"""

from collections import OrderedDict

from torch import nn


class ChatfieldNet(nn.Sequential):
    """Five convolutions, three fully connected layers; made for 224 × 224 pixels.

    Args:
        conv2: of 256 filters, 5 × 5.
        pools: after conv1, conv2 and conv5.
        num_classes: of the classifier.
    """

    input_size = (224, 224)

    def __init__(self, conv2: nn.Conv2d, pools: tuple[nn.MaxPool2d, nn.MaxPool2d, nn.MaxPool2d], num_classes: int):
        features: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, 96, 7, stride=2))
        features |= {"relu1": nn.ReLU(inplace=True), "norm1": _norm(), "pool1": pools[0]}
        features |= {"conv2": conv2, "relu2": nn.ReLU(inplace=True), "norm2": _norm(), "pool2": pools[1]}
        for index, num_inputs in ((3, 256), (4, 512), (5, 512)):
            features[f"conv{index}"] = nn.Conv2d(num_inputs, 512, 3, padding=1)
            features[f"relu{index}"] = nn.ReLU(inplace=True)
        features["pool5"] = pools[2]
        classifier: OrderedDict[str, nn.Module] = OrderedDict()
        for name, num_inputs in (("6", 512 * 6 * 6), ("7", 4096)):
            classifier[f"fc{name}"] = nn.Linear(num_inputs, 4096)
            classifier[f"relu{name}"] = nn.ReLU(inplace=True)
            classifier[f"drop{name}"] = nn.Dropout(0.5)
        classifier["fc8"] = nn.Linear(4096, num_classes)
        super().__init__(
            OrderedDict(
                features=nn.Sequential(features),
                avgpool=nn.AdaptiveAvgPool2d(6),  # changes nothing at 224 pixels; other sizes fit then too
                flatten=nn.Flatten(),
                classifier=nn.Sequential(classifier),
            )
        )


class VGGM(ChatfieldNet):
    """CNN-M: 13 × 13 cells of 512 filters at `features.relu5`, stride 16, each of which sees 139 × 139 pixels."""

    def __init__(self, num_classes: int = 1000) -> None:
        pools = (_pool(3, 2), _pool(3, 2), _pool(3, 2))
        super().__init__(nn.Conv2d(96, 256, 5, stride=2, padding=1), pools, num_classes)


class VGGS(ChatfieldNet):
    """CNN-S: 17 × 17 cells of 512 filters at `features.relu5`, stride 12, each of which sees 113 × 113 pixels."""

    def __init__(self, num_classes: int = 1000) -> None:
        pools = (_pool(3, 3), nn.MaxPool2d(2, 2), _pool(3, 3))
        super().__init__(nn.Conv2d(96, 256, 5, padding=1), pools, num_classes)


def _norm() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def _pool(size: int, stride: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(size, stride, ceil_mode=True)
