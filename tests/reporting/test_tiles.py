"""The page and the viewer of filters that compete: every filter one colour, its region where its shares are largest."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partcnn.app.demo import _draw_gallery
from partcnn.datasets import PartDataset
from partcnn.evaluation import Evaluation, evaluate
from partcnn.explanation.explanation import explain
from partcnn.plot import filter_colours
from partcnn.plot.colours import web_colour
from partcnn.plot.tiling import InnerPlace
from partcnn.reporting import report
from partcnn.reporting.gathering import Gathered, _groups, gather
from partcnn.reporting.page_pictures import PagePicture
from partcnn.reporting.tiles import NUM_FIRST, Tile, evenly_chosen, first_pictures, usual_holders
from partcnn.reporting.viewer import make_server
from partcnn.reporting.viewer.answer import picture_answer
from tests.pointing_network import BIRDS, BLUE, GREEN, RED, Drawer, centre, image_ids, picture, pointer, with_classes
from tests.reporting.test_page_in_browser import Opened
from tests.reporting.test_report import Page, data_of
from tests.tiling_network import tiling_network

CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: make browser")
COLOURS = [web_colour(colour) for colour in filter_colours(4)]
NUM_BIRDS = 14


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    """Birds with a beak at the red spot, a green one beside it and a blue one elsewhere; and black pictures."""
    drawer = Drawer(tmp_path_factory.mktemp("birds"))
    cells = np.random.default_rng(0).integers(1, 6, size=(NUM_BIRDS, 4)).tolist()
    for name, (row, col, other_row, other_col) in zip(image_ids("test")[:NUM_BIRDS], cells, strict=True):
        spots = {0: (row, col), 1: (row, col + 1)}
        spots |= {2: (other_row, other_col)} if (other_row, other_col) not in spots.values() else {2: (7, 7)}
        drawer.add(name, 1, spots, {"beak": (row, col)})
    for name in image_ids("test")[NUM_BIRDS : NUM_BIRDS + 3]:
        drawer.add(name, 0, {}, {})
    return drawer.dataset(**BIRDS)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return with_classes(tiling_network(4), ["background", "bird"])


@pytest.fixture(scope="module")
def evaluation(model: torch.nn.Module, dataset: PartDataset) -> Evaluation:
    return evaluate(model, dataset)


@pytest.fixture(scope="module")
def gathered(model: torch.nn.Module, dataset: PartDataset, evaluation: Evaluation) -> Gathered:
    return gather(model, dataset, evaluation)


@pytest.fixture(scope="module")
def path(
    model: torch.nn.Module, dataset: PartDataset, evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return report(model, dataset, tmp_path_factory.mktemp("report") / "report.html", evaluation=evaluation)


@pytest.fixture(scope="module")
def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_every_picture_has_the_tiles_of_the_filters_that_hold_some_of_it(
    gathered: Gathered, model: torch.nn.Module, dataset: PartDataset
) -> None:
    assert gathered.tiles is not None
    assert [[tile.filter for tile in tiles] for tiles in gathered.tiles] == [[0, 1, 2]] * NUM_BIRDS + [[]] * 3
    for sample, tiles in zip(dataset.samples[:NUM_BIRDS], gathered.tiles, strict=False):
        beak = sample.parts["beak"][0]
        assert (64 * tiles[0].place.x, 64 * tiles[0].place.y) == pytest.approx(tuple(beak), abs=1.5)
        assert (64 * tiles[1].place.x, 64 * tiles[1].place.y) == pytest.approx((beak[0] + 8, beak[1]), abs=1.5)


def test_who_holds_some_of_most_pictures_of_objects_is_told(gathered: Gathered) -> None:
    assert gathered.holders == [0, 1, 2]
    one, other = (Tile(number, "M0 0", InnerPlace(0.5, 0.5, 0.1)) for number in (1, 2))
    assert usual_holders([[one], [one, other], [other], [], [other]], [True, True, True, False, False]) == [1, 2]
    assert usual_holders([[one], [other], [], [other]], [True, True, True, False]) == []


def test_filters_at_one_place_are_grouped(gathered: Gathered) -> None:
    assert [0, 1] in gathered.groups  # beside each other on all pictures
    assert (gathered.scores[:, 3] == 0).all()  # the fourth is nowhere
    assert sorted(index for group in gathered.groups for index in group) == [0, 1, 2, 3]


def test_places_on_pictures_without_an_object_do_not_group_filters() -> None:
    cells = torch.tensor([[0, 21, 42]] * 3 + [[24, 24, 24]] * 9)  # of a map of 7 columns: rows 0, 3 and 6; its middle
    is_object = torch.tensor([True] * 3 + [False] * 9)
    assert _groups(cells, torch.ones(12, 3), is_object, 7) == [[0], [1], [2]]
    assert _groups(cells, torch.ones(12, 3), ~is_object, 7) == [[0, 1, 2]]


def _answered(labels: list[int], predictions: list[int]) -> list[PagePicture]:
    return [
        PagePicture(0, "", (label,), (answer,), 1, 1, b"", {}, None)
        for label, answer in zip(labels, predictions, strict=True)
    ]


def test_the_first_pictures_are_chosen_evenly_among_those_classified_right() -> None:
    assert evenly_chosen(list(range(60)), 6) == [5, 15, 25, 35, 45, 55]
    assert evenly_chosen([3, 4], 6) == [3, 4]
    assert evenly_chosen([], 6) == []
    labels = [0] * 5 + [2, 1] * 20
    predictions = [0] * 5 + [2, 1] * 10 + [1, 1] * 10
    is_object = [label != 0 for label in labels]
    found = first_pictures(_answered(labels, predictions), is_object)
    assert len(found) == NUM_FIRST
    assert all(labels[place] == predictions[place] != 0 for place in found)
    assert [labels[place] for place in found] == [1, 1, 1, 1, 2, 2]  # as the classes are frequent among the right ones
    none_right = first_pictures(_answered(labels, [0] * 45), is_object)
    assert none_right == first_pictures(_answered(labels, labels), is_object)  # among all objects


def test_a_filter_has_one_colour_in_the_legend_the_cards_the_parts_and_the_script(page: Page, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    legend = re.findall(
        r'<a href="#filter-(\d)" data-region="\1"[^>]*><i [^>]*background: (#\w+)"></i><span[^>]*>([^<]+)', text
    )
    assert [(int(number), colour) for number, colour, _ in legend] == list(enumerate(COLOURS))
    assert [name for _, _, name in legend][:2] == ["0 beak", "1 beak"]
    assert legend[3][2] == "filter 3"
    cards = {int(attributes["data-filter"] or -1): attributes["style"] for attributes, _ in page.all("article", "card")}
    assert cards == {number: f"--own: {colour}" for number, colour in enumerate(COLOURS)}
    followers = re.findall(r'data-patch-of="(\d)"></span><span class="follower-name"><i [^>]*background: (#\w+)"', text)
    assert {int(number): colour for number, colour in followers}.items() <= dict(enumerate(COLOURS)).items()
    assert len(followers) >= 2
    assert [one["swatch"]["colour"] for one in data_of(page)["filters"]] == COLOURS


def test_the_page_begins_with_pictures_and_says_how_they_were_chosen(page: Page) -> None:
    overview = next(text for attributes, text in page.all("section") if attributes["id"] == "overview")
    assert overview.index("What each filter holds") < overview.index("In words")
    assert "taken at even distances among" in overview
    assert "3 of 4 filters tile the bird" in overview
    assert "The other 1 filter" not in overview
    assert "The other filter holds nothing on most pictures" in overview
    assert "centroid" in overview
    assert len(data_of(page)["first"]) == NUM_FIRST


def test_without_competition_there_is_no_tiled_picture(dataset: PartDataset, tmp_path: Path) -> None:
    model = with_classes(pointer([(RED, 0.0), (GREEN, 0.0), (BLUE, 0.0)]), ["background", "bird"])
    made = Page(report(model, dataset, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not list(made.all("figure", "tiled"))
    assert data_of(made)["tiles"] is None
    assert [one["swatch"] for one in data_of(made)["filters"]] == [None] * 3
    assert not [text for _, text in made.all("li") if "tile" in text]


def test_the_gallery_has_a_row_for_all_filters_and_for_each(
    model: torch.nn.Module,
    dataset: PartDataset,
    evaluation: Evaluation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, list[Image.Image]]] = []
    monkeypatch.setattr("partcnn.app.demo.filter_gallery", lambda rows, axis: seen.append(dict(rows)))
    _draw_gallery(model, evaluation, dataset, tmp_path / "filters.png")
    (rows,) = seen
    assert list(rows) == ["all", "0 beak", "1 beak", *list(rows)[3:4], "filter 3"]
    assert {len(pictures) for pictures in rows.values()} == {6}
    assert (tmp_path / "filters.png").stat().st_size > 0
    for whole, *alone, nothing in zip(*rows.values(), strict=True):
        layers = [np.asarray(one, dtype=int) for one in (whole, *alone)]
        assert (layers[0] != np.asarray(nothing)).any()  # a filter that holds nothing leaves the picture as it is
        assert all((layer != np.asarray(nothing)).any() for layer in layers[1:])


def test_the_viewer_answers_with_regions_names_and_colours(model: torch.nn.Module, tmp_path: Path) -> None:
    file = picture(tmp_path / "spots.png", {0: (2, 2), 1: (2, 3), 2: (6, 5)}, (128, 192))
    why = explain(model, file, hide=2)
    answer = json.loads(json.dumps(picture_answer(why, {0: "beak"}), allow_nan=False))
    terms = {term["filters"][0]: term for term in answer["sum"]["terms"]}
    assert [terms[number]["name"] for number in range(4)] == ["0 beak", "filter 1", "filter 2", "filter 3, not seen"]
    assert [terms[number]["colour"] for number in range(4)] == COLOURS
    middle = centre((2, 3), (128, 192))
    assert terms[1]["places"][0] == pytest.approx([middle.x / 192, middle.y / 128], abs=0.02)
    assert [(one["filter"], one["path"][0]) for one in terms[1]["held"]] == [(1, "M")]
    assert terms[3]["places"] == terms[3]["held"] == []
    total = sum(term["value"] for term in terms.values()) + answer["sum"]["bias"] + answer["sum"]["surroundings"]
    assert total == pytest.approx(why.logit, abs=1e-4)
    assert {one["name"] for one in answer["maps"]} == {"0 beak", "filter 1", "filter 2"}


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -e '.[dev]'")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield lambda path, *arguments, **settings: Opened(browser, path, *arguments, **settings)
        browser.close()


@needs_browser
def test_regions_lie_on_the_screen_where_the_shares_are_largest(
    path: Path, opened: Any, model: torch.nn.Module, dataset: PartDataset, page: Page
) -> None:
    made = opened(path, (1200, 1100))
    made.show(".tiled-pictures")
    made.page.locator(".tiled-pictures .region").first.wait_for()
    tiles = made.page.locator(".tiled-pictures .tile")
    assert tiles.count() == NUM_FIRST
    why = explain(model, dataset.samples[data_of(page)["first"][2]].load_image())
    assert why.regions is not None
    shown = (
        tiles.nth(2)
        .locator(".regions")
        .evaluate(
            """(svg) => {
          const { left, top, width, height } = svg.getBoundingClientRect();
          const found = [];
          for (let row = 0; row < 64; row += 1) for (let col = 0; col < 64; col += 1) {
            const [x, y] = [left + ((col + 0.5) / 64) * width, top + ((row + 0.5) / 64) * height];
            const hit = document.elementsFromPoint(x, y).find((one) => one.classList.contains("region"));
            found.push(hit ? Number(hit.dataset.region) : -1);
          }
          return found;
        }"""
        )
    )
    found = np.reshape(shown, (64, 64))
    assert (found == why.regions).mean() > 0.985  # but for the lines' own width
    assert set(np.unique(found)) == {-1, 0, 1, 2}


@needs_browser
def test_a_click_on_a_colour_opens_its_filter_and_pointing_leaves_it_alone(path: Path, opened: Any) -> None:
    made = opened(path, (1200, 1100))
    made.show(".tiled-pictures")
    region = made.page.locator(".tiled-pictures .region[data-region='2']").first
    region.wait_for()
    made.page.locator(".legend a").nth(1).hover()
    lit = made.page.evaluate("[...document.querySelectorAll('.tiled .region.is-lit')].map((one) => one.dataset.region)")
    assert set(lit) == {"1"}
    assert len(lit) == NUM_FIRST
    region.click()
    made.page.locator("#filter-view[open] h2", has_text="Filter 2").wait_for()
    assert made.page.locator("#filter-view .map-panel .region[data-region='1']").count() >= 1  # all filters' panel
    made.page.keyboard.press("Escape")
    made.page.locator(".legend a").nth(0).click()
    made.page.locator("#filter-view[open] h2", has_text="Filter 0").wait_for()
    assert made.complaints == []


@needs_browser
def test_bars_have_the_filters_colours_and_add_up(path: Path, opened: Any) -> None:
    made = opened(path, (1200, 1100))
    made.show(".viewer")
    made.page.locator(".viewer .sum-rows").wait_for()
    values = [float(text.replace("−", "-")) for text in made.page.locator(".viewer .sum-value").all_text_contents()]
    assert sum(values[:-1]) == pytest.approx(values[-1], abs=0.03)
    rows = made.page.locator(".viewer .sum-rows [data-rank]")
    names = [text.strip() for text in rows.locator(".sum-name").all_text_contents()]
    assert {"0 beak", "1 beak"} <= set(names)
    for index, name in enumerate(names):
        (number,) = re.findall(r"\d+", name)
        colour = rows.nth(index).locator(".sum-fill").evaluate("(bar) => getComputedStyle(bar).backgroundColor")
        assert [int(text) for text in re.findall(r"\d+", colour)] == filter_colours(4)[int(number)].tolist()
    rows.filter(has_text="1 beak").hover()
    lit = made.page.locator(".viewer .region.is-lit")
    assert [one.get_attribute("data-region") for one in lit.all()] == ["1"]


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_on_a_phone(path: Path, opened: Any, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed: pip install -e '.[dev]'"
    )
    made = opened(path, (380, 900), color_scheme=scheme)
    for css in (".tiled-pictures", ".viewer"):
        made.show(css)
        made.page.locator(f"{css} .region").first.wait_for()
    assert made.page.evaluate("document.documentElement.scrollWidth") <= 380
    found = axe.Axe().run(made.page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in serious] == []


@needs_browser
def test_the_viewer_shows_regions(model: torch.nn.Module, tmp_path: Path, opened: Any) -> None:
    file = picture(tmp_path / "spots.png", {0: (2, 2), 1: (2, 3), 2: (6, 5)}, (128, 192))
    blank = tmp_path / "blank.html"
    blank.write_text("")
    with make_server(model, "run", parts={0: "beak"}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            made = opened(blank)
            made.page.goto(f"http://127.0.0.1:{server.server_port}/")
            made.page.locator("[name=picture]").set_input_files(str(file))
            made.page.locator(".answer .region").first.wait_for()
            assert made.page.locator(".answer .region").count() == 3
            assert "0 beak" in made.page.locator(".answer .sum-rows").text_content()
            assert made.page.locator(".maps li").first.locator("b").text_content().split()[0] in ("0", "filter")
            assert "A colour is what a filter holds" in made.page.locator(".result").text_content()
            assert made.complaints == []
        finally:
            server.shutdown()
            thread.join()
