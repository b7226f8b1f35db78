"""A panel is one file, one template and one row; one of your own stands below, and its text stays text."""

from pathlib import Path

import pytest
from markupsafe import Markup
from torch import nn

import partcnn.reporting.page
from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import Evaluation, evaluate
from partcnn.foundation.errors import ConfigError
from partcnn.reporting import PageContent, Panel, report
from partcnn.reporting.page import PANELS
from tests.reporting.test_report import Page, small_model

EVIL = "</section><script>alert(1)</script>"


@pytest.fixture(scope="module")
def dataset() -> PartDataset:
    return load_dataset("demo:2", category="cat", split="all")


@pytest.fixture(scope="module")
def model(dataset: PartDataset) -> nn.Module:
    return small_model(dataset)


@pytest.fixture(scope="module")
def evaluation(model: nn.Module, dataset: PartDataset) -> Evaluation:
    return evaluate(model, dataset)


def widths(content: PageContent) -> Markup:
    """Of the pictures, in a list."""
    rows = [Markup("<li>{}: {}</li>").format(EVIL, picture.width) for picture in content.gathered.pictures]
    return Markup("<ul class='widths'>{}</ul>").format(Markup("").join(rows))


def test_panels_of_your_own_stand_below_those_of_the_page_with_a_link(
    model: nn.Module, dataset: PartDataset, evaluation: Evaluation, tmp_path: Path
) -> None:
    own = [
        Panel("Widths <px>", widths, amount=lambda content: len(content.gathered.pictures)),
        Panel("Empty", lambda content: ""),
        Panel("Plain", lambda content: f"{EVIL} {len(content.evaluation.filters)}", heading=lambda content: "As text"),
    ]
    path = report(model, dataset, tmp_path / "report.html", evaluation=evaluation, panels=own)
    page = Page(path.read_text(encoding="utf-8"))
    sections = [attributes["id"] for attributes, _ in page.all("section")]
    assert sections == ["overview", "filters", "parts", "pictures", "panel-1", "panel-3"]
    links = {attributes["href"]: text for attributes, text in page.all("a")}
    assert links["#panel-1"] == "Widths <px> 4"
    assert links["#panel-3"] == "Plain"
    headings = {attributes.get("id"): text for attributes, text in page.all("h2")}
    assert (headings["panel-1-title"], headings["panel-3-title"]) == ("Widths <px>", "As text")
    (listed,) = page.all("ul", "widths")
    assert listed[1].startswith(f"{EVIL}: ")
    assert next(text for attributes, text in page.all("section") if attributes["id"] == "panel-3").endswith(f"{EVIL} 6")
    assert [attributes.get("type") for attributes, _ in page.all("script")] == ["application/json", None]


def test_what_is_no_text_is_refused(
    model: nn.Module, dataset: PartDataset, evaluation: Evaluation, tmp_path: Path
) -> None:
    panel = Panel("Numbers", lambda content: 3)  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigError, match="panels: expected the panel 'Numbers' to give text"):
        report(model, dataset, tmp_path / "report.html", evaluation=evaluation, panels=[panel])
    assert not list(tmp_path.iterdir())


def test_every_panel_of_the_page_is_a_file_a_template_and_a_row() -> None:
    folder = Path(partcnn.reporting.page.__file__).parent
    files = {file.stem for file in (folder / "panels").glob("*.py")} - {"__init__", "panel"}
    templates = {file.stem for file in (folder / "page").glob("*.html")} - {"page"}
    assert files == templates == set(PANELS)
