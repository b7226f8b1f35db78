"""Receptive fields that were found once: tracing a network costs a forward pass, and its layers stay where they are."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from partcnn.networks.probing.receptive_field import ReceptiveField, receptive_field


class FieldMemory:
    """The receptive fields of one network, each found when it is first asked for, and anew once layers have changed.

    What counts is how the network is built: its modules, their attributes of plain kinds, the shapes of their weights,
    and hooks. Values of weights and the mode do not count: a receptive field does not hang on them. A copy, or one
    that comes out of a pickle, starts empty.

    Args:
        cellwise: types of modules that move nothing, whatever their attributes.
    """

    def __init__(self, cellwise: tuple[type[nn.Module], ...] = ()) -> None:
        self._cellwise = cellwise
        self._found: dict[tuple[str, tuple[int, int]], ReceptiveField] = {}
        self._build: list[Any] = []  # of the network when they were found

    def field(self, network: nn.Module, layer: str, input_size: tuple[int, int]) -> ReceptiveField:
        """`partcnn.networks.probing.receptive_field.receptive_field`, whose arguments and errors these are."""
        build = list(_build_of(network, self._cellwise))
        if build != self._build:
            self._found, self._build = {}, build
        key = (layer, (input_size[0], input_size[1]))
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = receptive_field(network, layer, input_size)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_found": {}, "_build": []}


def _build_of(network: nn.Module, cellwise: tuple[type[nn.Module], ...]) -> Iterator[Any]:
    for name, module in network.named_modules(remove_duplicate=False):
        attributes = {} if isinstance(module, cellwise) else vars(module)
        yield name, type(module), {key: _seen(value) for key, value in attributes.items() if key != "training"}


def _seen(value: Any) -> Any:
    """What counts of an attribute, as it is now: lists and tables are copied, of weights the shape is kept."""
    if isinstance(value, nn.Parameter):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {key: _seen(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_seen(part) for part in value]
    is_plain = isinstance(value, (bool, int, float, str)) or (callable(value) and not isinstance(value, nn.Module))
    return value if is_plain else None
