"""Pages where one drops a picture and sees its explanation: of this machine's server, or all within the browser."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.reporting.viewer.server import MOST_BYTES, MOST_PIXELS, make_server
    from partcnn.reporting.viewer.web_page import write_web_page

_HOMES = {
    "MOST_BYTES": "server",
    "MOST_PIXELS": "server",
    "make_server": "server",
    "write_web_page": "web_page",
}

__all__ = [
    "MOST_BYTES",
    "MOST_PIXELS",
    "make_server",
    "write_web_page",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
