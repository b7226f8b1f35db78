"""Classes are matched by their names: another order changes no figure, other names are refused."""

import dataclasses
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from partcnn.datasets import BACKGROUND, Catalogue, PartDataset, Sample, load_dataset
from partcnn.evaluation import evaluate
from partcnn.evaluation.observation.observer import observe
from partcnn.foundation.errors import DataError
from partcnn.model.class_names import with_classes_of
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.reporting import report
from tests.pointing_network import BLUE, GREEN, RED, Drawer, image_ids, pointer

NAMES = ["bird", "fox", "zebra"]


def named(classes: Sequence[str] = NAMES, **settings: object) -> PartNetwork:
    filters: list[tuple[int | None, float]] = [(RED, 0.0), (GREEN, 0.0), (BLUE, 0.0)]
    model = pointer(filters, num_classes=3, **{"background": None, **settings})
    conversion_of(model).classes = list(classes)
    return model


@pytest.fixture
def drawer(tmp_path: Path) -> Drawer:
    """Twelve pictures of each of three classes, a spot of its colour on each, not always the right one."""
    drawer = Drawer(tmp_path)
    for split in ("train", "test"):
        for number, image_id in enumerate(image_ids(split)[:18]):
            cell = drawer.cell()
            drawer.add(image_id, number % 3, {(number + number // 15) % 3: cell}, {"beak": cell})
    return drawer


def ordered(drawer: Drawer, classes: list[str], **task: object) -> PartDataset:
    """The same pictures, the classes in another order."""
    samples = [sample.with_label(classes.index(NAMES[sample.label])) for sample in drawer.samples]
    return PartDataset(Catalogue(samples, classes, ["beak"], **task), split="test", spec="drawn:")


@pytest.mark.fault(
    "name", "The classes of a data set come in another order", "They are matched by name; no figure changes"
)
@pytest.mark.parametrize("classes", [["zebra", "bird", "fox"], ["fox", "bird", "zebra"]], ids=str)
def test_another_order_of_the_same_names_changes_no_figure(drawer: Drawer, classes: list[str]) -> None:
    model = named()
    expected, found = (
        evaluate(model, data) for data in (drawer.dataset(NAMES, split="test"), ordered(drawer, classes))
    )
    assert found.dumps() == expected.dumps()
    answers, expected_answers = (
        observe(model, data).answers for data in (ordered(drawer, classes), drawer.dataset(NAMES, split="test"))
    )
    assert answers.num_images.equal(expected_answers.num_images)
    assert [answers.accuracy(label) for label in range(3)] == [expected_answers.accuracy(label) for label in range(3)]
    assert answers.accuracy() < 1  # so that an exchange would show


def test_of_the_pictures_chosen_on_too(drawer: Drawer) -> None:
    model, test = named(), drawer.dataset(NAMES, split="test")
    training = ordered(drawer, ["zebra", "bird", "fox"]).with_split("train")
    assert evaluate(model, test, selection=training).dumps() == evaluate(model, test).dumps()


def test_the_background_moves_with_its_name(drawer: Drawer) -> None:
    model = named([BACKGROUND, "fox", "zebra"], background=0)
    data = dataclasses.replace(Catalogue(drawer.samples, ["zebra", BACKGROUND, "fox"], []), background=1)
    found = with_classes_of(model, PartDataset(data))
    assert (found.classes, found.background) == ([BACKGROUND, "fox", "zebra"], 0)
    assert [one.label for one in found.samples[:3]] == [2, 0, 1]
    assert [one.label for one in found.with_split("train").samples[:3]] == [2, 0, 1]


@pytest.mark.fault("name", "A network is measured on classes of other names", "Refused; both lists of names are told")
@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            ["a zebra", "b bird", "c fox"],
            "bird, fox, zebra; got a zebra, b bird, c fox, of which it knows no a zebra, b",
        ),
        (["fox", "yak", "zebra"], "got fox, yak, zebra, of which it knows no yak; give them the model"),
        (["Bird", "Fox", "Zebra"], "of which it knows no Bird, Fox, Zebra"),
        (["0", "1", "2"], "of which it knows no 0, 1, 2"),
    ],
)
def test_other_names_are_refused_and_named(drawer: Drawer, tmp_path: Path, classes: list[str], message: str) -> None:
    data = drawer.dataset(classes, split="test")
    for measure in (evaluate, observe, lambda model, data: report(model, data, tmp_path / "page.html")):
        with pytest.raises(DataError, match=message):
            measure(named(), data)


def test_fewer_classes_are_refused_with_the_names_of_the_model(drawer: Drawer) -> None:
    with pytest.raises(DataError, match=r"expected 3 classes as the model has \(bird, fox, zebra\), got bird, fox"):
        evaluate(named(), PartDataset(Catalogue(drawer.samples, ["bird", "fox"], [])))


def test_accents_apart_or_not_are_one_name(drawer: Drawer) -> None:
    model = named(["fox", unicodedata.normalize("NFC", "Möwe"), "zebra"])
    data = drawer.dataset(["fox", unicodedata.normalize("NFD", "Möwe"), "zebra"])
    assert with_classes_of(model, data).classes == conversion_of(model).classes


def test_a_network_without_names_takes_classes_by_number(drawer: Drawer) -> None:
    data = drawer.dataset(NAMES)
    assert with_classes_of(named(["0", "1", "2"]), data) is data


def test_numbers_that_are_names_are_matched_too(drawer: Drawer) -> None:
    data = drawer.dataset(["2", "0", "1"])
    assert [one.label for one in with_classes_of(named(["0", "1", "2"]), data).samples[:3]] == [2, 0, 1]


def test_drawn_and_cropped_samples_can_be_renumbered() -> None:
    data = load_dataset("demo:2", split="all", crop="object")
    moved: Sample = data.samples[0].with_label(4)
    assert (moved.label, data.samples[0].label) == (4, 0)
    assert moved.load_image().tobytes() == data.samples[0].load_image().tobytes()
    drawn = load_dataset("demo:2", split="all").samples[0].with_label(3)
    assert (drawn.label, drawn.image_id) == (3, data.samples[0].image_id)
