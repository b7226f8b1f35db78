"""Steadiness, identity and presence in an evaluation: against the twins, and of filters that are known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from partcnn.datasets import PartDataset
from partcnn.evaluation import Evaluation, evaluate
from partcnn.evaluation.observation.observer import observe
from partcnn.evaluation.observation.protocol import Protocol
from partcnn.model.conversion import convert
from partcnn.model.mask import top_mask
from partcnn.model.network import PartNetwork, conversion_of, recorded_feature_maps
from partcnn.model.second_views import SecondViews
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.preprocessing import Preprocessing
from partcnn.objectives.part_places import exact_places
from tests.pointing_network import BIRDS, BLUE, GREEN, RED, SIDE, Cell, Drawer, image_ids, pointer, with_classes
from tests.reference import unannotated as twin
from tests.tiling_network import tiling_network

NAMES = ("steadiness", "identity", "presence")


def birds(tmp_path: Path, *, keeps_off: int = 2, blue: Cell | None = None) -> PartDataset:
    """Without annotated parts; spots lie so many cells from the edge, so that no crop cuts them off."""
    drawer = Drawer(tmp_path)
    random = np.random.default_rng(3)
    for image_id in image_ids("test")[:16]:
        row, col, *others = random.integers(keeps_off, 8 - keeps_off, size=4).tolist()
        drawer.add(image_id, 0, {}, {})
        drawer.add(image_id, 1, {RED: (row, col), BLUE: blue or (others[0], others[1])}, {})
    return drawer.dataset(**BIRDS, parts=[])


def network(*colours: int | None, biases: float = 0.0, **settings: object) -> PartNetwork:
    model = pointer([(colour, biases) for colour in colours], places="expected", masks=False, **settings)
    return with_classes(model, ["background", "bird"])


def test_they_are_the_twins_on_the_networks_own_maps(tmp_path: Path) -> None:
    model, dataset = network(RED, BLUE, GREEN), birds(tmp_path)
    seconds = SecondViews(dataset, conversion_of(model).preprocessing)
    preprocessing = conversion_of(model).preprocessing
    whole = torch.stack([preprocessing(sample.load_image()) for sample in seconds.samples])
    other, frames = (torch.stack(values) for values in zip(*seconds, strict=True))
    layer, mask = top_mask(model)
    sides, places, fires, features = torch.tensor([SIDE, SIDE]), [], [], None
    model.eval()
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        for images in (whole, other):
            below = model.features(images)
            model.forward_from_features(below)
            found = maps[layer]
            cells = exact_places(found, "expected", beta=mask.template_slope)
            places.append((cells.flip(-1) + 0.5) * 8 / sides)
            fires.append(found.amax(dim=(2, 3)) > 0)
            if features is None:
                weights = found / found.sum(dim=(2, 3), keepdim=True).clamp(min=1e-4)
                features = torch.stack([(weights * below[:, [c]]).sum(dim=(2, 3)) for c in range(3)], dim=-1)
    carried = torch.einsum("ixy,ify->ifx", frames, torch.cat([places[1], torch.ones_like(places[1][..., :1])], dim=-1))
    counted = (fires[0] & fires[1]).tolist()
    result = evaluate(model, dataset)
    expected = twin.steadiness(places[0].double().tolist(), carried.double().tolist(), counted)
    assert expected[0] > 0.3
    for one, value, known in zip(result.filters, expected, twin.identity(features.tolist(), counted), strict=True):
        assert one.is_dead is (one.filter == 2)  # nothing is green
        assert one.steadiness == pytest.approx(0 if one.is_dead else value, abs=1e-5)
        assert one.identity == pytest.approx(0 if one.is_dead else known, abs=1e-9)
    assert result.summary["steadiness"] == pytest.approx(sum(one.steadiness for one in result.filters) / 3)


def test_a_spot_that_moves_is_steady_and_one_that_never_moves_is_not(tmp_path: Path) -> None:
    moves, stays = evaluate(network(RED, BLUE), birds(tmp_path, blue=(1, 6))).filters
    assert moves.steadiness > 0.5
    assert stays.steadiness < 0.1


def test_filters_of_different_colours_are_known_and_copies_share(tmp_path: Path) -> None:
    dataset = birds(tmp_path)
    assert [one.identity for one in evaluate(network(RED, BLUE), dataset).filters] == [1, 1]
    found = evaluate(network(RED, BLUE, BLUE), dataset)
    assert [one.identity for one in found.filters] == pytest.approx([1, 0.5, 0.5])
    assert found.summary["identity"] == pytest.approx(2 / 3)


def test_presence_is_the_share_of_pictures_on_which_a_filter_fires_or_holds_a_cell(tmp_path: Path) -> None:
    drawer = Drawer(tmp_path)
    for number, image_id in enumerate(image_ids("test")[:10]):
        drawer.add(image_id, 1, {RED: drawer.cell()} | ({BLUE: drawer.cell()} if number < 3 else {}), {})
    dataset = drawer.dataset(**BIRDS, parts=[])
    fires = evaluate(network(RED, BLUE), dataset)
    assert [one.presence for one in fires.filters] == [1, 0.3]
    assert fires.summary["presence"] == pytest.approx(0.65)
    model = tiling_network(4)
    conversion_of(model).classes = BIRDS["classes"]
    assert [one.presence for one in evaluate(model, dataset).filters] == [1, 0, 0.3, 0]


def test_what_does_not_look_gets_nothing_of_it(tmp_path: Path) -> None:
    baselines = evaluate(network(RED, BLUE, GREEN), birds(tmp_path)).baselines
    for name in ("constant_point", "random_filter"):
        assert abs(baselines[name]["steadiness"]) < 0.2
        assert baselines[name]["identity"] == pytest.approx(1 / 3)


def test_they_are_in_summary_categories_files_and_tables(tmp_path: Path) -> None:
    result = evaluate(network(RED, BLUE), birds(tmp_path))
    assert {*NAMES} <= result.summary.keys()
    assert {*NAMES} <= result.by_category["bird"].keys()
    again = Evaluation.from_json(result.to_json(tmp_path / "evaluation.json"))
    assert [[getattr(one, name) for name in NAMES] for one in again.filters] == [
        [getattr(one, name) for name in NAMES] for one in result.filters
    ]
    assert {"steadiness", "identity"} <= set(result.table().columns[0].cells)
    assert {"steadiness", "identity"} <= {column.header for column in result.filter_table().columns}


def test_they_have_intervals_about_them(tmp_path: Path) -> None:
    model = network(RED, BLUE, BLUE)
    result = evaluate(model, birds(tmp_path))
    for name in ("steadiness", "identity"):
        low, high = result.intervals[name]
        assert -1 <= low <= result.summary[name] <= high <= 1
    low, high = result.intervals["steadiness"]
    assert 0.01 < high - low < 1


def test_the_pictures_trained_on_are_looked_at_once(tmp_path: Path) -> None:
    drawer = Drawer(tmp_path)
    for split in ("train", "test"):
        for image_id in image_ids(split)[:6]:
            drawer.add(image_id, 1, {RED: drawer.cell()}, {})
    result = evaluate(network(RED, BLUE), drawer.dataset(**BIRDS, parts=[], split="test"))
    assert result.by_split["train"]["steadiness"] is None
    assert result.by_split["train"]["presence"] == 0.5
    assert result.by_split["test"]["steadiness"] is not None


def test_a_network_without_features_below_its_filters_has_no_identity(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = convert(
        DemoNet(num_classes=2), num_classes=2, head="original", filters=4, background=0, input_size=(SIDE, SIDE)
    )
    conversion_of(model).preprocessing = Preprocessing((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)
    conversion_of(model).classes = list(BIRDS["classes"])
    result = evaluate(model, birds(tmp_path))
    assert math.isnan(result.summary["identity"])
    assert not math.isnan(result.summary["steadiness"])
    assert "identity" not in result.baselines["constant_point"]


def test_neither_batches_nor_known_features_change_them(tmp_path: Path) -> None:
    model, dataset = network(RED, BLUE), birds(tmp_path)
    first = observe(model, dataset, protocol=Protocol(), batch_size=3).views
    second = observe(model, dataset, protocol=Protocol(), batch_size=64).views
    assert first is not None
    assert second is not None
    for name in ("first", "second", "features"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name))


def test_pictures_without_an_object_leave_nothing_to_measure(tmp_path: Path) -> None:
    drawer = Drawer(tmp_path)
    for image_id in image_ids("test")[:4]:
        drawer.add(image_id, 0, {}, {})
    result = evaluate(network(RED, BLUE), drawer.dataset(**BIRDS, parts=[]))
    assert all(math.isnan(result.summary[name]) for name in NAMES)


def test_a_wrapped_network_is_measured_as_it_is(tmp_path: Path) -> None:
    model, dataset = network(RED, BLUE), birds(tmp_path)
    expected = evaluate(model, dataset).summary
    assert evaluate(nn.DataParallel(model), dataset).summary == pytest.approx(expected, nan_ok=True)
