"""The page holds what was measured, all it needs, and nothing that a class or file name could smuggle in."""

import base64
import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import partcnn.reporting.writing
from partcnn.datasets import PartDataset
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import Evaluation, evaluate
from partcnn.foundation.errors import ConfigError, DataError, RunError
from partcnn.foundation.number_text import decimal
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of, recorded_feature_maps
from partcnn.networks.backbones import load_backbone
from partcnn.networks.demo_net import DemoNet
from partcnn.reporting import report
from partcnn.reporting.cards import make_cards
from partcnn.reporting.gathering import Gathered, gather
from partcnn.reporting.page_pictures import MOST_PICTURES, chosen_pictures
from partcnn.reporting.parts_table import part_rows
from partcnn.reporting.patches import PATCH_PX, patch_sheet
from partcnn.reporting.remarks import lead_sentence, write_remarks
from partcnn.reporting.strip import make_instability_strip, make_strip
from partcnn.reporting.summary import summary_rows

VOID = {"meta", "img", "input", "link", "br", "wbr"}
NUM_FILTERS = 6


class Page(HTMLParser):
    """Every element as (tag, attributes, text within), and whether all that was opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def all(self, tag: str, css: str = "") -> Iterator[tuple[dict[str, str | None], str]]:
        for name, attributes, words in self.elements:
            if name == tag and css in ["", *(attributes.get("class") or "").split()]:
                yield attributes, " ".join(" ".join(words).split())


def small_model(dataset: PartDataset, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    network = load_backbone("demo").network
    arguments = {"num_classes": len(dataset.classes), "background": dataset.background, "filters": NUM_FILTERS}
    model = convert(network, "features.block4", **arguments, input_size=(64, 64), **settings)
    conversion_of(model).classes = list(dataset.classes)
    return model.eval()


@pytest.fixture(scope="module")
def dataset() -> PartDataset:
    return load_dataset("demo:6", category="cat", split="all")


@pytest.fixture(scope="module")
def model(dataset: PartDataset) -> nn.Module:
    return small_model(dataset)


@pytest.fixture(scope="module")
def evaluation(model: nn.Module, dataset: PartDataset) -> Evaluation:
    """Measured, and then made varied: what an untrained network measures is much the same for every filter."""
    measured = evaluate(model, dataset)
    r2 = [0.71, -0.3, 0.55, math.nan, 0.2, 0.0]
    filters = [
        replace(
            one,
            part_tracking_r2=value,
            best_part=None if math.isnan(value) else "head",
            r2_by_part=dict.fromkeys(one.r2_by_part, -1.2) | {"head": value},
            is_dead=value == 0,
        )
        for one, value in zip(measured.filters, r2, strict=True)
    ]
    summary = measured.summary | {
        "accuracy": 0.9,
        "part_tracking_r2": 0.321,
        "location_instability": 0.0712,
        "constant_point_instability": 0.0655,
        "part_tracking_r2_best": 0.7,
    }
    return replace(measured, filters=filters, summary=summary)


@pytest.fixture(scope="module")
def plain(evaluation: Evaluation) -> Evaluation:
    filters = [replace(one, part_tracking_r2=-2.5 + one.filter / 2) for one in evaluation.filters]
    summary = evaluation.summary | {"accuracy": 0.95, "part_tracking_r2": -1.25, "location_instability": 0.1}
    return replace(evaluation, filters=filters, summary=summary)


@pytest.fixture(scope="module")
def text(
    model: nn.Module,
    dataset: PartDataset,
    evaluation: Evaluation,
    plain: Evaluation,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    assert report(model, dataset, path, evaluation=evaluation, compare={"plain": plain}) == path
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def words(
    evaluation: Evaluation,
    compare: dict[str, Evaluation] | None = None,
    groups: Sequence[Sequence[int]] = ((0, 1, 2), (3,), (4,), (5,)),
    holders: Sequence[int] | None = None,
) -> str:
    return " ".join(remark.text for remark in write_remarks(evaluation, compare or {}, groups, holders=holders))


def test_nothing_is_loaded_from_outside_the_page(text: str, page: Page) -> None:
    for tag, attributes, _ in page.elements:
        assert tag not in ("link", "iframe", "object", "base")
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
        assert "srcset" not in attributes
    code = text[: text.index('id="data"')] + text[text.index("</script>", text.index('id="data"')) :]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|fetch\(|import\(|XMLHttp|WebSocket", code)


def test_the_policy_of_the_page_lets_its_own_script_run_and_no_other(text: str) -> None:
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)'", text)
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed
    assert "default-src 'none'" in text


def test_every_filter_has_a_card_and_the_best_comes_first(page: Page) -> None:
    cards = [attributes for attributes, _ in page.all("article", "card")]
    assert [card["data-filter"] for card in cards] == ["0", "2", "4", "5", "1", "3"]
    links = [attributes["href"] for attributes, text in page.all("a") if text.startswith("Filter ")]
    assert links == [f"#filter-{card['data-filter']}" for card in cards]


def test_cards_show_the_figures_of_the_evaluation(page: Page, evaluation: Evaluation) -> None:
    cards = {
        int(attributes["data-filter"] or -1): (attributes, text) for attributes, text in page.all("article", "card")
    }
    for one in evaluation.filters:
        attributes, text = cards[one.filter]
        assert float(attributes["data-instability"] or 0) == one.location_instability
        assert f"instability {one.location_instability:.3f}" in text
        assert f"scatter {one.displacement_scatter:.3f}" in text
        assert float(attributes["data-weight"] or 0) == one.class_weight["cat"]
    assert "0.71" in cards[0][1]
    assert "−0.30" in cards[1][1]
    assert "follows the head" in cards[2][1]
    assert "R² legs −1.20" in cards[0][1]
    assert "no annotated part" in cards[3][1]
    assert "dead" in cards[5][1]
    assert "head" not in cards[5][1]  # a dead filter has no best part


def test_the_summary_shows_the_figures_of_the_evaluation_and_the_differences(
    page: Page, evaluation: Evaluation
) -> None:
    rows = {attributes["data-measure"]: text for attributes, text in page.all("tr") if "data-measure" in attributes}
    assert rows["accuracy"].endswith("90.0 % 95.0 % −5.0 points worse")
    assert rows["part_tracking_r2"].endswith("0.321 −1.250 +1.571 better")
    assert rows["location_instability"].endswith("0.071 0.100 −0.029 better")
    assert rows["constant_point_instability"].endswith("0.066 0.066 0.000")
    found = (
        evaluation.baselines["constant_point"]["pointing_game"],
        evaluation.baselines["random_filter"]["pointing_game"],
    )
    middle, random = (f"{100 * figure:.1f} %" for figure in found)
    assert f"Without looking: the middle of the picture: {middle}, random filters: {random}." in rows["pointing_game"]
    assert {"part_interpretability", "class_purity"} <= rows.keys()
    assert list(rows).index("constant_point_instability") == list(rows).index("location_instability") + 1


def test_an_evaluation_of_an_earlier_version_has_no_row_of_what_it_lacks(evaluation: Evaluation) -> None:
    summary = {name: figure for name, figure in evaluation.summary.items() if name != "class_purity"}
    earlier = replace(evaluation, summary=summary, baselines={})
    rows = {row.measure.name: row for row in summary_rows(earlier, {})}
    assert "class_purity" not in rows
    assert rows["pointing_game"].baselines == ""


def data_of(page: Page) -> dict[str, Any]:
    (text,) = [text for attributes, text in page.all("script") if attributes.get("id") == "data"]
    data: dict[str, Any] = json.loads(text)
    return data


def test_the_view_of_a_filter_has_the_figures_of_the_table_of_measures(page: Page, evaluation: Evaluation) -> None:
    for one, packed in zip(evaluation.filters, data_of(page)["filters"], strict=True):
        assert packed["figures"] == [
            ["steadiness", decimal(one.steadiness, 3)],
            ["identity", decimal(one.identity)],
            ["location instability", decimal(one.location_instability, 3)],
            ["displacement scatter", decimal(one.displacement_scatter, 3)],
            ["part interpretability", decimal(one.part_interpretability)],
            ["pointing game", decimal(one.pointing_game)],
            ["consistency", decimal(one.consistency)],
            ["stability", decimal(one.stability)],
            ["part purity", decimal(one.part_purity)],
            ["class purity", decimal(one.class_purity)],
            ["presence", decimal(one.presence)],
        ]


def unpacked(array: dict[str, Any]) -> np.ndarray:
    kind = {"u8": "<u1", "u16": "<u2", "f32": "<f4"}[array["type"]]
    return np.frombuffer(base64.b64decode(array["data"]), kind).reshape(array["shape"])


@pytest.fixture(scope="module")
def gathered(model: nn.Module, dataset: PartDataset, evaluation: Evaluation) -> Gathered:
    return gather(model, dataset, evaluation)


def test_every_picture_is_in_the_page_once_as_a_small_jpeg(page: Page, dataset: PartDataset) -> None:
    pictures = data_of(page)["pictures"]
    assert [one["name"] for one in pictures] == [sample.image_path.name for sample in dataset.samples]
    for one in pictures:
        with Image.open(io.BytesIO(base64.b64decode(one["src"]))) as picture:
            assert picture.format == "JPEG"
            assert max(picture.size) <= 288
            assert picture.size == (one["width"], one["height"])


def test_each_picture_passes_the_network_once_and_a_wrong_one_again_for_its_true_class(
    model: nn.Module, dataset: PartDataset, evaluation: Evaluation
) -> None:
    seen: list[int] = []
    handle = model.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    try:
        found = gather(model, dataset, evaluation)
    finally:
        handle.remove()
    wrong = {place for place, one in enumerate(found.pictures) if not one.is_right}
    assert sum(seen[1:]) == len(dataset) + len(wrong)  # the first is the receptive field's
    assert found.others.keys() == wrong


def test_peaks_in_the_page_are_those_that_were_measured(
    page: Page, dataset: PartDataset, evaluation: Evaluation
) -> None:
    data = data_of(page)
    cells, scores, field = unpacked(data["cells"]), unpacked(data["scores"]), data["field"]
    for one in evaluation.filters:
        for top in one.top_images:
            row, col = divmod(int(cells[top.sample, one.filter]), field["map"][1])
            assert (row, col) == top.peak_cell
            place = [field["first"][axis] + cell * field["stride"][axis] for axis, cell in enumerate((col, row))]
            assert [64 * share for share in place] == pytest.approx(top.peak_px)
            score = scores[top.sample, one.filter] / 65535 * data["full"][one.filter]
            assert score == pytest.approx(top.score, abs=1e-4 * data["full"][one.filter])


def test_parts_and_object_boxes_are_shares_of_the_picture(page: Page, dataset: PartDataset) -> None:
    pictures = data_of(page)["pictures"]
    for one, sample in zip(pictures, dataset.samples, strict=True):
        size = sample.load_image().size * 2
        assert one["parts"].keys() == sample.parts.keys()
        for part, (shape,) in one["parts"].items():
            box = sample.parts[part][0].box
            assert shape == pytest.approx([edge / length for edge, length in zip(box, size, strict=True)], abs=1e-4)
        if sample.object_box is not None:
            assert one["box"] == pytest.approx([e / s for e, s in zip(sample.object_box, size, strict=True)], abs=1e-4)


def test_the_shares_of_every_picture_add_up_to_its_logit(page: Page, model: nn.Module, dataset: PartDataset) -> None:
    data = data_of(page)
    shares, logits = unpacked(data["shares"]), unpacked(data["logits"])
    for place, sum_of in enumerate(data["sums"]):
        assert sum_of["bias"] + shares[place].sum() == pytest.approx(sum_of["logit"], abs=1e-4)
        assert sum_of["logit"] == pytest.approx(logits[place].max())
        assert [sum_of["label"]] == data["pictures"][place]["predictions"]
    for place, (sum_of,) in data["otherSums"].items():
        (label,) = data["pictures"][int(place)]["labels"]
        assert sum_of["label"] == label
        assert sum_of["bias"] + unpacked(sum_of["shares"]).sum() == pytest.approx(logits[int(place)][label], abs=1e-4)


def test_maps_in_the_page_are_the_filters_own(gathered: Gathered, model: nn.Module, dataset: PartDataset) -> None:
    place = gathered.top[2][1]
    with recorded_feature_maps(model) as maps, torch.no_grad():
        model(conversion_of(model).preprocessing(dataset.samples[place].load_image())[None])
        expected = list(maps.values())[-1][0, 2]
    assert torch.allclose(gathered.top_maps[2, 1], expected, atol=1e-5)
    assert expected.amax() > 0


def test_likeness_is_the_correlation_of_the_maps(gathered: Gathered, model: nn.Module, dataset: PartDataset) -> None:
    preprocessing = conversion_of(model).preprocessing
    with recorded_feature_maps(model) as maps, torch.no_grad():
        model(torch.stack([preprocessing(sample.load_image()) for sample in dataset.samples]))
        flat = list(maps.values())[-1].transpose(0, 1).flatten(1).double().numpy()
    assert gathered.likeness.numpy() == pytest.approx(np.corrcoef(flat), abs=1e-4)


def test_an_average_patch_shows_what_lies_at_the_peaks(gathered: Gathered) -> None:
    red = Image.new("RGB", (100, 50), (30, 30, 30))
    cell = 5 * gathered.field.map_size[1] + 6
    x, y = gathered.field.centers_px(torch.tensor([5, 6])).tolist()
    middle = (100 * x / 64, 50 * y / 64)
    red.paste((220, 0, 0), [round(middle[0]) - 3, round(middle[1]) - 3, round(middle[0]) + 3, round(middle[1]) + 3])
    buffer = io.BytesIO()
    red.save(buffer, format="PNG")
    pictures = [replace(one, jpeg=buffer.getvalue(), width=100, height=50) for one in gathered.pictures]
    cells = torch.full_like(gathered.cells, cell)
    scores = torch.ones_like(gathered.scores)  # untrained filters see their part hardly anywhere
    made = patch_sheet(replace(gathered, pictures=pictures, cells=cells, scores=scores), [1] * NUM_FILTERS)
    with Image.open(io.BytesIO(made)) as sheet:
        pixels = np.asarray(sheet.convert("RGB"), dtype=int)
    patch = pixels[:PATCH_PX, :PATCH_PX]
    rows, cols = np.nonzero((patch[..., 0] > 150) & (patch[..., 1] < 80))
    assert (rows.mean(), cols.mean()) == pytest.approx((PATCH_PX / 2, PATCH_PX / 2), abs=3)
    assert abs(patch[2, 2] - 30).max() < 15


def test_of_too_many_pictures_the_strongest_and_an_even_choice_are_kept(evaluation: Evaluation) -> None:
    tops = [replace(evaluation.filters[0].top_images[0], sample=sample) for sample in (9_999, 5_000)]
    filters = [replace(evaluation.filters[0], top_images=tops)]
    chosen = chosen_pictures(10_000, replace(evaluation, filters=filters))
    assert len(chosen) == len(set(chosen)) == MOST_PICTURES
    assert {5_000, 9_999} <= set(chosen)
    assert max(later - earlier for earlier, later in itertools.pairwise(chosen)) < 40


def test_masks_in_place_give_shares_by_gradient_and_the_page_says_so(dataset: PartDataset, tmp_path: Path) -> None:
    model = convert(DemoNet(2), "features.block4", num_classes=2, head="original", background=0, input_size=(64, 64))
    conversion_of(model).classes = list(dataset.classes)
    page = Page(report(model.eval(), dataset, tmp_path / "report.html").read_text(encoding="utf-8"))
    data = data_of(page)
    shares = unpacked(data["shares"])
    for place, sum_of in enumerate(data["sums"]):
        assert sum_of["remainder"] + shares[place].sum() == pytest.approx(sum_of["logit"], abs=1e-4)
    assert "gradient × activation" in next(
        text for attributes, text in page.all("section") if attributes["id"] == "pictures"
    )


def test_every_part_has_its_followers_and_a_part_without_says_what_is_nearest(evaluation: Evaluation) -> None:
    rows = {row.part: row for row in part_rows(evaluation)}
    assert [(one.filter, one.r2) for one in rows["head"].followers] == [(0, 0.71), (2, 0.55)]
    assert rows["legs"].followers == []
    assert rows["legs"].nearest is not None
    assert rows["legs"].nearest.r2 == -1.2


def test_training_curves_are_drawn_from_the_log(
    model: nn.Module, dataset: PartDataset, evaluation: Evaluation, tmp_path: Path
) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,task_loss,spatial_entropy\n0,3,2.5,9.1\n1,7,1.5,\n2,9,0.5,8.25\n", encoding="utf-8")
    text = report(model, dataset, tmp_path / "r.html", evaluation=evaluation, log=log).read_text(encoding="utf-8")
    charts = [attributes.get("data-curve") for attributes, _ in Page(text).all("figure", "chart")]
    assert charts == ["task_loss", "spatial_entropy"]
    assert 'points="0.0,0.0 120.0,42.0 240.0,84.0"' in text
    assert "2.50 → 0.500" in text
    assert "−prior entropy" not in text  # the sum is told only where its terms are shown
    names = "task_loss,filter_loss,prior_entropy,inter_category_entropy,spatial_entropy,equivariance,accuracy"
    log.write_text(f"epoch,{names}\n0,1,2,3,4,5,0.02,0.5\n", encoding="utf-8")
    text = report(model, dataset, tmp_path / "r.html", evaluation=evaluation, log=log).read_text(encoding="utf-8")
    charts = [attributes.get("data-curve") for attributes, _ in Page(text).all("figure", "chart")]
    assert sorted(filter(None, charts)) == sorted(names.split(","))
    assert "−prior entropy + inter-category entropy + spatial entropy" in text
    log.write_text("something else", encoding="utf-8")
    with pytest.raises(DataError, match=r"expected the log/metrics\.csv"):
        report(model, dataset, tmp_path / "r.html", evaluation=evaluation, log=log)


def test_instability_stands_beside_the_constant_point(evaluation: Evaluation, plain: Evaluation) -> None:
    strip = make_instability_strip({"this network": evaluation, "plain": plain})
    assert strip is not None
    (mark,) = strip.marks
    assert mark[0] == "constant"
    assert mark[1] == pytest.approx(100 * 0.0655 / strip.ticks[-1][0])


def test_names_cannot_bring_elements_into_the_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)<b>"
    for label, kind in ((evil, "cat"), ("dog & co", "bird")):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for seed in range(2):
            file = f"'\"><script>{seed}.png" if label == evil else f"{seed}.png"
            draw_animal(kind, seed, size=48).image.save(tmp_path / "pictures" / label / file)
    dataset = load_dataset(f"folder:{tmp_path / 'pictures'}", split="all")
    model = small_model(dataset, objective="labelled")  # whose cards name classes
    measured = evaluate(model, dataset)
    part = f"{evil}</script><b>alert(2)"  # would end the data's element
    filters = [replace(one, best_part=part, r2_by_part={part: 0.7}, part_tracking_r2=0.7) for one in measured.filters]
    measured = replace(measured, filters=filters, parts=[part])
    path = report(model, dataset, tmp_path / "r.html", evaluation=measured, compare={evil: measured}, title=evil)
    text = path.read_text(encoding="utf-8")
    start = text.index('id="data">') + len('id="data">')
    assert not set("<>&") & set(text[start : text.index("</script>\n<script>", start)])
    page = Page(text)
    assert [attributes.get("type") for attributes, _ in page.all("script")] == ["application/json", None]
    assert not [text for _, text in page.all("b") if text.startswith("alert")]
    assert next(page.all("h1"))[1] == evil
    assert {attributes["data-category"] for attributes, _ in page.all("article", "card")} == {evil, "dog & co"}
    assert any(one["name"] == "'\"><script>0.png" for one in data_of(page)["pictures"])


def test_without_annotated_parts_the_page_shows_what_filters_fire_on_and_says_so(tmp_path: Path) -> None:
    for kind in ("bird", "cat"):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for seed in range(2):
            draw_animal(kind, seed, size=48).image.save(tmp_path / "pictures" / kind / f"{seed}.png")
    dataset = load_dataset(f"folder:{tmp_path / 'pictures'}", split="all")
    page = Page(report(small_model(dataset), dataset, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(list(page.all("article", "card"))) == NUM_FILTERS
    assert not list(page.all("section", "part-rows"))
    assert any("No part is annotated" in text for _, text in page.all("li"))
    assert "nan" not in " ".join(text for _, text in page.all("main"))
    (strip,) = page.all("svg", "dots")
    assert str(strip[0]["aria-label"]).startswith(f"this network: steadiness of {NUM_FILTERS} filters, mean ")
    rows = {attributes["data-measure"] for attributes, _ in page.all("tr") if "data-measure" in attributes}
    assert {"steadiness", "identity", "presence", "accuracy"} <= rows
    assert not rows & {"part_tracking_r2", "coverage", "location_instability", "constant_point_instability", "nmi"}
    for attributes, text in page.all("article", "card"):
        assert "steadiness" in text
        assert "identity" in text
        assert "R²" not in text
        assert "–" not in text
        assert attributes["data-level"] not in ("unknown", "none")
    assert "Location instability" not in " ".join(text for _, text in page.all("dt"))
    figures = [name for one in data_of(page)["filters"] for name, _ in one["figures"]]
    assert {*figures} == {"steadiness", "identity", "presence"}
    assert "No parts are annotated here." in next(page.all("p", "lead"))[1]


def test_the_background_owns_no_card_but_has_a_weight(page: Page) -> None:
    assert {attributes["data-category"] for attributes, _ in page.all("article", "card")} == {"cat"}
    assert all("background" in text for _, text in page.all("article", "card"))


def test_networks_stand_in_the_strip_in_the_given_order(evaluation: Evaluation, plain: Evaluation) -> None:
    strip = make_strip({"this network": evaluation, "plain": plain})
    assert strip is not None
    assert [(row.name, len(row.dots)) for row in strip.rows] == [("this network", 5), ("plain", 6)]
    assert (strip.low, strip.rows[1].num_below, strip.rows[0].num_unmeasured) == (-2.0, 1, 1)
    best = next(dot for dot in strip.rows[0].dots if dot.anchor == "filter-0")
    assert best.left_pct == pytest.approx(100 * (0.71 + 2) / 3)
    assert {dot.anchor for dot in strip.rows[1].dots} == {None}


def test_filters_of_equal_r2_are_stacked(evaluation: Evaluation) -> None:
    equal = replace(evaluation, filters=[replace(one, part_tracking_r2=0.4) for one in evaluation.filters])
    strip = make_strip({"equal": equal})
    assert strip is not None
    assert len({dot.top_px for dot in strip.rows[0].dots}) == NUM_FILTERS


def test_the_page_says_when_instability_is_no_better_than_a_fixed_point(evaluation: Evaluation) -> None:
    warning = "A filter that always points at the centre of the picture gets 0.066"
    assert warning in words(evaluation)
    good = replace(evaluation, summary=evaluation.summary | {"location_instability": 0.05})
    assert warning not in words(good)


def test_the_page_says_which_parts_are_crowded_and_which_are_left_out(evaluation: Evaluation) -> None:
    said = words(evaluation)
    assert "2 of 6 filters follow the head; most say the same thing." in said
    assert "No filter follows the body" in said
    assert "1 of 6 filters is dead" in said
    second = replace(evaluation.filters[2], best_part="tail", r2_by_part={"head": 0.1, "tail": 0.6})
    shared = replace(evaluation, filters=[*evaluation.filters[:2], second, *evaluation.filters[3:]])
    assert "1 of 6 filters follows the head, 1 the tail." in words(shared)


def test_filters_of_one_part_say_the_same_thing_only_where_they_share_a_place(evaluation: Evaluation) -> None:
    filters = [
        replace(one, part_tracking_r2=0.7, best_part="head", r2_by_part={"head": 0.7}, is_dead=False)
        for one in evaluation.filters
    ]
    alike = replace(evaluation, filters=filters)
    said = "6 of 6 filters follow the head"
    assert f"{said}; most say the same thing." in words(alike, groups=[[0, 1, 2, 4], [3], [5]])
    assert f"{said}." in words(alike, groups=[[0, 1], [2, 3], [4, 5]])
    assert f"{said}." in words(alike, groups=())  # nothing is known of their places


def test_filters_that_tile_the_object_are_told_by_what_they_lie_on(evaluation: Evaluation) -> None:
    lying = [{"head": 0.9, "legs": 0.2}] * 4 + [{"head": 0.3, "legs": 0.6}, {"head": 0.4, "legs": math.nan}]
    filters = [replace(one, pointing_by_part=on) for one, on in zip(evaluation.filters, lying, strict=True)]
    tiling = replace(evaluation, filters=filters)
    apart = [[index] for index in range(6)]
    said = words(tiling, groups=apart, holders=range(6))
    assert "6 filters tile the cat: each holds another place; 4 of them lie on the head and 1 on the legs." in said
    assert "2 of 6 filters follow the head." in said
    assert "same thing" not in said
    near = words(tiling, groups=[[0, 1], *apart[2:]], holders=range(6))
    assert "6 filters tile the cat: each holds cells of its own, at 5 places more than a cell apart; 4 of them" in near
    all_on = replace(tiling, filters=[replace(one, pointing_by_part={"head": 0.8}) for one in filters])
    assert "each holds another place; all of them lie on the head." in words(all_on, groups=apart, holders=range(6))
    unseen = replace(tiling, filters=[replace(one, pointing_by_part={}) for one in filters])
    assert "each holds another place." in words(unseen, groups=apart, holders=range(6))
    few = words(tiling, groups=apart, holders=[0, 4])
    assert "2 of 6 filters tile the cat: each holds another place; 1 of them lies on the head and 1 on the legs." in few
    assert "The other 4 filters hold nothing on most pictures." in few
    assert "Only filter 3 holds any of the cat on most pictures" in words(tiling, groups=apart, holders=[3])
    assert "No filter holds any of the cat on most pictures" in words(tiling, groups=apart, holders=[])
    assert "tile" not in words(tiling, groups=apart)


def test_the_first_sentence_says_that_filters_tile(evaluation: Evaluation) -> None:
    assert lead_sentence(evaluation).startswith("2 of 6 filters follow a part with R² of 0.5 or more; the best")
    found = lead_sentence(evaluation, holders=range(6))
    assert found.startswith("6 filters tile the cat; 2 of them follow a part with R² of 0.5 or more; the best")
    nothing = [
        replace(one, part_tracking_r2=math.nan, r2_by_part={}, steadiness=math.nan) for one in evaluation.filters
    ]
    several = replace(evaluation, data=evaluation.data | {"category": None}, parts=[], filters=nothing)
    assert lead_sentence(several, holders=range(6)) == "6 filters tile the objects; no parts are annotated here."
    assert lead_sentence(evaluation, holders=range(5)) == lead_sentence(evaluation)  # not all of them tile
    none = replace(evaluation, filters=[replace(one, part_tracking_r2=0.1) for one in evaluation.filters])
    assert "; none of them follows a part" in lead_sentence(none, holders=range(6))
    assert lead_sentence(none).startswith("None of 6 filters follows a part")


def test_the_page_says_when_filters_that_follow_a_part_speak_against_the_class(evaluation: Evaluation) -> None:
    filters = [replace(one, class_weight={"cat": one.filter - 1.0}) for one in evaluation.filters]
    assert "Of the 2 filters that follow a part, 1 lowers the logit" in words(replace(evaluation, filters=filters))
    filters = [replace(one, class_weight={"cat": 0.5}) for one in filters]
    assert "own category" not in words(replace(evaluation, filters=filters))


def test_the_page_says_what_its_pictures_cannot_show(evaluation: Evaluation) -> None:
    assert "Training pictures are among these" in words(evaluation)
    assert "There are 12 pictures in all" in words(evaluation)
    data = evaluation.data | {"split": "test", "num_images": 400}
    assert "ictures are" not in words(replace(evaluation, data=data))
    guessing = replace(evaluation, summary=evaluation.summary | {"accuracy": 0.55})
    assert "hardly does better than guessing among its 2 classes" in words(guessing)


def test_the_page_says_how_accuracy_compares_and_when_it_cannot(evaluation: Evaluation, plain: Evaluation) -> None:
    assert "Accuracy is 5.0 points (1 picture) below “plain”." in words(evaluation, {"plain": plain})
    elsewhere = replace(plain, data=plain.data | {"split": "train"})
    assert "was measured on other pictures" in words(evaluation, {"plain": elsewhere})


def test_report_measures_where_no_evaluation_is_given(model: nn.Module, dataset: PartDataset, tmp_path: Path) -> None:
    accuracy = evaluate(model, dataset).summary["accuracy"]
    page = Page(report(model, dataset, tmp_path / "report.html").read_text(encoding="utf-8"))
    row = next(text for attributes, text in page.all("tr") if attributes.get("data-measure") == "accuracy")
    assert row.endswith(f"{100 * accuracy:.1f} %")


def test_the_model_is_left_in_the_mode_it_was_in(dataset: PartDataset, tmp_path: Path) -> None:
    model = small_model(dataset)
    model.train()
    model.trunk.eval()
    before = {name: module.training for name, module in model.named_modules()}
    report(model, dataset, tmp_path / "report.html", evaluation=evaluate(model, dataset))
    assert {name: module.training for name, module in model.named_modules()} == before


def test_a_plain_network_is_not_said_to_have_masks(dataset: PartDataset, tmp_path: Path) -> None:
    model = small_model(dataset, objective=None, masks=False)
    text = report(model, dataset, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "this network has no masks" in text
    assert "masked map" not in text


def test_an_existing_page_is_replaced_whole_or_not_at_all(
    model: nn.Module,
    dataset: PartDataset,
    evaluation: Evaluation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "report.html"
    path.write_text("the page of yesterday", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        with pytest.raises(OSError, match="the disk is full"):
            report(model, dataset, path, evaluation=evaluation)
    assert path.read_text(encoding="utf-8") == "the page of yesterday"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    report(model, dataset, path, evaluation=evaluation)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_an_evaluation_of_another_model_or_other_pictures_is_refused(
    model: nn.Module, dataset: PartDataset, evaluation: Evaluation, tmp_path: Path
) -> None:
    fewer = replace(evaluation, filters=evaluation.filters[:3])
    with pytest.raises(ConfigError, match=r"evaluation: expected the 6 filters of part_layers\.0\.mask, got 3"):
        report(model, dataset, tmp_path / "report.html", evaluation=fewer)
    with pytest.raises(ConfigError, match="evaluation: expected one on these pictures"):
        report(model, dataset.with_split("test"), tmp_path / "report.html", evaluation=evaluation)


def test_a_directory_is_refused_before_anything_is_measured(
    model: nn.Module, dataset: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partcnn.reporting.writing, "evaluate", None)
    with pytest.raises(RunError, match="expected a file name"):
        report(model, dataset, tmp_path)


def unannotated(evaluation: Evaluation, *figures: tuple[float, float, float]) -> Evaluation:
    """Without parts; of each filter steadiness, identity and presence."""
    filters = [
        replace(
            evaluation.filters[0],
            filter=number,
            best_part=None,
            part_tracking_r2=math.nan,
            r2_by_part={},
            steadiness=steady,
            identity=known,
            presence=present,
            is_dead=False,
        )
        for number, (steady, known, present) in enumerate(figures)
    ]
    return replace(evaluation, filters=filters, parts=[], summary=evaluation.summary | {"steadiness": 0.5})


def test_without_parts_filters_are_ranked_and_judged_by_what_needs_none(evaluation: Evaluation) -> None:
    found = unannotated(
        evaluation, (0.5, 0.9, 1), (0.95, 0.9, 1), (0.95, 0.2, 1), (0.8, 0.9, 0.9), (0.99, 0.9, 0.01), (0.99, 1, 0.9)
    )
    cards = make_cards(found)
    assert [card.figures.filter for card in cards] == [5, 1, 3, 0, 2, 4]
    verdicts = {card.figures.filter: card.verdict for card in cards}
    assert list(map(verdicts.get, range(6))) == [
        "wanders", "steady, known", "steady, like others", "partly steady", "seldom there", "steady, known"
    ]  # fmt: skip
    assert (
        lead_sentence(found) == "6 filters; 3 of them are steady (mean steadiness 0.50). No parts are annotated here."
    )
    assert "3 of 6 filters are steady, at 0.9 or more; 2 of these are known by what they hold" in words(found)


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ([(0.2, 0.9, 1), (0.3, 0.2, 1)], "None of 2 filters is steady, at 0.9 or more."),
        ([(0.95, 0.9, 1), (0.3, 0.2, 1)], "1 of 2 filters is steady, at 0.9 or more, and is known by what it holds"),
        ([(0.95, 0.4, 1), (0.3, 0.2, 1)], "1 of 2 filters is steady, at 0.9 or more, and is not known by"),
        ([(0.95, 0.4, 1), (0.95, 0.2, 1)], "2 of 2 filters are steady, at 0.9 or more; none of these is known"),
        ([(0.95, math.nan, 1), (0.95, math.nan, 1)], "2 of 2 filters are steady, at 0.9 or more."),
    ],
)  # fmt: skip
def test_steadiness_in_words(evaluation: Evaluation, figures: list[tuple[float, float, float]], text: str) -> None:
    assert text in words(unannotated(evaluation, *figures))
