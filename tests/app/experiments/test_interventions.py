"""partcnn benchmark interventions: the scores, the explanations, and the command."""

import json
import math
import statistics
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from partcnn.app.cli.commands import main
from partcnn.app.experiments.intervention_figures import (
    CHECKED,
    SCORES,
    best_threshold,
    completeness,
    explanation_row,
    picture_scores,
)
from partcnn.app.experiments.intervention_runs import trained_networks
from partcnn.app.experiments.intervention_scores import (
    BACKGROUND,
    THRESHOLDS,
    Answers,
    Hybrid,
    HybridImportance,
    Importance,
    background_independence,
    deletion_check,
    distractibility,
    preservation_check,
    single_deletion,
    sufficient_sets,
    synthetic_data_check,
    target_rise,
    target_sensitivity,
    unimportant,
)
from partcnn.app.experiments.interventions import (
    METHODS,
    ExplainedNetwork,
    _of_picture,
    explained_networks,
    importance_of,
    kept_out_pictures,
    measured,
    part_regions,
)
from partcnn.app.experiments.interventions_page import page
from partcnn.app.experiments.redrawn_pictures import RedrawnPicture, SwappedPart, redrawn_pictures
from partcnn.app.runs import NetworkSettings, Recipe, Run, RunSettings, built_network, recipe_of, train_run
from partcnn.datasets import PartDataset
from partcnn.datasets.drawn.dataset import DrawnSample
from partcnn.datasets.drawn.drawing import KINDS
from partcnn.datasets.drawn.figures import PARTS
from partcnn.datasets.drawn.redrawing import Redrawing
from partcnn.datasets.loading import load_dataset
from partcnn.explanation.spatial import CELLS, EXPLAINERS, GRAD_CAM, INPUT_GRADIENT, PLACES
from partcnn.foundation.errors import ConfigError
from partcnn.model.mask import top_mask
from partcnn.model.network import PartNetwork, conversion_of, layer_field
from partcnn.networks.demo_net import WideFieldNet
from partcnn.networks.probing.receptive_field import upsample_map
from tests.pointing_network import CELL, SIDE
from tests.reference import interventions as slow
from tests.tiling_network import tiling_network

Parts = frozenset[str]
FEW = ("body", "head", "legs")


def subsets(parts: tuple[str, ...]) -> list[Parts]:
    return [frozenset(kept) for size in range(len(parts) + 1) for kept in combinations(parts, size)]


def sum_of(weights: dict[str, float], rival: float) -> Answers:
    """A network that is a sum of part indicators: z_1(S) = Σ_{p ∈ S} w_p, against a constant z_0."""
    drawn = {kept: torch.tensor([rival, sum(weights[part] for part in kept)]) for kept in subsets(tuple(weights))}
    return Answers(1, drawn, torch.tensor([[rival, sum(weights.values())]] * 2))


WEIGHTS = {"head": 3.0, "body": 2.0, "legs": 0.0, "tail": 0.0}
TRUE = Importance({**WEIGHTS, BACKGROUND: 0.0}, 5.0)


def at_best(answers: Answers, importance: Importance) -> dict[str, float]:
    """Completeness of one picture at its best threshold, and single deletion."""
    scores = picture_scores(answers, importance, None)
    checks = zip(*(scores[name] for name in CHECKED), strict=True)
    completeness = max((statistics.fmean(three) + d) / 2 for *three, d in checks)
    return {"completeness": completeness, "single_deletion": scores["single_deletion"][0]}


@pytest.mark.parametrize("rival", [0.5, 2.5, 4.5])
def test_the_right_explanation_of_a_sum_of_parts_is_complete_and_correct(rival: float) -> None:
    found = at_best(sum_of(WEIGHTS, rival), TRUE)
    assert found["completeness"] == found["single_deletion"] == 1


def test_what_suffices_is_the_smallest_set_that_is_named() -> None:
    assert set(sufficient_sets(sum_of(WEIGHTS, 1.0))) == {frozenset({"head"}), frozenset({"body"})}
    assert sufficient_sets(sum_of(WEIGHTS, 2.5)) == [frozenset({"head"})]
    assert sufficient_sets(sum_of(WEIGHTS, 4.5)) == [frozenset({"head", "body"})]
    assert sufficient_sets(sum_of(WEIGHTS, -1.0)) == [frozenset()]


def test_scores_on_hand_made_numbers() -> None:
    answers = sum_of(WEIGHTS, 2.5)
    both = sum_of(WEIGHTS, 4.5)
    head, legs = frozenset({"head"}), frozenset({"legs", "tail"})
    assert synthetic_data_check(head, sufficient_sets(both)) == 0.5
    assert synthetic_data_check(legs, sufficient_sets(both)) == 0
    assert math.isnan(synthetic_data_check(head, sufficient_sets(sum_of(WEIGHTS, -1.0))))
    assert (preservation_check(answers, head), preservation_check(answers, legs)) == (1, 0)
    assert (deletion_check(answers, head), deletion_check(answers, legs)) == (1, 0)
    assert unimportant(answers) == {"legs", "tail", BACKGROUND}
    assert distractibility(frozenset({"head", "legs"}), unimportant(answers)) == pytest.approx(2 / 3)
    assert math.isnan(distractibility(head, frozenset()))
    wrong = Importance({"head": 0.0, "body": 0.0, "legs": 2.0, "tail": 3.0, BACKGROUND: 0.0}, 5.0)
    # Ranks 4, 3, 1.5, 1.5 of the falls and 1.5, 1.5, 3, 4 of what is said: ρ = −4 / 4.5.
    assert single_deletion(answers, wrong) == pytest.approx(0.5 - 0.5 * 4 / 4.5)


def test_a_logit_that_falls_by_a_twentieth_matters_and_one_that_rises_does_not() -> None:
    drawn = {kept: torch.tensor([0.0, -20.0 + (kept != frozenset({"head"}))]) for kept in subsets(("body", "head"))}
    rising = Answers(1, drawn, torch.tensor([[0.0, -20.0], [0.0, -19.5], [0.0, -1.0]]))
    assert rising.logit == -19
    assert unimportant(rising) == {"head", BACKGROUND}  # without the body it falls by 1, more than 0.95
    assert background_independence(rising) == pytest.approx(2 / 3)


def test_completeness_weighs_the_three_checks_as_much_as_distractibility() -> None:
    columns = {
        "csdc": [0.9, 0.9, math.nan],
        "pc": [0.6, 0.6, 0.6],
        "dc": [0.3, 0.3, 0.4],
        "distractibility": [0.2, 0.4, 0.4],
    }
    checked = {name: torch.tensor(values) for name, values in columns.items()}
    assert completeness(checked).tolist() == pytest.approx([0.4, 0.5, 0.45])  # a check without a picture is left out
    assert best_threshold(checked) == 1


def test_an_explanation_that_is_alike_everywhere_says_nothing_of_parts() -> None:
    constant = Importance(dict.fromkeys((*WEIGHTS, BACKGROUND), 1.0), 5.0)
    answers = sum_of(WEIGHTS, 2.5)
    assert math.isnan(single_deletion(answers, constant))
    scores = picture_scores(answers, constant, None)
    for threshold, csdc, pc, dc, d in zip(THRESHOLDS, *(scores[name] for name in CHECKED), strict=True):
        assert (csdc, pc, dc, d) == ((1, 1, 1, 0) if threshold < 0.2 else (0, 0, 0, 1))
    of_hybrid = HybridImportance(constant.of, constant.of, 1.0)
    assert target_sensitivity(HYBRID, of_hybrid, 1) == 0


HYBRID = Hybrid(
    "head",
    frozenset({"body", "legs"}),
    0,
    torch.tensor([2.0, 2.0]),
    without_part=torch.tensor([0.0, 2.0]),
    without_rest=torch.tensor([2.0, 0.0]),
)


def test_chance_is_right_by_half() -> None:
    rng = np.random.default_rng(0)
    parts = (*WEIGHTS, BACKGROUND)
    answers = sum_of({"head": 4.0, "body": 3.0, "legs": 2.0, "tail": 1.0}, 2.5)

    def drawn() -> dict[str, float]:
        return dict(zip(parts, rng.random(len(parts)).tolist(), strict=True))

    deletion = statistics.fmean(single_deletion(answers, Importance(drawn(), 2.5)) for _ in range(2000))
    sensitivity = statistics.fmean(
        target_sensitivity(HYBRID, HybridImportance(drawn(), drawn(), 0.5), 1) for _ in range(2000)
    )
    assert deletion == pytest.approx(0.5, abs=0.03)
    assert sensitivity == pytest.approx(0.5, abs=0.03)


def test_sensitivity_counts_only_where_the_network_tells_the_parts_apart() -> None:
    known = HybridImportance({"head": 0.0, "body": 1.0, "legs": 1.0}, {"head": 2.0, "body": 0.0, "legs": 0.0}, 1.0)
    assert target_sensitivity(HYBRID, known, 1) == 1
    assert target_sensitivity(HYBRID, replace(known, own=known.other, other=known.own), 1) == 0
    assert math.isnan(target_sensitivity(replace(HYBRID, without_part=torch.tensor([3.0, 2.0])), known, 1))
    assert math.isnan(target_sensitivity(replace(HYBRID, without_rest=torch.tensor([2.0, 3.0])), known, 1))


def test_an_explanation_rises_at_a_part_that_makes_its_logit_rise() -> None:
    known = HybridImportance({"head": 0.0}, {"head": 2.0}, 1.0)
    whole = {**dict.fromkeys(subsets(FEW), torch.zeros(2)), frozenset(FEW): torch.tensor([1.0, 3.0])}
    answers = Answers(1, whole, torch.zeros(1, 2), HYBRID)
    assert target_rise(answers, known) == 1
    assert target_rise(answers, replace(known, before=2.5)) == 0
    assert math.isnan(target_rise(replace(answers, hybrid=None), known))
    assert math.isnan(target_rise(replace(answers, hybrid=replace(HYBRID, logits=torch.zeros(2))), known))


numbers = st.sampled_from([-3.0, -1.0, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 8.0])  # sums of them are exact, and many equal


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 4))
def test_scores_are_those_of_the_slow_twin(data: st.DataObject, num_parts: int) -> None:
    parts = PARTS[:num_parts]
    drawn = {kept: data.draw(st.lists(numbers, min_size=3, max_size=3)) for kept in subsets(parts)}
    elsewhere = data.draw(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=3))
    label = slow.best_class(drawn[frozenset(parts)])
    known = {name: data.draw(numbers) for name in (*parts, BACKGROUND)}
    total, threshold = data.draw(numbers), data.draw(st.sampled_from(THRESHOLDS))
    answers = Answers(label, {kept: torch.tensor(one) for kept, one in drawn.items()}, torch.tensor(elsewhere))
    importance = Importance(known, total)
    important = importance.important(threshold)
    assert important == slow.important(known, total, threshold)
    pairs = [
        (synthetic_data_check(important, sufficient_sets(answers)), slow.synthetic_data_check(drawn, label, important)),
        (preservation_check(answers, important), slow.preservation_check(drawn, label, important)),
        (deletion_check(answers, important), slow.deletion_check(drawn, label, important)),
        (distractibility(important, unimportant(answers)), slow.distractibility(drawn, label, elsewhere, important)),
        (background_independence(answers), slow.background_independence(drawn, label, elsewhere)),
        (single_deletion(answers, importance), slow.single_deletion(drawn, label, known)),
    ]
    for found, expected in pairs:
        assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)
        assert math.isnan(found) or 0 <= found <= 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_target_sensitivity_is_that_of_the_slow_twin(data: st.DataObject) -> None:
    logits = [data.draw(st.lists(numbers, min_size=2, max_size=2)) for _ in range(3)]
    own, other = ({part: data.draw(numbers) for part in FEW} for _ in range(2))
    rest = frozenset(FEW[1:])
    hybrid = Hybrid(FEW[0], rest, 0, *(torch.tensor(one) for one in logits))
    found = target_sensitivity(hybrid, HybridImportance(own, other, 0.0), 1)
    assert found == pytest.approx(slow.target_sensitivity(1, 0, FEW[0], rest, *logits[1:], own, other), nan_ok=True)


# A network whose filters hold the red, green and blue cells, and pictures of a red head, a green body and blue legs.

COLOURS = {"head": 0, "body": 1, "legs": 2}
SQUARES = {"head": (0, 0), "body": (0, 5), "legs": (5, 0), "tail": (5, 5)}  # first cell (row, col) of 3 × 3
MASS = 9 / (9 / 4 * 4 + 1)  # m / (m + 1) of nine whole cells


def coloured(parts: Parts, *, colours: dict[str, int] = COLOURS, grey: int = 0) -> Image.Image:
    pixels = np.full((SIDE, SIDE, 3), grey, dtype=np.uint8)
    for part in parts & colours.keys():
        rows, cols = (slice(CELL * first, CELL * (first + 3)) for first in SQUARES[part])
        pixels[rows, cols] = 0
        pixels[rows, cols, colours[part]] = 255
    return Image.fromarray(pixels)


def redrawing(parts: Parts, **colours: Any) -> Redrawing:
    masks = {part: np.zeros((SIDE, SIDE), dtype=np.bool_) for part in PARTS}
    for part in parts:
        rows, cols = (slice(CELL * first, CELL * (first + 3)) for first in SQUARES[part])
        masks[part][rows, cols] = True
    return Redrawing(coloured(parts, **colours), masks, tuple(sorted(parts)), masks)


def indicator_network(weights: dict[str, float], rival: float) -> ExplainedNetwork:
    """z_1 = Σ_p w_p · (whether the colour of p is there); z_0 = rival."""
    network = tiling_network()
    with torch.no_grad():
        for parameter in (network.head.weight, network.head.shared_weight, network.head.bias):
            parameter.zero_()
        for part, index in COLOURS.items():
            network.head.weight[1, index, -1] = weights[part] / MASS
        network.head.bias[0] = rival
    run = Run(Path("none"), network, RunSettings("demo:", ""))
    return ExplainedNetwork(run, network, "part filters")


def squares() -> RedrawnPicture:
    parts = frozenset(FEW)
    return RedrawnPicture(
        "spots",
        redrawing(parts),
        {kept: coloured(kept) for kept in subsets(FEW)},
        [coloured(parts, grey=30), coloured(parts, grey=60)],
        None,
    )


def test_our_explanation_of_a_network_that_is_a_sum_of_parts_is_complete_and_correct() -> None:
    one = indicator_network({"head": 3.0, "body": 2.0, "legs": 0.0}, rival=2.5)
    found = _of_picture(one, squares(), np.random.default_rng(0))
    assert found.is_right
    assert not found.is_empty_named
    assert found.background_independence == 1
    assert {part: round(fall, 3) for part, fall in found.falls.items()} == {
        "head": 3,
        "body": 2,
        "legs": 0,
        BACKGROUND: 0,
    }
    for method in (CELLS, PLACES):
        row = explanation_row("part filters", method, [[found]], 0)
        assert row["figures"]["completeness"] == row["figures"]["single_deletion"] == 1
        assert row["figures"]["target_sensitivity"] is None


def test_a_networks_wrong_pictures_have_no_scores() -> None:
    one = indicator_network({"head": 3.0, "body": 2.0, "legs": 0.0}, rival=9.0)
    found = _of_picture(one, squares(), np.random.default_rng(0))
    assert not found.is_right
    assert found.scores == {}
    assert set(explanation_row("plain", CELLS, [[found]], 0)["figures"].values()) == {None}


def test_contributions_lie_on_the_parts() -> None:
    one = indicator_network({"head": 3.0, "body": 2.0, "legs": -1.0}, rival=0.0)
    drawing = redrawing(frozenset(FEW))
    images = one.inputs([drawing.image])
    regions = part_regions(drawing, (SIDE, SIDE))
    for method in (CELLS, PLACES):
        spread = EXPLAINERS[method](one.network, images, torch.tensor([1]))
        found = importance_of(spread.pixels[0], float(spread.elsewhere[0]), regions, FEW)
        assert found.total == pytest.approx(4.0, rel=0.02)
        tolerance = 0.35 if method == CELLS else 0.01  # a cell is spread over its neighbours
        for part, weight in (("head", 3.0), ("body", 2.0), ("legs", -1.0)):
            assert found.of[part] == pytest.approx(weight, rel=tolerance)


@pytest.mark.parametrize("method", [CELLS, PLACES])
def test_all_of_a_logit_but_its_bias_is_laid_out(method: str) -> None:
    torch.manual_seed(1)
    network = tiling_network()
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.5, -0.25]))
    images, classes = torch.rand(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    spread = EXPLAINERS[method](network, images, classes)
    with torch.no_grad():
        expected = (network(images) - network.bias)[torch.arange(2), classes]
    assert (network.head.weight[:, -1].abs() > 0.01).any()  # the surroundings add something
    assert torch.allclose(spread.pixels.sum(dim=(1, 2)) + spread.elsewhere, expected, atol=1e-5)


def test_what_lies_in_no_part_is_the_backgrounds() -> None:
    drawing = redrawing(frozenset(FEW))
    regions = part_regions(drawing, (SIDE, SIDE))
    found = importance_of(torch.ones(SIDE, SIDE), 5.0, regions, FEW)
    outside = SIDE**2 - 3 * 24**2
    assert found.total == SIDE**2 + 5
    assert outside * 0.9 < found.of[BACKGROUND] - 5 < outside  # regions are widened by a pixel
    assert found.of["head"] == 25**2  # in the corner, on two sides
    assert sum(found.of.values()) == found.total


def test_explanations_are_what_they_are_called() -> None:
    torch.manual_seed(0)
    network = tiling_network()
    images, classes = torch.rand(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    network.trunk.requires_grad_(False)
    before = [parameter.clone() for parameter in network.parameters()]
    inputs = images.clone().requires_grad_()
    maps = network.trunk(inputs)
    maps.retain_grad()
    logits = network.forward_from_features(network.projection(maps))
    logits[torch.arange(2), classes].sum().backward()
    assert inputs.grad is not None
    assert maps.grad is not None
    product = (inputs * inputs.grad).sum(dim=1).detach()
    assert torch.allclose(EXPLAINERS[INPUT_GRADIENT](network, images, classes).pixels, product, atol=1e-6)
    cam = (maps.grad.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).relu().detach()
    field = layer_field(network, "trunk", (SIDE, SIDE))
    expected = torch.stack([upsample_map(one, (SIDE, SIDE), field) for one in cam]) / CELL**2
    assert torch.allclose(EXPLAINERS[GRAD_CAM](network, images, classes).pixels, expected, atol=1e-6)
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))
    assert not network.training


def test_a_hybrid_is_explained_for_both_animals() -> None:
    """The head is the other class's colour: each class's own explanation lies on its own parts."""
    one = indicator_network({"head": 0.0, "body": 3.0, "legs": 3.0}, rival=0.0)
    with torch.no_grad():
        one.network.head.weight[0, COLOURS["head"], -1] = 4.0 / MASS
        one.network.head.bias[0] = 0.0
    conversion_of(one.network).classes = ["other", "spots"]
    plain = {"head": 1, "body": 1, "legs": 2}  # the animal's own head is green
    parts = frozenset(FEW)
    hybrid = SwappedPart(
        "head", "other", redrawing(parts), coloured(parts - {"head"}), coloured(frozenset({"head"})), parts - {"head"}
    )
    drawn = {kept: coloured(kept, colours=plain) for kept in subsets(FEW)}
    picture = RedrawnPicture("spots", redrawing(parts, colours=plain), drawn, [drawn[parts]], hybrid)
    found = _of_picture(one, picture, np.random.default_rng(0))
    for method in (CELLS, PLACES):
        assert found.scores[method]["target_sensitivity"] == [1]
        assert found.scores[method]["target_rise"] == [1]


def test_pictures_are_drawn_with_one_thing_changed() -> None:
    samples = [DrawnSample(kind, 4, label) for label, kind in enumerate(("cat", "turtle"))]
    first, again = ([*redrawn_pictures(samples, samples, seed=3)] for _ in range(2))
    for one, same, sample in zip(first, again, samples, strict=True):
        assert one.drawn[frozenset(one.whole.shown)].tobytes() == sample.load_image().tobytes()
        assert len(one.drawn) == 2 ** len(one.whole.shown)
        assert len({picture.tobytes() for picture in one.drawn.values()}) == len(one.drawn)
        assert one.swapped is not None
        assert same.swapped is not None
        assert one.swapped.kind != one.kind
        assert one.swapped.rest | {one.swapped.part} == set(one.whole.shown)
        assert one.swapped.whole.image.tobytes() == same.swapped.whole.image.tobytes()
        assert [one.elsewhere[i].tobytes() for i in range(3)] == [same.elsewhere[i].tobytes() for i in range(3)]
    assert all(one.swapped is None for one in redrawn_pictures(samples, [], seed=3))


def a_run(model: nn.Module, **changes: Any) -> Run:
    return Run(Path("runs/it"), model, RunSettings("demo:", "runs/it", **changes))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            replace(a_run(tiling_network()), settings=RunSettings("folder:birds", "")),
            "runs/it, trained on folder:birds",
        ),
        (a_run(tiling_network(), crop="object"), "crop=object"),
        (a_run(nn.Identity()), "head=additive"),
    ],
    ids=["folder", "crop", "head"],
)
def test_a_run_that_cannot_be_drawn_again_is_refused(run: Run, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partcnn.app.experiments.interventions.open_run", lambda directory: run)
    with pytest.raises(ConfigError, match=message):
        explained_networks([run.directory])


def test_runs_of_different_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"a": a_run(tiling_network()), "b": a_run(tiling_network(), category="cat")}
    monkeypatch.setattr("partcnn.app.experiments.interventions.open_run", lambda directory: runs[directory.name])
    with pytest.raises(ConfigError, match="expected all of demo: and category None"):
        explained_networks([Path("a"), Path("b")])


def test_without_a_run_or_captum_the_command_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["benchmark", "interventions"]) == 2
    assert "--train COUNT" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert main(["benchmark", "interventions", "--train", "5"]) == 2
    assert "partcnn[compare]" in capsys.readouterr().err


@pytest.fixture(scope="module")
def against_background(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run") / "giraffe"
    settings = RunSettings(
        "demo:24", str(place), "giraffe", "demo", epochs=2, workers=0, cache=False,
        network=NetworkSettings(filters=6), recipe=Recipe(num_views=2),
    )  # fmt: skip
    train_run(settings, is_progress_shown=False)
    return place


def test_one_animal_against_background_is_measured_too(against_background: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    arguments = ["benchmark", "interventions", str(against_background), "--pictures", "2", "--out", str(out), "--json"]
    assert main(arguments) == 0
    found = json.loads(out.with_suffix(".json").read_text())
    assert found["about"]["pictures"] == 2
    assert [row["explanation"] for row in found["explanations"]] == list(METHODS)
    for row in found["explanations"]:
        assert row["figures"].keys() == set(SCORES)
        assert row["figures"]["target_sensitivity"] is None
    text = out.with_suffix(".md").read_text()
    assert text == page(found)
    assert "giraffe; against background" in text


def test_the_page_of_the_repository_is_that_of_its_figures() -> None:
    results = Path(__file__).parents[3] / "docs" / "results"
    found = json.loads((results / "interventions.json").read_text(encoding="utf-8"))
    assert page(found) == (results / "interventions.md").read_text(encoding="utf-8")


def test_runs_of_one_name_are_taken_together(against_background: Path) -> None:
    (one,) = explained_networks([against_background])
    samples = kept_out_pictures(one.run, 2)
    assert {sample.kind for sample in samples} == {"giraffe"}
    alone, twice = (measured([one] * count, samples, is_progress_shown=False) for count in (1, 2))
    for first, second in zip(alone["explanations"], twice["explanations"], strict=True):
        assert second["runs"] == 2
        assert second["figures"] == pytest.approx(first["figures"], nan_ok=True)
        assert second["counted"] == {name: 2 * number for name, number in first["counted"].items()}
    with pytest.raises(ConfigError, match="pictures: expected at least 1"):
        kept_out_pictures(one.run, 0)


def test_six_animals_are_trained_with_part_filters_and_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trunk is trained once and kept; whether the runs are, `benchmark paper` sees to."""
    seeds: list[int] = []
    wanted: list[RunSettings] = []

    def trunk(dataset: PartDataset, *, epochs: int, seed: int, is_progress_shown: bool) -> WideFieldNet:
        assert dataset.classes == [*KINDS, "background"]
        seeds.append(seed)
        return WideFieldNet(len(dataset.classes))

    def missing(settings: list[RunSettings], *, is_progress_shown: bool) -> list[Path]:
        wanted.extend(settings)
        return [Path(one.out) for one in settings]

    monkeypatch.setattr("partcnn.app.experiments.intervention_runs.trained_trunk", trunk)
    monkeypatch.setattr("partcnn.app.experiments.intervention_runs.train_missing", missing)
    for _ in range(2):
        found = trained_networks(tmp_path / "runs", count=2, seeds=[0, 3], epochs=1, is_progress_shown=False)
        assert [place.name for place in found] == ["parts-0", "plain-0", "parts-3", "plain-3"]
    assert seeds == [0, 3]
    assert [(one.plain, one.seed, one.category) for one in wanted[:2]] == [(False, 0, None), (True, 0, None)]
    assert {Path(one.weights or "").name for one in wanted} == {"trunk-0.safetensors", "trunk-3.safetensors"}
    network, _ = built_network(wanted[0], load_dataset("demo:2"), recipe_of(wanted[0]))
    assert isinstance(network, PartNetwork)  # the kept trunk is one that a run takes


def test_contributions_of_cells_add_up_to_those_of_filters() -> None:
    torch.manual_seed(0)
    network = tiling_network()
    images = torch.rand(3, 3, SIDE, SIDE)
    with torch.no_grad():
        network(images)
        _, mask = top_mask(network)
        assert mask.feature_maps is not None
        masked = mask.masked(mask.feature_maps)
        terms, maps = network.logit_terms(masked), network.logit_maps(masked)
    assert isinstance(network, PartNetwork)
    for of_filters, of_cells in zip(terms, maps, strict=True):
        assert of_filters is not None
        assert of_cells is not None
        assert of_cells.shape[-2:] == (8, 8)
        assert torch.allclose(of_cells.sum(dim=(-2, -1)), of_filters, atol=1e-5)
