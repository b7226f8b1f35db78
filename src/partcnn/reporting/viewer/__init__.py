"""A page on this machine alone where one drops a picture and sees its explanation."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.reporting.viewer.server import MOST_BYTES, MOST_PIXELS, make_server

_HOMES = {
    "MOST_BYTES": "server",
    "MOST_PIXELS": "server",
    "make_server": "server",
}

__all__ = [
    "MOST_BYTES",
    "MOST_PIXELS",
    "make_server",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
