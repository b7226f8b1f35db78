"""What ends a command and is no mistake of ours, in one line."""

from jsonargparse import ArgumentError

from partcnn.foundation.errors import PartCNNError
from partcnn.foundation.streams import is_text

# torch has no exceptions of its own for most of what a machine refuses: a part of its message → what is told.
_OF_TORCH = {
    "can't allocate memory": "there is not enough memory; a smaller --recipe.batch_size or --network.input_size may do",
    "out of memory": "there is not enough memory; a smaller --recipe.batch_size or --network.input_size may do",
    "DataLoader worker": "a process that reads pictures was ended by the system, as it is where memory is short; "
    "fewer --workers may do, or 0",
    "PytorchStreamWriter": "a file cannot be written whole; the disk may be full",
}


def in_one_line(error: Exception) -> str | None:
    """What is told of an exception; None of one that nobody foresaw, which has a traceback to be reported."""
    if isinstance(error, (PartCNNError, ArgumentError)):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return f"the system refuses: {error}"
    if isinstance(error, UnicodeEncodeError) and not is_text(str(error.object)):
        return f"expected names in UTF-8, got {error.object}; libraries below read no other; rename it"
    if isinstance(error, MemoryError):
        return _OF_TORCH["out of memory"]
    if isinstance(error, RuntimeError):
        return next((told for part, told in _OF_TORCH.items() if part in str(error)), None)
    return None
