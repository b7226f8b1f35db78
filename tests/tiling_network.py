"""A network whose filters compete, set by hand: the red, green and blue of a picture each belong to one of them."""

from collections import OrderedDict

import torch
from torch import nn

from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.networks.preprocessing import Preprocessing
from tests.pointing_network import CELL, SIDE

SHARPNESS = 40.0  # nats between a pure colour's filter and the rest, which holds what is dark


def tiling_network(num_filters: int = 3, *, background: int | None = 0, multilabel: bool = False) -> CompetingNetwork:
    """Filter k holds the cells of 8 × 8 pixels that are red, green or blue; a fourth holds nothing."""
    trunk = nn.Sequential(OrderedDict(pool=nn.AvgPool2d(CELL), relu=nn.ReLU()))
    torch.manual_seed(0)
    model = convert(
        trunk,
        "relu",
        num_classes=2,
        projection=0,
        filters=num_filters,
        background=background,
        multilabel=multilabel,
        objective="competing",
        input_size=(SIDE, SIDE),
    )
    assert isinstance(model, CompetingNetwork)
    scores = model.layer_of_parts.scores
    with torch.no_grad():
        scores.context.weight.zero_()
        scores.prototypes.weight.zero_()
        scores.prototypes.bias.fill_(-SHARPNESS / 2)
        scores.prototypes.bias[-1] = 0
        for index in range(min(3, num_filters)):
            scores.prototypes.weight[index, index] = SHARPNESS
        nn.init.normal_(model.head.weight, std=0.5)
    conversion_of(model).preprocessing = Preprocessing((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)
    conversion_of(model).classes = ["night", "spots"]
    return model.eval()
