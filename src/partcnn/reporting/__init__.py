"""The page, an evaluation and its pictures in one HTML file; and the viewer, which explains a picture of one's own."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.reporting.panels.panel import PageContent, Panel
    from partcnn.reporting.writing import report

_HOMES = {
    "PageContent": "panels.panel",
    "Panel": "panels.panel",
    "report": "writing",
}

__all__ = [
    "PageContent",
    "Panel",
    "report",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
