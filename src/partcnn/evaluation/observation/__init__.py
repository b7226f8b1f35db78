"""Run a network over pictures once, and keep of every map what measurements need, in bounded memory."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.evaluation.observation.layers import LayerObservation
    from partcnn.evaluation.observation.observer import Observation, observe
    from partcnn.evaluation.observation.parts import Hits, PartObservation
    from partcnn.evaluation.observation.protocol import Protocol
    from partcnn.evaluation.observation.strongest import ClassTables

_HOMES = {
    "LayerObservation": "layers",
    "Observation": "observer",
    "observe": "observer",
    "Hits": "parts",
    "PartObservation": "parts",
    "Protocol": "protocol",
    "ClassTables": "strongest",
}

__all__ = [
    "ClassTables",
    "Hits",
    "LayerObservation",
    "Observation",
    "PartObservation",
    "Protocol",
    "observe",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
