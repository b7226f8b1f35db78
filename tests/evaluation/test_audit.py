"""The audit: its figures against plain loops and cases made by hand; of networks, runs, and on the page."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from partcnn.app.cli.commands import main
from partcnn.app.runs import NetworkSettings, RunSettings, train_run
from partcnn.app.runs.audits import AUDIT_FILE, run_audit
from partcnn.app.runs.opening import open_run
from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation.audit import audit, audit_of
from partcnn.evaluation.audit_result import SURROUNDINGS, Audit
from partcnn.evaluation.terms import Terms, observed_terms
from partcnn.foundation.errors import DataError, LayerError
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.training.cached_features import picture_features
from partcnn.training.recipe import Recipe
from tests.reference import audit as reference


@pytest.fixture(scope="module")
def dataset() -> PartDataset:
    """Twelve drawn animals of six kinds."""
    return load_dataset("demo:2", split="all")


def terms_of(values: Tensor, labels: list[int], *, has_surroundings: bool = True) -> Terms:
    return Terms(values, torch.zeros(values.shape[1]), torch.tensor(labels), has_surroundings)


def only(dataset: PartDataset, labels: list[int]) -> PartDataset:
    """A picture of each of these labels."""
    return dataset.with_samples([next(one for one in dataset.samples if one.label == label) for label in labels])


# --- figures


@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(1, 3), st.booleans())
def test_figures_are_those_of_plain_loops(seed: int, num_classes: int, num_filters: int, is_told: bool) -> None:
    torch.manual_seed(seed)
    labels = list(range(num_classes)) * 2 + [0]
    values = torch.randn(len(labels), num_classes, num_filters + 1, dtype=torch.float64)
    if is_told:
        values[range(len(labels)), labels] += 2
    bias = torch.randn(num_classes, dtype=torch.float64)
    terms = Terms(values, bias, torch.tensor(labels), has_surroundings=True)
    pictures = load_dataset("demo:1", split="all")
    found = audit_of(terms, only(pictures, labels))
    told = []
    for label in range(num_classes):
        one = found.evidence[pictures.classes[label]]
        expected = reference.evidence(values.tolist(), labels, label)
        assert [*one.parts, one.surroundings] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
        assert math.isnan(expected[0]) or sum(expected) == pytest.approx(1)
        told += [] if math.isnan(expected[-1]) else [expected[-1]]
    assert found.surroundings == pytest.approx(sum(told) / len(told) if told else math.nan, nan_ok=True)
    by_hand = reference.logits_without_surroundings(values.tolist(), labels, bias.tolist())
    without = torch.tensor(by_hand, dtype=torch.float64)
    torch.testing.assert_close(terms.logits_without_surroundings, without, rtol=1e-9, atol=1e-9)
    changed = (terms.logits.argmax(dim=1) != without.argmax(dim=1)).sum()
    assert len(found.decided) == changed
    assert found.accuracy_without_surroundings == pytest.approx((without.argmax(1) == terms.labels).double().mean())


def two_classes(part: float, around: float) -> Tensor:
    """Eight pictures, half of each class; the part adds so much to the class's own logit, the surroundings so much.

    Both add 3 to the second logit of every picture, which tells nothing.
    """
    values = torch.zeros(8, 2, 2)
    values[:4, 0], values[4:, 1] = torch.tensor([part, around]), torch.tensor([part, around])
    values[:, 1] += 3
    return values


LABELS = [0] * 4 + [1] * 4


@pytest.mark.parametrize(("part", "around"), [(1.0, 0.0), (0.0, 1.0), (3.0, 1.0), (2.0, -1.0)])
def test_shares_are_those_of_what_tells_the_classes_apart(part: float, around: float, dataset: PartDataset) -> None:
    found = audit_of(terms_of(two_classes(part, around), LABELS), only(dataset, LABELS))
    for name in dataset.classes[:2]:
        assert found.evidence[name].surroundings == pytest.approx(around / (part + around))
        assert found.evidence[name].interval == pytest.approx([around / (part + around)] * 2)  # all alike
    assert found.surroundings == pytest.approx(around / (part + around))


def test_surroundings_decide_where_another_class_wins_without_them(dataset: PartDataset) -> None:
    """One picture of class 0 stands where class 1 usually does: the part says 1, the scene 2 the other way."""
    values = torch.zeros(8, 2, 2)
    values[:4, 0], values[4:, 1] = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])
    values[3, :, 1] = torch.tensor([0.0, 2.0])
    found = audit_of(terms_of(values, LABELS), only(dataset, LABELS))
    assert [(one.true, one.predicted, one.without_surroundings) for one in found.decided] == [
        (dataset.classes[0], dataset.classes[1], dataset.classes[0])
    ]
    assert (found.accuracy, found.accuracy_without_surroundings) == (pytest.approx(7 / 8), 1)
    assert found.share_decided == pytest.approx(1 / 8)
    (mistake,) = found.mistakes
    assert (mistake.true, mistake.predicted) == tuple(dataset.classes[:2])
    assert (mistake.filter, mistake.num_images, mistake.share) == (SURROUNDINGS, 1, 1)


def test_a_part_that_speaks_for_a_class_on_other_objects_is_named(dataset: PartDataset) -> None:
    values = two_classes(0.0, 0.0).repeat(1, 1, 2)[:, :, :3]
    values[:4, 0, 0], values[4, 0, 0] = 2.0, 2.0  # filter 0: of class 0, and of one picture of class 1 as well
    values[:4, 0, 1] = 1.0
    found = audit_of(terms_of(values, LABELS), only(dataset, LABELS))
    first = [one for one in found.misleading if one.class_name == dataset.classes[0]]
    assert [(one.filter, one.on_own, one.on_others) for one in first] == [(0, 1, 0.25)]


def test_two_classes_that_one_part_tells_apart_are_named(dataset: PartDataset) -> None:
    values = torch.zeros(12, 3, 3)
    labels = [0] * 4 + [1] * 4 + [2] * 4
    for image, label in enumerate(labels):
        values[image, label, 0] = 1.0  # filter 0 knows all
        values[image, label, 1] = 3.0 if label == 2 else 0.0  # filter 1 the third, too
    found = audit_of(terms_of(values, labels), only(dataset, labels))
    one, two, three = dataset.classes[:3]
    pairs = {(pair.first, pair.second): (pair.filter, round(pair.share, 3)) for pair in found.pairs}
    assert pairs == {(one, two): (0, 1.0)}
    assert found.evidence[three].parts[1] > found.evidence[three].parts[0]


def test_without_surroundings_parts_share_all(dataset: PartDataset) -> None:
    found = audit_of(terms_of(two_classes(3.0, 1.0), LABELS, has_surroundings=False), only(dataset, LABELS))
    assert found.evidence[dataset.classes[0]].parts == pytest.approx([0.75, 0.25])
    assert math.isnan(found.surroundings)
    assert not found.has_surroundings
    assert not found.decided


def test_classes_that_are_not_told_apart_have_no_shares(dataset: PartDataset) -> None:
    found = audit_of(terms_of(two_classes(-1.0, 0.0), LABELS), only(dataset, LABELS))
    assert all(math.isnan(one.surroundings) for one in found.evidence.values())
    alone = audit_of(terms_of(two_classes(1.0, 1.0)[:4], LABELS[:4]), only(dataset, LABELS[:4]))
    assert [math.isnan(one.parts[0]) for one in alone.evidence.values()] == [True]


def test_the_interval_holds_the_share_of_many_pictures(dataset: PartDataset) -> None:
    """Of 400 draws of 40 pictures each, the interval holds the true share in about 95 %."""
    torch.manual_seed(0)
    labels, held = [0] * 20 + [1] * 20, 0
    pictures = only(dataset, labels)
    for _ in range(400):
        values = 0.7 * torch.randn(40, 2, 2)
        values[:20, 0], values[20:, 1] = (
            values[:20, 0] + torch.tensor([3.0, 1.0]),
            values[20:, 1] + torch.tensor([3, 1]),
        )
        low, high = audit_of(terms_of(values, labels), pictures).evidence[dataset.classes[0]].interval
        held += low <= 0.25 <= high
    assert 0.92 <= held / 400 <= 0.98


# --- networks


def network(dataset: PartDataset, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 5, stride=8, padding=2), nn.ReLU())
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))
    own = nn.Sequential()
    own.features, own.classifier = layers, pool
    model = convert(own, "features", num_classes=6, filters=6, input_size=(48, 48), **settings)
    if hasattr(model, "head"):
        for weights in model.head.parameters():
            nn.init.normal_(weights, std=0.3)
    return model


@pytest.mark.parametrize("objective", ["competing", "labelled"])
def test_terms_sum_to_the_logits_with_known_maps_and_without(objective: str, dataset: PartDataset) -> None:
    model = network(dataset, objective=objective).train()
    terms = observed_terms(model, dataset, batch_size=5)
    assert model.training
    assert terms.has_surroundings == (objective == "competing")
    model.eval()
    shown = torch.stack([_input(model, dataset, number) for number in range(len(dataset))])
    torch.testing.assert_close(terms.logits, model(shown).detach(), rtol=1e-4, atol=1e-4)
    known = observed_terms(model, dataset, features=lambda pictures: picture_features(model, pictures))  # type: ignore[arg-type]
    torch.testing.assert_close(known.values, terms.values, rtol=1e-4, atol=1e-4)


def _input(model: nn.Module, dataset: PartDataset, number: int) -> Tensor:
    preprocessing = conversion_of(model).preprocessing
    return dataset.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)[number].image


def test_a_head_that_is_no_sum_is_refused(dataset: PartDataset) -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)
    )
    model = convert(trunk, "1", num_classes=6, head="original", input_size=(48, 48))
    with pytest.raises(LayerError, match="head='additive'"):
        audit(model, dataset)


def test_an_audit_comes_back_from_its_file(dataset: PartDataset, tmp_path: Path) -> None:
    found = audit(network(dataset, objective="competing"), dataset)
    found.to_json(tmp_path / "audit.json")
    again = Audit.from_json(tmp_path / "audit.json")
    assert again.dumps() == found.dumps()
    assert found.data["num_images"] == 12


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"layer": 3}', "\ud800"])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "audit.json"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(DataError, match=r"expected the JSON that Audit\.to_json writes"):
        Audit.from_json(file)


# --- runs and the page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "animals"
    network, recipe = NetworkSettings(filters=4), Recipe(num_views=2, epochs=2, head_epochs=2)
    settings = RunSettings("demo:10", str(out), None, "demo", workers=0, network=network, recipe=recipe)
    train_run(settings, is_progress_shown=False)
    return out


def test_the_command_prints_and_keeps_an_audit_and_the_page_shows_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(run), "--workers", "0", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((run / AUDIT_FILE).read_text())
    assert printed == kept
    assert kept["data"]["split"] == "test"
    assert set(kept["evidence"]) <= set(kept["classes"])
    assert main(["audit", str(run), "--workers", "0"]) == 0
    assert "what tells each class from the others" in capsys.readouterr().out
    assert main(["report", str(run)]) == 0
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "Does it look at the right thing?" in text
    assert text.count('class="evidence-row"') == len(kept["evidence"])


def test_an_audit_of_other_weights_is_made_anew(run: Path) -> None:
    first = run_audit(open_run(run))
    assert first is not None
    file = run / AUDIT_FILE
    record = json.loads(file.read_text())
    record["accuracy"] = 0.123
    file.write_text(json.dumps(record))
    assert run_audit(open_run(run)).accuracy == 0.123  # type: ignore[union-attr]
    record["run"]["weights"] = "others"
    file.write_text(json.dumps(record))
    again = run_audit(open_run(run))
    assert again is not None
    assert again.dumps() == first.dumps()


def test_pictures_whose_maps_training_has_kept_do_not_pass_the_trunk_again(tmp_path: Path) -> None:
    network, recipe = NetworkSettings(filters=4), Recipe(num_views=2, epochs=1, head_epochs=1)
    settings = RunSettings(
        "demo:4", str(tmp_path / "run"), None, "demo", trunk="frozen", workers=0, network=network, recipe=recipe
    )
    trained, _, evaluation = train_run(settings, is_progress_shown=False)
    assert evaluation is not None
    opened = open_run(trained.directory)
    opened.model.trunk.register_forward_pre_hook(lambda *_: pytest.fail("the trunk runs"))  # type: ignore[union-attr]
    found = run_audit(opened)
    assert found is not None
    assert found.accuracy == evaluation.summary["accuracy"]
