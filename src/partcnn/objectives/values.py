"""What every filter objective takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from partcnn.objectives.fitness import at_least_float32


@dataclass(frozen=True)
class ObjectiveValue:
    """What an objective says of each filter."""

    loss: Tensor  # [filter], nats
    terms: Mapping[str, Tensor]  # parts of the loss worth watching, each [filter], without a gradient


class FilterObjective(Protocol):
    """The signature that every objective shares."""

    def __call__(
        self,
        feature_maps: Tensor,  # [image, filter, row, col], after the ReLU and before the mask
        belongs: Tensor,  # [image, filter] bool: the image is of the filter's category
        *,
        tau: float | Tensor,  # a number, or a tensor without axes
        beta: float | Tensor = 4.0,  # one slope, or one per filter
    ) -> ObjectiveValue: ...


def value_of(loss: Tensor, **terms: Tensor) -> ObjectiveValue:
    """The terms without their gradient."""
    return ObjectiveValue(loss, {name: term.detach() for name, term in terms.items()})


def nothing(maps: Tensor, *terms: str) -> ObjectiveValue:
    """No image: a loss and terms of 0, the loss with a graph."""
    loss = at_least_float32(maps).sum(dim=(0, 2, 3))
    return value_of(loss, **dict.fromkeys(terms, loss))
