"""What is asked of a picture: why this class, or why this class and not that one."""

import operator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from partcnn.explanation.attribution import Attribution, attribute
from partcnn.foundation.errors import ConfigError


@dataclass(frozen=True)
class Question:
    """Why the logit of one class is what it is, or by how much it is above another's.

    Args:
        classes: names in the order of the logits.
        label: index of the class that is explained.
        against: index of the class it is contrasted with, or None.

    Raises:
        ConfigError: both classes are the same.
    """

    classes: list[str]
    label: int
    against: int | None = None

    def __post_init__(self) -> None:
        if self.against == self.label:
            raise ConfigError(f"against: expected another class than the explained one, {self.classes[self.label]}")

    @property
    def direction(self) -> Tensor:  # [class]
        """What is explained is the logits times this: 1 at the class, −1 at the other."""
        direction = torch.zeros(len(self.classes))
        direction[self.label] = 1
        if self.against is not None:
            direction[self.against] = -1
        return direction


def attributed(
    model: nn.Module, network_input: Tensor, classes: list[str], label: int | None, against: int | None
) -> tuple[Question, Attribution]:
    """The question with the predicted class where no label is asked for, and the split of what it asks about.

    The network runs once; twice where what is predicted must be known before it can be contrasted.

    Raises:
        ConfigError: both classes are the same.
        LayerError: the network has no part layers, or its shares miss the logit.
    """
    if label is None:
        found = attribute(model, network_input)
        label = int(found.logits[0].argmax())
        if against is None:
            return Question(classes, label), found
    question = Question(classes, label, against)
    return question, attribute(model, network_input, question.direction[None])


def class_index(label: int | str, classes: list[str], name: str) -> int:
    """The index of a class that was given by index or name; `name` is the argument's.

    Raises:
        ConfigError: there is no such class.
    """
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    index = _whole(label)
    if index is not None and 0 <= index < len(classes):
        return index
    raise ConfigError(f"{name}: expected one of {', '.join(classes)} or an index below {len(classes)}, got {label!r}")


def _whole(label: object) -> int | None:
    """A whole number of Python's, of numpy's, or a tensor of one; None of anything else."""
    try:
        return operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        return None
