"""Pictures that show several classes: each class's figures are those of its pictures, and shared filters' count each
picture once."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partcnn.datasets import Label, PartDataset
from partcnn.evaluation import Evaluation, Protocol, evaluate
from partcnn.evaluation.audit import audit
from partcnn.evaluation.observation.answers import Answers
from partcnn.evaluation.observation.groups import PictureGroups, in_groups
from partcnn.evaluation.redundancy import measure_redundancy
from partcnn.foundation.errors import DataError
from partcnn.model.network import PartNetwork
from tests.pointing_network import BLUE, GREEN, RED, Drawer, image_ids, pointer, with_classes
from tests.tiling_network import tiling_network

CLASSES = ["cat", "dog"]
CAT, DOG, BOTH, NONE = frozenset({0}), frozenset({1}), frozenset({0, 1}), frozenset()
PROTOCOL = Protocol(resamples=40)
NOT_OF_FILTERS = ("accuracy", "mean_average_precision", "class_purity", "num_images")


def drawn(folder: Path, labels: list[Label | None]) -> PartDataset:
    """Two pictures in three show a beak where the red spot is; blue and green are elsewhere. None: left out."""
    folder.mkdir()
    drawer = Drawer(folder)
    for number, label in enumerate(labels):
        beak, spots = drawer.cell(), {BLUE: drawer.cell(), GREEN: drawer.cell()}
        is_shown = number % 3 > 0
        spots |= {RED: beak} if is_shown else {}
        drawer.add(image_ids("test")[number], label, spots, {"beak": beak} if is_shown else {})  # type: ignore[arg-type]
    drawer.samples = [sample for sample in drawer.samples if sample.label is not None]
    return drawer.dataset(CLASSES, is_multilabel=any(isinstance(one, frozenset) for one in labels))


def sharing(*, multilabel: bool) -> PartNetwork:
    """Filters that compete and serve both classes."""
    return with_classes(tiling_network(background=None, multilabel=multilabel), CLASSES)


def owning(*, multilabel: bool) -> PartNetwork:
    """Filters of one class each."""
    filters = [(RED, 0.0), (GREEN, 0.0), (BLUE, 0.0), (RED, 0.0)]
    settings = {"num_classes": 2, "background": None, "objective": "labelled", "multilabel": multilabel}
    return with_classes(pointer(filters, **settings), CLASSES)


NETWORKS = pytest.mark.parametrize("network", [sharing, owning])


def of_filters(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name not in NOT_OF_FILTERS and value is not None}


def assert_same(found: Evaluation, expected: Evaluation) -> None:
    assert of_filters(found.summary) == pytest.approx(of_filters(expected.summary), nan_ok=True)
    for one, other in zip(found.filters, expected.filters, strict=True):
        assert one.r2_by_part == pytest.approx(other.r2_by_part, nan_ok=True)
        assert one.pointing_by_part == pytest.approx(other.pointing_by_part, nan_ok=True)
        assert one.interpretability_by_part == pytest.approx(other.interpretability_by_part, nan_ok=True)
        assert one.class_weight == pytest.approx(other.class_weight, nan_ok=True)
        assert [image.sample for image in one.top_images] == [image.sample for image in other.top_images]


@NETWORKS
def test_marks_of_one_class_each_are_measured_as_class_indices(network, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    labels = [number % 2 for number in range(24)]
    single = evaluate(network(multilabel=False), drawn(tmp_path / "single", labels), protocol=PROTOCOL)
    marked = drawn(tmp_path / "marked", [frozenset({label}) for label in labels])
    found = evaluate(network(multilabel=True), marked, protocol=PROTOCOL)
    assert_same(found, single)
    assert found.summary["num_images"] == single.summary["num_images"] == 24
    for name in CLASSES:
        assert of_filters(found.by_category[name]) == pytest.approx(of_filters(single.by_category[name]), nan_ok=True)
    assert found.intervals.keys() >= single.intervals.keys() - {"accuracy"} - _of_strata(single)
    assert found.baselines.keys() == single.baselines.keys()


def _of_strata(single: Evaluation) -> set[str]:
    """Figures whose intervals need a background, which marks have and these indices have not."""
    return set() if math.isfinite(single.summary["class_purity"]) else {"class_purity"}


@NETWORKS
def test_a_picture_of_both_classes_counts_for_both_and_once_for_filters_that_both_share(  # type: ignore[no-untyped-def]
    network, tmp_path: Path
) -> None:
    labels = [(CAT, DOG, BOTH, NONE)[number * 7 % 4] for number in range(28)]
    found = evaluate(network(multilabel=True), drawn(tmp_path / "all", list(labels)), protocol=PROTOCOL)
    model = network(multilabel=False)
    for label, name in enumerate(CLASSES):
        own = [label if label in shown else None for shown in labels]  # as if nothing else were there
        alone = evaluate(model, drawn(tmp_path / name, list(own)), protocol=PROTOCOL)
        expected = of_filters(alone.by_category[name])
        got = of_filters(found.by_category[name])
        of_all = ["part_interpretability", "effective_filters"]  # thresholds and maps are those of all pictures
        of_all += (
            ["identity"] if network is owning else []
        )  # filters of both classes are told apart on a picture of both
        for measure in of_all:
            del expected[measure]
        assert {measure: got[measure] for measure in expected} == pytest.approx(expected, nan_ok=True)
        assert found.by_category[name]["num_images"] == sum(label in shown for shown in labels)
    assert found.summary["num_images"] == 28
    if network is sharing:
        once = [0 if shown else None for shown in labels]
        alone = evaluate(model, drawn(tmp_path / "once", list(once)), protocol=PROTOCOL)
        for measure in ("part_tracking_r2", "presence", "dead_filters", "nmi", "crowded", "pointing_game", "stability"):
            assert found.summary[measure] == pytest.approx(alone.summary[measure], nan_ok=True)
        assert len({image.sample for image in found.filters[0].top_images}) == len(found.filters[0].top_images)


def test_purity_is_against_pictures_that_show_no_class(tmp_path: Path) -> None:
    model = with_classes(tiling_network(multilabel=True, background=None), CLASSES)
    found = evaluate(model, drawn(tmp_path / "a", [CAT, NONE, BOTH, NONE, DOG, CAT, NONE, DOG]), protocol=PROTOCOL)
    assert 0 < found.summary["class_purity"] < 1
    assert found.baselines["constant_point"]["class_purity"] == 0.5


def test_without_a_picture_of_no_class_there_is_no_purity(tmp_path: Path) -> None:
    found = evaluate(sharing(multilabel=True), drawn(tmp_path / "a", [CAT, BOTH, DOG, CAT]), protocol=PROTOCOL)
    assert math.isnan(found.summary["class_purity"])
    assert math.isnan(found.baselines["constant_point"]["class_purity"])
    assert "class_purity" not in found.intervals


def test_classes_without_filters_tell_how_well_they_are_found(tmp_path: Path) -> None:
    model = owning(multilabel=True)
    model.part_layers[0].mask.filter_category.zero_()
    found = evaluate(model, drawn(tmp_path / "a", [CAT, DOG, BOTH, NONE, DOG, CAT]), protocol=PROTOCOL)
    assert found.by_category["dog"].keys() == {"accuracy", "mean_average_precision", "num_images"}
    both = [figures["mean_average_precision"] for figures in found.by_category.values()]
    assert sum(both) / 2 == pytest.approx(found.summary["mean_average_precision"])
    assert Evaluation.from_json(found.to_json(tmp_path / "a.json")).by_category.keys() == set(CLASSES)


def test_intervals_are_left_out_where_no_class_has_two_pictures_with_a_part(tmp_path: Path) -> None:
    labels = [NONE, CAT, DOG, NONE, NONE]  # of which the second and third show a beak
    found = evaluate(sharing(multilabel=True), drawn(tmp_path / "a", list(labels)), protocol=PROTOCOL)
    assert "least_location_instability" not in found.intervals
    assert math.isfinite(found.summary["part_tracking_r2"])


def test_a_picture_of_two_classes_is_drawn_for_both_at_once(tmp_path: Path) -> None:
    model = owning(multilabel=True)  # of its red filters the first is the cat's, the last the dog's
    model.part_layers[0].mask.filter_category.copy_(torch.tensor([0, 0, 1, 1]))
    found = evaluate(model, drawn(tmp_path / "both", [BOTH] * 24), protocol=Protocol(resamples=400))
    model = owning(multilabel=False)
    model.part_layers[0].mask.filter_category.zero_()
    alone = evaluate(model, drawn(tmp_path / "cats", [0] * 24), protocol=Protocol(resamples=400))
    for measure in ("part_tracking_r2", "location_instability", "pointing_game"):
        assert found.summary[measure] == pytest.approx(alone.summary[measure])
        assert found.intervals[measure] == pytest.approx(alone.intervals[measure])


def test_filters_of_a_class_without_annotated_parts_are_measured_all_the_same(tmp_path: Path) -> None:
    dataset = drawn(tmp_path / "a", [1, 1, 1, 1, 0, 0, 1, 0])
    bare = [replace(sample, parts={}) if sample.label == 0 else sample for sample in dataset.samples]
    model = owning(multilabel=False)
    model.part_layers[0].mask.filter_category.zero_()  # all are the cat's, of whom no part is annotated
    found = evaluate(model, dataset.with_samples(bare), protocol=PROTOCOL)
    assert math.isnan(found.summary["part_tracking_r2"])


# --- answers


def precision_of(logits: list[float], shown: list[int]) -> float:
    """Mean over the pictures that show it of the precision at their logit."""
    found = []
    for logit, is_shown in zip(logits, shown, strict=True):
        if is_shown:
            above = [one for other, one in zip(logits, shown, strict=True) if other >= logit]
            found.append(sum(above) / len(above))
    return sum(found) / len(found)


def test_answers_to_marks() -> None:
    answers = Answers(PictureGroups(3, is_multilabel=True))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=generator)
    marks = torch.rand(40, 3, generator=generator) < 0.4
    marks[:, 2] = False
    for rows in torch.arange(40).split(16):
        answers.add(logits[rows], marks[rows].to(torch.uint8))
    is_right = (logits > 0) == marks
    assert answers.accuracy() == pytest.approx(is_right.double().mean().item())
    assert answers.accuracy(1) == pytest.approx(is_right[:, 1].double().mean().item())
    assert answers.num_pictures == 40
    assert answers.num_images.tolist() == [
        *marks.sum(dim=0).tolist(),
        int(marks.any(dim=1).sum()),
        int((~marks.any(dim=1)).sum()),
    ]
    *known, unknown = answers.average_precision()
    assert known == pytest.approx([precision_of(logits[:, c].tolist(), marks[:, c].tolist()) for c in (0, 1)])
    assert math.isnan(unknown)  # no picture shows it


def test_answers_to_indices() -> None:
    answers = Answers(PictureGroups(2, background_class=0))
    answers.add(torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1, 1]))
    assert answers.accuracy() == pytest.approx(2 / 3)
    assert (answers.accuracy(0), answers.accuracy(1)) == (1.0, 0.5)
    assert answers.average_precision() is None


def test_groups_of_pictures() -> None:
    marks = torch.tensor([[1, 1], [0, 0], [0, 1]])
    groups = PictureGroups(2, is_multilabel=True)
    assert (len(groups), groups.of_objects, groups.background) == (4, [2], 3)
    pictures, numbers = groups.rows(marks)
    assert list(zip(pictures.tolist(), numbers.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 1),
        (2, 2),
    ]
    of_groups = torch.tensor([[True, False], [False, False], [False, True], [False, False]])
    assert in_groups(groups.marks(marks), of_groups).tolist() == [[True, True], [False, False], [False, True]]
    assert in_groups(torch.tensor([2, 0]), of_groups).tolist() == [[False, True], [True, False]]


# --- what is not asked of them


def test_another_kind_of_task_is_told_apart(tmp_path: Path) -> None:
    marked = drawn(tmp_path / "marked", [CAT, DOG, BOTH])
    with pytest.raises(DataError, match=r"expected one class a picture as the model was made for, got any number"):
        evaluate(sharing(multilabel=False), marked)
    with pytest.raises(DataError, match=r"expected one class a picture, got any number; an audit asks"):
        audit(sharing(multilabel=True), marked)


def test_redundancy_counts_pictures_that_show_a_class(tmp_path: Path) -> None:
    model = sharing(multilabel=True)
    with_empty = measure_redundancy(model, drawn(tmp_path / "a", [CAT, NONE, BOTH, DOG, NONE]))
    without = measure_redundancy(model, drawn(tmp_path / "b", [CAT, None, BOTH, DOG, None]))
    assert with_empty.peak_agreement == without.peak_agreement
    assert (with_empty.num_images, without.num_images) == (5, 3)
