"""The viewer under many requests, slow ones, half ones and odd ones: bounded, and one sentence each."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from partcnn.reporting.viewer import make_server
from partcnn.reporting.viewer import server as viewer
from partcnn.reporting.viewer.server import MOST_BYTES, MOST_THREADS, ViewerServer
from tests.discs import disc_model, disc_picture, disc_place

SIZE = (320, 160)


@contextlib.contextmanager
def serving(request_s: float = 30.0) -> Iterator[ViewerServer]:
    with make_server(disc_model(), "run") as made:
        made.request_s = request_s
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[ViewerServer]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def hasty() -> Iterator[ViewerServer]:
    """It waits a second for a request."""
    with serving(request_s=1.0) as made:
        yield made


def sent(server: ViewerServer, content: bytes, seconds: float = 20) -> tuple[int | None, Any]:
    """The status and the JSON that come back for raw bytes; None where the connection is closed without any."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=seconds) as connection:
        connection.sendall(content)
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
        except (http.client.BadStatusLine, ConnectionError):
            return None, None
        return response.status, json.loads(response.read() or b"null")


def request(server: ViewerServer, line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [line, f"Host: 127.0.0.1:{server.server_port}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@pytest.mark.fault("picture", "200 requests reach the viewer at once", "Every one is answered, 32 at a time")
def test_two_hundred_requests_at_once_are_all_answered(server: ViewerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    answered = viewer._Handler.do_GET

    def counted(handler: Any) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        answered(handler)
        with lock:
            at_once -= 1

    monkeypatch.setattr(viewer._Handler, "do_GET", counted)
    start = threading.Barrier(200)

    def ask(_: int) -> int:
        start.wait()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    with ThreadPoolExecutor(200) as pool:
        assert list(pool.map(ask, range(200))) == [200] * 200
    assert 1 < most <= MOST_THREADS


@pytest.mark.fault("picture", "A picture is sent by half and then nothing", "One sentence after the time that it has")
def test_half_a_body_is_not_waited_for(hasty: ViewerServer) -> None:
    began = time.monotonic()
    status, answer = sent(hasty, request(hasty, "POST /explain HTTP/1.1", "Content-Length: 1000", body=b"x" * 500))
    assert (status, answer) == (408, {"error": "expected the whole picture within 1 s"})
    assert time.monotonic() - began < 10


@pytest.mark.fault("picture", "A request comes byte by byte", "It is closed after the time that it has")
def test_byte_by_byte_a_request_has_no_more_time(hasty: ViewerServer) -> None:
    with socket.create_connection(("127.0.0.1", hasty.server_port), timeout=20) as connection:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):  # reset, or a broken pipe
            while time.monotonic() - began < 15:
                connection.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - began < 10


@pytest.mark.fault("picture", "A picture is cut off by the sender", "One sentence: how many bytes came")
def test_a_body_that_ends_early_is_told(server: ViewerServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(request(server, "POST /explain HTTP/1.1", "Content-Length: 1000", body=b"x" * 500))
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, json.loads(response.read())) == (400, {"error": "expected 1000 bytes, got 500"})


@pytest.mark.fault(
    "picture", "Many send the viewer large pictures, slowly, at once", "What is held stays bounded; the others are told"
)
def test_all_bodies_together_are_bounded(server: ViewerServer, tmp_path: Path) -> None:
    """Each claims the most and sends little; there is room for five."""
    claim = request(server, "POST /explain HTTP/1.1", f"Content-Length: {MOST_BYTES}", body=b"x")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            address = ("127.0.0.1", server.server_port)
            stack.enter_context(socket.create_connection(address, timeout=20)).sendall(claim)
        until = time.monotonic() + 10
        while server.room._left and time.monotonic() < until:
            time.sleep(0.02)
        assert sent(server, claim) == (503, {"error": "too many pictures at once; try again"})
        assert sent(server, request(server, "OPTIONS / HTTP/1.1"))[0] == 501  # others are answered meanwhile
    until = time.monotonic() + 10
    disc = disc_picture(tmp_path / "disc.jpg", SIZE, disc_place(SIZE, (11, 3))).read_bytes()
    post = request(server, "POST /explain HTTP/1.1", f"Content-Length: {len(disc)}", body=disc)
    while sent(server, post)[0] != 200:  # the room is given back
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("line", "status", "sentence"),
    [
        ("PUT / HTTP/1.1", 501, "expected GET / or POST /explain, got not implemented"),
        ("\x1b[31mGET / HTTP/1.1", 501, "expected GET / or POST /explain, got not implemented"),
        ("GET / HTTP/9.9", 505, "expected plain HTTP, got http version not supported"),
        ("GET / HTTP/x", 400, "expected plain HTTP, got bad request"),
        ("GET /" + "a" * 70_000 + " HTTP/1.1", 414, None),
        ("GET http://evil.example/ HTTP/1.1", 404, "there is one page here: /"),
        ("GET /\x00 HTTP/1.1", 404, "there is one page here: /"),
    ],
)
@pytest.mark.fault("picture", "The viewer is sent odd methods, versions and paths", "One sentence each")
def test_odd_requests_get_a_sentence(server: ViewerServer, line: str, status: int, sentence: str | None) -> None:
    found, answer = sent(server, request(server, line))
    assert found == status
    assert answer.keys() == {"error"}
    assert sentence is None or answer["error"] == sentence


@pytest.mark.fault("picture", "The viewer is sent hundreds of headers", "One sentence")
def test_too_many_headers_get_a_sentence(server: ViewerServer) -> None:
    headers = [f"X-{number}: {number}" for number in range(200)]
    status, answer = sent(server, request(server, "GET / HTTP/1.1", *headers))
    assert (status, answer) == (431, {"error": "expected plain HTTP, got request header fields too large"})


@pytest.mark.fault("picture", "The network fails on a picture in the viewer", "One sentence, and the next one passes")
def test_what_the_network_cannot_do_is_told_and_the_server_goes_on(
    server: ViewerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disc = disc_picture(tmp_path / "disc.jpg", SIZE, disc_place(SIZE, (11, 3))).read_bytes()
    post = request(server, "POST /explain HTTP/1.1", f"Content-Length: {len(disc)}", body=disc)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("not enough memory")

    with monkeypatch.context() as patched:
        patched.setattr(viewer, "explain", fails)
        assert sent(server, post) == (500, {"error": "it could not be explained; the terminal says why"})
    assert sent(server, post)[0] == 200
