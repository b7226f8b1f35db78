"""Evaluation of networks whose filters were set by hand, on drawn pictures: the figures are known beforehand."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from partcnn.datasets import Box, Sample
from partcnn.evaluation import Evaluation, Protocol, compare, evaluate, shown
from partcnn.evaluation.observation import observe
from partcnn.foundation.errors import ConfigError, DataError, LayerError
from partcnn.model.conversion import convert
from partcnn.model.mask import part_masks
from partcnn.networks.demo_net import DemoNet
from partcnn.objectives.part_places import PLACES
from tests.pointing_network import BIRDS, BLUE, RED, SIDE, Drawer, centre, image_ids, pointer, with_classes


@pytest.fixture
def drawer(tmp_path: Path) -> Drawer:
    return Drawer(tmp_path)


@pytest.fixture
def one_class(drawer: Drawer) -> Drawer:
    """12 test pictures of background, and 12 with a beak where the red spot is; the blue spot is elsewhere."""
    for image_id in image_ids("test")[:12]:
        drawer.add(image_id, 0, {}, {})
        beak = drawer.cell()
        drawer.add(image_id, 1, {RED: beak, BLUE: drawer.cell()}, {"beak": beak})
    return drawer


# --- figures known beforehand


def test_a_filter_that_points_at_the_part_tracks_it_exactly(one_class: Drawer) -> None:
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    result = evaluate(model, one_class.dataset(**BIRDS))
    (found,) = result.filters
    assert (found.layer, found.filter, found.category, found.best_part) == ("part_layers.0.mask", 0, "bird", "beak")
    assert found.part_tracking_r2 == pytest.approx(1.0)
    assert found.r2_by_part == {"beak": found.part_tracking_r2}
    assert found.location_instability == pytest.approx(0.0)
    assert found.displacement_scatter == pytest.approx(0.0)
    assert not found.is_dead
    assert result.summary["part_tracking_r2"] == pytest.approx(1.0)
    assert result.summary["coverage"] == 1.0
    assert result.summary["dead_filters"] == 0.0
    assert result.summary["num_filters"] == 1
    assert result.summary["num_images"] == 24
    assert 0.05 < result.summary["constant_point_instability"] < 0.3


def test_a_dead_filter_tracks_nothing_and_stays_in_the_mean(one_class: Drawer) -> None:
    model = with_classes(pointer([(RED, 0.0), (None, -1.0)]), ["background", "bird"])
    result = evaluate(model, one_class.dataset(**BIRDS))
    assert [one.is_dead for one in result.filters] == [False, True]
    assert result.filters[1].part_tracking_r2 == 0.0
    assert result.summary["part_tracking_r2"] == pytest.approx(0.5)
    assert result.summary["dead_filters"] == 0.5
    assert result.summary["num_filters"] == 2


def test_a_filter_that_always_points_at_one_place_tracks_nothing(one_class: Drawer) -> None:
    model = with_classes(pointer([(None, 1.0)]), ["background", "bird"])
    (found,) = evaluate(model, one_class.dataset(**BIRDS)).filters
    assert not found.is_dead
    assert found.part_tracking_r2 == pytest.approx(0.0, abs=1e-6)
    assert found.location_instability > 0.05


def test_a_filter_that_follows_something_else_is_worse_than_one_that_does_not_look(one_class: Drawer) -> None:
    model = with_classes(pointer([(BLUE, 0.0)]), ["background", "bird"])
    result = evaluate(model, one_class.dataset(**BIRDS))
    assert result.filters[0].part_tracking_r2 < 0
    assert result.summary["coverage"] == 0.0


def test_the_best_part_of_a_filter_is_the_one_it_tracks_best(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:12]:
        beak, tail = drawer.cell(), drawer.cell()
        drawer.add(image_id, 1, {RED: beak, BLUE: tail}, {"beak": beak, "tail": tail})
    model = with_classes(pointer([(RED, 0.0), (BLUE, 0.0)]), ["background", "bird"])
    result = evaluate(model, drawer.dataset(**BIRDS, parts=["beak", "tail"]))
    assert [one.best_part for one in result.filters] == ["beak", "tail"]
    assert [one.part_tracking_r2 for one in result.filters] == pytest.approx([1.0, 1.0])
    assert result.filters[0].r2_by_part["tail"] < 0.5
    assert result.summary["coverage"] == 1.0


def test_figures_are_measured_in_pixels_of_the_input_whatever_the_pictures_size(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:12]:
        beak = drawer.cell()
        drawer.add(image_id, 1, {RED: beak}, {"beak": beak}, size=2 * SIDE)
    model = with_classes(pointer([(RED, -0.5)]), ["background", "bird"])
    dataset = drawer.dataset(**BIRDS)
    observation = observe(model, dataset)
    (rows,) = observation.top.by_part(1)[:, 0]  # score, picture, peak, landmark
    torch.testing.assert_close(rows[:, 2:4], rows[:, 4:6])
    expected = [[value / 2 for value in dataset.samples[int(row[1])].parts["beak"][0]] for row in rows]
    torch.testing.assert_close(rows[:, 4:6], torch.tensor(expected).to(rows))
    assert observation.input_size == (SIDE, SIDE)


def test_accuracy_is_the_share_of_pictures_whose_largest_logit_is_their_class(one_class: Drawer) -> None:
    model = with_classes(pointer([(RED, 0.0)], grid=1, masks=False), ["background", "bird"])
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([0.0, 1.0])[:, None, None, None])
        model.head.bias.copy_(torch.tensor([1 / 128, 0.0]))  # half of what one red cell of 64 adds
    assert evaluate(model, one_class.dataset(**BIRDS)).summary["accuracy"] == 1.0
    with torch.no_grad():
        model.head.bias[0] = 1.0
    assert evaluate(model, one_class.dataset(**BIRDS)).summary["accuracy"] == 0.5


def test_places_are_read_as_the_network_was_made_to_or_as_the_protocol_asks(one_class: Drawer) -> None:
    dataset, names = one_class.dataset(**BIRDS), ["background", "bird"]
    given = {places: with_classes(pointer([(RED, 0.0)], masks=False, places=places), names) for places in PLACES}
    found = {places: evaluate(model, dataset) for places, model in given.items()}
    for places, evaluation in found.items():
        assert evaluation.protocol["places"] == places
        assert f"places {places}; " in str(evaluation.table().caption)
        asked = evaluate(given["peak"], dataset, protocol=Protocol(places=places))
        assert asked.summary == pytest.approx(evaluation.summary, nan_ok=True)
    # One red cell of 64: the peak is in it, and the mean over all cells nearer to the middle of the picture.
    r2 = {places: evaluation.summary["part_tracking_r2"] for places, evaluation in found.items()}
    assert r2["peak"] == pytest.approx(1)
    assert 0 < r2["expected"] < r2["peak"]
    cautions = compare(found).cautions()
    assert cautions == ["expected: another reading of places than peak"]


def test_class_weight_is_the_mean_contribution_over_the_pictures_of_the_filters_category(one_class: Drawer) -> None:
    model = with_classes(pointer([(RED, 0.0)], grid=1, masks=False), ["background", "bird"])
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([-2.0, 3.0])[:, None, None, None])
    (found,) = evaluate(model, one_class.dataset(**BIRDS)).filters
    assert found.class_weight == pytest.approx({"background": -2 / 64, "bird": 3 / 64})


def test_a_wrapped_network_is_measured_with_its_contributions(one_class: Drawer) -> None:
    model, dataset = with_classes(pointer([(RED, 0.0)]), ["background", "bird"]), one_class.dataset(**BIRDS)
    plain = evaluate(model, dataset)
    wrapped = evaluate(torch.nn.DataParallel(model), dataset)
    assert [figures.class_weight for figures in wrapped.filters] == [figures.class_weight for figures in plain.filters]
    assert plain.filters[0].class_weight


def test_the_top_images_are_the_strongest_of_the_filters_own_category(drawer: Drawer) -> None:
    for index, image_id in enumerate(image_ids("test")[:20]):
        drawer.add(image_id, index % 2, {RED: drawer.cell()}, {})
    for index, sample in enumerate(drawer.samples):  # ever darker
        pixels = np.asarray(Image.open(sample.image_path)) // 255 * (250 - 10 * index)
        Image.fromarray(pixels.astype(np.uint8)).save(sample.image_path)
    dataset = drawer.dataset(**BIRDS)
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    (found,) = evaluate(model, dataset).filters
    assert [image.sample for image in found.top_images] == [1, 3, 5, 7, 9, 11, 13, 15]
    for image in found.top_images:
        assert image.image_path == str(dataset.samples[image.sample].image_path)
        assert image.score == pytest.approx((250 - 10 * image.sample) / 255, abs=1e-5)
        assert image.peak_px == centre(image.peak_cell)
        pixels = np.asarray(Image.open(image.image_path))
        assert pixels[int(image.peak_px[1]), int(image.peak_px[0]), RED] > 0


# --- categories


def test_filters_are_measured_on_pictures_of_their_own_category_only(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:12]:
        eye = drawer.cell()
        drawer.add(image_id, 0, {RED: eye, BLUE: drawer.cell()}, {"eye": eye})  # cats: red is the eye
        eye = drawer.cell()
        drawer.add(image_id, 1, {BLUE: eye, RED: drawer.cell()}, {"eye": eye})  # dogs: blue is the eye
    model = with_classes(pointer([(RED, 0.0), (RED, 0.0), (BLUE, 0.0), (BLUE, 0.0)], background=None), ["cat", "dog"])
    result = evaluate(model, drawer.dataset(["cat", "dog"], parts=["eye"]))
    assert [one.category for one in result.filters] == ["cat", "dog", "cat", "dog"]
    tracking = [one.part_tracking_r2 for one in result.filters]
    assert tracking[0] == pytest.approx(1.0)
    assert tracking[3] == pytest.approx(1.0)
    assert max(tracking[1], tracking[2]) < 0.5
    assert result.summary["coverage"] == 1.0  # cats' eyes by filter 0, dogs' by filter 3


def test_the_papers_assignment_is_read_off_the_pictures_where_training_set_none(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:6]:
        drawer.add(image_id, 0, {RED: drawer.cell()}, {})
        drawer.add(image_id, 1, {BLUE: drawer.cell()}, {})
    model = pointer([(BLUE, 0.0), (RED, 0.0)], background=None, objective="exact")
    dataset = drawer.dataset(["cat", "dog"], parts=[])
    result = evaluate(with_classes(model, ["cat", "dog"]), dataset)
    assert [one.category for one in result.filters] == ["dog", "cat"]
    (mask,) = (mask for _, mask in part_masks(model))
    mask.class_activation.fill_(1.0)  # training has seen something and assigned both to cats
    mask.filter_category.fill_(0)
    assert [one.category for one in evaluate(model, dataset).filters] == ["cat", "cat"]


def test_the_papers_assignment_gives_no_filter_to_the_background(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:4]:
        drawer.add(image_id, 0, {RED: drawer.cell()}, {})
        drawer.add(image_id, 1, {BLUE: drawer.cell()}, {})
    model = with_classes(pointer([(RED, 0.0)], objective="exact"), ["background", "bird"])
    (found,) = evaluate(model, drawer.dataset(**BIRDS, parts=[])).filters
    assert (found.category, found.is_dead) == ("bird", True)


def test_a_part_is_covered_by_filters_of_its_own_category_only(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:12]:
        for label in (0, 1):
            eye = drawer.cell()
            drawer.add(image_id, label, {RED: eye}, {"eye": eye})
    model = with_classes(pointer([(RED, 0.0), (None, 1.0)], background=None), ["cat", "dog"])
    result = evaluate(model, drawer.dataset(["cat", "dog"], parts=["eye"]))
    assert result.summary["coverage"] == 0.5  # of the cats' and the dogs' eyes


@pytest.mark.parametrize("batch_size", [3, 32])
def test_the_papers_assignment_compares_means_over_the_pictures_of_a_class(drawer: Drawer, batch_size: int) -> None:
    for image_id in image_ids("test")[:3]:
        drawer.add(image_id, 1, {RED: (1, 2), BLUE: (5, 6)}, {})  # few dogs, on each of which it fires twice
    for image_id in image_ids("test")[:10]:
        drawer.add(image_id, 0, {RED: (3, 4)}, {})
    model = with_classes(pointer([(RED, 0.0)], background=None, objective="exact"), ["cat", "dog"])
    with torch.no_grad():
        model.part_layers[0].weight[0, BLUE, 1, 1] = 1.0
    dataset = drawer.dataset(["cat", "dog"], parts=[])
    assert [one.category for one in evaluate(model, dataset, batch_size=batch_size).filters] == ["dog"]


def test_a_category_without_pictures_has_no_figures_and_leaves_the_others(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:6]:
        eye = drawer.cell()
        drawer.add(image_id, 0, {RED: eye}, {"eye": eye})
    model = with_classes(pointer([(RED, 0.0), (RED, 0.0)], background=None), ["cat", "dog"])
    result = evaluate(model, drawer.dataset(["cat", "dog"], parts=["eye"]))
    assert result.filters[0].part_tracking_r2 == pytest.approx(1.0)
    assert math.isnan(result.filters[1].part_tracking_r2)
    assert result.filters[1].best_part is None
    assert result.filters[1].top_images == []
    assert result.summary["part_tracking_r2"] == pytest.approx(1.0)


# --- choosing filters


@pytest.fixture
def misleading(drawer: Drawer) -> Drawer:
    """Red is the beak on training pictures, blue on test pictures."""
    for split in ("train", "test"):
        for image_id in image_ids(split)[:15]:
            beak, other = drawer.cell(), drawer.cell()
            spots = {RED: beak, BLUE: other} if split == "train" else {RED: other, BLUE: beak}
            drawer.add(image_id, 1, spots, {"beak": beak})
    return drawer


FOUR = [(RED, 0.0), (BLUE, 0.0), (BLUE, 0.0), (None, 1.0)]


def test_the_best_filters_are_chosen_on_the_training_split(misleading: Drawer) -> None:
    model = with_classes(pointer(FOUR), ["background", "bird"])
    result = evaluate(model, misleading.dataset(**BIRDS, split="test"))
    red, blue = result.filters[0].part_tracking_r2, result.filters[1].part_tracking_r2
    assert red < 0.5 < blue
    assert result.summary["part_tracking_r2_best"] == pytest.approx(red)
    assert result.summary["part_tracking_r2_top_quarter"] == pytest.approx(red)


def test_the_top_quarter_is_the_mean_of_a_quarter_of_the_filters(misleading: Drawer) -> None:
    model = with_classes(pointer([(RED, 0.0), (None, 1.0), *[(BLUE, 0.0)] * 6]), ["background", "bird"])
    result = evaluate(model, misleading.dataset(**BIRDS, split="test"))
    by_training = [result.filters[index].part_tracking_r2 for index in (0, 1)]  # red, then the constant
    assert result.summary["part_tracking_r2_top_quarter"] == pytest.approx(sum(by_training) / 2)
    assert result.summary["part_tracking_r2_best"] == pytest.approx(by_training[0])


def test_filters_can_be_chosen_on_pictures_of_ones_own(misleading: Drawer) -> None:
    model = with_classes(pointer(FOUR), ["background", "bird"])
    test = misleading.dataset(**BIRDS, split="test")
    result = evaluate(model, test, selection=test)
    assert result.summary["part_tracking_r2_best"] == pytest.approx(result.filters[1].part_tracking_r2)


@pytest.mark.parametrize("label", [0, 1], ids=["scenery alone", "objects whose parts nobody marked"])
def test_pictures_to_choose_on_that_show_no_part_choose_nothing(misleading: Drawer, label: int) -> None:
    for image_id in image_ids("train")[15:20]:
        misleading.add(image_id, 0, {}, {})
    model = with_classes(pointer(FOUR), ["background", "bird"])
    train = misleading.dataset(**BIRDS, split="train")
    selection = train.with_samples([replace(one, parts={}) for one in train.samples if one.label == label])
    result = evaluate(model, misleading.dataset(**BIRDS, split="test"), selection=selection)
    assert math.isnan(result.summary["part_tracking_r2_best"])
    assert result.summary["parts_followed"] == 0
    assert result.summary["part_tracking_r2"] > -math.inf


@pytest.mark.parametrize("split", ["train", "all"])
def test_without_other_pictures_to_choose_on_there_is_no_best(misleading: Drawer, split: str) -> None:
    model = with_classes(pointer(FOUR), ["background", "bird"])
    summary = evaluate(model, misleading.dataset(**BIRDS, split=split)).summary
    assert summary["part_tracking_r2_best"] is None
    assert summary["part_tracking_r2_top_quarter"] is None
    assert summary["part_tracking_r2"] is not None


# --- what there is not


def test_without_annotated_parts_there_are_no_part_figures_but_all_others(drawer: Drawer) -> None:
    for split in ("train", "test"):
        for image_id in image_ids(split)[:5]:
            drawer.add(image_id, 0, {}, {})
            drawer.add(image_id, 1, {RED: drawer.cell()}, {})
    model = with_classes(pointer([(RED, 0.0), (None, -1.0)]), ["background", "bird"])
    result = evaluate(model, drawer.dataset(**BIRDS, parts=[], split="test"))
    for name in ("part_tracking_r2", "part_tracking_r2_best", "location_instability", "coverage"):
        assert math.isnan(result.summary[name])
    assert result.summary["dead_filters"] == 0.5
    assert 0 <= result.summary["accuracy"] <= 1
    assert result.filters[0].best_part is None
    assert result.filters[0].r2_by_part == {}
    assert len(result.filters[0].top_images) == 5
    assert json.loads(result.dumps())["summary"]["part_tracking_r2"] is None


def test_a_data_set_of_other_classes_is_refused(one_class: Drawer) -> None:
    model = pointer([(RED, 0.0)] * 3, num_classes=3, background=None)
    with pytest.raises(DataError, match="expected 3 classes as the model has, got background, bird"):
        evaluate(model, one_class.dataset(**BIRDS))


def test_a_network_that_was_not_converted_is_refused(one_class: Drawer) -> None:
    with pytest.raises(LayerError, match=r"partcnn\.convert"):
        evaluate(DemoNet(), one_class.dataset(**BIRDS))


def test_the_number_of_pictures_is_given_once(one_class: Drawer) -> None:
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    dataset = one_class.dataset(**BIRDS)
    with pytest.raises(ConfigError, match=r"top: expected none beside a protocol.*give Protocol\(top=10\)"):
        evaluate(model, dataset, top=10, protocol=Protocol(radius_px=5.0))
    assert evaluate(model, dataset, top=10).protocol["top"] == 10
    assert evaluate(model, dataset, protocol=Protocol(top=20)).protocol["top"] == 20
    assert evaluate(model, dataset).protocol["top"] == 100


# --- the network is left as it was


@pytest.mark.parametrize("is_training", [True, False])
def test_evaluation_leaves_mode_state_and_maps_of_the_network_alone(one_class: Drawer, is_training: bool) -> None:
    torch.manual_seed(0)
    model = convert(DemoNet(), "features", num_classes=2, input_size=(SIDE, SIDE)).train(is_training)
    model.trunk.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    evaluate(model, one_class.dataset(**BIRDS))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(mask.feature_maps is None for _, mask in part_masks(model))
    assert not any(module._forward_hooks for module in model.modules())


def test_the_batch_size_changes_no_figure(one_class: Drawer) -> None:
    torch.manual_seed(0)
    model = convert(DemoNet(), "features", num_classes=2, filters=6, background=0, input_size=(SIDE, SIDE)).eval()
    dataset = one_class.dataset(**BIRDS)
    one, many = (evaluate(model, dataset, batch_size=size).summary for size in (5, 24))
    assert one.keys() == many.keys()
    assert [one[name] for name in one] == pytest.approx([many[name] for name in one], nan_ok=True)


def test_networks_with_their_own_head_and_several_masked_layers_are_measured(one_class: Drawer) -> None:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=2)
    model = convert(
        network, ["layer1", "layer2"], num_classes=2, head="original", background=0, input_size=(SIDE, SIDE)
    )
    result = evaluate(model, one_class.dataset(**BIRDS))
    assert [one.layer for one in result.filters] == ["layer2.1.part_mask"] * 128
    assert list(result.lower_layers) == ["layer1.1.part_mask"]
    assert result.lower_layers["layer1.1.part_mask"].keys() == {
        "part_tracking_r2",
        "location_instability",
        "dead_filters",
    }
    assert result.filters[0].class_weight == {}


# --- files and tables


@pytest.fixture
def evaluation(misleading: Drawer) -> Evaluation:
    model = with_classes(pointer([*FOUR, (None, -1.0)]), ["background", "bird"])
    return evaluate(model, misleading.dataset(**BIRDS, split="test"))


def test_what_is_written_is_read_again(evaluation: Evaluation, tmp_path: Path) -> None:
    path = evaluation.to_json(tmp_path / "evaluation.json")
    again = Evaluation.from_json(path)
    assert again.filters == evaluation.filters
    assert again == evaluation


def test_figures_that_there_are_not_are_null_in_the_file_and_nan_again(drawer: Drawer, tmp_path: Path) -> None:
    for image_id in image_ids("test")[:3]:
        drawer.add(image_id, 1, {RED: drawer.cell()}, {})
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    result = evaluate(model, drawer.dataset(**BIRDS, parts=["beak"]))
    path = result.to_json(tmp_path / "evaluation.json")
    written = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert written["filters"][0]["part_tracking_r2"] is None
    assert written["filters"][0]["r2_by_part"] == {"beak": None}
    (found,) = Evaluation.from_json(path).filters
    assert math.isnan(found.part_tracking_r2)
    assert math.isnan(found.location_instability)
    assert math.isnan(found.displacement_scatter)
    assert math.isnan(found.r2_by_part["beak"])
    assert found.top_images == result.filters[0].top_images


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema_version": 1}', '{"schema_version": "1"}'], ids=repr)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(DataError, match=r"evaluation\.json"):
        Evaluation.from_json(tmp_path / "evaluation.json")


def test_a_missing_file_and_one_of_a_later_version_are_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        Evaluation.from_json(tmp_path / "nowhere.json")
    content = json.loads(evaluation.dumps()) | {"schema_version": 99}
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="later partcnn"):
        Evaluation.from_json(tmp_path / "evaluation.json")


def test_the_record_of_the_data_says_what_was_measured_on(evaluation: Evaluation) -> None:
    assert evaluation.data == {"spec": "drawn:", "category": "bird", "split": "test", "num_images": 15}
    assert evaluation.classes == ["background", "bird"]
    assert evaluation.parts == ["beak"]


def test_the_tables_show_the_summary_and_the_best_filters_first(evaluation: Evaluation) -> None:
    table = evaluation.table()
    unmeasured = {"landmarks_held", "held_outside", "hidden_firing"}  # nothing competes, and no part is hidden
    assert list(table.columns[0].cells) == [name for name in evaluation.summary if name not in unmeasured]
    filters = evaluation.filter_table(most=3)
    assert list(filters.columns[0].cells) == ["1", "2", "3"]  # blue twice, then the first of two constants
    assert next(iter(filters.columns[1].cells)) == "beak"  # one category has no column


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (math.nan, "–"), (0.12345, "0.123"), (7, "7"), ("a", "a")])
def test_a_figure_is_shown_in_three_decimals_and_a_dash_where_there_is_none(value: object, text: str) -> None:
    assert shown(value) == text


def test_boxes_count_by_their_centre(drawer: Drawer) -> None:
    for image_id in image_ids("test")[:8]:
        beak = drawer.cell()
        drawer.add(image_id, 1, {RED: beak}, {})
        x, y = centre(beak)
        sample = drawer.samples[-1]
        drawer.samples[-1] = Sample(sample.image_path, 1, None, {"beak": [Box(x - 3, y - 1, x + 3, y + 1)]}, image_id)
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    assert evaluate(model, drawer.dataset(**BIRDS)).filters[0].part_tracking_r2 == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("r2", "lies_on", "name"),
    [
        ({"body": 0.6, "legs": 0.8}, {"body": 0.9, "legs": 0.3}, "body"),
        ({"body": 0.6, "legs": 0.8}, {"body": 0.0, "legs": 0.0}, "by the legs"),  # from beside it
        ({"body": 0.4, "legs": 0.8}, {"body": 0.9, "legs": 0.3}, "legs"),
        ({"body": 0.6, "legs": 0.8}, {}, "legs"),  # where nothing has an area
        ({"body": 0.6, "legs": 0.8}, {"body": math.nan, "legs": 0.2}, "legs"),
        ({"body": 0.4, "legs": math.nan}, {"body": 1.0}, None),
        ({}, {}, None),
    ],
)
def test_a_filter_is_called_by_the_part_that_it_follows_and_lies_on(
    drawer: Drawer, r2: dict[str, float], lies_on: dict[str, float], name: str | None
) -> None:
    for image_id in image_ids("test")[:6]:
        cell = drawer.cell()
        drawer.add(image_id, 1, {RED: cell}, {"beak": cell})
    model = with_classes(pointer([(RED, 0.0)]), ["background", "bird"])
    (one,) = evaluate(model, drawer.dataset(**BIRDS)).filters
    assert one.part_name == "beak"
    assert replace(one, r2_by_part=r2, pointing_by_part=lies_on).part_name == name
    assert replace(one, r2_by_part=r2, pointing_by_part=lies_on, is_dead=True).part_name is None
