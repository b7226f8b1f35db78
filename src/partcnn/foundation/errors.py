"""The errors a user can cause: each names the argument, what was expected, what came and what to do.

The command line prints them as one line and exits with status 2.
"""

_OF_A_WORKER = "Original Traceback (most recent call last):"  # torch's, around what its loaders' processes raise


class PartCNNError(Exception):
    """Base of every error that partcnn raises on purpose.

    One that a loader's process raises comes out of the loader with that process's traceback as its text: of it the last
    line stays, which is the sentence.
    """

    def __init__(self, message: str = "") -> None:
        if _OF_A_WORKER in message:
            message = message.rstrip().splitlines()[-1].partition(": ")[2]
        super().__init__(message)


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


class DivergedError(PartCNNError, ArithmeticError):
    """Training met a loss or a weight that is not finite."""


class RunError(PartCNNError, RuntimeError):
    """A run directory exists already, is incomplete, or cannot be read."""
