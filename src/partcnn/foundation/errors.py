"""The errors a user can cause: each names the argument, what was expected, what came and what to do.

The command line prints them as one line and exits with status 2.
"""


class PartCNNError(Exception):
    """Base of every error that partcnn raises on purpose."""


class ShapeError(PartCNNError, ValueError):
    """A tensor has the wrong axes or sizes."""


class ConfigError(PartCNNError, ValueError):
    """An argument or a setting is outside what it may be."""


class LayerError(PartCNNError, ValueError):
    """A layer does not exist, or part filters cannot be put there."""


class DataError(PartCNNError, ValueError):
    """A data set, a picture or an annotation cannot be used."""


class WeightsError(PartCNNError, ValueError):
    """Weights are missing, unreadable, or do not fit the network."""


class RunError(PartCNNError, RuntimeError):
    """A run directory exists already, is incomplete, or cannot be read."""


class DeviceError(PartCNNError):
    """A process that a training on several devices needs is gone."""
