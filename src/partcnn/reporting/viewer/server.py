"""The server: loopback only, one page, one address that takes a picture's bytes and answers with JSON.

Nothing is written but the picture, under a name of ours, in a temporary folder that is gone after the answer. Other
hosts' names in the request are refused, so that a page elsewhere cannot reach this one through a name of its own.
Requests are answered by so many threads at once, the others wait for their turn; what they send is bounded in time
and, all together, in bytes. Whatever is refused is answered by one sentence, as JSON.
"""

import io
import json
import logging
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError, DataError, PartCNNError
from partcnn.foundation.streams import printable
from partcnn.model.competing_mask import competing_masks
from partcnn.model.network import conversion_of
from partcnn.reporting.viewer.answer import page_text, picture_answer

MOST_BYTES = 20_000_000  # of an upload
MOST_BYTES_AT_ONCE = 5 * MOST_BYTES  # of all uploads that are held
MOST_THREADS = 32
MOST_PIXELS = 50_000_000  # of a picture; a small file may hold a huge one
# Of what Pillow opens: plain pixels, and nothing that starts another program to draw them, as PostScript does.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_MOST_DIGITS = 10  # of a number in a header; Python refuses to read thousands of them
_BACKLOG = 512  # connections that the system holds until there is a thread; of more it resets some
_REQUEST_S = 30.0  # for a whole request, and again for an answer to be taken
_PATIENCE_S = 5.0  # for what a refused request still sends
_LOOPBACK = "127.0.0.1"
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{}'; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_log = logging.getLogger("partcnn")


class ViewerServer(ThreadingHTTPServer):
    """Serves one network; pictures pass it one after the other."""

    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(self, model: nn.Module, name: str, port: int, parts: dict[int, str]) -> None:
        super().__init__((_LOOPBACK, port), _Handler)
        self.model, self.parts = model, parts
        self.page, self.script_hash = page_text(
            name, conversion_of(model).classes, is_tiling=bool(competing_masks(model))
        )
        self.turn = threading.Lock()
        self.room = _Room(MOST_BYTES_AT_ONCE)
        self.request_s = _REQUEST_S
        self._free_threads = threading.BoundedSemaphore(MOST_THREADS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """As soon as one of the threads is free: until then the system holds those that wait."""
        self._free_threads.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free_threads.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_threads.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break; all else would be a fault of ours."""
        is_broken = isinstance(sys.exc_info()[1], OSError)
        _log.log(logging.DEBUG if is_broken else logging.ERROR, "a request was broken off", exc_info=True)

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


class _Room:
    """Bytes that may be held at once."""

    def __init__(self, most: int) -> None:
        self._left, self._lock = most, threading.Lock()

    @contextmanager
    def taken(self, count: int) -> Iterator[bool]:
        """Whether there was room for so many; it is given back at the end."""
        with self._lock:
            is_taken = count <= self._left
            self._left -= count * is_taken
        try:
            yield is_taken
        finally:
            with self._lock:
                self._left += count * is_taken


class _Until(io.RawIOBase):
    """What a connection sends, up to a time: one byte now and then does not hold a thread for ever."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._end = connection, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer
    server_version, sys_version = "partcnn", ""
    default_request_version = "HTTP/1.0"  # before the request's own is known: an answer has a status then too

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Until(self.connection, self.server.request_s))

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
        with self.server.room.taken(int(length)) as has_room:
            if not has_room:
                return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many pictures at once; try again")
            self._answer_picture(int(length), self.headers.get("X-Class") or None)

    def _answer_picture(self, length: int, label: str | None) -> None:
        try:
            content = self.rfile.read(length)
        except TimeoutError:
            expected = f"expected the whole picture within {self.server.request_s:g} s"
            return self._refuse(HTTPStatus.REQUEST_TIMEOUT, expected)
        if len(content) < length:
            return self._refuse(HTTPStatus.BAD_REQUEST, f"expected {length} bytes, got {len(content)}")
        try:
            answer = json.dumps(self._explained(content, label), allow_nan=False).encode()
        except PartCNNError as error:
            return self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except Exception:  # of the network, such as too little memory; the next picture may pass
            _log.exception("a picture could not be explained")
            return self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "it could not be explained; the terminal says why")
        self._answer(HTTPStatus.OK, "application/json", answer)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no request that is answered here: other methods, lines that are too long or no HTTP."""
        status = HTTPStatus(code)
        wanted = "expected GET / or POST /explain" if status == HTTPStatus.NOT_IMPLEMENTED else "expected plain HTTP"
        self._refuse(status, f"{wanted}, got {status.phrase.lower()}")

    def log_message(self, format: str, *arguments: Any) -> None:
        _log.debug("%s", printable(format % arguments))

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
                return picture_answer(why, self.server.parts)  # in turn: it still holds the decoded picture

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
        self._drain()

    def _drain(self) -> None:
        """Read on for a while: where a connection is closed on bytes that were not read, its answer is lost."""
        end = time.monotonic() + _PATIENCE_S
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            left = MOST_BYTES
            while left > 0 and (seconds := end - time.monotonic()) > 0:
                self.connection.settimeout(min(seconds, 1.0))
                some = self.connection.recv(min(left, 1 << 16))
                if not some:
                    return
                left -= len(some)

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.connection.settimeout(self.server.request_s)
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
        if self.command != "HEAD":
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
