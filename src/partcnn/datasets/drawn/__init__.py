"""The animals of the demo set: name → a function that poses one, in pieces, from a generator."""

from collections.abc import Callable

import numpy as np

from partcnn.datasets.drawn.bird import bird
from partcnn.datasets.drawn.cat import cat
from partcnn.datasets.drawn.elephant import elephant
from partcnn.datasets.drawn.figures import Piece
from partcnn.datasets.drawn.giraffe import giraffe
from partcnn.datasets.drawn.rabbit import rabbit
from partcnn.datasets.drawn.turtle import turtle

ANIMALS: dict[str, Callable[[np.random.Generator], list[Piece]]] = {
    "bird": bird,
    "cat": cat,
    "elephant": elephant,
    "giraffe": giraffe,
    "rabbit": rabbit,
    "turtle": turtle,
}
