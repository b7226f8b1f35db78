"""The second views of an evaluation: which pictures, the same whatever their order, and frames that are right."""

from pathlib import Path

import torch

from partcnn.datasets import PartDataset
from partcnn.model.second_views import MOST_SECOND_VIEWS, SecondViews
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
