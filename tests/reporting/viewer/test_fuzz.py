"""Requests to the viewer, damaged and absurd: an answer or a closed connection, no traceback, and it serves on."""

import http.client
import json
import logging
import socket
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.datasets.readers.test_fuzz import damaged, fuzz
from tests.discs import disc_picture, disc_place
from tests.reporting.viewer.test_bounds import request, serving

SIZE = (64, 48)
ODD_HEADERS = st.lists(
    st.sampled_from(["Content-Length", "Host", "Origin", "X-Class", "Transfer-Encoding", "Expect", "Connection"])
    .flatmap(lambda name: st.text(st.characters(max_codepoint=255), max_size=12).map(lambda text: f"{name}: {text}")),
    max_size=4,
)  # fmt: skip


@pytest.mark.fault("picture", "Damaged requests and pictures are sent to the viewer", "An answer each; it serves on")
def test_requests(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disc = disc_picture(tmp_path / "disc.png", SIZE, disc_place(SIZE, (11, 3))).read_bytes()
    caplog.set_level(logging.ERROR)
    with serving(request_s=2.0) as server:
        length = f"Content-Length: {len(disc)}"
        sound = request(server, "POST /explain HTTP/1.1", length, "X-Class: 1", body=disc)
        page = request(server, "GET / HTTP/1.1")
        head = len(sound) - len(disc)

        def with_headers(headers: list[str]) -> bytes:
            return request(server, "POST /explain HTTP/1.1", *headers, length, body=disc)

        def attempt(content: bytes) -> None:
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
                try:
                    connection.sendall(content)
                    connection.shutdown(socket.SHUT_WR)
                    response = http.client.HTTPResponse(connection)
                    response.begin()
                    answer = response.read()
                except (ConnectionError, http.client.BadStatusLine):  # what is no request at all is closed
                    return
            if response.headers["Content-Type"] == "application/json":
                answered = json.loads(answer)
                assert response.status == 200 or answered.keys() == {"error"}
                assert response.status != 500
            else:
                assert response.status == 200
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]

        attempt(sound)
        requests = (
            damaged(sound)
            | damaged(sound[:head]).map(lambda start: start + disc)
            | damaged(disc).map(lambda body: sound[:head] + body)
            | damaged(page)
            | st.binary(max_size=200)
            | ODD_HEADERS.map(with_headers)
        )
        fuzz(requests, attempt)
        attempt(page)
    assert [record.getMessage() for record in caplog.records] == []
