"""What `partcnn train` chooses by looking at a backbone, and `partcnn info` shows: input size, layers with weights."""

from collections.abc import Sequence
from itertools import takewhile

from partcnn.foundation.errors import LayerError
from partcnn.networks.backbones import BACKBONES, Backbone
from partcnn.networks.probing.layer_shapes import LayerShape
from partcnn.networks.probing.probe import probed

_FINE_SIDE = 320  # pixels


def chosen_input_size(backbone: Backbone, *, side: int | None = None, head: str = "additive") -> tuple[int, int]:
    """(height, width) in pixels: at least 320 for the additive head, where the network runs on that.

    Parts are told apart by fine maps: docs/results has what 320 px change.

    Args:
        backbone: any; those of our own keep their size.
        side: of the square that is asked for, if any.
        head: of the conversion; with "original" the backbone's own size.
    """
    own = backbone.preprocessing.input_size
    if side is not None:
        return side, side
    if head == "original" or backbone.name in BACKBONES or max(own) >= _FINE_SIDE:
        return own
    try:
        probed(backbone.network, (_FINE_SIDE, _FINE_SIDE))
    except LayerError:
        return own
    return _FINE_SIDE, _FINE_SIDE


def trained_layers(backbone: Backbone, shapes: Sequence[LayerShape]) -> list[LayerShape]:
    """Of its layers, in the order of the forward pass, those that come before the first one without weights."""
    missing = backbone.missing_layers
    return list(takewhile(lambda shape: not any(_is_within(shape.name, name) for name in missing), shapes))


def _is_within(name: str, other: str) -> bool:
    """Whether one of two modules holds the other, or is it."""
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")
