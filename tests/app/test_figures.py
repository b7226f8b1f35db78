"""Figures for papers: the width that was asked for, embedded fonts, regions as vectors, and the right pictures."""

import re
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from partcnn.app.cli.commands import main
from partcnn.app.drawings import unseen_drawings, write_drawings
from partcnn.app.figures import KINDS, FigureSettings, draw_figure
from partcnn.app.runs.opening import Run, open_run
from partcnn.foundation.errors import ConfigError, RunError
from partcnn.plot.papers import paper_style, width_in_cm

OLD_RUN = Path(__file__).parents[1] / "data" / "run-before-the-rooms"  # of filters that do not compete
POINTS_PER_CM = 72 / 2.54


@pytest.fixture(scope="module")
def run() -> Run:
    return open_run("demo:")


@pytest.fixture(scope="module")
def giraffe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawings(unseen_drawings(), tmp_path_factory.mktemp("drawn"), num_pictures=1)[1]


def inflated(pdf: bytes) -> bytes:
    """The streams of a PDF, those that are deflated as they were before; and what lies between."""
    pieces = [pdf]
    for found in re.finditer(rb"stream\r?\n(.*?)endstream", pdf, flags=re.DOTALL):
        try:
            pieces.append(zlib.decompress(found[1]))
        except zlib.error:
            continue
    return b"\n".join(pieces)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", ["single", "12.5"])
def test_a_figure_is_as_wide_as_it_was_asked_to_be_and_fits_a_page(
    kind: str, width: str, run: Run, giraffe: Path
) -> None:
    settings = FigureSettings(width_in_cm(width), images=[str(giraffe)] if kind != "curves" else [])
    with paper_style():
        inches = draw_figure(run, kind, settings).get_size_inches()
    assert inches[0] * 2.54 == pytest.approx(width_in_cm(width))
    assert inches[1] * 2.54 < 20 or kind == "filters"  # 12 rows of one large picture


def test_a_pdf_has_its_fonts_as_truetype_and_its_pictures_sharp(giraffe: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "why.pdf"
    command = ["figure", "demo:", "--kind", "explanation", "--images", str(giraffe), "--width", "single"]
    assert main([*command, "--out", str(out)]) == 0
    pdf = inflated(out.read_bytes())
    assert b"/FontFile2" in pdf, "TrueType, embedded"
    assert b"/Type3" not in pdf
    width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", pdf)[1])
    assert width == pytest.approx(8.5 * POINTS_PER_CM, abs=0.1)
    pixels = max(int(found) for found in re.findall(rb"/Width (\d+)", pdf))
    assert pixels >= 0.6 * 8.5 / 2.54 * 300 * 0.98, "the picture is as wide as 0.62 of the column, at 300 dots an inch"


def test_an_svg_has_regions_as_paths_in_the_colours_of_the_bars(giraffe: Path, tmp_path: Path) -> None:
    out = tmp_path / "why.svg"
    assert main(["figure", "demo:", "--kind", "explanation", "--images", str(giraffe), "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    ElementTree.fromstring(text)  # noqa: S314 (we wrote it)
    regions = set(re.findall(r"fill: (#\w{6}); opacity: 0\.55|fill: (#\w{6}); fill-opacity: 0\.55", text))
    filled = {first or second for first, second in regions}
    assert len(filled) >= 6
    bars = set(re.findall(r'style="fill: (#\w{6})"', text))
    assert len(filled & bars) >= 5
    assert "<text" not in text, "letters are outlines: no font of the reader's is needed"


def test_only_the_filters_that_were_named_have_rows(run: Run, giraffe: Path) -> None:
    with paper_style():
        figure = draw_figure(run, "filters", FigureSettings(8.5, images=[str(giraffe)], filters=[7, 2]))
    assert [text.get_text().split()[0] for text in figure.texts] == ["7", "2"]
    assert [len(axis.images) for axis in figure.axes] == [1, 1]


@pytest.mark.parametrize("kind", ["filters", "parts", "explanation"])
def test_filters_that_do_not_compete_have_figures_too(kind: str, giraffe: Path, tmp_path: Path) -> None:
    out = tmp_path / "old.png"
    arguments = ["--kind", kind, "--images", str(giraffe), "--width", "10", "--dpi", "60", "--out", str(out)]
    assert main(["figure", str(OLD_RUN), *arguments]) == 0
    with Image.open(out) as picture:
        assert picture.width == pytest.approx(10 / 2.54 * 60, abs=1)
        assert len(picture.convert("RGB").getcolors(10**6) or []) > 1000, "a photograph is on it"


def test_the_runs_own_pictures_are_drawn_where_none_is_given(run: Run) -> None:
    with paper_style():
        figure = draw_figure(run, "parts", FigureSettings(8.5, num_pictures=2))
    assert sum(bool(axis.images) for axis in figure.axes) == 2


def test_pictures_that_a_strangers_run_names_are_not_drawn(run: Run, tmp_path: Path) -> None:
    strange = replace(run, settings=replace(run.settings, data=f"folder:{tmp_path}"))
    with pytest.raises(RunError, match="--data"), paper_style():
        draw_figure(strange, "parts", FigureSettings(8.5))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--width", "wide"], "width: expected single or double"),
        (["--width", "400"], "4 to 60 cm"),
        (["--dpi", "5"], "dpi: expected 30"),
        (["--filters", "12"], "filters: expected numbers from 0 to 11, got 12"),
        (["--num-pictures", "0"], "num-pictures: expected at least 1"),
    ],
    ids=["width", "wide", "dpi", "filter", "count"],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figure", "demo:", "--kind", "parts", "--out", str(tmp_path / "x.pdf"), *arguments]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x.pdf").exists()


def test_another_ending_is_refused_before_anything_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figure", "demo:", "--kind", "curves", "--out", str(tmp_path / "x.gif")]) == 2
    assert "expected an ending of .pdf, .svg, .png" in " ".join(capsys.readouterr().err.split())


def test_several_pictures_have_no_one_explanation(run: Run) -> None:
    with pytest.raises(ConfigError, match="one picture"):
        draw_figure(run, "explanation", FigureSettings(8.5, images=["a.png", "b.png"]))
