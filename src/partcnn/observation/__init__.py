"""Run a network over pictures once, and keep of every map what measurements need, in bounded memory."""

from partcnn.observation.layers import LayerObservation
from partcnn.observation.observer import Observation, observe
from partcnn.observation.parts import Hits, PartObservation
from partcnn.observation.protocol import Protocol
from partcnn.observation.strongest import ClassTables

__all__ = ["ClassTables", "Hits", "LayerObservation", "Observation", "PartObservation", "Protocol", "observe"]
