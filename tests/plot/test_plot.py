"""Heat maps lie where the cells look, figures say what the explanation says, and nothing opens a window."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from partcnn.evaluation import Evaluation, FilterEvaluation
from partcnn.explanation.contribution import Contribution
from partcnn.explanation.explanation import Explanation
from partcnn.explanation.placed_map import PlacedMap, PlacedShares
from partcnn.foundation.errors import ConfigError, DataError, ShapeError
from partcnn.networks.probing.receptive_field import ReceptiveField, upsample_map
from partcnn.plot import (
    AGAINST,
    FOR,
    LOSS_TERMS,
    contribution_bars,
    explanation_figure,
    filter_colours,
    filter_gallery,
    heat_colours,
    heatmap_overlay,
    part_map,
    r2_histogram,
    read_curves,
    save_explanation,
    training_curves,
)
from partcnn.plot import explanation as draw_explanation
from partcnn.plot import heatmap as draw_heatmap
from partcnn.plot.callouts import apart

GREY = (120, 120, 120)


def grey_picture(width: int = 60, height: int = 40) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def changed(overlay: Image.Image) -> np.ndarray:
    """[row, col]: how far each pixel is from the grey it was."""
    return np.abs(np.asarray(overlay, dtype=float) - 120).sum(axis=2)


def contribution(number: int, value: float, place: tuple[float, float], score: float = 1.0) -> Contribution:
    heatmap = torch.zeros(40, 60)
    heatmap[int(place[1]), int(place[0])] = score
    return Contribution(number, value, score, place, (0, 0, 10, 10), "cat", PlacedMap(heatmap), (40, 60))


def explanation(contributions: list[Contribution], picture: Image.Image | None) -> Explanation:
    logit = sum(one.value for one in contributions) + 0.25
    return Explanation("cat", logit, 0.25, 0.9, contributions, {"cat": logit, "dog": 0.0}, (40, 60), picture)


FAR_APART = [contribution(7, 2.0, (10.5, 8.5)), contribution(3, -1.0, (50.5, 30.5)), contribution(5, 0.5, (30.5, 20.5))]


def test_an_overlay_keeps_the_picture_size_whatever_the_mode() -> None:
    for mode in ("L", "RGBA", "P"):
        overlay = heatmap_overlay(grey_picture().convert(mode), torch.rand(7, 7))
        assert (overlay.size, overlay.mode) == ((60, 40), "RGB")


def test_where_the_map_is_zero_the_picture_stays_as_it_is() -> None:
    heatmap = torch.zeros(40, 60)
    heatmap[10, 20] = 1
    difference = changed(heatmap_overlay(grey_picture(), heatmap))
    assert difference[10, 20] > 50
    assert np.count_nonzero(difference) == 1


def test_a_map_of_zeros_or_nan_changes_nothing() -> None:
    for heatmap in (torch.zeros(5, 5), torch.full((5, 5), torch.nan)):
        assert not changed(heatmap_overlay(grey_picture(), heatmap)).any()


def test_a_nan_in_the_map_leaves_its_place_as_it_is_and_the_others_drawn() -> None:
    heatmap = torch.zeros(40, 60)
    heatmap[10, 20], heatmap[30, 40] = 1, torch.nan
    difference = changed(heatmap_overlay(grey_picture(), heatmap))
    assert (difference[10, 20] > 50, difference[30, 40]) == (True, 0)


def test_a_stronger_place_is_brighter_and_less_transparent() -> None:
    heatmap = np.tile(np.linspace(0, 1, 60, dtype=np.float32), (40, 1))
    on_black = np.asarray(heatmap_overlay(Image.new("RGB", (60, 40)), heatmap), dtype=float) @ (0.299, 0.587, 0.114)
    assert (np.diff(on_black[0]) > -1).all()
    assert on_black[0, -1] > 150


def test_maps_of_one_filter_can_share_a_scale() -> None:
    half = torch.full((4, 4), 0.5)
    alone, shared = (changed(heatmap_overlay(grey_picture(), half, full=full)).mean() for full in (None, 1.0))
    assert shared != alone


def test_the_peak_is_ringed_in_white_where_it_is() -> None:
    overlay = np.asarray(heatmap_overlay(grey_picture(100, 100), torch.zeros(1, 1), peak=(30.0, 70.0)), dtype=int)
    rows, cols = np.nonzero((overlay > 240).all(axis=2))
    assert rows.mean() + 0.5 == pytest.approx(70, abs=1)
    assert cols.mean() + 0.5 == pytest.approx(30, abs=1)
    assert tuple(overlay[70, 30]) == GREY  # the place itself stays visible


@pytest.mark.parametrize("shape", [(3,), (1, 3, 3), (0, 4)], ids=str)
def test_a_map_without_two_axes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"heatmap: expected \[row, col\]"):
        heatmap_overlay(grey_picture(), torch.zeros(shape))


def test_an_upsampled_map_is_highest_where_the_receptive_field_puts_its_peak() -> None:
    field = ReceptiveField((43, 43), (16, 16), (0, 4), (14, 14), (224, 224), "traced")
    height, width = 112, 448
    for row, col in ((5, 2), (3, 9), (12, 12)):
        cells = torch.zeros(14, 14)
        cells[row, col] = 1
        found = upsample_map(cells, (height, width), field)
        y, x = divmod(int(found.argmax()), width)
        center_x, center_y = (field.centers_px(torch.tensor([row, col])) * torch.tensor([width, height]) / 224).tolist()
        assert x + 0.5 == pytest.approx(center_x, abs=2)
        assert y + 0.5 == pytest.approx(center_y, abs=1)


def test_a_map_of_one_cell_fills_the_picture() -> None:
    field = ReceptiveField((32, 32), (32, 32), (15.5, 15.5), (1, 1), (32, 32), "traced")
    assert upsample_map(torch.full((1, 1), 3.0), (20, 30), field).tolist() == [[3.0] * 30] * 20


def test_a_part_map_returns_its_axis_with_a_label_per_place() -> None:
    axis = Figure().subplots()
    assert part_map(explanation(FAR_APART, grey_picture()), axis) is axis
    labels = {text.get_text(): text.get_bbox_patch().get_facecolor() for text in axis.texts}
    assert list(labels) == ["1", "2", "3"]
    assert labels == {"1": to_rgba(FOR), "2": to_rgba(AGAINST), "3": to_rgba(FOR)}


def test_filters_at_one_place_share_a_label_and_silent_ones_have_none() -> None:
    near = [contribution(1, 3.0, (10.5, 8.5)), contribution(2, 2.0, (11.5, 8.5)), contribution(4, 1.0, (40.5, 9.5), 0)]
    axis = part_map(explanation(near, grey_picture()), Figure().subplots())
    assert [text.get_text() for text in axis.texts] == ["1 · 2"]


def test_the_bars_add_up_to_the_logit() -> None:
    made = explanation(FAR_APART, grey_picture())
    axis = contribution_bars(made, Figure().subplots(), most=2)
    widths = [bar.get_width() for bar in axis.patches]
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "1  filter 7",
        "2  filter 3",
        "1 other filter",
        "bias",
        "logit",
    ]
    assert sum(widths[:-1]) == pytest.approx(widths[-1]) == made.logit


def test_a_gallery_has_a_named_row_per_filter() -> None:
    axis = Figure().subplots()
    assert filter_gallery({"filter 3": [grey_picture()] * 2, "filter 5": [grey_picture()]}, axis, tile_px=50) is axis
    assert [label.get_text() for label in axis.get_yticklabels()] == ["filter 3", "filter 5"]
    assert axis.images[0].get_array().shape == (100, 100, 3)


def test_a_gallery_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="rows: expected names with pictures"):
        filter_gallery({"filter 3": []}, Figure().subplots())


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_an_explanation_is_saved_as_a_picture(ending: str, tmp_path: Path) -> None:
    path = save_explanation(explanation(FAR_APART, grey_picture()), tmp_path / f"why{ending}")
    with Image.open(path) as picture:
        assert picture.format == {".png": "PNG", ".jpg": "JPEG"}[ending]
        assert picture.width > 900
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_explanation_is_saved_as_numbers(tmp_path: Path) -> None:
    made = explanation(FAR_APART, None)
    path = save_explanation(made, tmp_path / "why.json")
    assert json.loads(path.read_text(encoding="utf-8")) == made.to_dict()


def test_names_with_dollars_are_drawn_as_they_are(tmp_path: Path) -> None:
    named = replace(explanation(FAR_APART, grey_picture()), label=r"$\frac{$ and $\none$")
    assert save_explanation(named, tmp_path / "why.png").stat().st_size > 1000
    axis = filter_gallery({r"$\none$": [grey_picture()]}, Figure().subplots())
    axis.figure.savefig(tmp_path / "gallery.png")


def test_a_figure_of_a_network_that_found_nothing_can_be_made() -> None:
    silent = [contribution(1, 0.0, (0.5, 0.5), score=0.0)]
    figure = explanation_figure(explanation(silent, grey_picture()))
    assert len(figure.get_axes()) == 2


def test_another_ending_or_a_missing_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"path: expected an ending of \.png"):
        save_explanation(explanation(FAR_APART, grey_picture()), tmp_path / "why.tiff")
    with pytest.raises(ConfigError, match="got one made on a tensor"):
        save_explanation(explanation(FAR_APART, None), tmp_path / "why.png")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_pyplot_alone() -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    explanation_figure(explanation(FAR_APART, grey_picture()))
    draw_explanation(explanation(FAR_APART, grey_picture()), Figure().subplots())
    assert pyplot.get_fignums() == before


def test_a_heat_map_is_drawn_in_the_pixels_of_its_picture() -> None:
    axis = Figure().subplots()
    cells = torch.zeros(4, 6)
    cells[1, 4] = 1
    assert draw_heatmap(grey_picture(), cells, axis, peak=(45, 15)) is axis
    (image,) = axis.images
    assert image.get_extent() == [0, 60, 40, 0]
    assert image.get_array().shape == (40, 60, 3)
    y, x = np.unravel_index(changed(heatmap_overlay(grey_picture(), cells)).argmax(), (40, 60))
    assert (x + 0.5, y + 0.5) == pytest.approx((45, 15), abs=5)


def test_colours_of_the_page_are_those_of_the_overlay() -> None:
    colours = heat_colours().astype(float)
    assert colours.shape == (256, 4)
    for level in (1, 100, 255):
        drawn = np.asarray(heatmap_overlay(grey_picture(1, 1), [[level / 255]], full=1.0), dtype=float)[0, 0]
        opacity = colours[level, 3] / 255
        assert drawn == pytest.approx(120 * (1 - opacity) + colours[level, :3] * opacity, abs=1.5)


def test_an_explanation_is_drawn_within_one_axis() -> None:
    axis = Figure().subplots()
    assert draw_explanation(explanation(FAR_APART, grey_picture()), axis) is axis
    left, right = axis.child_axes
    assert [text.get_text() for text in left.texts] == ["1", "2", "3"]
    assert right.get_title(loc="left") == "cat: 90.0%"
    with pytest.raises(ConfigError, match="got one made on a tensor"):
        draw_explanation(explanation(FAR_APART, None), axis)


def test_what_hiding_changes_and_what_is_unexplained_stand_beside_the_bars() -> None:
    hidden = replace(FAR_APART[0], hidden_change=-1.5)
    made = replace(explanation([hidden, *FAR_APART[1:]], grey_picture()), is_exact=False, completeness_error=0.25)
    axis = contribution_bars(made, Figure().subplots())
    assert axis.lines[-1].get_xydata().tolist() == [[-1.5, 0.0]]
    assert "unexplained" in [label.get_text() for label in axis.get_yticklabels()]


def test_training_curves_have_the_values_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,task_loss,filter_loss,prior_entropy\n0,2.0,0.5,3\n1,1.0,0.25,3\n", encoding="utf-8")
    axis = Figure().subplots()
    assert training_curves(log, axis) is axis
    assert [line.get_xydata().tolist() for line in axis.lines] == [[[1, 2.0], [2, 1.0]], [[1, 0.5], [2, 0.25]]]
    assert len({line.get_linestyle() for line in axis.lines}) == 2  # told apart without colour
    terms = training_curves(read_curves(log), Figure().subplots(), names=LOSS_TERMS)
    assert [line.get_label() for line in terms.lines] == ["prior entropy, constant (nats)"]
    with pytest.raises(DataError, match="names: expected some of task_loss"):
        training_curves(log, axis, names=("spatial_entropy",))
    with pytest.raises(DataError, match=r"expected the log/metrics\.csv"):
        training_curves(tmp_path / "absent.csv", axis)


def test_a_histogram_counts_every_filter_once(tmp_path: Path) -> None:
    def measured(values: list[float]) -> Evaluation:
        filters = [
            FilterEvaluation("layer", index, "cat", None, r2, {}, math.nan, math.nan, False, {})
            for index, r2 in enumerate(values)
        ]
        return Evaluation({}, filters, {}, ["cat", "dog"], [], {})

    axis = Figure().subplots()
    assert r2_histogram({"parts": measured([0.9, 0.8, -7.0, math.nan]), "plain": measured([0.1])}, axis) is axis
    counts = [patch.get_data().values for patch in axis.patches[::2]]
    assert [int(values.sum()) for values in counts] == [3, 1]
    assert counts[0][0] == 1  # all below −2
    with pytest.raises(DataError, match="no annotated parts"):
        r2_histogram(measured([math.nan]), axis)


def tiled_explanation() -> Explanation:
    """Filters 0 and 2 hold a half each of the left of the picture, filter 1 nothing."""
    shares = torch.zeros(3, 4, 6)
    shares[0, :2, :3] = shares[2, 2:, :3] = 1
    halves = {0: (0.0, 0.5), 2: (0.5, 1.0)}
    lines = {k: np.array([[0, top], [0.5, top], [0.5, end], [0, end], [0, top]]) for k, (top, end) in halves.items()}
    values = {2: 2.0, 0: -1.0, 1: 0.5}
    found = [
        replace(contribution(k, value, (15.5, 10.5)), outline=[lines[k]] if k in lines else [])
        for k, value in values.items()
    ]
    return replace(explanation(found, grey_picture()), placed_shares=PlacedShares(shares))


def test_filters_that_compete_have_their_colour_name_and_value_beside_the_picture() -> None:
    colours = [to_rgba(tuple(colour / 255)) for colour in filter_colours(3)]
    axis = part_map(tiled_explanation(), Figure().subplots(), parts={2: "be$lly"})
    labels = {text.get_text(): text for text in axis.texts}
    assert labels.keys() == {"filter 0 −1.00", "2 be$lly +2.00"}  # filter 1 holds no place that could be shown
    for text, number, y in (("filter 0 −1.00", 0, 10), ("2 be$lly +2.00", 2, 30)):
        assert labels[text].get_bbox_patch().get_facecolor() == pytest.approx(colours[number], abs=0.01)
        assert 8 < labels[text].xy[0] < 22  # well within its region
        assert labels[text].xy[1] == pytest.approx(y, abs=2)
    drawn = [patch.get_facecolor()[:3] for patch in axis.patches]
    assert sorted(drawn) == sorted(colour[:3] for colour in (colours[0], colours[2]))


def test_bars_of_filters_that_compete_have_their_colours_and_add_up() -> None:
    made = tiled_explanation()
    axis = contribution_bars(made, Figure().subplots(), parts={2: "belly"})
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "2 belly",
        "filter 0",
        "filter 1",
        "bias",
        "logit",
    ]
    widths = [bar.get_width() for bar in axis.patches]
    assert sum(widths[:-1]) == pytest.approx(widths[-1]) == made.logit
    colours = [to_rgba(tuple(colour / 255)) for colour in filter_colours(3)]
    for bar, number in zip(axis.patches[:3], (2, 0, 1), strict=True):
        assert bar.get_facecolor() == pytest.approx(colours[number], abs=0.01)


def test_no_name_beside_the_picture_is_cut_off(tmp_path: Path) -> None:
    parts = dict.fromkeys(range(12), "a part of a long name")
    path = save_explanation(tiled_explanation(), tmp_path / "why.png", parts=parts)
    with Image.open(path) as drawn:
        edges = np.asarray(drawn.convert("L"))[:, [0, -1]]
    assert (edges == 255).all()


def test_an_explanation_of_filters_that_compete_is_saved(tmp_path: Path) -> None:
    path = save_explanation(tiled_explanation(), tmp_path / "why.png", parts={0: r"$\none$"})
    assert path.stat().st_size > 1000
    assert len(explanation_figure(tiled_explanation()).get_axes()) == 2


@given(st.lists(st.floats(0, 1), max_size=20).map(sorted))
def test_names_beside_a_picture_stand_apart_in_their_order(heights: list[float]) -> None:
    moved = apart(heights)
    gap = min(0.1, 1 / max(1, len(heights)))
    assert all(later - earlier >= gap - 1e-9 for earlier, later in itertools.pairwise(moved))
    assert all(gap / 2 - 1e-9 <= height <= 1 - gap / 2 + 1e-9 for height in moved)


def test_names_that_stand_apart_stay_where_they_are() -> None:
    assert apart([0.2, 0.5, 0.9]) == [0.2, 0.5, 0.9]


def test_parts_stand_beside_the_numbers_of_other_filters_too() -> None:
    axis = contribution_bars(explanation(FAR_APART, grey_picture()), Figure().subplots(), parts={7: "head"})
    assert [label.get_text() for label in axis.get_yticklabels()][:2] == ["1  filter 7, head", "2  filter 3"]
