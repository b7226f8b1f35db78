"""Which filters are parts, by data: of a network set by hand, and in a training."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import partcnn
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import ConfigError
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.settings import ConversionSettings
from partcnn.networks.demo_net import DemoNet
from partcnn.training import Recipe, fit, needed_filters
from tests.pointing_network import BLUE, GREEN, RED
from tests.tiling_network import tiling_network

NUM_PICTURES = 40
WHOLE = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
FLIPPED = torch.tensor([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


class Pictures:
    """Maps of two views, the second one flipped: spots of one cell on 8 × 8."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.maps = torch.zeros(NUM_PICTURES, 2, 3, 8, 8)
        self.frames = torch.stack([WHOLE, FLIPPED]).expand(NUM_PICTURES, 2, 2, 3)

    def cells(self) -> Tensor:
        """[picture, 2] anywhere."""
        return torch.from_numpy(self.random.integers(0, 8, size=(NUM_PICTURES, 2)))

    def add(self, colour: int, cells: Tensor, in_second: Tensor | None = None, *, number: int = NUM_PICTURES) -> None:
        """A spot on so many of the pictures; in the second views where it is in the first, or at other cells."""
        second = cells if in_second is None else in_second
        for index in range(number):
            self.maps[index, 0, colour, cells[index, 0], cells[index, 1]] = 1
            self.maps[index, 1, colour, second[index, 0], 7 - second[index, 1]] = 1

    def kept(self, model: CompetingNetwork, num_views: int = 2) -> list[int]:
        found: list[int] = needed_filters(model, self.maps[:, :num_views], self.frames[:, :num_views]).tolist()
        return found


def test_filters_that_are_seen_and_move_with_their_pictures_stay() -> None:
    pictures = Pictures()
    for colour in (RED, GREEN, BLUE):
        pictures.add(colour, pictures.cells())
    assert pictures.kept(tiling_network(4)) == [RED, GREEN, BLUE]  # the fourth holds nothing


def test_who_is_seldom_seen_goes() -> None:
    pictures = Pictures()
    pictures.add(RED, pictures.cells())
    pictures.add(GREEN, pictures.cells(), number=27)
    pictures.add(BLUE, pictures.cells(), number=29)
    assert pictures.kept(tiling_network()) == [RED, BLUE]


def test_who_is_elsewhere_in_another_view_goes_where_there_is_another_view() -> None:
    pictures = Pictures()
    pictures.add(RED, pictures.cells(), pictures.cells())
    pictures.add(GREEN, pictures.cells())
    assert pictures.kept(tiling_network()) == [GREEN]
    assert pictures.kept(tiling_network(), num_views=1) == [RED, GREEN]


def test_of_two_in_one_place_the_larger_stays() -> None:
    pictures = Pictures()
    left = pictures.cells().clamp(max=6)
    pictures.add(RED, left)
    for step in range(2):  # two cells wide, its middle half a cell from red's
        pictures.add(GREEN, left + torch.tensor([step, 0]))
    pictures.maps[:, :, RED] *= 1 - pictures.maps[:, :, GREEN] / 2  # green has more of the cell they share
    pictures.add(BLUE, pictures.cells())
    assert pictures.kept(tiling_network()) == [GREEN, BLUE]


def test_one_stays_where_none_is_a_part() -> None:
    pictures = Pictures()
    pictures.add(RED, pictures.cells(), pictures.cells())
    pictures.add(BLUE, pictures.cells(), number=12)
    assert pictures.kept(tiling_network()) == [BLUE]  # steady where it is seen, which is seldom


@pytest.mark.parametrize(("num_classes", "background", "number"), [(2, 0, 16), (5, None, 32)])
def test_what_is_asked_for_and_what_comes_of_it(num_classes: int, background: int | None, number: int) -> None:
    asked = convert(
        DemoNet(2), "features", num_classes=num_classes, background=background, filters="auto", input_size=(48, 48)
    )
    assert conversion_of(asked).settings.filters == number
    assert conversion_of(asked).drops_filters
    usual = convert(DemoNet(2), "features", num_classes=num_classes, background=background, input_size=(48, 48))
    assert not conversion_of(usual).drops_filters


def test_other_filters_and_other_words_are_refused() -> None:
    needed = "'auto' needs filters that compete, whose objective is 'competing', got 'exact'"
    with pytest.raises(ConfigError, match=needed):
        ConversionSettings(num_classes=2, background=0, filters="auto", objective="exact")
    with pytest.raises(ConfigError, match="filters: expected a whole number or None, got 'many'"):
        ConversionSettings(num_classes=2, filters="many")


@pytest.mark.parametrize("trunk", ["frozen", "finetune"])
def test_a_training_keeps_parts_and_says_how_many(trunk: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(20):
        name = ("background", "square")[index % 2]
        pixels = random.integers(60, 130, size=(48, 48, 3), dtype=np.uint8)
        if name == "square":
            pixels[12:28, 12:28] = (255, 30, 20)
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name / f"{index:02d}.png")
    dataset = load_dataset(f"folder:{tmp_path}", split="all")
    torch.manual_seed(0)
    model = convert(DemoNet(2), "features", num_classes=2, background=0, filters="auto", input_size=(48, 48))
    again = copy.deepcopy(model)
    recipe = Recipe(epochs=4, batch_size=6, num_views=2)
    fit(model, dataset, recipe, trunk=trunk, is_progress_shown=False)
    settings = conversion_of(model).settings
    assert isinstance(model, CompetingNetwork)
    assert settings.filters == model.layer_of_parts.mask.num_filters == model.head.weight.shape[1] - 1
    assert 1 <= settings.num_filters < 16  # 6 × 6 cells have no 16 places apart
    assert not conversion_of(model).drops_filters
    loaded = partcnn.load(partcnn.save(model, tmp_path / "run"))
    images = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(loaded(images), model.eval()(images), atol=1e-6, rtol=0)
    fit(again, dataset, recipe, trunk=trunk, is_progress_shown=False)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
