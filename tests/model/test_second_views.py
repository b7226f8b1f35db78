"""The second views of an evaluation: which pictures, the same whatever their order, and frames that are right."""

import math
from pathlib import Path

import pytest
import torch

from partcnn.datasets import PartDataset
from partcnn.model.second_views import MOST_SECOND_VIEWS, NOISE_LIMIT, NOISE_STD, NoisyPictures, SecondViews
from partcnn.networks.preprocessing import Preprocessing
from tests.pointing_network import BIRDS, RED, SIDE, Drawer

PREPROCESSING = Preprocessing((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)


def views(dataset: PartDataset) -> SecondViews:
    return SecondViews(dataset, PREPROCESSING)


def drawn(tmp_path: Path, count: int, labels: tuple[int, ...] = (0, 1)) -> Drawer:
    drawer = Drawer(tmp_path)
    for number in range(count):
        drawer.add(f"photograph {number}", labels[number % len(labels)], {RED: drawer.cell()}, {})
    return drawer


def test_they_are_of_objects_alone_and_of_all_where_these_are_few(tmp_path: Path) -> None:
    dataset = drawn(tmp_path, 20).dataset(**BIRDS)
    assert sorted(views(dataset).index) == list(range(1, 20, 2))


def test_of_many_64_are_taken_of_each_class_its_share(tmp_path: Path) -> None:
    drawer = drawn(tmp_path, 4)
    drawer.samples = (drawer.samples[:1] * 300 + drawer.samples[1:2] * 100) + drawer.samples[2:]
    dataset = drawer.dataset(classes=["bird", "cat"], background=None, category=None)
    found = views(dataset)
    labels = [sample.label for sample in found.samples]
    assert len(found) == MOST_SECOND_VIEWS == 64
    assert abs(labels.count(1) - 16) <= 1
    assert len(set(found.index)) == 64


def test_without_an_object_there_is_none(tmp_path: Path) -> None:
    assert len(views(drawn(tmp_path, 3, (0,)).dataset(**BIRDS))) == 0


def test_they_are_the_same_at_each_call_and_in_any_order_of_the_pictures(tmp_path: Path) -> None:
    drawer = drawn(tmp_path, 12)
    first = views(drawer.dataset(**BIRDS))
    drawer.samples.reverse()
    second = views(drawer.dataset(**BIRDS))
    assert [sample.image_path for sample in first.samples] == [sample.image_path for sample in second.samples]
    assert first.settings == second.settings
    for place in range(len(first)):
        for one, other in zip(first[place], second[place], strict=True):
            assert torch.equal(one, other)
    frames = torch.stack([first[place][1] for place in range(len(first))])
    assert len(frames.flatten(1).unique(dim=0)) == len(first)  # each picture has another


def test_a_frame_carries_what_is_seen_back_to_where_it_lies_in_the_picture(tmp_path: Path) -> None:
    drawer = Drawer(tmp_path)
    cells = [(2 + number % 4, 2 + number // 4) for number in range(12)]
    for number, cell in enumerate(cells):
        drawer.add(f"photograph {number}", 1, {RED: cell}, {})
    found, seen = views(drawer.dataset(**BIRDS)), 0
    for place, number in enumerate(found.index):
        view, frame = found[place]
        assert view.shape == (3, SIDE, SIDE)
        rows, cols = (view[0] > 0.5).nonzero().float().add(0.5).unbind(dim=1)
        if len(rows) < 60 or {0.5, SIDE - 0.5} & {*rows.tolist(), *cols.tolist()}:
            continue  # cut off
        seen += 1
        point = torch.tensor([cols.mean() / SIDE, rows.mean() / SIDE, 1.0])
        row, col = cells[number]
        expected = torch.tensor([(col + 0.5) / 8, (row + 0.5) / 8])
        torch.testing.assert_close(frame @ point, expected, atol=0.02, rtol=0)
    assert seen >= 5


# --- with noise


def test_noisy_pictures_are_those_with_an_annotated_part_as_they_are_measured_and_noise_within_its_limits(
    tmp_path: Path,
) -> None:
    drawer = Drawer(tmp_path)
    for number in range(20):
        drawer.add(
            f"photograph {number}", number % 2, {RED: drawer.cell()}, {"beak": (1, 1)} if number % 4 == 1 else {}
        )
    dataset = drawer.dataset(**BIRDS)
    found = NoisyPictures(dataset, PREPROCESSING)
    assert sorted(found.index) == list(range(1, 20, 4))
    whole = [PREPROCESSING(dataset.samples[number].load_image()) for number in found.index]
    noise = torch.stack([found[place][0] for place in range(len(found))]) - torch.stack(whole)
    assert noise.abs().max() <= NOISE_LIMIT + 1e-6
    share = (noise.abs() > NOISE_LIMIT - 1e-6).float().mean().item()
    assert share == pytest.approx(math.erfc(NOISE_LIMIT / NOISE_STD / math.sqrt(2)), abs=0.01)  # what the limit cuts
    inner = noise[noise.abs() < NOISE_LIMIT / 2]
    assert inner.mean().item() == pytest.approx(0, abs=0.005)
    assert len(noise.flatten(1).unique(dim=0)) == len(noise)  # each picture has another


def test_noise_is_the_same_at_each_call_in_any_order_and_on_pictures_that_are_at_hand(tmp_path: Path) -> None:
    drawer = drawn(tmp_path, 12)
    for sample in drawer.samples:
        sample.parts["beak"] = []
    first = NoisyPictures(drawer.dataset(**BIRDS), PREPROCESSING)
    whole = torch.stack([PREPROCESSING(sample.load_image()) for sample in drawer.samples])
    pictures, index = first.of(whole, torch.arange(12))
    assert sorted(index.tolist()) == sorted(first.index)
    for picture, number in zip(pictures, index.tolist(), strict=True):
        torch.testing.assert_close(picture, first[first.index.index(number)][0])
    assert first.of(whole[::2], torch.arange(0, 12, 2))[0].shape[0] == 0  # of the background
    drawer.samples.reverse()
    second = NoisyPictures(drawer.dataset(**BIRDS), PREPROCESSING)
    assert first.settings == second.settings
    assert first.settings != views(drawer.dataset(**BIRDS)).settings
    for place in range(len(first)):
        assert torch.equal(first[place][0], second[place][0])
