"""The viewer answers this machine alone, takes pictures of bounded size, and keeps nothing."""

import http.client
import io
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError
from partcnn.reporting.viewer import MOST_BYTES, make_server
from partcnn.reporting.viewer.server import ViewerServer
from tests.discs import disc_model, disc_picture, disc_place

SIZE = (320, 160)
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def server() -> Iterator[ViewerServer]:
    with make_server(disc_model(), "<b>run</b>", parts={0: "sun"}) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    return disc_picture(tmp_path / "disc.jpg", SIZE, disc_place(SIZE, (11, 3)), orientation=6)


def ask(
    server: ViewerServer, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    is_json = response.headers["Content-Type"] == "application/json"
    return response.status, json.loads(content) if is_json else content.decode(), response.headers


def test_the_page_is_served_and_names_stay_text(server: ViewerServer) -> None:
    status, page, headers = ask(server, "GET", "/")
    assert status == 200
    assert "<b>run</b>" not in page
    assert "&lt;b&gt;run" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_picture_is_explained_as_the_library_does(server: ViewerServer, disc: Path) -> None:
    status, answer, _ = ask(server, "POST", "/explain", disc.read_bytes(), {"X-Class": "1"})
    expected = explain(server.model, disc, "disc")
    assert status == 200
    assert answer["label"] == "disc"
    assert answer["size"] == list(SIZE)
    assert answer["sum"]["logit"] == pytest.approx(expected.logit)
    terms = answer["sum"]["terms"]
    assert answer["sum"]["bias"] + sum(term["value"] for term in terms) == pytest.approx(expected.logit, abs=1e-4)
    sun = next(term for term in terms if term["name"] == "filter 0, sun")
    place = [value / side for value, side in zip(disc_place(SIZE, (11, 3)), SIZE, strict=True)]
    assert sun["places"][0] == pytest.approx(place, abs=0.01)
    assert sun["hidden"] < 0
    assert answer["maps"][0]["src"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_hosts_name_is_refused(server: ViewerServer, method: str, host: str) -> None:
    path = "/" if method == "GET" else "/explain"
    headers = {"Host": host.format(port=server.server_port)}
    status, answer, _ = ask(server, method, path, b"" if method == "POST" else None, headers)
    assert (status, answer["error"]) == (403, "this page is for the machine it runs on")


def test_a_page_of_another_host_cannot_send_pictures(server: ViewerServer, disc: Path) -> None:
    for origin in ("http://evil.example", "null"):
        assert ask(server, "POST", "/explain", disc.read_bytes(), {"Origin": origin})[0] == 403
    own = {"Origin": f"http://localhost:{server.server_port}", "Host": f"localhost:{server.server_port}"}
    assert ask(server, "POST", "/explain", disc.read_bytes(), own)[0] == 200


def test_only_the_loopback_address_is_bound(server: ViewerServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_what_is_no_picture_is_refused_in_one_line(server: ViewerServer) -> None:
    for content in (b"words", b"", b"\xff\xd8\xff\xe0 cut off"):
        status, answer, _ = ask(server, "POST", "/explain", content)
        assert status == 422
        assert answer["error"] == "expected a picture that can be read, such as a JPEG or PNG file"


def test_a_truncated_picture_is_refused_without_naming_our_folder(server: ViewerServer, disc: Path) -> None:
    status, answer, _ = ask(server, "POST", "/explain", disc.read_bytes()[:-400])
    assert status == 422
    assert tempfile.gettempdir() not in answer["error"]


def test_uploads_are_bounded_before_they_are_read(server: ViewerServer) -> None:
    status, answer, _ = ask(server, "POST", "/explain", b"", {"Content-Length": str(MOST_BYTES + 1)})
    assert (status, answer["error"]) == (413, "expected a picture of at most 20 MB")
    assert ask(server, "POST", "/explain", b"x", {"Content-Length": "-1"})[0] == 411


def test_a_small_file_of_a_huge_picture_is_refused(server: ViewerServer) -> None:
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 100_000
    status, answer, _ = ask(server, "POST", "/explain", buffer.getvalue())
    assert status == 422
    assert "at most 50 million pixels" in answer["error"]


def test_a_format_that_another_program_would_draw_is_refused(server: ViewerServer) -> None:
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"
    status, answer, _ = ask(server, "POST", "/explain", script)
    assert (status, "got EPS" in answer["error"]) == (422, True)


def test_numbers_too_long_to_read_are_refused(server: ViewerServer, disc: Path) -> None:
    assert ask(server, "POST", "/explain", b"x", {"Content-Length": "9" * 5000})[0] == 411
    status, answer, _ = ask(server, "POST", "/explain", disc.read_bytes(), {"X-Class": "9" * 5000})
    assert (status, len(answer["error"]) < 200) == (422, True)


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/run.yaml", "/%2e%2e/model.safetensors"])
def test_no_file_can_be_had(server: ViewerServer, path: str) -> None:
    assert ask(server, "GET", path)[0] == 404
    assert ask(server, "POST", path, b"x")[0] == 404


def test_an_unknown_class_is_refused(server: ViewerServer, disc: Path) -> None:
    for label in ("7", "dog"):
        status, answer, _ = ask(server, "POST", "/explain", disc.read_bytes(), {"X-Class": label})
        assert status == 422
        assert "class" in answer["error"] or "label" in answer["error"]


def test_nothing_is_left_behind(
    server: ViewerServer, disc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert ask(server, "POST", "/explain", disc.read_bytes())[0] == 200
    assert ask(server, "POST", "/explain", b"words")[0] == 422
    assert sorted(tmp_path.rglob("*")) == before


def test_a_taken_port_is_told(server: ViewerServer) -> None:
    with pytest.raises(ConfigError, match=f"port: expected a free one, got {server.server_port}"):
        make_server(server.model, "second", port=server.server_port)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: make browser")
def test_a_picture_chosen_in_the_page_is_shown_with_its_places(
    server: ViewerServer, disc: Path, tmp_path: Path
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -e '.[dev]'")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.set_default_timeout(15_000)
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.locator("[name=picture]").set_input_files(str(disc))
        page.locator(".answer .place").first.wait_for()
        page.locator(".sum-row", has_text="filter 0, sun").hover()
        image, lit = (page.locator(css).bounding_box() for css in (".stage img", ".place.is-lit"))
        x, y = (value / side for value, side in zip(disc_place(SIZE, (11, 3)), SIZE, strict=True))
        assert lit["x"] + lit["width"] / 2 == pytest.approx(image["x"] + x * image["width"], abs=2)
        assert lit["y"] + lit["height"] / 2 == pytest.approx(image["y"] + y * image["height"], abs=2)
        assert complaints == []
        assert all(url.startswith(("data:", "blob:", f"http://127.0.0.1:{server.server_port}/")) for url in asked)
        words = tmp_path / "words.jpg"
        words.write_text("words")
        page.locator("[name=picture]").set_input_files(str(words))
        page.locator(".status.is-error", has_text="expected a picture").wait_for()
        browser.close()
