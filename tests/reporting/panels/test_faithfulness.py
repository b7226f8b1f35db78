"""The panel of faithfulness: there where explanations were tested, its curves can be drawn, its text stays text."""

import math

import pytest

from partcnn.evaluation import Evaluation
from partcnn.evaluation.faithfulness_result import Area, Curves, Faithfulness, OrderAreas
from partcnn.reporting.panels.faithfulness import HEIGHT, WIDTH, faithfulness
from partcnn.reporting.panels.panel import PageContent
from tests.reporting.test_report import Page

EVIL = "</section><script>alert(1)</script>"
AREA = Area(1.5, [1.0, 2.0], 0.5, [0.25, 0.75])
NOTHING = Area(1.5, [math.nan] * 2, math.nan, [math.nan] * 2)


def found(curves: dict[str, Curves], area: Area = AREA) -> Faithfulness:
    return Faithfulness(
        areas={name: OrderAreas(area, area) for name in curves},
        differences={f"{name} − random": OrderAreas(area, area) for name in curves},
        curves=curves,
        shares=[0.0, 0.5, 1.0],
        hidden_logit=1.0,
        whole_logit=2.0,
        num_images=3,
        num_reversed=1,
        grid=[14, 14],
        sigma_px=[16.0, 16.0],
        num_random=4,
        confidence=0.95,
        left_out={"grad-CAM": EVIL},
    )


def panel(one: Faithfulness | None) -> str:
    data = {"spec": "demo:", "category": None, "split": "test", "num_images": 3}
    evaluation = Evaluation({}, [], {}, [], [], data, faithfulness=one)
    return faithfulness(PageContent(evaluation, None, {}, []))  # type: ignore[arg-type]  # it asks for nothing else


def test_without_it_there_is_no_panel() -> None:
    assert panel(None) == ""


def test_curves_stand_on_one_scale_and_names_stay_text() -> None:
    page = Page(panel(found({EVIL: Curves([0.0, 3.0, 4.0], [4.0, 2.0, 0.0])})))
    lines = [attributes["points"] for attributes, _ in page.all("polyline")]
    assert lines == [
        f"0.0,{HEIGHT:.1f} {WIDTH / 2:.1f},{HEIGHT / 4:.1f} {WIDTH:.1f},0.0",
        f"0.0,0.0 {WIDTH / 2:.1f},{HEIGHT / 2:.1f} {WIDTH:.1f},{HEIGHT:.1f}",
    ]
    assert list(page.all("script")) == []
    headings = [text for attributes, text in page.all("th") if attributes.get("scope") == "row"]
    assert headings == [EVIL, f"{EVIL} − random"]
    text = panel(found({"mine": Curves([0.0, 3.0, 4.0], [4.0, 2.0, 0.0])}))
    assert "1.000 … 2.000" in text
    assert "normalised 0.500 (0.250 … 0.750)" in text
    assert "normalised +0.500" in text
    assert "On 1 of 3 the hidden picture has no lower logit." in text


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.7e308], ids=str)
def test_a_curve_that_cannot_be_drawn_is_left_out(value: float) -> None:
    curves = {"sound": Curves([-1e308, 3.0, 4.0], [4.0, 2.0, 0.0]), "other": Curves([value, 0.0, 0.0], [0.0] * 3)}
    page = Page(panel(found(curves, NOTHING)))
    for attributes, _ in page.all("polyline"):
        assert "nan" not in attributes["points"]
        assert "inf" not in attributes["points"]
    assert len(list(page.all("polyline"))) == (0 if value == 1.7e308 else 2)  # of that range nothing is left


def test_equal_logits_are_a_line_in_the_middle() -> None:
    page = Page(panel(found({"mine": Curves([0.25] * 3, [0.25] * 3)}, NOTHING)))
    assert all(point.endswith(f",{HEIGHT / 2:.1f}") for a, _ in page.all("polyline") for point in a["points"].split())
    assert "normalised" not in panel(found({"mine": Curves([0.25] * 3, [0.25] * 3)}, NOTHING)).split("</table>")[0]
