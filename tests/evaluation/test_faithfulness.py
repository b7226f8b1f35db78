"""Insertion and deletion: the areas are those of the definition, and explanations that are right have the best ones."""

import copy
import io
import json
import math
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

from partcnn.app.runs import faithfulness as choice
from partcnn.app.runs.faithfulness import faithfulness_of
from partcnn.datasets import PartDataset
from partcnn.datasets.choice import chosen_objects
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import Evaluation, evaluate
from partcnn.evaluation.faithfulness import LEAST_GAP, RANDOM, measure_faithfulness
from partcnn.evaluation.faithfulness_result import Faithfulness
from partcnn.evaluation.hidden_cells import blurred, cell_means, grid_of, shown_cells, strongest_first, with_hidden
from partcnn.explanation.attribution import attribute
from partcnn.explanation.spatial import GRAD_CAM, gradient_by_activation, sum_of_parts
from partcnn.foundation.errors import ConfigError, DataError, ShapeError
from partcnn.model.conversion import convert
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.networks.preprocessing import Preprocessing
from tests.discs import INPUT_PX, disc_model
from tests.reference import faithfulness as reference
from tests.tiling_network import tiling_network

SIDE = 28  # of the input: a cell of the grid is 2 × 2 pixels, and one of the network's map


@pytest.fixture(scope="module")
def cats() -> PartDataset:
    """Twelve drawn cats, and as many pictures without one."""
    return load_dataset("demo:12", category="cat", split="all")


def linear_network(weights: Tensor) -> PartNetwork:
    """Its logit of class 1, which it always predicts, is Σ weight · mean red of a cell [14, 14]."""
    trunk = nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2), relu=nn.ReLU()))
    settings = {"projection": 0, "hidden": 0, "objective": "exact", "masks": False}
    model = convert(trunk, "relu", num_classes=2, filters=1, background=0, input_size=(SIDE, SIDE), grid=14, **settings)
    assert isinstance(model, PartNetwork)
    (layer,) = model.part_layers
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1] = 1
        layer.bias.zero_()
        model.head.weight.zero_()
        model.head.weight[1, 0] = weights
        model.head.bias.copy_(torch.tensor([-1000.0, 0.0]))
    conversion_of(model).preprocessing = Preprocessing((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)
    return model


def few_cells(seed: int = 0, count: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(196)
    weights[torch.randperm(196, generator=generator)[:count]] = torch.rand(count, generator=generator) + 0.5
    return weights.view(14, 14)


def right(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """What each pixel of a linear network changes when it is shown in place of what hides it."""
    inputs = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs)[range(len(classes)), classes].sum(), inputs)
    return (gradient * (images - blurred(images))).sum(dim=1)


def wrong(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    return -right(model, images, classes)


def nowhere(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    return torch.zeros(len(images), *images.shape[2:])


# --- the definition


def test_curves_and_areas_are_those_of_plain_loops(cats: PartDataset) -> None:
    model = linear_network(few_cells()).double().eval()
    with torch.no_grad():
        model.part_layers[0].bias.fill_(-0.2)  # its ReLU then makes it no linear function
    found = measure_faithfulness(model, cats, {"right": right}, num_images=2)
    transform = conversion_of(model).preprocessing.transform()
    areas: dict[str, list[float]] = {"insertion": [], "deletion": []}
    hidden, whole, means = [], [], torch.zeros(2, 15, dtype=torch.float64)
    for number in chosen_objects(cats, 2):
        item = cats.with_samples([cats.samples[number]]).with_transform(transform, resized_to=(SIDE, SIDE))[0]
        image = item.image.double()
        cells = reference.cell_means(right(model, image[None], torch.tensor([1]))[0].tolist(), (14, 14))
        order = sorted(range(196), key=lambda cell: -cells[cell])

        def logit(view: reference.Picture) -> float:
            with torch.no_grad():
                return float(model(torch.tensor(view, dtype=torch.float64)[None])[0, 1])

        inserted, deleted = reference.curves(image.tolist(), order, logit, (14, 14))
        areas["insertion"].append(reference.area(inserted))
        areas["deletion"].append(reference.area(deleted))
        of_reverse, _ = reference.curves(image.tolist(), order[::-1], logit, (14, 14))
        assert of_reverse[::-1] == pytest.approx(deleted)  # why a view may serve an order and its reverse
        hidden.append(inserted[0])
        whole.append(inserted[-1])
        means += torch.tensor([inserted, deleted], dtype=torch.float64) / 2
    one = found.areas["right"]
    for curve, expected in zip(vars(found.curves["right"]).values(), means.tolist(), strict=True):
        assert curve == pytest.approx(expected, rel=1e-6)
    assert [found.hidden_logit, found.whole_logit] == pytest.approx([sum(hidden) / 2, sum(whole) / 2], rel=1e-6)
    assert found.num_reversed == sum(high <= low for low, high in zip(hidden, whole, strict=True))
    for kind, area in (("insertion", one.insertion), ("deletion", one.deletion)):
        assert area.logit == pytest.approx(sum(areas[kind]) / 2, rel=1e-6)
        if (sum(whole) - sum(hidden)) / 2 >= LEAST_GAP:
            assert area.normalised == pytest.approx(reference.normalised(areas[kind], hidden, whole), rel=1e-6)
        else:
            assert math.isnan(area.normalised)


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40))
def test_hidden_pictures_and_means_of_cells_are_those_of_plain_loops(seed: int, height: int, width: int) -> None:
    image = torch.randn(2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    grid = grid_of((height, width))
    assert grid == (min(14, height), min(14, width))
    hidden = blurred(image[None])[0]
    by_hand = [reference.blurred(plane, grid) for plane in image.tolist()]
    torch.testing.assert_close(hidden, torch.tensor(by_hand, dtype=torch.float64))
    torch.testing.assert_close(
        cell_means(image), torch.tensor([reference.cell_means(plane, grid) for plane in image.tolist()]).double()
    )
    shown = torch.rand(1, grid[0] * grid[1], generator=torch.Generator().manual_seed(seed)) < 0.5
    cells = {int(cell) for cell in shown[0].nonzero()}
    torch.testing.assert_close(
        with_hidden(image, hidden, shown)[0],
        torch.tensor(reference.view(image.tolist(), by_hand, cells, grid)).double(),
    )


def test_a_picture_of_one_colour_stays_as_it_is() -> None:
    image = torch.full((1, 3, 30, 17), 0.7)
    torch.testing.assert_close(blurred(image), image)


@given(st.integers(0, 2**31), st.integers(1, 12))
def test_an_order_shows_its_strongest_first_and_equal_ones_by_lot(seed: int, num_values: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(num_values, (1, 24), generator=generator).double()
    ties = torch.rand(1, 24, generator=generator).argsort(dim=1)
    order = strongest_first(values, ties)[0].tolist()
    place = {cell: number for number, cell in enumerate(ties[0].tolist())}
    assert order == sorted(range(24), key=lambda cell: (-values[0, cell].item(), place[cell]))
    shown = shown_cells(torch.tensor([order]), 6)[0]
    assert [set(one.nonzero()[:, 0].tolist()) for one in shown] == [set(order[: 4 * k]) for k in range(1, 6)]


# --- what it says


def test_a_right_explanation_has_the_best_areas_its_reverse_the_worst_and_random_lies_between(
    cats: PartDataset,
) -> None:
    model = linear_network(few_cells())
    found = measure_faithfulness(model, cats, {"right": right, "wrong": wrong, "nowhere": nowhere})
    assert found.num_images == 12
    insertion = {name: one.insertion.logit for name, one in found.areas.items()}
    deletion = {name: one.deletion.logit for name, one in found.areas.items()}
    for other in ("nowhere", RANDOM):
        assert insertion["right"] > insertion[other] > insertion["wrong"]
        assert deletion["right"] < deletion[other] < deletion["wrong"]
        difference = found.differences[f"right − {other}"]
        assert difference.insertion.interval[0] > 0 > difference.deletion.interval[1]
        assert difference.insertion.logit == pytest.approx(insertion["right"] - insertion[other])
    assert insertion["right"] == pytest.approx(deletion["wrong"])  # what is shown last is hidden first
    assert insertion[RANDOM] == pytest.approx(deletion[RANDOM])  # a view serves an order and its reverse
    assert found.curves[RANDOM].insertion == found.curves[RANDOM].deletion[::-1]
    low, high = found.areas["right"].insertion.interval
    assert low <= insertion["right"] <= high


def test_no_order_is_better_than_the_right_one_of_a_linear_network(cats: PartDataset) -> None:
    model = linear_network(few_cells(1))
    generator = torch.Generator().manual_seed(0)

    def any_order(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
        return torch.rand(len(images), *images.shape[2:], generator=generator)

    found = measure_faithfulness(
        model, cats, {"right": right} | {f"any {k}": any_order for k in range(5)}, num_images=4
    )
    for one in found.differences.values():
        assert one.insertion.logit >= -1e-6
        assert one.deletion.logit <= 1e-6
    assert math.isnan(found.areas["right"].insertion.interval[0])  # four pictures have no interval


def test_a_network_that_looks_at_nothing_has_equal_areas_and_none_normalised(cats: PartDataset) -> None:
    model = linear_network(torch.zeros(14, 14))
    found = faithfulness_of(model, cats, 12)
    for one in found.areas.values():
        assert one.insertion.logit == one.deletion.logit == 0
        assert math.isnan(one.insertion.normalised)
        assert math.isnan(one.deletion.normalised)
    assert not found.is_normalised
    assert found.num_reversed == found.num_images == 12
    text = printed(found)
    assert "not normalised" in text
    assert len(found.tables()) == 1


def test_normalised_areas_are_0_for_the_hidden_and_1_for_the_whole_picture(cats: PartDataset) -> None:
    model = linear_network(few_cells())
    with torch.no_grad():
        model.part_layers[0].weight[0, 0, 1, 1] = -1  # dark cells speak, as those of a cat's outline
        model.part_layers[0].bias.fill_(1)
    plain = measure_faithfulness(model, cats, {"right": right})
    gap = plain.whole_logit - plain.hidden_logit
    assert plain.is_normalised == (gap >= LEAST_GAP)
    with torch.no_grad():
        model.head.weight.mul_((1 if gap > 0 else -1) * 10)
        model.head.bias[1] = 3.0
    found = measure_faithfulness(model, cats, {"right": right})
    gap = found.whole_logit - found.hidden_logit
    assert found.is_normalised
    assert gap > LEAST_GAP
    for one in found.areas.values():
        for area in (one.insertion, one.deletion):
            assert area.normalised == pytest.approx((area.logit - found.hidden_logit) / gap)
    assert len(found.tables()) == 2
    for one in found.differences.values():
        assert one.insertion.normalised == pytest.approx(one.insertion.logit / gap)


def test_it_is_the_same_at_each_call_in_any_order_of_the_pictures_and_size_of_batches(cats: PartDataset) -> None:
    model = linear_network(few_cells()).train()
    first = measure_faithfulness(model, cats, {"nowhere": nowhere}, num_images=5)
    assert model.training
    turned = cats.with_samples(list(reversed(cats.samples)))
    again = measure_faithfulness(model, turned, {"nowhere": nowhere}, num_images=5, batch_size=7)
    for name, one in first.curves.items():
        assert again.curves[name].insertion == pytest.approx(one.insertion, rel=1e-5)
        assert again.curves[name].deletion == pytest.approx(one.deletion, rel=1e-5)
    assert repr(measure_faithfulness(model, cats, {"nowhere": nowhere}, num_images=5)) == repr(first)


# --- which explanations


def test_ours_is_the_sum_of_parts_and_its_pixels_add_up_to_the_logit() -> None:
    model = tiling_network().double()
    images = torch.rand(3, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1, 1])
    found = sum_of_parts(model, images, classes).pixels.sum(dim=(1, 2))
    with torch.no_grad():
        logits = model(images)[range(3), classes] - model.bias[classes]
    torch.testing.assert_close(found.double(), logits, rtol=1e-4, atol=1e-4)


def test_a_head_that_is_no_sum_is_explained_by_gradient_and_activation() -> None:
    model = disc_model(head="original")
    images = torch.rand(2, 3, INPUT_PX, INPUT_PX, generator=torch.Generator().manual_seed(0))
    found = gradient_by_activation(model, images, torch.tensor([0, 1])).pixels
    shares = attribute(model, images, torch.eye(2)).shares.sum(dim=1)
    torch.testing.assert_close(found.sum(dim=(1, 2)), shares)
    pictures = load_dataset("demo:1", category="cat", split="all")
    conversion_of(model).classes = list(pictures.classes)
    assert next(iter(faithfulness_of(model, pictures, 1).areas)) == "gradient × activation"


def test_grad_cam_stands_beside_ours_where_captum_is_installed(cats: PartDataset) -> None:
    pytest.importorskip("captum", reason="captum is not installed: pip install -e '.[compare]'")
    found = faithfulness_of(linear_network(few_cells()), cats, 1)
    assert list(found.areas) == ["sum of parts", GRAD_CAM, RANDOM]
    assert list(found.differences) == ["sum of parts − grad-CAM", "sum of parts − random"]
    assert found.left_out == {}


def test_without_captum_a_sentence_stands_in_its_place(cats: PartDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_captum", lambda: False)
    found = faithfulness_of(linear_network(few_cells()), cats, 1)
    assert list(found.areas) == ["sum of parts", RANDOM]
    assert "without grad-CAM: captum is not installed; pip install 'partcnn[compare]'" in printed(found)


# --- errors and files


def test_bad_arguments_are_named(cats: PartDataset) -> None:
    model = linear_network(few_cells())
    with pytest.raises(ConfigError, match="explainers: expected at least one"):
        measure_faithfulness(model, cats, {})
    with pytest.raises(ConfigError, match="none of them named 'random'"):
        measure_faithfulness(model, cats, {RANDOM: nowhere})
    with pytest.raises(ConfigError, match="num_images: expected at least 1, got 0"):
        measure_faithfulness(model, cats, {"nowhere": nowhere}, num_images=0)
    with pytest.raises(ShapeError, match=r"mine: expected a number for each pixel \[1, 28, 28\], got \[1, 14, 14\]"):
        measure_faithfulness(model, cats, {"mine": lambda model, images, classes: torch.zeros(1, 14, 14)})
    nothing = cats.with_samples([one for one in cats.samples if one.label == 0])
    with pytest.raises(DataError, match="expected pictures of an object to explain, got none"):
        measure_faithfulness(model, nothing, {"nowhere": nowhere})


@pytest.fixture(scope="module")
def evaluation(cats: PartDataset) -> Evaluation:
    model = linear_network(few_cells())
    conversion_of(model).classes = list(cats.classes)
    return replace(evaluate(model, cats), faithfulness=faithfulness_of(model, cats, 12))


def test_it_comes_back_out_of_its_file(evaluation: Evaluation, tmp_path: Path) -> None:
    found = Evaluation.from_json(evaluation.to_json(tmp_path / "metrics.json"))
    assert isinstance(found.faithfulness, Faithfulness)
    assert found.faithfulness.left_out == evaluation.faithfulness.left_out
    assert json.loads(found.dumps()) == json.loads(evaluation.dumps())


def test_a_file_without_it_is_read_as_before(evaluation: Evaluation, tmp_path: Path) -> None:
    content = json.loads(replace(evaluation, faithfulness=None).dumps())
    del content["faithfulness"]
    (tmp_path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    assert Evaluation.from_json(tmp_path / "metrics.json").faithfulness is None


def _shorter(one: dict[str, Any]) -> None:
    one["curves"]["random"]["insertion"].pop()


def _of_text(one: dict[str, Any]) -> None:
    one["curves"]["random"]["insertion"][0] = "<b>"


def _beyond(one: dict[str, Any]) -> None:
    one["shares"][-1] = 1e300


def _three_ends(one: dict[str, Any]) -> None:
    one["areas"]["random"]["insertion"]["interval"].append(1.0)


def _other_area(one: dict[str, Any]) -> None:
    one["areas"]["random"]["insertion"] = 3


def _unknown(one: dict[str, Any]) -> None:
    one["more"] = 1


def _missing(one: dict[str, Any]) -> None:
    del one["differences"]


def _pictures(one: dict[str, Any]) -> None:
    one["num_images"] = "12"


CHANGES = [_shorter, _of_text, _beyond, _three_ends, _other_area, _unknown, _missing, _pictures]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__[1:])
def test_a_file_that_holds_something_else_is_refused(evaluation: Evaluation, tmp_path: Path, change: Any) -> None:
    content = json.loads(evaluation.dumps())
    change(content["faithfulness"])
    (tmp_path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"expected the JSON that Evaluation\.to_json writes"):
        Evaluation.from_json(tmp_path / "metrics.json")


@pytest.mark.parametrize("other", [[], 3, "text", {}], ids=str)
def test_another_thing_in_its_place_is_refused(evaluation: Evaluation, tmp_path: Path, other: Any) -> None:
    content = json.loads(evaluation.dumps()) | {"faithfulness": copy.deepcopy(other)}
    (tmp_path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError):
        Evaluation.from_json(tmp_path / "metrics.json")


def printed(found: Faithfulness) -> str:
    console = Console(width=400, file=io.StringIO(), record=True, markup=False)
    console.print(*found.tables())
    return " ".join(console.export_text().split())
