"""The server: loopback only, one page, one address that takes a picture's bytes and answers with JSON.

Nothing is written but the picture, under a name of ours, in a temporary folder that is gone after the answer. Other
hosts' names in the request are refused, so that a page elsewhere cannot reach this one through a name of its own.
"""

import json
import logging
import tempfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError, DataError, PartCNNError
from partcnn.model.competing_mask import competing_masks
from partcnn.model.network import conversion_of
from partcnn.reporting.viewer.answer import page_text, picture_answer

MOST_BYTES = 20_000_000  # of an upload
MOST_PIXELS = 50_000_000  # of a picture; a small file may hold a huge one
# Of what Pillow opens: plain pixels, and nothing that starts another program to draw them, as PostScript does.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_MOST_DIGITS = 10  # of a number in a header; Python refuses to read thousands of them
_LOOPBACK = "127.0.0.1"
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{}'; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_log = logging.getLogger("partcnn")


class ViewerServer(ThreadingHTTPServer):
    """Serves one network; pictures pass it one after the other."""

    daemon_threads = True

    def __init__(self, model: nn.Module, name: str, port: int, parts: dict[int, str]) -> None:
        super().__init__((_LOOPBACK, port), _Handler)
        self.model, self.parts = model, parts
        self.page, self.script_hash = page_text(
            name, conversion_of(model).classes, is_tiling=bool(competing_masks(model))
        )
        self.turn = threading.Lock()

    @property
    def own_hosts(self) -> set[str]:
        """What a request's Host may say."""
        return {f"{name}:{self.server_port}" for name in (_LOOPBACK, "localhost")}


def make_server(model: nn.Module, name: str, *, port: int = 0, parts: dict[int, str] | None = None) -> ViewerServer:
    """A server that is bound and listens; `serve_forever()` answers.

    Args:
        model: made by `partcnn.convert`.
        name: to show, such as that of the run.
        port: of the loopback address; 0 takes any free one.
        parts: filter → the part it follows, to show beside it.

    Raises:
        ConfigError: the port is taken or none.
        LayerError: the network was not made by `partcnn.convert`.
    """
    try:
        return ViewerServer(model, name, port, parts or {})
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port: expected a free one, got {port} ({error}); give another --port") from error


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer
    timeout = 30  # seconds of silence
    server_version, sys_version = "partcnn", ""

    def do_GET(self) -> None:
        if not self._is_own():
            return
        if self.path.partition("?")[0] != "/":
            return self._refuse(HTTPStatus.NOT_FOUND, "there is one page here: /")
        self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page.encode())

    def do_POST(self) -> None:
        if not self._is_own():
            return
        if self.path != "/explain":
            return self._refuse(HTTPStatus.NOT_FOUND, "pictures go to /explain")
        length = self.headers.get("Content-Length", "")
        if not _is_count(length):
            return self._refuse(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if int(length) > MOST_BYTES:
            return self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a picture of at most {MOST_BYTES // 10**6} MB"
            )
        label = self.headers.get("X-Class") or None
        try:
            answer = self._explained(self.rfile.read(int(length)), label)
        except PartCNNError as error:
            return self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        self._answer(HTTPStatus.OK, "application/json", json.dumps(answer, allow_nan=False).encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        _log.debug(format, *arguments)

    def _explained(self, content: bytes, label: str | None) -> dict[str, Any]:
        index = None
        if label is not None:
            if not _is_count(label):
                raise ConfigError(f"class: expected its number, got {label[:40]!r}")
            index = int(label)
        with tempfile.TemporaryDirectory(prefix="partcnn-view-") as folder:
            file = Path(folder) / "picture"
            file.write_bytes(content)
            _check_header(file)
            with self.server.turn:
                try:
                    why = explain(self.server.model, file, index, hide=8)
                except DataError as error:
                    raise DataError("expected a picture that can be read, such as a JPEG or PNG file") from error
        return picture_answer(why, self.server.parts)

    def _is_own(self) -> bool:
        """Refuses requests that came by another name, or from the page of another host."""
        origin = self.headers.get("Origin")
        origins = {f"http://{host}" for host in self.server.own_hosts}
        if self.headers.get("Host", "") in self.server.own_hosts and (origin is None or origin in origins):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "this page is for the machine it runs on")
        return False

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # a body that was not read would be taken for the next request
        self._answer(status, "application/json", json.dumps({"error": reason}).encode())

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": _POLICY.format(self.server.script_hash),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def _check_header(file: Path) -> None:
    """Refuses by its header a picture too large to decode, or of a format that is not plain pixels."""
    try:
        with Image.open(file) as picture:
            (width, height), kind = picture.size, picture.format
    except Image.DecompressionBombError:
        width, height, kind = MOST_PIXELS, 2, None
    except Exception as error:  # what is no picture raises what each decoder happens to
        raise DataError("expected a picture that can be read, such as a JPEG or PNG file") from error
    if width * height > MOST_PIXELS:
        raise DataError(f"expected a picture of at most {MOST_PIXELS // 10**6} million pixels")
    if kind not in FORMATS:
        raise DataError(f"expected a picture of {', '.join(FORMATS)}, got {kind}")
