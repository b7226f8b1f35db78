"""The page as a reader meets it, in chromium: it asks for nothing, everything can be reached, marks lie right."""

import io
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markupsafe import Markup
from PIL import Image

from partcnn.app.runs.faithfulness import faithfulness_of
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import Evaluation, FilterEvaluation, TopImage, evaluate
from partcnn.evaluation.audit import audit
from partcnn.evaluation.observation.strongest import NUM_TOP_IMAGES
from partcnn.foundation.number_text import decimal, signed
from partcnn.model.naming import checked_name
from partcnn.model.network import conversion_of
from partcnn.model.saving.names_file import read_names
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.objectives.templates import part_mask
from partcnn.reporting import report
from partcnn.reporting.gathering import Attributed, Gathered
from partcnn.reporting.page import render_page
from partcnn.reporting.page_pictures import PagePicture
from partcnn.reporting.panels.panel import PageContent, Panel
from tests.discs import disc_model, disc_picture, disc_place

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: make browser")

WINDOWS = [(380, 700), (900, 700), (1500, 1000)]
PLACE_CELL = (11, 3)  # of the disc, in a map of 16 × 16
DISC_SIZE = (320, 160)
EVIL = "<script>alert(1)</script>"
NAMES = [EVIL, "\"quotes\" & 'more'", "狐狸", "ثعلب", "</style><b>", *(f"class {index}" for index in range(195))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


class Opened:
    """A page from the disk, and what it asked for or complained of."""

    def __init__(self, browser: Any, path: Path, window: tuple[int, int] = (1200, 900), **settings: Any) -> None:
        context = browser.new_context(viewport={"width": window[0], "height": window[1]}, **settings)
        context.set_default_timeout(10_000)
        self.page = context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.goto(path.as_uri())
        self.context = context

    def show(self, css: str) -> Any:
        found = self.page.locator(css).first
        found.scroll_into_view_if_needed()
        return found


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    contexts = []

    def open_page(path: Path, *arguments: Any, **settings: Any) -> Opened:
        made = Opened(browser, path, *arguments, **settings)
        contexts.append(made)
        return made

    yield open_page
    for made in contexts:
        made.context.close()


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a network whose filter 0 peaks on a disc of known place; one picture lies on its side in its file."""
    root = tmp_path_factory.mktemp("discs")
    for name in ("disc", "night"):
        (root / "pictures" / name).mkdir(parents=True)
    for index, orientation in enumerate((None, 6)):
        file = root / "pictures" / "disc" / f"disc-{index}.jpg"
        disc_picture(file, DISC_SIZE, disc_place(DISC_SIZE, PLACE_CELL), orientation=orientation)
    dark = disc_picture(root / "pictures" / "night" / "dark.png", (64, 64), (500, 500))
    assert dark.exists()
    dataset = load_dataset(f"folder:{root / 'pictures'}", category="disc", split="all")
    model = disc_model()
    conversion_of(model).classes = list(dataset.classes)
    measured = replace(evaluate(model, dataset), faithfulness=faithfulness_of(model, dataset, 2))
    log = root / "metrics.csv"
    log.write_text("epoch,task_loss,filter_loss\n0,2,1\n1,1,0.5\n", encoding="utf-8")
    given = {"evaluation": measured, "compare": {"plain": measured}, "log": log, "audit": audit(model, dataset)}
    return report(model, dataset, root / "report.html", **given)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """512 filters, 200 classes of awkward names and 600 pictures: as much as one page holds."""
    return made_page(tmp_path_factory.mktemp("large") / "report.html", 512, 600, NAMES)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_page(tmp_path_factory.mktemp("single") / "report.html", 1, 3, ["background", "cat"], parts=[])


def made_page(
    path: Path,
    num_filters: int,
    num_pictures: int,
    classes: list[str],
    parts: Any = ("head", "leg"),
    panels: Sequence[Panel] = (),
    names: dict[int, str] | None = None,
) -> Path:
    """A page of invented figures on drawn pictures, without a network."""
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_animal("cat", seed).image.convert("RGB").resize((160, 160)) for seed in range(12)]
    jpegs = []
    for picture in drawn:
        grain = torch.randint(-12, 13, (160, 160, 3), generator=generator).numpy()  # as large as a photograph's JPEG
        buffer = io.BytesIO()
        grainy = (np.asarray(picture, dtype=int) + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(grainy).save(buffer, "JPEG", quality=78)
        jpegs.append(buffer.getvalue())
    shape = {part: [(0.2, 0.2, 0.5, 0.6)] for part in parts}
    pictures = [
        PagePicture(
            i,
            f"{EVIL} {i}.jpg",
            (i % len(classes),),
            ((i + i // 50) % len(classes),),
            160,
            160,
            jpegs[i % 12],
            shape,
            (0.1, 0.1, 0.9, 0.9),
        )
        for i in range(num_pictures)
    ]
    scores = torch.rand(num_pictures, num_filters, generator=generator)
    shares = torch.randn(num_pictures, num_filters, generator=generator)
    logits = torch.randn(num_pictures, len(classes), generator=generator)
    sums = [Attributed(p.predictions[0], float(shares[i].sum()), 0.0, 0.0, shares[i]) for i, p in enumerate(pictures)]
    of_class = [[i for i, p in enumerate(pictures) if p.labels == (label,)] for label in range(len(classes))]
    top = [of_class[index % len(classes)][:NUM_TOP_IMAGES] for index in range(num_filters)]
    cells = torch.randint(0, 196, (num_pictures, num_filters), generator=generator)
    top_maps = torch.rand(num_filters, NUM_TOP_IMAGES, 14, 14, generator=generator)
    top_maps[-1, 0, 2, 2], top_maps[-1, 0, 9, 5] = 2.0, 2.001  # one and the same in 8 bits
    for index, places in enumerate(top):
        cells[places, index] = top_maps[index, : len(places)].flatten(1).argmax(dim=1)
    gathered = Gathered(
        pictures=pictures,
        num_images=num_pictures,
        cells=cells,
        scores=scores,
        logits=logits,
        predicted=sums,
        others={
            i: [Attributed(pictures[i].labels[0], one.logit / 2 + 0.5, 0.5, 0.0, one.shares / 2)]
            for i, one in enumerate(sums)
            if not pictures[i].is_right
        },
        top=top,
        top_maps=top_maps,
        likeness=torch.rand(num_filters, num_filters, generator=generator),
        field=ReceptiveField((300, 300), (16, 16), (7.5, 7.5), (14, 14), (224, 224), "traced"),
        slopes=torch.full((num_filters,), 4.0),
        is_masked=True,
        places="peak",
        is_exact=True,
    )
    filters = [invented_filter(index, pictures, top[index], classes, list(parts)) for index in range(num_filters)]
    summary = dict.fromkeys(("accuracy", "part_tracking_r2", "coverage"), 0.5)
    evaluation = Evaluation(
        summary,
        filters,
        {},
        classes,
        list(parts),
        {"spec": "demo:", "category": None, "split": "test", "num_images": num_pictures},
    )
    path.write_text(
        render_page(PageContent(evaluation, gathered, {}, [], names=names or {}), panels=panels), encoding="utf-8"
    )
    return path


def invented_filter(
    index: int, pictures: list[PagePicture], top: list[int], classes: list[str], parts: list[str]
) -> FilterEvaluation:
    r2 = math.nan if not parts else 1 - index / 100
    return FilterEvaluation(
        layer="layer.mask",
        filter=index,
        category=classes[index % len(classes)],
        best_part=parts[index % 2] if parts else None,
        part_tracking_r2=r2,
        r2_by_part=dict.fromkeys(parts, r2),
        location_instability=0.1 + index / 1000 if parts else math.nan,
        displacement_scatter=0.1 if parts else math.nan,
        is_dead=False,
        class_weight={name: 1 / (1 + place) for place, name in enumerate(classes)},
        top_images=[TopImage(pictures[place].name, place, 1.0, (0.0, 0.0), (0, 0)) for place in top],
    )


def test_the_page_opens_from_the_disk_and_asks_for_nothing(discs: Path, opened: Any) -> None:
    made = opened(discs)
    made.show(".viewer")
    made.page.locator(".viewer .place").first.wait_for()
    made.page.goto(f"{discs.as_uri()}#filter-0")
    made.page.locator("#filter-view[open]").wait_for()
    outside = [url for url in made.asked if not url.startswith(("data:", "blob:", discs.as_uri()))]
    assert outside == []
    assert made.complaints == []


def test_a_panel_of_your_own_is_shown_and_no_script_of_it_runs(tmp_path: Path, opened: Any) -> None:
    text = Markup(
        "<p id='own'>mine</p><script>document.title = 'run'</script>"
        "<img src='data:,' onerror=\"document.title = 'run'\"><img src='https://example.org/x.png'>"
    )
    panels = [Panel("Mine", lambda content: text)]
    made = opened(made_page(tmp_path / "report.html", 1, 3, ["background", "cat"], panels=panels))
    made.page.locator("nav a", has_text="Mine").click()
    assert made.page.locator("#panel-1 #own").is_visible()
    made.page.locator(".viewer .place, .viewer .sum-row").first.wait_for()  # the page's own script has run
    assert made.page.title() != "run"
    refused = [complaint for complaint in made.complaints if "Content Security Policy" in complaint]
    assert len(refused) == 3
    assert sum("https://example.org" in complaint for complaint in refused) == 1


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_peak_is_marked_where_the_disc_is(discs: Path, opened: Any, window: tuple[int, int]) -> None:
    made = opened(discs, window)
    made.show(".card[data-filter='0']")
    made.page.locator(".card[data-filter='0'] .tile .peak").first.wait_for()
    tiles = made.page.locator(".card[data-filter='0'] .tile").all()
    assert len(tiles) == 2
    for found in [*tiles, *views_of_filter(made)]:
        image, peak = (found.locator(css).bounding_box() for css in ("img", ".peak"))
        x, y = (place / side for place, side in zip(disc_place(DISC_SIZE, PLACE_CELL), DISC_SIZE, strict=True))
        assert image["width"] / image["height"] == pytest.approx(2, rel=0.02)
        assert peak["x"] + peak["width"] / 2 == pytest.approx(image["x"] + x * image["width"], abs=2)
        assert peak["y"] + peak["height"] / 2 == pytest.approx(image["y"] + y * image["height"], abs=2)


def views_of_filter(made: Opened) -> list[Any]:
    made.page.evaluate("location.hash = 'filter-0'")
    made.page.locator("#filter-view .map-panel .peak").first.wait_for()
    return made.page.locator("#filter-view .map-panel .tile:has(.peak)").all()


def test_the_marked_place_is_white_on_the_screen(discs: Path, opened: Any) -> None:
    """Not our numbers but the pixels: with heat and rings off, the ring's middle is the disc."""
    made = opened(discs)
    made.show(".card[data-filter='0']")
    found = made.page.locator(".card[data-filter='0'] .tile").first
    found.locator(".peak").wait_for()
    image, peak = (found.locator(css).bounding_box() for css in ("img", ".peak"))
    for name in ("marks", "heat"):
        made.page.locator(f".controls [name={name}]").uncheck()
    with Image.open(io.BytesIO(found.locator("img").screenshot())) as picture:
        pixels = np.asarray(picture.convert("L"), dtype=int)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0  # where the picture begins within a pixel, the page shines through
    rows, cols = np.nonzero(pixels > 200)
    scale = pixels.shape[1] / image["width"]
    assert cols.mean() / scale == pytest.approx(peak["x"] + peak["width"] / 2 - image["x"], abs=2)
    assert rows.mean() / scale == pytest.approx(peak["y"] + peak["height"] / 2 - image["y"], abs=2)


def test_heat_lies_on_the_disc(discs: Path, opened: Any) -> None:
    made = opened(discs)
    made.show(".card[data-filter='0']")
    made.page.locator(".card[data-filter='0'] .heat-map").first.wait_for()
    x, y = made.page.evaluate(
        """() => {
          const canvas = document.querySelector(".card[data-filter='0'] .heat-map");
          const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let [sum, x, y] = [0, 0, 0];
          for (let i = 0; i < width * height; i += 1) {
            if (data[4 * i + 3] < 150) continue;
            sum += 1; x += (i % width) + 0.5; y += Math.floor(i / width) + 0.5;
          }
          return [x / sum / width, y / sum / height];
        }"""
    )
    place = [value / side for value, side in zip(disc_place(DISC_SIZE, PLACE_CELL), DISC_SIZE, strict=True)]
    assert (x, y) == pytest.approx(place, abs=0.03)


def test_the_template_and_the_mask_of_the_page_are_those_of_the_mathematics(large: Path, opened: Any) -> None:
    made = opened(large)
    shown = made.page.evaluate(
        """() => {
            location.hash = "filter-511";
            const [raw, one] = [mapOf(511, 0), report.filters[511]];
            return [Array.from(raw), Array.from(masked(raw, one.slope, cellOf(one.top[0], 511)))];
        }"""
    )
    raw, masked = (torch.tensor(values).double().reshape(1, 1, 14, 14) for values in shown)
    assert float(raw[0, 0, 2, 2]) == float(raw[0, 0, 9, 5]) == 255  # in 8 bits the peak is not to be told
    raw[0, 0, 9, 5] += 1e-4
    assert torch.allclose(part_mask(raw, beta=4.0), masked, atol=1e-3)
    assert 0 < int((masked > 0).sum()) < 100
    made.page.locator("[data-map=template]").wait_for()
    brightest = """() => { const canvas = document.querySelector("[data-map=template]");
        const { data } = canvas.getContext("2d").getImageData(0, 0, 14, 14);
        const light = Array.from({ length: 196 }, (_, i) => data[4 * i] + data[4 * i + 1] + data[4 * i + 2]);
        return light.indexOf(Math.max(...light)); }"""
    assert made.page.evaluate(brightest) == 9 * 14 + 5


def test_numbers_that_the_script_writes_look_like_those_of_the_page(single: Path, opened: Any) -> None:
    values = [0.414, -0.016, -0.004, 0.0, 12.0, -3.0, None]
    script = "(values) => values.flatMap((value) => [decimal(value), signed(value), decimal(value, 3)])"
    expected = [text for value in values for text in (decimal(value), signed(value), decimal(value, 3))]
    assert opened(single).page.evaluate(script, values) == expected


def test_cards_are_sorted_searched_and_chosen(large: Path, opened: Any) -> None:
    made = opened(large)
    controls = made.page.locator(".controls")

    def shown() -> list[int]:
        return made.page.evaluate("visibleFilters()")

    assert shown()[:3] == [0, 1, 2]
    controls.locator("[name=sort]").select_option("instability")
    assert shown()[0] == 0
    controls.locator("[name=sort]").select_option("filter")
    assert shown() == list(range(512))
    controls.locator("[name=search]").fill("17")
    assert shown() == [17]
    controls.locator("[name=search]").fill("狐狸 head")
    assert shown() == [index for index in range(2, 512, 200) if index % 2 == 0]
    controls.locator("[name=search]").fill("")
    controls.locator("[name=part]").select_option("leg")
    controls.locator("[name=level]").select_option("follows")
    assert shown() == [index for index in range(51) if index % 2]
    controls.locator("[name=category]").select_option(EVIL)
    assert shown() == []
    assert made.page.locator(".nothing").is_visible()


def test_a_click_opens_a_filter_and_escape_leads_back_to_its_card(large: Path, opened: Any) -> None:
    made = opened(large)
    card = made.show(".card[data-filter='4']")
    card.click()
    view = made.page.locator("#filter-view")
    assert view.locator("h2").text_content() == "Filter 4"
    assert made.page.url.endswith("#filter-4")
    made.page.keyboard.press("ArrowRight")
    made.page.wait_for_url("**#filter-5")
    view.locator("h2", has_text="Filter 5").wait_for()  # the address changes first
    assert view.locator("h2").text_content() == "Filter 5"
    made.page.keyboard.press("Escape")
    assert not view.is_visible()
    assert made.page.evaluate("document.activeElement.textContent") == "Filter 5"


def test_the_keyboard_reaches_everything(discs: Path, opened: Any) -> None:
    made = opened(discs)
    made.show(".viewer")
    made.page.locator(".viewer .sum-rows").wait_for()
    made.page.evaluate("window.scrollTo(0, 0)")
    reached: list[str] = []
    for _ in range(200):
        made.page.keyboard.press("Tab")
        name = made.page.evaluate(
            """(() => {
              const e = document.activeElement;
              e.dataset.reached = 1;
              return `${e.tagName} ${e.name || e.textContent.trim().slice(0, 20)}`;
            })()"""
        )
        if name.startswith("BODY") and reached:
            break
        reached.append(name)
    missed = made.page.evaluate(
        """[...document.querySelectorAll("a, button, input, select, summary")]
          .filter((e) => e.offsetParent !== null && !e.dataset.reached && !e.disabled)
          .map((e) => e.outerHTML.slice(0, 90))"""
    )
    assert missed == []
    assert reached[0] == "A Skip to the filters"
    assert reached.index("A Overview") < reached.index("INPUT search") < reached.index("A Filter 0")


def test_slash_goes_to_the_search_and_enter_opens(discs: Path, opened: Any) -> None:
    made = opened(discs)
    made.page.keyboard.press("/")
    assert made.page.evaluate("document.activeElement.name") == "search"
    made.page.locator(".card h3 a").first.focus()
    made.page.keyboard.press("Enter")
    made.page.locator("#filter-view[open]").wait_for()
    assert made.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Close"


def test_bars_add_up_and_light_their_places(discs: Path, opened: Any) -> None:
    made = opened(discs)
    made.show(".viewer")
    made.page.locator(".viewer .sum-rows").wait_for()
    values = [float(text.replace("−", "-")) for text in made.page.locator(".viewer .sum-value").all_text_contents()]
    assert sum(values[:-1]) == pytest.approx(values[-1], abs=0.02)
    bar = made.page.locator(".viewer [data-rank='1']")
    bar.hover()
    lit = made.page.locator(".viewer .place.is-lit")
    assert lit.count() == 1
    image, box = (made.page.locator(f".viewer {css}").bounding_box() for css in (".stage img", ".place.is-lit"))
    x, y = (place / side for place, side in zip(disc_place(DISC_SIZE, PLACE_CELL), DISC_SIZE, strict=True))
    assert box["x"] + box["width"] / 2 == pytest.approx(image["x"] + x * image["width"], abs=2)
    assert box["y"] + box["height"] / 2 == pytest.approx(image["y"] + y * image["height"], abs=2)


def test_wrong_predictions_can_be_picked_and_explained_for_both_classes(large: Path, opened: Any) -> None:
    made = opened(large)
    made.show(".viewer")
    made.page.locator("[name=outcome]").select_option("wrong")
    button = made.page.locator(".picture-grid button").first
    button.click()
    assert "predicted as" in made.page.locator(".viewer .verdict-tag").text_content()
    toggles = made.page.locator(".viewer .toggle").last.locator("button")
    assert toggles.count() == 3
    totals = []
    for place in range(3):
        toggles.nth(place).click()
        assert toggles.nth(place).get_attribute("aria-pressed") == "true"
        assert made.page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
        values = made.page.locator(".viewer .sum-value").all_text_contents()
        *shares, total = (float(value.replace("−", "-")) for value in values)
        assert sum(shares) == pytest.approx(total, abs=0.06)  # each is rounded to two digits
        totals.append(total)
    assert totals[2] == pytest.approx(totals[0] - totals[1], abs=0.02)
    assert " − logit of" in made.page.locator(".viewer .is-total .sum-name").text_content()


def test_names_stay_text(large: Path, opened: Any) -> None:
    made = opened(large)
    made.page.evaluate("location.hash = 'filter-0'")
    made.show("#filter-view .all-pictures")
    made.page.locator("#filter-view .all-pictures .tile").first.wait_for()
    assert made.complaints == []
    assert made.page.locator("body b", has_text="alert").count() == 0
    weights = made.page.locator("#filter-view .weights")
    weights.locator("summary").click()
    assert weights.locator("li").count() == 200
    assert weights.locator("li").first.locator("span").text_content() == EVIL
    assert made.page.locator("#filter-view .all-pictures .tile").first.get_attribute("aria-label").startswith(EVIL)


def test_512_filters_are_below_15_mb_and_painted_within_2_seconds(large: Path, opened: Any) -> None:
    assert large.stat().st_size < 15e6
    paint = 0.0
    for _ in range(3):  # other work on the machine may slow one of them
        made = opened(large)
        paint = made.page.evaluate(
            """new Promise((done) => new PerformanceObserver((list) =>
              done(list.getEntriesByName("first-contentful-paint")[0]?.startTime)
            ).observe({ type: "paint", buffered: true }))"""
        )
        if paint < 2000:
            break
    assert paint < 2000
    made.show(".card[data-filter='300']")
    made.page.locator(".card[data-filter='300'] .tile").first.wait_for()
    assert made.complaints == []


def test_one_filter_without_annotated_parts_is_shown(single: Path, opened: Any) -> None:
    made = opened(single)
    assert made.page.locator("h1").text_content() == "What one filter sees: 2 categories"
    assert made.page.locator("#parts").count() == 0
    made.show(".card")
    made.page.locator(".card").click()
    view = made.page.locator("#filter-view")
    view.locator("h2").wait_for()
    assert "no other filter that fires" in view.text_content()
    assert made.complaints == []


def test_without_annotated_parts_filters_are_sorted_by_what_needs_none(discs: Path, opened: Any) -> None:
    made = opened(discs)
    made.show(".controls")
    sort = made.page.locator(".controls select[name=sort]")
    options = [option.get_attribute("value") for option in sort.locator("option").all()]
    assert options[:3] == ["standing", "steadiness", "identity"]
    assert not {"r2", "instability"} & {*options}
    for name in options[:3]:
        sort.select_option(name)
        shown = [float(card.get_attribute(f"data-{name}")) for card in made.page.locator(".card").all()]
        known = [value for value in shown if not math.isnan(value)]
        assert known == sorted(known, reverse=True) == shown[: len(known)]
    assert "R²" not in made.page.locator(".cards").text_content()
    made.page.evaluate("location.hash = 'filter-0'")
    made.page.locator("#filter-view h2").wait_for()
    assert "R²" not in made.page.locator("#filter-view").text_content()
    assert made.complaints == []


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("page", ["discs", "large"])
def test_nothing_sticks_out_sideways(
    page: str, window: tuple[int, int], opened: Any, request: pytest.FixtureRequest
) -> None:
    made = opened(request.getfixturevalue(page), window)
    made.show(".viewer")
    made.page.locator(".viewer .sum-rows").wait_for()
    assert made.page.evaluate("document.documentElement.scrollWidth") <= window[0]
    made.page.evaluate("location.hash = 'filter-0'")
    made.page.locator("#filter-view .map-panel").first.wait_for()
    view = made.page.locator("#filter-view")
    assert view.evaluate("(view) => view.scrollWidth - view.clientWidth") <= 0


def test_the_page_prints_with_its_pictures(discs: Path, opened: Any, tmp_path: Path) -> None:
    made = opened(discs)
    path = tmp_path / "page.pdf"
    made.page.pdf(path=str(path))
    assert path.read_bytes()[:5] == b"%PDF-"
    assert made.page.evaluate("document.querySelectorAll('.card .tile').length") >= 2
    assert made.page.locator(".viewer .sum-rows").count() == 1
    made.page.emulate_media(media="print")
    assert not made.page.locator(".controls").is_visible()


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_insertion_and_deletion_are_charts_with_words_and_a_table(
    discs: Path, opened: Any, window: tuple[int, int]
) -> None:
    made = opened(discs, window)
    made.show("#faithfulness .charts")
    charts = made.page.locator("#faithfulness svg[role=img]").all()
    assert len(charts) == 2
    for chart, kind in zip(charts, ("Insertion", "Deletion"), strict=True):
        label = chart.get_attribute("aria-label")
        assert label.startswith(f"{kind}: mean logit by share of the cells")
        assert "sum of parts" in label
        assert "random" in label
        box, window_px = chart.bounding_box(), made.page.viewport_size
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= window_px["width"]
        strokes = [
            line.evaluate("(one) => getComputedStyle(one).strokeDasharray") for line in chart.locator("polyline").all()
        ]
        assert len({*strokes}) == len(strokes) >= 2  # lines differ in more than colour
    assert made.page.locator("#faithfulness tbody tr").count() >= 3
    assert made.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["page", "filter"])
def test_axe_finds_no_serious_fault(discs: Path, opened: Any, scheme: str, state: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed: pip install -e '.[dev]'"
    )
    made = opened(discs, color_scheme=scheme)
    made.show(".viewer")
    made.page.locator(".viewer .sum-rows").wait_for()
    made.page.locator(".how summary").click()
    if state == "filter":
        made.page.evaluate("location.hash = 'filter-0'")
        made.show("#filter-view .all-pictures")
        made.page.locator("#filter-view .all-pictures .tile").first.wait_for()
    # The page's policy forbids foreign scripts; the tool comes in through the debugger.
    found = axe.Axe().run(made.page).response["violations"]
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.fixture
def named(tmp_path: Path) -> Path:
    names = {1: EVIL, 2: "ear", 3: "W" * 40, 9: "not shown"}
    return made_page(tmp_path / "report.html", 5, 12, ["background", "cat"], names=names)


def test_names_typed_on_the_cards_stand_all_over_the_page_and_are_saved(named: Path, opened: Any) -> None:
    made = opened(named)
    made.show(".viewer")
    made.page.locator(".viewer .toggle button", has_text="by filter").click()
    titles = ".card[data-filter='{}'] h3"
    assert made.page.locator(titles.format(1)).text_content() == f"{EVIL} (1)"
    assert made.page.locator(titles.format(0)).text_content() == "Filter 0"
    made.show(".card[data-filter='0'] .name-field").focus()
    made.page.keyboard.type("  ear ")
    made.page.keyboard.press("Tab")
    assert made.page.locator(titles.format(0)).text_content() == "ear (0)"
    assert made.page.locator(".card[data-filter='0'] .name-field").input_value() == "ear"
    texts = made.page.locator(".viewer .sum-name").all_text_contents()
    assert sum(text.endswith("ear (0, 2)") for text in texts) == 1
    assert not any("filter 0" in text or "filter 2" in text for text in texts)
    values = [float(text.replace("−", "-")) for text in made.page.locator(".viewer .sum-value").all_text_contents()]
    assert sum(values[:-1]) == pytest.approx(values[-1], abs=0.04)
    made.page.locator(".controls [name=search]").fill("ear")
    assert made.page.locator(".card:visible").count() == 2
    with made.page.expect_download() as download:
        made.page.locator(".save-names").press("Enter")
    saved = named.parent / "names.yaml"
    download.value.save_as(saved)
    assert read_names(saved, 10) == {0: "ear", 1: EVIL, 2: "ear", 3: "W" * 40, 9: "not shown"}
    assert "--import names.yaml" in made.page.locator(".saved-names").text_content()
    assert made.complaints == []


def test_a_name_typed_in_the_view_of_a_filter_is_on_its_card_and_an_empty_one_takes_it_away(
    named: Path, opened: Any
) -> None:
    made = opened(named, (380, 700))
    assert made.page.evaluate("document.documentElement.scrollWidth") <= 380
    made.page.evaluate("location.hash = 'filter-3'")
    field = made.page.locator("#filter-view .name-field")
    assert field.input_value() == "W" * 40
    assert made.page.evaluate("(() => { const v = document.querySelector('#filter-view'); "
                              "return v.scrollWidth - v.clientWidth; })()") <= 0  # fmt: skip
    field.fill("paw")
    field.press("Enter")
    assert made.page.locator("#view-title").text_content() == "paw (3)"
    field.fill("")
    field.press("Enter")
    assert made.page.locator("#view-title").text_content() == "Filter 3"
    made.page.keyboard.press("Escape")
    assert made.page.locator(".card[data-filter='3'] h3").text_content() == "Filter 3"
    assert made.page.evaluate("namesYaml()").splitlines()[1:] == [
        f'1: "{EVIL}"',
        '2: "ear"',
        '9: "not shown"',
    ]


def test_what_the_page_makes_of_a_name_is_one_of_ours(single: Path, opened: Any) -> None:
    page = opened(single).page
    texts = [
        "e\u0301ar",
        "a\u00a0 b\t\nc",
        "\u202egel",
        "a\u200bb",
        '"\\',
        "狐狸",
        "🦊" * 50,
        "x" * 99,
        " : # - ",
        "\ud83e",
    ]
    for text in texts:
        name = page.evaluate("(text) => cleanName(text)", text)
        if name:
            assert checked_name(name, "name") == name
    assert page.evaluate("(text) => cleanName(text)", "a\u00a0 b\t") == "a b"


def test_light_and_dark_differ(discs: Path, opened: Any) -> None:
    grounds = {
        opened(discs, color_scheme=scheme).page.evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert len(grounds) == 2


def test_the_package_needs_no_browser() -> None:
    code = "import sys, partcnn.reporting.writing; sys.exit('playwright' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
