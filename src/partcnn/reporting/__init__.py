"""The page, an evaluation and its pictures in one HTML file; and the viewer, which explains a picture of one's own."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.reporting.writing import report

_HOMES = {
    "report": "writing",
}

__all__ = [
    "report",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
