"""The command line."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.app.cli.commands import main

_HOMES = {
    "main": "commands",
}

__all__ = [
    "main",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
