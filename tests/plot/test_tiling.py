"""Every pixel is the filter's of the largest share, outlines run around the same regions, colours stay apart."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path
from PIL import Image
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.plot import filter_colours, filter_name, filter_regions, region_outlines, tiled_picture
from partcnn.plot.colours import ink_on, seen_colours, web_colour
from partcnn.plot.tiling import REST, Outline, inner_place, svg_path
from tests.reference.tiling import ranked_holders

FIELD = ReceptiveField((40, 40), (16, 12), (9.5, 5.0), (5, 6), (84, 72), "traced")  # cells do not lie evenly
FIRST, STRIDE = (5.5 / 72, 10 / 84), (12 / 72, 16 / 84)  # of x and y, in shares of the input
GREY = 100


def random_shares(seed: int, num_filters: int = 3, map_size: tuple[int, int] = (5, 6)) -> Tensor:
    """[filter, row, col] of a softmax over filters and a rest."""
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(num_filters + 1, *map_size, generator=generator)).softmax(dim=0)[:-1]


def is_inside(outline: Outline, points: np.ndarray) -> np.ndarray:
    """By the even-odd rule, of points [point, 2]."""
    crossings = [Path(line).contains_points(points) for line in outline]
    return np.sum(crossings, axis=0) % 2 == 1 if crossings else np.zeros(len(points), dtype=bool)


@given(seed=st.integers(0, 10_000), size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
@settings(max_examples=25, deadline=None)
def test_a_pixel_is_the_filters_of_the_largest_share_there(seed: int, size: tuple[int, int]) -> None:
    shares = random_shares(seed)
    regions = filter_regions(shares, size, FIELD)
    assert regions.shape == size
    plain = shares.double().tolist()
    for row in range(size[0]):
        for col in range(size[1]):
            place = ((col + 0.5) / size[1], (row + 0.5) / size[0])
            first, second = ranked_holders(plain, place, FIRST, STRIDE)[:2]
            if first[0] - second[0] > 1e-4:
                assert regions[row, col] == first[1]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_outlines_run_around_the_regions(seed: int) -> None:
    shares = random_shares(seed)
    outlines = region_outlines(shares, FIELD)
    assert len(outlines) == 3
    plain = shares.double().tolist()
    points = np.random.default_rng(seed).uniform(0.001, 0.999, size=(60, 2))
    inside = [is_inside(outline, points) for outline in outlines]
    for index, point in enumerate(points):
        first, second = ranked_holders(plain, (float(point[0]), float(point[1])), FIRST, STRIDE)[:2]
        if first[0] - second[0] > 0.06:  # lines run straight for a 64th of a side
            assert [bool(of_filter[index]) for of_filter in inside] == [number == first[1] for number in range(3)]


def test_a_region_that_reaches_the_edge_is_closed_there_and_a_hole_is_left_out() -> None:
    shares = torch.zeros(2, 5, 5)
    shares[0] = 0.9
    shares[:, 2, 2] = torch.tensor([0.05, 0.9])
    whole, hole = region_outlines(shares)
    assert len(whole) == 2
    assert len(hole) == 1
    assert all(np.allclose(line[0], line[-1]) for line in [*whole, *hole])
    assert any(line.min() == 0 and line.max() == 1 for line in whole)
    assert is_inside(whole, np.array([[0.5, 0.5], [0.01, 0.99]])).tolist() == [False, True]


def test_a_filter_that_holds_nothing_has_no_outline_and_no_place() -> None:
    shares = torch.full((2, 4, 4), 0.3)
    shares[1] = 0.6
    assert [len(outline) for outline in region_outlines(shares)] == [0, 1]
    regions = filter_regions(shares, (8, 8))
    assert (regions == 1).all()
    assert inner_place(regions, 0) is None


def test_the_rest_holds_what_the_filters_leave() -> None:
    shares = torch.tensor([[[0.6, 0.2]], [[0.1, 0.2]]])
    assert filter_regions(shares, (1, 2)).tolist() == [[0, REST]]


@pytest.mark.parametrize(
    ("shares", "error", "message"),
    [
        (torch.zeros(3, 4), ShapeError, r"shares: expected \[filter, row, col\]"),
        (torch.zeros(0, 3, 4), ShapeError, r"shares: expected \[filter, row, col\]"),
        (torch.full((2, 3, 4), 0.8), ConfigError, "filters that compete"),
        (torch.full((2, 3, 4), -0.1), ConfigError, "filters that compete"),
        (torch.full((2, 3, 4), torch.nan), ConfigError, "filters that compete"),
    ],
)
def test_maps_that_are_no_shares_are_refused(shares: Tensor, error: type[Exception], message: str) -> None:
    for function in (lambda: filter_regions(shares, (8, 8)), lambda: region_outlines(shares)):
        with pytest.raises(error, match=message):
            function()


def test_a_place_lies_within_its_region_also_where_the_centroid_does_not() -> None:
    regions = np.full((300, 400), REST, dtype=np.int16)
    regions[120:160, 40:80] = 7  # two eyes
    regions[100:180, 300:380] = 7
    place = inner_place(regions, 7)
    assert place is not None
    assert (place.x, place.y) == pytest.approx((340 / 400, 140 / 300), abs=0.015)
    assert place.room == pytest.approx(40 / 300, abs=0.015)


def test_a_tiled_picture_has_the_colours_of_its_filters_and_lines_between_them() -> None:
    regions = np.full((40, 60), REST, dtype=np.int16)
    regions[:20, :30], regions[:20, 30:] = 0, 4
    drawn = np.asarray(tiled_picture(Image.new("L", (60, 40), GREY), regions), dtype=float)
    colours = filter_colours(5).astype(float)
    assert drawn[8, 10] == pytest.approx(0.45 * GREY + 0.55 * colours[0], abs=1)
    assert drawn[8, 50] == pytest.approx(0.45 * GREY + 0.55 * colours[4], abs=1)
    assert drawn[35, 30].tolist() == [GREY] * 3
    assert drawn[8, 30].min() > 220  # the line
    assert drawn[8, 0] == pytest.approx(drawn[8, 10])  # none along the picture's edge


def test_one_filter_alone_keeps_its_colour() -> None:
    regions = np.array([[0, 0, 0, 0, 0, 3, 3, 3, 3, 3]] * 5)
    picture = Image.new("RGB", (10, 5), (GREY,) * 3)
    both, alone = (np.asarray(tiled_picture(picture, regions, only=only), dtype=int) for only in (None, [3]))
    assert alone[2, 9].tolist() == both[2, 9].tolist()
    assert alone[2, 1].tolist() == [GREY] * 3
    nothing = np.asarray(tiled_picture(picture, regions, only=[]))
    assert (nothing == GREY).all()


def test_regions_of_another_size_and_too_few_colours_are_refused() -> None:
    picture = Image.new("RGB", (6, 4))
    with pytest.raises(ShapeError, match=r"regions: expected \[height, width\] \[4, 6\], got \[6, 4\]"):
        tiled_picture(picture, np.zeros((6, 4), dtype=int))
    with pytest.raises(ShapeError, match="of at least 3 filters"):
        tiled_picture(picture, np.full((4, 6), 2), colours=[[255, 0, 0]])


def test_colours_of_ones_own_are_taken() -> None:
    drawn = np.asarray(tiled_picture(Image.new("RGB", (6, 4)), np.zeros((4, 6), dtype=int), colours=[[200, 0, 100]]))
    assert drawn[2, 2].tolist() == pytest.approx([110, 0, 55], abs=1)


def test_a_path_tells_the_outline_in_500ths() -> None:
    (outline,) = region_outlines(random_shares(3, num_filters=1))
    found = svg_path(outline)
    assert re.fullmatch(r"(M\d+ \d+l[-\d ]+z)+", found)
    for piece, line in zip(re.findall(r"M([^M]+)z", found), outline, strict=True):
        numbers = [int(text) for text in re.findall(r"-?\d+", piece)]
        points = np.cumsum(np.reshape(numbers, (-1, 2)), axis=0)
        assert np.ptp(points, axis=0) == pytest.approx(500 * np.ptp(line, axis=0), abs=1)
        assert points[0] == pytest.approx(500 * line[0], abs=0.5)
        assert points[-1] == pytest.approx(500 * line[-1], abs=0.5)
    assert svg_path([]) == ""


def test_a_filters_colour_does_not_depend_on_how_many_there_are() -> None:
    many = filter_colours(200)
    for count in (1, 2, 8, 33):
        assert np.array_equal(filter_colours(count), many[:count])
    assert np.array_equal(many[128:], many[: 200 - 128])
    with pytest.raises(ConfigError, match="num_filters: expected at least 1, got 0"):
        filter_colours(0)


@pytest.mark.parametrize(("count", "apart", "apart_to_the_colour_blind"), [(8, 0.16, 0.09), (16, 0.12, 0.06)])
def test_colours_stay_apart_also_without_red_or_green(
    count: int, apart: float, apart_to_the_colour_blind: float
) -> None:
    views = seen_colours(filter_colours(count) / 255)
    gaps = np.linalg.norm(views[:, :, None] - views[:, None], axis=3) + 10 * np.eye(count)
    assert gaps[0].min() > apart
    assert gaps[1:].min() > apart_to_the_colour_blind
    assert np.hypot(views[0, :, 1], views[0, :, 2]).min() > 0.1  # none is a grey


def test_colours_are_seen_as_known() -> None:
    red, green, white = seen_colours([[1, 0, 0], [0, 1, 0], [1, 1, 1]])[0]
    assert red == pytest.approx([0.62796, 0.22486, 0.12585], abs=1e-4)  # Ottosson's own values
    assert green == pytest.approx([0.86644, -0.23389, 0.17950], abs=1e-4)
    assert white == pytest.approx([1, 0, 0], abs=1e-4)
    brown, olive = seen_colours([[0.6, 0.3, 0.1], [0.4, 0.45, 0.1]])[2]
    plain = seen_colours([[0.6, 0.3, 0.1], [0.4, 0.45, 0.1]])[0]
    assert np.linalg.norm(brown - olive) < 0.6 * np.linalg.norm(plain[0] - plain[1])  # deuteranopes confuse them


def test_text_on_a_colour_is_read() -> None:
    assert (ink_on([255, 255, 0]), ink_on([0, 0, 120])) == ("#000000", "#ffffff")
    assert web_colour([0, 115, 230]) == "#0073e6"
    for colour in filter_colours(128) / 255:
        ink = float(ink_on(255 * colour) == "#ffffff")
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        lights = sorted((float(linear @ [0.2126, 0.7152, 0.0722]), ink))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) > 4.5  # WCAG's contrast


def test_names_tell_filters_apart() -> None:
    assert (filter_name(3), filter_name(3, "head")) == ("filter 3", "3 head")
