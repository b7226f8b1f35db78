"""An explanation adds up, and its places are where the picture's own pixels say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from torch import nn

from partcnn.app.cli.tables import contribution_table
from partcnn.explanation.attribution import attribute
from partcnn.explanation.explanation import Explanation, explain
from partcnn.explanation.occlusion import hiding_boxes, logits_when_hidden
from partcnn.foundation.errors import ConfigError, LayerError, ShapeError
from partcnn.model.modules import AdditiveHead
from partcnn.model.network import conversion_of
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.plot import contribution_bars
from tests.discs import INPUT_PX, disc_model, disc_picture, disc_place
from tests.pointing_network import centre, picture
from tests.tiling_network import tiling_network

SIZES = [(128, 128), (640, 200), (90, 333)]


def of_filter(why: Explanation, number: int):  # type: ignore[no-untyped-def]
    return next(one for one in why.contributions if one.filter == number)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return disc_model()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("orientation", [None, 6, 8])
def test_the_peak_lies_on_the_disc_in_the_picture_as_one_sees_it(
    model: nn.Module, tmp_path: Path, size: tuple[int, int], orientation: int | None
) -> None:
    place = disc_place(size, (11, 3))
    path = disc_picture(tmp_path / "disc.jpg", size, place, orientation=orientation)
    for given in (path, str(path), Image.open(path)):
        why = explain(model, given, "disc")
        found = of_filter(why, 0)
        assert why.image_size == (size[1], size[0])
        assert found.position_px == pytest.approx(place, abs=1)
        assert why.picture is not None
        assert why.picture.size == size
        assert why.picture.getpixel((int(place[0]), int(place[1]))) == pytest.approx((255, 255, 255), abs=30)
        y, x = divmod(int(found.heatmap.argmax()), size[0])
        cell = (size[0] / INPUT_PX * 8, size[1] / INPUT_PX * 8)
        assert abs(x + 0.5 - place[0]) <= cell[0] / 2 + 1
        assert abs(y + 0.5 - place[1]) <= cell[1] / 2 + 1


def test_a_crop_of_the_picture_moves_the_place_with_it(model: nn.Module, tmp_path: Path) -> None:
    with Image.open(disc_picture(tmp_path / "disc.png", (256, 256), (136, 72))) as whole:
        cropped = whole.crop((64, 32, 192, 160))
    assert of_filter(explain(model, whole), 0).position_px == pytest.approx((136, 72), abs=8)
    assert of_filter(explain(model, cropped), 0).position_px == pytest.approx((72, 40), abs=4)


def test_contributions_and_bias_add_up_to_each_class(model: nn.Module, tmp_path: Path) -> None:
    path = disc_picture(tmp_path / "disc.png", (128, 128), (60, 28))
    for label in ("night", "disc"):
        why = explain(model, path, label)
        assert why.is_exact
        assert why.bias + sum(one.value for one in why.contributions) == pytest.approx(why.logit, abs=1e-4)
        assert why.logit == pytest.approx(why.logits[label])
        assert abs(why.completeness_error) < 1e-4


def test_a_head_that_is_not_additive_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = disc_model()
    monkeypatch.setattr(AdditiveHead, "forward", lambda head, maps: maps.mean(dim=(2, 3)) ** 2 + 1)
    with pytest.raises(LayerError, match="the contributions miss the logit"):
        explain(model, disc_picture(tmp_path / "disc.png", (128, 128), (60, 28)))


def test_a_contrast_explains_the_difference_of_two_logits(model: nn.Module, tmp_path: Path) -> None:
    path = disc_picture(tmp_path / "disc.png", (128, 128), (60, 28))
    disc, night = (explain(model, path, label) for label in ("disc", "night"))
    contrast = explain(model, path, "disc", against="night")
    assert contrast.question == "disc, not night"
    assert contrast.logit == pytest.approx(disc.logit - night.logit, abs=1e-4)
    for number in range(2):
        difference = of_filter(disc, number).value - of_filter(night, number).value
        assert of_filter(contrast, number).value == pytest.approx(difference, abs=1e-5)
    predicted, other = ("disc", "night") if disc.logit > night.logit else ("night", "disc")
    assert explain(model, path, against=other).question == f"{predicted}, not {other}"


def test_hiding_the_disc_takes_its_contribution_away(model: nn.Module, tmp_path: Path) -> None:
    path = disc_picture(tmp_path / "disc.png", (256, 128), disc_place((256, 128), (4, 10)))
    why = explain(model, path, "disc", hide=1)
    (hidden,) = [one for one in why.contributions if one.hidden_change is not None]
    assert hidden.filter == 0
    assert hidden.hidden_box_px is not None
    x0, y0, x1, y1 = hidden.hidden_box_px
    assert x0 < hidden.position_px[0] < x1
    assert y0 < hidden.position_px[1] < y1
    assert (x1 - x0, y1 - y0) == pytest.approx((48, 24))  # three cells: the receptive field, in the picture's pixels
    assert hidden.hidden_change < 0
    wide = explain(model, path, "disc", hide=5, hide_frac=0.05)
    assert sum(one.hidden_change is not None for one in wide.contributions) == 2  # filters that fire; there are two


def test_what_is_hidden_has_the_mean_colour_and_nothing_else_changes() -> None:
    seen = []
    image = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    boxes = torch.tensor([[10.0, 5.0, 20.0, 15.0], [0.0, 0.0, 30.0, 20.0]])
    assert logits_when_hidden(model, image, boxes).shape == (2, 2)
    first, second = seen[0]
    mean = image.mean(dim=(1, 2))
    assert torch.allclose(first[:, 5:15, 10:20], mean[:, None, None].expand(3, 10, 10))
    is_changed = (first != image).any(dim=0)
    assert int(is_changed.sum()) == 100
    assert torch.allclose(second, mean[:, None, None].expand_as(image))


def test_boxes_to_hide_are_moved_into_the_picture_and_keep_their_size() -> None:
    field = ReceptiveField((400, 20), (16, 16), (0, 0), (14, 14), (224, 224), "traced")
    boxes = hiding_boxes(field, torch.tensor([[0, 0], [7, 7], [13, 13]]), largest_frac=0.25)
    sizes = boxes[:, 2:] - boxes[:, :2]
    assert torch.allclose(sizes, torch.tensor([20.0, 56.0]).expand(3, 2))
    assert boxes.min() >= 0
    assert boxes.max() <= 224
    assert torch.allclose((boxes[1, :2] + boxes[1, 2:]) / 2, torch.tensor([112.5, 112.5]))


def test_the_original_head_is_explained_by_gradient_and_says_what_is_left(tmp_path: Path) -> None:
    model = disc_model(head="original")
    why = explain(model, disc_picture(tmp_path / "disc.png", (128, 128), (60, 28)), "disc")
    assert not why.is_exact
    total = sum(one.value for one in why.contributions)
    assert total + why.completeness_error == pytest.approx(why.logit, abs=1e-4)
    # Above the mask this network is linear: what is left is the last layer's bias.
    assert why.completeness_error == pytest.approx(float(model[3].bias[1].detach()), abs=1e-4)


def test_gradient_times_activation_is_the_slope_of_scaling_the_filter(tmp_path: Path) -> None:
    """Slow twin: scale one filter's masked map by 1 ± ε and look at the logit."""
    torch.manual_seed(1)
    model = disc_model(head="original").double()
    model[3] = nn.Sequential(nn.LazyLinear(6), nn.Tanh(), nn.Linear(6, 2)).double()
    image = torch.rand(1, 3, INPUT_PX, INPUT_PX, dtype=torch.float64)
    with torch.no_grad():
        model(image)
    found = attribute(model, image, torch.tensor([[0.0, 1.0]]))
    for number in range(4):
        logits = []
        for scale in (1 - 1e-4, 1 + 1e-4):
            factor = torch.ones(4, 1, 1, dtype=torch.float64)
            factor[number] = scale
            handle = model[1].register_forward_hook(lambda module, inputs, output, factor=factor: output * factor)
            with torch.no_grad():
                logits.append(float(model(image)[0, 1]))
            handle.remove()
        assert float(found.shares[0, number]) == pytest.approx((logits[1] - logits[0]) / 2e-4, abs=1e-5)


def test_an_explanation_works_where_gradients_are_off_and_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = disc_model(head="original")
    model.train()
    path = disc_picture(tmp_path / "disc.png", (128, 128), (60, 28))
    with torch.inference_mode():
        inside = explain(model, path, "disc")
    assert inside.logit == pytest.approx(explain(model, path, "disc").logit)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not [hook for module in model.modules() for hook in module._forward_hooks.values() if "cut" in repr(hook)]


def test_bad_questions_are_refused(model: nn.Module, tmp_path: Path) -> None:
    path = disc_picture(tmp_path / "disc.png", (128, 128), (60, 28))
    with pytest.raises(ConfigError, match="label: expected one of night, disc"):
        explain(model, path, "dog")
    with pytest.raises(ConfigError, match="against: expected one of night, disc"):
        explain(model, path, "disc", against=2)
    with pytest.raises(ConfigError, match="against: expected another class"):
        explain(model, path, "disc", against="disc")
    with pytest.raises(ConfigError, match="hide: expected a count"):
        explain(model, path, hide=-1)
    with pytest.raises(ShapeError, match="directions"):
        attribute(model, torch.zeros(2, 3, INPUT_PX, INPUT_PX), torch.zeros(1, 2))
    assert conversion_of(model).classes == ["night", "disc"]


def test_filters_that_compete_hold_the_regions_of_their_colours(tmp_path: Path) -> None:
    path = picture(tmp_path / "spots.png", {0: (2, 2), 1: (2, 3), 2: (6, 5)}, (128, 192))
    why = explain(tiling_network(4), path, "spots")
    assert why.regions is not None
    assert why.regions.shape == (128, 192)
    for number, cell in ((0, (2, 2)), (1, (2, 3)), (2, (6, 5))):
        middle = centre(cell, (128, 192))
        assert why.regions[int(middle.y), int(middle.x)] == number
        found = of_filter(why, number)
        assert found.outline is not None
        (line,) = found.outline
        low, high = line.min(axis=0) * (192, 128), line.max(axis=0) * (192, 128)
        assert (low < middle).all()
        assert (middle < high).all()
        assert high - low == pytest.approx([24, 16], abs=6)  # about a cell
    assert (why.regions[0] == -1).all()
    assert "regions" not in why.to_dict()
    assert "outline" not in why.to_dict()["contributions"][0]


def test_a_part_that_is_not_in_the_picture_is_not_seen(tmp_path: Path) -> None:
    path = picture(tmp_path / "spots.png", {0: (2, 2), 2: (6, 5)}, (128, 192))
    model = tiling_network(4)
    bias = model.layer_of_parts.scores.prototypes.bias
    assert bias is not None
    with torch.no_grad():
        bias[3] = -0.1  # a little less than the rest: no cell is its own, though its share is never 0
    why = explain(model, path, "spots", hide=4)
    is_seen = {0: True, 1: False, 2: True, 3: False}
    for number, expected in is_seen.items():
        one = of_filter(why, number)
        assert (one.score > 0.5, bool(one.outline), one.hidden_change is not None) == (expected,) * 3
    assert of_filter(why, 1).score == of_filter(why, 3).score == 0
    assert set(np.unique(why.regions)) == {-1, 0, 2}
    table = Console(width=120, record=True)
    table.print(contribution_table("spots.png", why, {}))
    assert table.export_text().count("not seen") == 2
    bars = contribution_bars(why, Figure().subplots()).get_yticklabels()
    assert "2 other filters, not seen" in [label.get_text() for label in bars]


def test_other_filters_hold_nothing_alone(model: nn.Module, tmp_path: Path) -> None:
    why = explain(model, disc_picture(tmp_path / "disc.png", (128, 128), (60, 28)))
    assert why.regions is None
    assert {one.outline for one in why.contributions} == {None}
