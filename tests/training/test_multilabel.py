"""Pictures that show several classes, from convert to the page."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import evaluate
from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError, DataError, ShapeError
from partcnn.foundation.ranks import ONE_PROCESS
from partcnn.model.conversion import convert
from partcnn.model.losses import filter_loss
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.model.saving.checkpoint import load, save
from partcnn.reporting import report
from partcnn.training import Recipe, fit
from partcnn.training.module import share_right, task_loss_of
from partcnn.training.pruning import prune
from tests.pointing_network import BLUE, CELL, GREEN, RED, SIDE, image_ids, picture
from tests.reporting.test_report import Page, data_of

CLASSES = ["red", "green", "blue"]


def spots(folder: Path, per_split: int = 30) -> PartDataset:
    """A class is a spot of its colour; a picture shows none to three of them. The table of labels is read."""
    random, rows = np.random.default_rng(0), ["image,labels,split"]
    for split in ("train", "test"):
        for name in image_ids(split)[:per_split]:
            shown = [colour for colour in (RED, GREEN, BLUE) if random.random() < 0.5]
            cells = random.choice(64, len(shown), replace=False)
            places = {colour: divmod(int(cell), 8) for colour, cell in zip(shown, cells, strict=True)}
            file = picture(folder / f"{name}.png", places)
            rows.append(f"{file.name},{';'.join(CLASSES[colour] for colour in shown)},{split}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return load_dataset(f"multilabel:{folder}", split="train")


def trunk() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(CELL), nn.ReLU())


def network(num_classes: int = 3, **settings: object) -> PartNetwork:
    torch.manual_seed(0)
    options = {"projection": 0, "filters": 3, "input_size": (SIDE, SIDE), "multilabel": True, **settings}
    model = convert(trunk(), "1", num_classes=num_classes, **options)
    assert isinstance(model, PartNetwork)
    return model


# --- losses


@pytest.mark.parametrize("objective", ["competing", "labelled", "exact", "official"])
def test_the_filter_loss_of_marks_is_that_of_indices_where_every_picture_shows_one_class(objective: str) -> None:
    images, labels = torch.rand(6, 3, SIDE, SIDE), torch.tensor([0, 1, 2, 0, 1, 2])
    losses = []
    for given_labels in (labels, F.one_hot(labels, 3), F.one_hot(labels, 3).float()):
        model = network(objective=objective, multilabel=given_labels.ndim == 2)
        model(images)
        losses.append(filter_loss(model, given_labels))
    assert losses[0].equal(losses[1])
    assert losses[0].equal(losses[2])


def test_a_picture_without_a_mark_is_the_rests() -> None:
    images = torch.rand(4, 3, SIDE, SIDE)
    marks = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0]])
    of_marks, of_background = network(), network(4, multilabel=False, background=3)
    losses = []
    for model, labels in ((of_marks, marks), (of_background, torch.tensor([0, 3, 1, 3]))):
        torch.manual_seed(0)  # of dropout
        model(images)
        losses.append(filter_loss(model, labels))
    assert losses[0].item() == pytest.approx(losses[1].item())  # which class an object is of is no matter to it


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (torch.zeros(4, 2), r"expected \[4, 3\] marks"),
        (torch.full((4, 3), 0.5), r"expected marks of 0 or 1, got 0\.5 to 0\.5"),
        (torch.tensor([0, 1, 2, 0]), r"expected \[4, 3\] marks"),
    ],
)
def test_labels_that_are_neither_are_told(labels: torch.Tensor, told: str) -> None:
    model = network()
    model(torch.rand(4, 3, SIDE, SIDE))
    with pytest.raises(ShapeError, match=told):
        filter_loss(model, labels)


def test_marks_are_refused_where_each_picture_shows_one_class() -> None:
    model = network(2, multilabel=False, background=0)
    model(torch.rand(4, 3, SIDE, SIDE))
    with pytest.raises(ShapeError, match=r"expected 4 class indices.*several classes need convert\(multilabel"):
        filter_loss(model, F.one_hot(torch.tensor([0, 1, 1, 0]), 2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_task_loss_is_the_sum_of_every_class_against_its_absence(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(5, 4, generator=generator)
    marks = (torch.rand(5, 4, generator=generator) < 0.5).to(torch.uint8)
    expected = 0.0
    for row, shown in zip(logits.double().tolist(), marks.tolist(), strict=True):
        for logit, is_shown in zip(row, shown, strict=True):
            share = 1 / (1 + np.exp(-logit))
            expected -= np.log(share if is_shown else 1 - share) / 5
    assert task_loss_of(logits, marks, ONE_PROCESS).item() == pytest.approx(expected, rel=1e-5)
    is_right = (logits > 0) == (marks == 1)
    assert share_right(logits, marks).tolist() == pytest.approx([sum(row) / 4 for row in is_right.tolist()])


def test_a_background_class_makes_no_sense_beside_marks() -> None:
    with pytest.raises(ConfigError, match="background: expected None with multilabel"):
        network(background=0)


# --- the whole way


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[PartNetwork, PartDataset]:
    dataset, model = spots(tmp_path_factory.mktemp("spots")), network()
    conversion_of(model).classes = list(dataset.classes)
    record = conversion_of(model)
    record.preprocessing = type(record.preprocessing)((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)
    fit(model, dataset, Recipe(epochs=150, num_views=2, lr=2e-2), is_progress_shown=False)
    return model, dataset


def test_classes_are_found_each_for_itself(trained: tuple[PartNetwork, PartDataset]) -> None:
    model, dataset = trained
    found = evaluate(model, dataset.with_split("test"))
    assert found.summary["mean_average_precision"] > 0.9
    assert found.summary["accuracy"] > 0.8
    counts = {name: one["num_images"] for name, one in found.by_category.items()}
    assert counts == {name: one.num_images for name, one in dataset.with_split("test").counts().items()}
    assert all(one["mean_average_precision"] > 0.8 for one in found.by_category.values())


def test_an_explanation_is_of_a_class_against_its_absence_and_names_all_that_are_found(
    trained: tuple[PartNetwork, PartDataset], tmp_path: Path
) -> None:
    model, _ = trained
    why = explain(model, picture(tmp_path / "a.png", {RED: (1, 2), BLUE: (5, 5)}))
    logits = torch.tensor(list(why.logits.values()))
    assert why.shown == [name for name, logit in why.logits.items() if logit > 0]
    assert why.probability == pytest.approx(float(logits.max().sigmoid()))
    assert why.label == max(why.logits, key=why.logits.__getitem__)
    total = why.bias + why.surroundings + sum(one.value for one in why.contributions)
    assert total == pytest.approx(why.logit, abs=1e-4)
    assert why.to_dict()["shown"] == why.shown


def test_it_is_saved_and_pruned_as_others_are(trained: tuple[PartNetwork, PartDataset], tmp_path: Path) -> None:
    model, dataset = trained
    save(model, tmp_path / "run")
    again = load(tmp_path / "run", trunk())
    assert conversion_of(again).settings.multilabel
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        assert again(images).equal(model(images))
    small = prune(model, dataset, keep=0.5)
    assert conversion_of(small).settings.multilabel


def test_the_page_shows_every_class_of_a_picture(trained: tuple[PartNetwork, PartDataset], tmp_path: Path) -> None:
    model, dataset = trained
    test = dataset.with_split("test")
    path = report(model, test, tmp_path / "page.html", evaluation=evaluate(model, test))
    data = data_of(Page(path.read_text(encoding="utf-8")))
    assert data["isMultilabel"]
    for place, sample in enumerate(test.samples):
        one = data["pictures"][place]
        assert tuple(one["labels"]) == sample.labels
        explained = {data["sums"][place]["label"]} | {of["label"] for of in data["otherSums"].get(str(place), [])}
        assert explained >= {*one["labels"], *one["predictions"]}


def test_one_kind_of_pictures_does_not_train_the_other_kind_of_network(
    trained: tuple[PartNetwork, PartDataset], caplog: pytest.LogCaptureFixture
) -> None:
    _, dataset = trained
    caplog.set_level(logging.ERROR)
    with pytest.raises(DataError, match="expected one class a picture as the model was made for, got any number"):
        fit(network(multilabel=False), dataset, is_progress_shown=False)
