"""A converted network as files: checkpoint, model card, hub, ONNX."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.model.saving.checkpoint import CARD_FILE, METRICS_FILE, load, save, save_names, write_card
    from partcnn.model.saving.exporting import export
    from partcnn.model.saving.hub import from_pretrained, push_to_hub

_HOMES = {
    "CARD_FILE": "checkpoint",
    "METRICS_FILE": "checkpoint",
    "load": "checkpoint",
    "save": "checkpoint",
    "save_names": "checkpoint",
    "write_card": "checkpoint",
    "export": "exporting",
    "from_pretrained": "hub",
    "push_to_hub": "hub",
}

__all__ = [
    "CARD_FILE",
    "METRICS_FILE",
    "export",
    "from_pretrained",
    "load",
    "push_to_hub",
    "save",
    "save_names",
    "write_card",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
