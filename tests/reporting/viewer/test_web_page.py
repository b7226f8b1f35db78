"""The page that explains within the browser does as the package: the same input, sum and regions, and no other host."""

import functools
import http.server
import json
import math
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import nn

from partcnn.app.cli.commands import main
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.model.conversion import convert
from partcnn.model.naming import name_filters
from partcnn.model.network import conversion_of, layer_field
from partcnn.model.saving.exporting import file_metadata
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.preprocessing import Preprocessing
from partcnn.plot import region_outlines
from partcnn.plot.tiling import svg_path
from partcnn.reporting.templates import script_hash
from partcnn.reporting.viewer import write_web_page
from partcnn.reporting.viewer.web_page import RUNTIME_FILES, RUNTIME_FOLDER
from tests.discs import disc_model, disc_picture, disc_place
from tests.pointing_network import BLUE, RED, picture
from tests.tiling_network import tiling_network

CHROMIUM = shutil.which("chromium")
RUNTIME = Path(os.environ.get("PARTCNN_ONNXRUNTIME_WEB", RUNTIME_FOLDER))
NAME = "<b>run</b>"
CLASSES = ["night", "</script><script>alert(1)</script>"]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: make browser")
needs_runtime = pytest.mark.skipif(
    not (RUNTIME / RUNTIME_FILES[0]).is_file(),
    reason="onnxruntime-web is not there: npm install onnxruntime-web; PARTCNN_ONNXRUNTIME_WEB names its folder dist",
)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    made = tiling_network(4)
    conversion_of(made).classes = CLASSES
    name_filters(made, {RED: "sun", BLUE: "sun"})
    return made


@pytest.fixture(scope="module")
def no_runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the names, without what they do."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME_FILES:
        (folder / name).write_bytes(b"throw new Error('an empty runtime');")
    return folder


@pytest.fixture(scope="module")
def folder(model: nn.Module, no_runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("web") / "new" / "page"
    write_web_page(model, made, runtime=no_runtime, name=NAME, parts={1: "leaf"})
    return made


@pytest.fixture(scope="module")
def running_folder(folder: Path) -> Path:
    """The same page with onnxruntime-web itself."""
    made = folder.parent / "running"
    shutil.copytree(folder, made)
    for name in RUNTIME_FILES:
        shutil.copyfile(RUNTIME / name, made / name)
    return made


class Served:
    """Pages of a folder in chromium, from a server of plain files, and what they asked for or complained of."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.servers: list[http.server.ThreadingHTTPServer] = []

    def open(self, folder: Path, window: tuple[int, int] = (1000, 900)) -> Any:
        handler = functools.partial(QuietHandler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        self.servers.append(server)
        return self.open_url(f"http://127.0.0.1:{server.server_port}/", window)

    def open_url(self, url: str, window: tuple[int, int] = (1000, 900)) -> Any:
        page = self.browser.new_page(viewport={"width": window[0], "height": window[1]})
        page.set_default_timeout(20_000)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        return page

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -e '.[dev]'")
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def served(browser: Any) -> Iterator[Served]:
    made = Served(browser)
    yield made
    made.close()


def shown_sum(page: Any) -> dict[str, float]:
    """The bars' names and values."""
    names, values = (page.locator(f".sum-{kind}").all_inner_texts() for kind in ("name", "value"))
    return {name.strip(): float(value.replace("−", "-")) for name, value in zip(names, values, strict=True)}


def page_data(folder: Path) -> dict[str, Any]:
    text = (folder / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_folder_holds_the_page_the_network_and_the_runtime(model: nn.Module, folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == sorted(["index.html", "model.onnx", *RUNTIME_FILES])
    data = page_data(folder)
    assert data.items() >= file_metadata(model).items()
    assert [(term["name"], term["filters"]) for term in data["terms"]] == [
        ("sun (0, 2)", [0, 2]),
        ("1 leaf", [1]),
        ("filter 3", [3]),
    ]


def test_names_stay_text_and_no_other_script_may_run(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert NAME not in text
    assert CLASSES[1] not in text
    scripts = re.findall(r"<script>\n(.*?)\n</script>", text, flags=re.DOTALL)
    assert len(scripts) == 1
    assert f"script-src 'self' 'wasm-unsafe-eval' 'sha256-{script_hash(scripts[0])}';" in text
    assert "default-src 'none'" in text


def test_bad_arguments_are_told(model: nn.Module, no_runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="npm install onnxruntime-web, then give node_modules/onnxruntime-web/dist"):
        write_web_page(model, tmp_path / "page", runtime=tmp_path)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="got the file"):
        write_web_page(model, file, runtime=no_runtime)
    original = convert(DemoNet(num_classes=2), "features.block3", num_classes=2, head="original")
    with pytest.raises(LayerError, match="the additive head"):
        write_web_page(original, tmp_path / "page", runtime=no_runtime)
    assert file.read_text() == "mine"
    assert not (tmp_path / "page").exists()


def test_the_command_line_writes_the_page(no_runtime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page"
    command = ["export", "demo:", "--runtime", str(no_runtime)]
    assert main([*command, "--format", "web", "--out", str(out)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"python -m http.server --directory {out}" in told
    assert "onnxruntime gives the same" in told
    followed = [term["name"] for term in page_data(out)["terms"] if not term["name"].startswith("filter ")]
    assert len(followed) >= 2  # by the figures beside the network
    assert main([*command, "--out", str(tmp_path / "model.onnx")]) == 2
    assert "runtime: expected with --format web alone" in capsys.readouterr().err


@needs_chromium
@pytest.mark.parametrize("channels", [3, 1])
def test_the_networks_input_is_that_of_the_package(folder: Path, served: Served, tmp_path: Path, channels: int) -> None:
    resizes_bytes = "AVX" in torch.backends.cpu.get_cpu_capability()  # else torch rounds once in place of twice
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    page = served.open(folder)
    drawn = draw_animal("giraffe", 3, size=200).image.convert("RGB")
    turned = Image.Exif()
    turned[274] = 6  # the orientation tag: turned by a quarter
    drawn.save(tmp_path / "wide.jpg", exif=turned.tobytes(), quality=90)
    linear = PngInfo()
    linear.add(b"gAMA", (100_000).to_bytes(4, "big"))  # Pillow reads the numbers as they are, whatever they mean
    drawn.resize((211, 43)).save(tmp_path / "flat.png", pnginfo=linear)
    for file, size in (("wide.jpg", (96, 64)), ("flat.png", (20, 70)), ("flat.png", (70, 300))):
        preprocessing = Preprocessing(size, mean, std, channels=channels)
        page.evaluate("given => { page.preprocessing = given; }", preprocessing.to_spec())
        page.locator("[name=picture]").set_input_files(str(tmp_path / file))
        found = page.evaluate("async () => Array.from(networkInput(await pixelsOf(form.elements.picture.files[0])))")
        with Image.open(tmp_path / file) as opened:
            expected = preprocessing(opened)
        steps = (torch.tensor(found).view_as(expected) - expected).abs() * 255 * min(std)
        assert float(steps.max()) < (0.01 if resizes_bytes else 1.01)


@needs_chromium
def test_regions_are_those_of_the_package(model: nn.Module, folder: Path, served: Served) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = nn.functional.interpolate(4 * torch.randn(1, 5, 4, 4, generator=generator), (8, 8), mode="bilinear")
    shares = (2 * scores).softmax(dim=1)[0, :4]
    shares[3] *= 0.4 / shares[3].amax()  # it is not seen: what it has is nobody's
    field = layer_field(model, str(file_metadata(model)["part_layer"]))
    seen = shares * (shares.amax(dim=(1, 2)) > 0.5)[:, None, None]
    outlines = [svg_path(outline) for outline in region_outlines(seen, field)]
    side = 100
    page = served.open(folder)
    regions, ours, theirs = page.evaluate(
        """([maps, outlines, side]) => {
          const context = element("canvas").getContext("2d");
          const holders = (paths) => {
            const shapes = paths.map((path) => new Path2D(path ?? ""));
            return Array.from({ length: side * side }, (_, place) => {
              const [x, y] = [place % side, Math.floor(place / side)].map((cell) => REGION_STEPS * (cell + 0.5) / side);
              return shapes.findIndex((shape) => context.isPointInPath(shape, x, y, "evenodd"));
            });
          };
          const regions = regionsOf(maps.map((map) => Float32Array.from(map)));
          return [regions, holders(outlines), holders(regions.map(({ path }) => path))];
        }""",
        [shares.flatten(1).tolist(), outlines, side],
    )
    assert set(ours) == {-1, 0, 1, 2}
    assert sum(one != other for one, other in zip(ours, theirs, strict=True)) <= 15  # ours are in whole steps
    assert regions[3] == {"place": None, "path": None}
    for number, region in enumerate(regions[:3]):
        x, y = (int(side * share) for share in region["place"])
        assert ours[side * y + x] == number


@needs_chromium
def test_what_cannot_be_loaded_is_told(folder: Path, served: Served) -> None:
    page = served.open(folder)
    refusal = page.locator(".status.is-error", has_text="could not be loaded: an empty runtime")
    refusal.wait_for()
    page.locator("[name=picture]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b""})
    page.wait_for_function("() => turn === 1")
    refusal.wait_for()
    page = served.open_url((folder / "index.html").as_uri())
    page.locator(".status.is-error", has_text="start “python -m http.server” in this folder").wait_for()


@needs_chromium
@needs_runtime
def test_a_picture_is_explained_as_the_library_does(
    model: nn.Module, running_folder: Path, served: Served, tmp_path: Path
) -> None:
    file = picture(tmp_path / "spots.png", {RED: (2, 2), BLUE: (5, 6)}, (96, 128))
    page = served.open(running_folder)
    page.locator("[name=picture]").set_input_files(str(file))
    page.locator(".status", has_text="spots.png, 128 × 96 pixels, in").wait_for()
    answer = page.evaluate(
        """async () => {
          const { logits, contributions, surroundings } = await answered(lastFile);
          return { logits, contributions: [...contributions], surroundings: [...surroundings] };
        }"""
    )
    for label, name in enumerate(CLASSES):
        why = explain(model, file, label)
        assert answer["logits"][label] == pytest.approx(why.logit, abs=1e-4)
        assert answer["surroundings"][label] == pytest.approx(why.surroundings, abs=1e-4)
        for one in why.contributions:
            assert answer["contributions"][4 * label + one.filter] == pytest.approx(one.value, abs=1e-4)
        page.locator("[name=label]").select_option(str(label))
        page.locator("#result-title", has_text=f"{name}: {100 * why.probability:.1f} %").wait_for()
        values = {one.filter: one.value for one in why.contributions}
        assert shown_sum(page) == pytest.approx(
            {
                "sun (0, 2)": values[0] + values[2],
                "1 leaf, not seen": values[1],
                "filter 3, not seen": values[3],
                "surroundings": why.surroundings,
                "bias": why.bias,
                f"logit of {name}": why.logit,
            },
            abs=0.006,
        )
    image = page.locator(".stage img").bounding_box()
    for number, (x, y) in {RED: (2.5 / 8, 2.5 / 8), BLUE: (6.5 / 8, 5.5 / 8)}.items():
        box = page.locator(".stage .place", has_text=re.compile(f"^{number}$")).bounding_box()
        assert box["x"] + box["width"] / 2 == pytest.approx(image["x"] + x * image["width"], abs=12)
        assert box["y"] + box["height"] / 2 == pytest.approx(image["y"] + y * image["height"], abs=12)
    assert served.complaints == []
    own = page.url.rstrip("/")
    assert all(url.startswith(("data:", f"blob:{own}", own)) for url in served.asked)
    words = tmp_path / "words.jpg"
    words.write_text("words")
    page.locator("[name=picture]").set_input_files(str(words))
    page.locator(".status.is-error", has_text="Expected a picture that this browser can read").wait_for()


@needs_chromium
@needs_runtime
def test_filters_that_do_not_compete_are_shown_at_their_places(served: Served, tmp_path: Path) -> None:
    model, size = disc_model(), (320, 160)
    write_web_page(model, tmp_path / "page", runtime=RUNTIME, parts={0: "sun"})
    file = disc_picture(tmp_path / "disc.jpg", size, disc_place(size, (11, 3)), orientation=6)
    why = explain(model, file, "disc")
    page = served.open(tmp_path / "page")
    page.locator("[name=picture]").set_input_files(str(file))
    page.locator("#result-title", has_text="disc").wait_for()
    assert shown_sum(page)["1  filter 0, sun"] == pytest.approx(why.contributions[0].value, abs=0.006)
    for image, mark in ((".stage img", ".stage .place"), (".maps li:first-child img", ".maps li:first-child .peak")):
        frame, box = (page.locator(css).first.bounding_box() for css in (image, mark))
        assert frame["width"] == pytest.approx(2 * frame["height"], rel=0.02)
        x, y = (value / side for value, side in zip(disc_place(size, (11, 3)), size, strict=True))
        assert box["x"] + box["width"] / 2 == pytest.approx(frame["x"] + x * frame["width"], abs=2)
        assert box["y"] + box["height"] / 2 == pytest.approx(frame["y"] + y * frame["height"], abs=2)
    page.evaluate("page.multilabel = true")
    page.locator("[name=label]").select_option("1")
    share = 100 / (1 + math.exp(-why.logit))
    page.locator("#result-title", has_text=f"disc: {share:.1f} %; it shows disc").wait_for()
    assert served.complaints == []


@needs_chromium
@needs_runtime
def test_the_page_has_no_fault_on_a_phone(running_folder: Path, served: Served, tmp_path: Path) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed: pip install -e '.[dev]'"
    )
    page = served.open(running_folder, (390, 844))
    page.locator("[name=picture]").set_input_files(str(picture(tmp_path / "spots.png", {RED: (2, 2)}, (96, 128))))
    page.locator(".answer .place").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert axe.Axe().run(page).response["violations"] == []
