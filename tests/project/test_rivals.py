"""What `benchmarks/parts.py` sets beside our filters: each rival's formulas, and each on drawn animals to the end."""

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from partcnn.app.runs import NetworkSettings, RunSettings
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.conversion import convert
from partcnn.model.network import layer_field
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.objectives.part_places import centroid_cells
from partcnn.training.features import FeatureViews
from partcnn.training.recipe import Recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("k-means", "NMF", "PDiscoNet", "detector", "linear")
WHOLE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
MIRRORED = [[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
RIGHT_HALF = [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]
FIELD = ReceptiveField((10.0, 10.0), (10.0, 20.0), (4.5, 9.5), (6, 4), (60, 80), "traced")  # 6 rows, 4 columns


@pytest.fixture(scope="module")
def parts() -> Iterator[ModuleType]:
    """The script; what it imports lies beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("parts")


@pytest.fixture
def rivals(parts: ModuleType) -> ModuleType:
    return sys.modules["rivals"]


@pytest.fixture
def pdisconet(parts: ModuleType) -> ModuleType:
    return sys.modules["pdisconet"]


@pytest.fixture
def shares(generator: torch.Generator) -> Tensor:  # [image, part, row, col]
    return torch.rand(4, 3, 5, 6, generator=generator, dtype=torch.float64)


def _model(filters: int = 3) -> CompetingNetwork:
    model = convert(DemoNet(2), num_classes=2, filters=filters, background=0, input_size=(64, 64))
    assert isinstance(model, CompetingNetwork)
    return model


def test_a_product_that_is_not_negative_is_factorised(rivals: ModuleType, generator: torch.Generator) -> None:
    held = torch.rand(300, 3, generator=generator) * (torch.rand(300, 3, generator=generator) > 0.5)
    basis = torch.rand(3, 10, generator=generator) * (torch.rand(3, 10, generator=generator) > 0.5)
    found = torch.nn.functional.normalize(rivals.factorised(held @ basis, 3, generator), dim=1)
    cosines = found @ torch.nn.functional.normalize(basis, dim=1).T
    assert sorted(cosines.argmax(dim=1).tolist()) == [0, 1, 2]
    assert (cosines.amax(dim=1) > 0.99).all()


def test_a_cell_is_the_components_that_made_most_of_it(rivals: ModuleType, generator: torch.Generator) -> None:
    apart = torch.tensor([[1.0, 1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]])
    basis = torch.nn.functional.normalize(torch.cat([apart, 0 * apart], dim=1), dim=1)  # maps of this sign alone
    held = torch.rand(2, 3, 4, 4, generator=generator)
    maps = torch.einsum("ikhw,kd->idhw", held, basis)[:, :8]
    scores = rivals.NonNegativeScores(basis)(maps)
    torch.testing.assert_close((scores / 100).exp(), held, atol=0.01, rtol=0)
    assert scores.softmax(dim=1).amax(dim=1).median() > 0.99


def test_scores_are_squared_distances_to_prototypes(pdisconet: ModuleType, generator: torch.Generator) -> None:
    layer = pdisconet.PrototypeScores(8, 3)
    features = torch.randn(2, 8, 4, 4, generator=generator)
    embedded = layer.embedding(features)
    distances = (embedded[:, None] - layer.prototypes[None, :, :, None, None]).square().sum(dim=2)
    torch.testing.assert_close(layer(features).softmax(dim=1), (-distances).softmax(dim=1))


def test_concentration_is_the_equation(pdisconet: ModuleType, shares: Tensor) -> None:
    num_images, num_parts, height, width = shares.shape
    total = 0.0
    for of_part in shares.flatten(0, 1).tolist():
        cells = [
            ((row + 0.5) / height, (col + 0.5) / width, of_part[row][col])
            for row in range(height)
            for col in range(width)
        ]
        mass = sum(share for *_, share in cells)
        y, x = (sum(cell[axis] * cell[2] for cell in cells) / mass for axis in (0, 1))
        total += sum(share * ((row - y) ** 2 + (col - x) ** 2) for row, col, share in cells)
    expected = total / (num_images * num_parts * height * width)
    assert pdisconet.concentration_loss(shares).item() == pytest.approx(expected)


def test_orthogonality_is_the_mean_squared_cosine_of_two_parts(pdisconet: ModuleType) -> None:
    vectors = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]])
    # of nine pairs four have a cosine of √½, and a part's own pair is not counted against it
    assert pdisconet.orthogonality_loss(vectors).item() == pytest.approx(4 * 0.5 / 9)


def test_a_part_is_present_where_one_picture_of_the_batch_holds_nine_cells(pdisconet: ModuleType) -> None:
    shares = torch.zeros(3, 2, 5, 5)
    shares[1, 0, 1:4, 2:5] = 1
    shares[2, 1, 0, 0] = 0.9
    assert pdisconet.presence_loss(shares).item() == pytest.approx(1 - (1 + 0.1) / 2)


@pytest.mark.parametrize("case", ["mirrored", "right half"])
def test_maps_that_move_with_their_picture_lose_nothing(pdisconet: ModuleType, shares: Tensor, case: str) -> None:
    """The second view shows, cell by cell, what the first one does."""
    centers = tuple((torch.arange(count) + 0.5) / count for count in (5, 6))
    first, second = shares[:1], shares[:1].flip(3)
    frame = MIRRORED
    if case == "right half":
        frame = RIGHT_HALF
        across = torch.arange(6) / 6 + 0.5 / 6
        first = across.expand(1, 3, 5, 6).double()  # a ramp: bilinear reading of it is exact
        second = (across / 2 + 0.5).expand(1, 3, 5, 6).double()
    frames = torch.tensor([WHOLE, frame])
    moved = pdisconet.equivariance_loss(torch.cat([first, second]), frames, centers)
    torch.testing.assert_close(moved, torch.zeros(3, dtype=torch.float64), atol=2e-3, rtol=0)
    stuck = pdisconet.equivariance_loss(torch.cat([shares[:1], shares[:1]]), frames, centers)
    assert (stuck > 0.03).all()


def test_logits_of_pdisconet_are_the_equation(pdisconet: ModuleType, generator: torch.Generator) -> None:
    model = _model()
    pdisconet.put_pdisconet_on(model)
    head = model.head.eval()
    torch.nn.init.normal_(head.modulation, generator=generator)
    features = torch.randn(2, head.embedding.in_channels, 4, 5, generator=generator)
    shares = torch.rand(2, 3, 4, 5, generator=generator) / 3
    embedded = torch.einsum("de,iehw->idhw", head.embedding.weight[..., 0, 0], features)
    expected = head.classifier.bias.expand(2, -1)
    for part in range(3):
        vector = (shares[:, part, None] * embedded).mean(dim=(2, 3)) * head.modulation[part]
        expected = expected + 4 * vector @ head.classifier.weight.T
    torch.testing.assert_close(head(shares, features), expected)


def test_contributions_of_pdisconet_add_up(pdisconet: ModuleType, generator: torch.Generator) -> None:
    model = _model()
    pdisconet.put_pdisconet_on(model)
    model.eval()
    logits = model(torch.rand(2, 3, 64, 64, generator=generator))
    maps = model.layer_of_parts.mask.feature_maps
    assert maps is not None
    terms, surroundings = model.logit_terms(maps)
    assert surroundings is not None
    assert not surroundings.any()
    torch.testing.assert_close(logits, model.bias + terms.sum(dim=2))


def test_pictures_without_an_object_have_no_part_loss(pdisconet: ModuleType, generator: torch.Generator) -> None:
    model = _model()
    pdisconet.put_pdisconet_on(model)
    images = torch.rand(4, 3, 64, 64, generator=generator)
    mask = model.layer_of_parts.mask
    losses = []
    for labels in ([0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]):
        model.eval()(images)
        losses.append(mask.filter_objective(torch.tensor(labels)).loss)
    model(images[:1])
    torch.testing.assert_close(losses[1], mask.filter_objective(torch.tensor([1])).loss)
    assert not losses[0].any()
    assert not torch.equal(losses[1], losses[2])


def test_targets_of_the_detector(rivals: ModuleType) -> None:
    frames = torch.tensor([[WHOLE, MIRRORED, RIGHT_HALF]])
    landmarks = torch.tensor([[[0.1, 0.5], [torch.nan, torch.nan], [0.9, 0.5]]])
    # (0.1, 0.5) is x 8 of 80, y 30 of 60: row 3, column 0; the right half does not show it; 24 is "absent"
    assert rivals.part_targets(frames, landmarks, FIELD).tolist() == [[[12, 24, 15], [-100] * 3, [24, 24, 15]]]


def test_a_detector_is_silent_where_absent_is_likelier(rivals: ModuleType) -> None:
    mask = rivals.DetectorMask(2, 2, 4, background=0)
    scores = torch.full((1, 2, 3, 3), -9.0)
    scores[0, 0, 1, 2] = 2.0  # exp 2 to 1
    maps = mask.compete(scores, torch.zeros(1, 4, 3, 3))
    present = math.exp(2) / (1 + math.exp(2))
    assert mask.peak_scores(maps)[0, 0].item() == pytest.approx(present, abs=1e-3)
    assert mask.peak_scores(maps)[0, 1] == 0
    torch.testing.assert_close(maps.flatten(2), rivals.with_absent(scores).softmax(dim=2)[..., :-1])
    assert maps[0, 0].argmax() == 5


@pytest.mark.parametrize("name", ["NMF", "PDiscoNet", "detector"])
def test_cells_of_rivals_lie_where_ours_do(rivals: ModuleType, pdisconet: ModuleType, name: str) -> None:
    """Places are read in the cells' receptive fields, which must be traced through what a rival puts there."""
    model = _model()
    ours, layer = layer_field(model, "part_layers.0.mask"), model.layer_of_parts
    num_channels = layer.scores.hidden.in_channels
    if name == "NMF":
        layer.scores = rivals.NonNegativeScores(torch.rand(4, 2 * num_channels))
    elif name == "PDiscoNet":
        pdisconet.put_pdisconet_on(model)
    else:
        layer.scores = torch.nn.Conv2d(num_channels, 3, 1)
        layer.mask = rivals.DetectorMask(3, 2, num_channels, background=0)
    field = layer_field(model, "part_layers.0.mask")
    assert field.method == "traced"
    assert (field.stride_px, field.first_center_px) == (ours.stride_px, ours.first_center_px)


@pytest.mark.parametrize("name", ["k-means", "NMF", "detector"])
def test_planted_parts_are_found(rivals: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Three parts, each of four by four cells that hold a feature of its own, somewhere in pictures of an object."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(3, (40, 3, 2), generator=generator) + torch.tensor([[1, 1], [1, 9], [9, 4]])
    task = _planted_task(rivals, corners, generator)
    landmarks = (corners.flip(-1) + 2) / 16  # the middle, (x, y) in shares of the picture
    landmarks = torch.cat([landmarks, torch.full((40, 3, 2), torch.nan)])
    monkeypatch.setattr(rivals, "_landmarks", lambda _: landmarks)
    rivals.RIVALS[name].fitted(task)
    mask = task.model.layer_of_parts.mask
    task.model.eval().forward_from_features(task.features.maps[:40, 0])
    places = centroid_cells(mask.feature_maps)
    gaps = (places[:, :, None] - (corners + 1.5)[:, None]).norm(dim=-1).mean(dim=0)  # [filter, part]
    assert sorted(gaps.argmin(dim=1).tolist()) == [0, 1, 2]
    assert (gaps.amin(dim=1) < 1).all()
    assert (mask.peak_scores(mask.feature_maps) > 0).all()
    task.model.forward_from_features(task.features.maps[40:, 0])
    assert not mask.peak_scores(mask.feature_maps).any()  # no part in pictures without an object


def _planted_task(rivals: ModuleType, corners: Tensor, generator: torch.Generator) -> Any:
    """Of as many pictures of objects as there are corners [picture, part, 2] (row, col), then as many without."""
    model = _model()
    num_channels = model.layer_of_parts.scores.hidden.in_channels
    maps = 0.1 * torch.randn(2 * len(corners), 1, num_channels, 16, 16, generator=generator)
    maps[:, :, -1] += 1  # of the ground
    for image, of_parts in enumerate(corners.tolist()):
        for part, (row, col) in enumerate(of_parts):
            maps[image, 0, -1, row : row + 4, col : col + 4] -= 1
            maps[image, 0, part, row : row + 4, col : col + 4] += 2
    labels = torch.arange(2).flip(0).repeat_interleave(len(corners))
    frames = torch.tensor(WHOLE).expand(len(maps), 1, 2, 3)
    features = FeatureViews(maps, frames, labels)
    dataset = SimpleNamespace(background=0)
    return rivals.Task(model, dataset, features, Recipe(epochs=40), seed=0, cache=None)


def test_a_cell_is_its_nearest_clusters_alone(rivals: ModuleType, tmp_path: Path) -> None:
    settings = RunSettings(
        "demo:12", str(tmp_path), "giraffe", "demo", workers=0, network=NetworkSettings(filters=3),
        recipe=Recipe(num_views=2),
    )  # fmt: skip
    task = rivals.task_of(settings, "k-means")
    rivals.cluster(task)
    task.model.eval().forward_from_features(task.features.maps[:, 0].float())
    maps = task.model.layer_of_parts.mask.feature_maps
    assert maps is not None
    assert ((maps < 0.01) | (maps > 0.99)).float().mean() > 0.98
    layer = task.model.layer_of_parts.scores
    weight, bias = layer.weight.detach().flatten(1), layer.bias.detach()
    clusters = weight * -2 * (bias / weight.square().sum(dim=1))[:, None]  # w = 2sp and b = −s‖p‖²
    cells = task.features.maps[:, 0].float().permute(0, 2, 3, 1)
    nearest = torch.cdist(cells.flatten(0, 2), clusters).argmin(dim=1).view(cells.shape[:3])
    rest = 1 - maps.sum(dim=1, keepdim=True)
    assert (torch.cat([maps, rest], dim=1).argmax(dim=1) == nearest).float().mean() > 0.98


def test_a_linear_classifier_sees_means_alone(rivals: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(12, (40, 3, 2), generator=generator)
    task = _planted_task(rivals, corners, generator)
    task.dataset.classes = ["background", "bird"]
    rivals.RIVALS["linear"].fitted(task)
    maps = task.features.maps[:, 0]
    head = task.model.eval().head
    logits = task.model.forward_from_features(maps)
    assert logits.argmax(dim=1).equal(task.features.labels)
    moved = maps.flatten(2)[..., torch.randperm(256, generator=generator)].view(maps.shape)
    torch.testing.assert_close(task.model.forward_from_features(moved), logits)
    shares = torch.rand(len(maps), 3, 16, 16, generator=generator) / 3
    contributions = head.contributions(shares, maps)
    assert contributions.shape == (len(maps), 2, 4)
    torch.testing.assert_close(contributions.sum(dim=2) + head.linear.bias, logits)


def test_of_several_categories_the_highest_is_that_within_each(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = "parts.py --data demo:12 --weights none --backbone demo --categories all --epochs 2 --methods k-means"
    asked += f" --filters 3 --parts head --runs {tmp_path / 'runs'} --out {tmp_path / 'page'}"
    monkeypatch.setattr(sys, "argv", asked.split())
    parts.main()
    (row,) = json.loads((tmp_path / "page.json").read_text())
    (file,) = (tmp_path / "runs").rglob("metrics.json")
    by_part = json.loads(file.read_text())["by_part"]
    within = {one: of_parts["head"]["part_tracking_r2"] for one, of_parts in by_part.items() if "all" not in one}
    assert len(within) == 6
    assert row["highest_by_category"] == {one: {"head": r2} for one, r2 in within.items()}
    known = [r2 for r2 in within.values() if r2 is not None]
    assert row["highest"]["head"] == pytest.approx(sum(known) / len(known))
    assert parts.HIGHEST_OF_EACH in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_rival_has_a_row(parts: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """On a trunk that knows nothing: every figure is there, but those that mean nothing of this rival."""
    asked = f"parts.py --data demo:12 --weights none --backbone demo --categories giraffe --epochs 2 --methods {name}"
    asked += f" --filters 3 --parts head --runs {tmp_path / 'runs'} --out {tmp_path / 'page'}"
    monkeypatch.setattr(sys, "argv", asked.split())
    parts.main()
    (row,) = json.loads((tmp_path / "page.json").read_text())
    measures = {measure for measure, *_ in parts.COLUMNS.values()}
    unmeasured = {
        "k-means": {"accuracy"},
        "NMF": {"accuracy"},
        "PDiscoNet": set(),
        "detector": {"accuracy", "nmi", "ari"},
        "linear": measures - {"accuracy"},
    }[name]
    assert "landmark_error" in unmeasured or row["landmark_error"] > 0
    assert {measure for measure in measures if row[measure] is None} >= unmeasured
    assert (row["accuracy"] is None) == ("accuracy" in unmeasured)
    page = (tmp_path / "page.md").read_text()
    assert f"- *{name}*: " in page
    assert page.count(f"| {name} |") == (1 if name == "linear" else 2)  # the second is of filters
    file = next((tmp_path / "runs").rglob("metrics.json"))
    written = file.stat().st_mtime_ns
    parts.main()
    assert file.stat().st_mtime_ns == written  # read, not measured anew


def test_rows_that_are_not_asked_for_are_those_of_before(parts: ModuleType) -> None:
    assert list(parts.methods_of("dog", parts.OURS)) == ["competing", "exact, equivariance", "plain"]
    assert list(parts.methods_of("all", ["single"])) == ["labelled, equivariance"]
    assert list(parts.methods_of("dog", ["all"])) == ["competing", "exact, equivariance", "plain", *NAMES]
