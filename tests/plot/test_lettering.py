"""Names in any script in figures: a font that has the letters is found, else a plain substitute; no warning, no box."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image

from partcnn.datasets import Catalogue, PartDataset, Point, Sample
from partcnn.plot import filter_gallery, r2_histogram
from partcnn.plot import lettering as module
from partcnn.plot.callouts import Callout, draw_callouts
from partcnn.plot.contact_sheet import save_contact_sheet
from partcnn.plot.lettering import drawable, lettering

NAMES = ["猫", "いぬ", "고양이", "ไก่", "a$b", "tab\tline\n", "byte\udce9"]


@pytest.fixture
def no_more_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with matplotlib's own fonts alone."""
    own = [font for font in fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", own)
    monkeypatch.setattr(module, "findSystemFonts", list)
    module._add_new_fonts.cache_clear()


@pytest.fixture
def cat_file(tmp_path: Path) -> Path:
    """A font whose one letter is 猫, a full square."""
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(0, 0), (0, 1000), (1000, 1000), (1000, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    square = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "cat"])
    font.setupCharacterMap({ord("猫"): "cat"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "cat": square})
    font.setupHorizontalMetrics({".notdef": (500, 0), "cat": (1000, 0)})
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": "Cats", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "cats.ttf")
    return tmp_path / "cats.ttf"


@pytest.fixture
def with_cat(cat_file: Path, no_more_fonts: None) -> Iterator[str]:
    """A machine with that font too."""
    known = list(fontManager.ttflist)
    fontManager.addfont(cat_file)
    yield "Cats"
    fontManager.ttflist[:] = known


def inked(axis_of: Figure) -> int:
    """Dark pixels of a figure with nothing but text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(axis_of)
    canvas.draw()
    return int((np.asarray(canvas.buffer_rgba())[..., :3].mean(axis=2) < 100).sum())


@pytest.mark.parametrize("name", NAMES)
def test_without_a_font_a_name_becomes_plain_text(name: str, no_more_fonts: None) -> None:
    shown = drawable(name)
    assert shown.isprintable()
    assert shown == name or "\\" in shown
    figure = Figure()
    figure.text(0, 0.5, shown, **lettering([shown]))
    assert inked(figure) > 0  # warnings are errors


def test_names_without_a_font_stay_apart(no_more_fonts: None) -> None:
    assert drawable("猫") == "\\u732b"
    assert len({drawable(name) for name in ("猫", "犬", "狐", "猫犬")}) == 4


@pytest.mark.parametrize("name", ["Flügel", "шея", "ουρά", "R² − 0.5 ≥ π", "cat", "رأس"])
def test_what_the_usual_font_has_stays_as_it_is(name: str, no_more_fonts: None) -> None:
    assert drawable(name) == name
    assert lettering([name])["fontfamily"] == ["sans-serif"]


def test_a_font_that_has_the_letters_is_found_and_used(with_cat: str) -> None:
    name = drawable("a 猫, no 犬")
    assert name == "a 猫, no \\u72ac"
    assert lettering([name])["fontfamily"] == ["sans-serif", with_cat]
    figure = Figure(figsize=(2, 2), dpi=100)
    figure.text(0.1, 0.1, "猫", fontsize=72, **lettering(["猫"]))
    assert inked(figure) == pytest.approx(100 * 100, rel=0.1)  # the square of 72 points


@dataclass
class Measured:
    part_tracking_r2: float

    @property
    def filters(self) -> list["Measured"]:
        return [self]


def callouts(axis: Axes) -> None:
    draw_callouts([Callout(name, (5, 5 + n), (200, 0, 0)) for n, name in enumerate(NAMES)], axis, (20, 20))


@pytest.mark.parametrize(
    "draw",
    [
        callouts,
        lambda axis: filter_gallery({name: [Image.new("RGB", (9, 9))] for name in NAMES}, axis),
        lambda axis: r2_histogram({name: Measured(0.5) for name in NAMES}, axis),
    ],
    ids=["callouts", "gallery", "histogram"],
)
def test_figures_with_such_names_are_drawn(draw: object, no_more_fonts: None, tmp_path: Path) -> None:
    figure = Figure()
    draw(figure.subplots())  # type: ignore[operator]
    figure.savefig(tmp_path / "x.png")


def test_a_contact_sheet_with_such_names_is_drawn(tmp_path: Path, no_more_fonts: None) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    samples = [Sample(tmp_path / "a.png", label, None, {name: [Point(3, 3)]}, name) for label, name in enumerate(NAMES)]
    data = PartDataset(Catalogue(samples, NAMES, NAMES), spec="folder:猫$")
    assert save_contact_sheet(data, tmp_path / "sheet.png").stat().st_size > 0


def test_a_font_that_was_installed_after_matplotlib_made_its_list_is_found(
    cat_file: Path, no_more_fonts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drawable("猫") == r"\u732b"
    damaged = cat_file.with_name("damaged.ttf")
    damaged.write_bytes(b"no font")
    monkeypatch.setattr(module, "findSystemFonts", lambda: [str(damaged), str(cat_file)])
    module._add_new_fonts.cache_clear()
    assert drawable("猫") == "猫"
    assert "Cats" in lettering(["猫"])["fontfamily"]
