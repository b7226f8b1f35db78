"""Where filters that compete start, with a trunk that is frozen and one that learns."""

import copy
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor

from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.model.competing_mask import competing_masks
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.conversion import convert
from partcnn.networks.demo_net import DemoNet
from partcnn.objectives.object_cells import carried_into_views
from partcnn.plot.curves import read_curves
from partcnn.training import fitting
from partcnn.training.fitting import History, fit
from partcnn.training.module import PartTraining
from partcnn.training.recipe import Recipe

SIZE = (48, 48)  # 6 × 6 cells
RECIPE = Recipe(epochs=4, batch_size=6, num_views=2)
LEARNS_FAST = Recipe(epochs=4, batch_size=6, num_views=2, trunk_lr_frac=1.0)
KINDS = pytest.mark.parametrize("kind", ["frozen", "in memory", "decoded"])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    """20 pictures of noise, half of them with a red square in rows and columns 12 to 27 of 48."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index in range(20):
        name = ("background", "square")[index % 2]
        pixels = random.integers(60, 130, size=(*SIZE, 3), dtype=np.uint8)
        if name == "square":
            pixels[12:28, 12:28] = (255, 30, 20)
        (root / name).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return load_dataset(f"folder:{root}", split="all")


@pytest.fixture
def model() -> CompetingNetwork:
    torch.manual_seed(0)
    made = convert(
        DemoNet(2), "features", num_classes=2, background=0, filters=3, objective="competing", input_size=SIZE
    )
    assert isinstance(made, CompetingNetwork)
    return made


class Steps(Callback):
    """What there was before the first step of each epoch, and after the first step of all that had a filter loss."""

    def __init__(self) -> None:
        self.prototypes: list[Tensor] = []
        self.trunks: list[Tensor] = []
        self.share: Tensor | None = None
        self.in_views: tuple[Tensor, Tensor] | None = None  # as it should be, as it was

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(module, PartTraining)
        if batch_idx == 0:
            self.prototypes.append(module.model.layer_of_parts.scores.prototypes.weight.detach().clone())
            self.trunks.append(next(module.model.trunk.parameters()).detach().clone())

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, PartTraining)
        (mask,) = competing_masks(module.model)
        if self.share is None and module.object_share is not None and mask.object_share is not None:
            self.share = module.object_share
            _, frames, _, images = batch
            (centers,) = module.centers.values()
            carried = carried_into_views(self.share[images], frames, centers)
            self.in_views = torch.cat([carried[:, 0], carried[:, 1]]), mask.object_share


def trained(
    model: CompetingNetwork,
    dataset: PartDataset,
    kind: str,
    patch: pytest.MonkeyPatch,
    recipe: Recipe = RECIPE,
    directory: Path | None = None,
) -> tuple[CompetingNetwork, Steps, History]:
    """A trained copy; `kind` is the trunk's: frozen, or learning on views in memory or on pictures decoded anew."""
    if kind == "decoded":
        patch.setattr(fitting, "_PICTURES_IN_MEMORY_BYTES", 0)
    trunk = "frozen" if kind == "frozen" else "finetune"
    network, steps = copy.deepcopy(model), Steps()
    settings: dict[str, Any] = {"trunk": trunk, "directory": directory, "callbacks": [steps]}
    history = fit(network, dataset, recipe, is_progress_shown=False, **settings)
    return network, steps, history


@KINDS
def test_filters_start_at_clusters_of_the_object(
    model: CompetingNetwork, dataset: PartDataset, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, steps, _ = trained(model, dataset, kind, monkeypatch)
    assert not torch.allclose(steps.prototypes[0], model.layer_of_parts.scores.prototypes.weight)
    assert steps.share is not None
    share = steps.share[1::2] if dataset.samples[1].label else steps.share[10:]
    assert share[:, 2, 2].mean() > 0.9  # well within the square
    assert share[:, 5].mean() < 0.3


@KINDS
def test_every_step_knows_the_object_in_its_own_views(
    model: CompetingNetwork, dataset: PartDataset, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, steps, _ = trained(model, dataset, kind, monkeypatch)
    assert steps.in_views is not None
    wanted, given = steps.in_views
    torch.testing.assert_close(given, wanted)
    assert wanted.any()


def test_views_in_memory_and_decoded_anew_have_the_same_objects(
    model: CompetingNetwork, dataset: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, in_memory, _ = trained(model, dataset, "in memory", monkeypatch)
    _, decoded, _ = trained(model, dataset, "decoded", monkeypatch)
    torch.testing.assert_close(decoded.share, in_memory.share)
    torch.testing.assert_close(decoded.prototypes[0], in_memory.prototypes[0])


@KINDS
@pytest.mark.parametrize("recipe", [RECIPE, LEARNS_FAST], ids=["slow", "fast"])
def test_the_same_seed_gives_the_same_weights(
    model: CompetingNetwork, dataset: PartDataset, kind: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (trained(model, dataset, kind, monkeypatch, recipe)[0] for _ in range(2))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("kind", ["in memory", "decoded"])
def test_a_trunk_that_learns_fast_learns_the_task_alone_before_filters_start(
    model: CompetingNetwork, dataset: PartDataset, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, steps, history = trained(model, dataset, kind, monkeypatch, LEARNS_FAST, directory=tmp_path)
    assert ["filter_loss" in epoch for epoch in history.epochs] == [False, True, True, True]
    torch.testing.assert_close(steps.prototypes[0], model.layer_of_parts.scores.prototypes.weight)
    assert not torch.equal(steps.trunks[0], steps.trunks[1])
    (curve,) = (curve for curve in read_curves(tmp_path / "log" / "metrics.csv") if curve.name == "filter_loss")
    assert curve.epochs == [1, 2, 3]
    assert (steps.prototypes[1] - steps.prototypes[0]).abs().max() > 0.1  # more than steps of 3e-3 change


def test_filters_that_are_trained_stay_where_they_are(
    model: CompetingNetwork, dataset: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _, _ = trained(model, dataset, "in memory", monkeypatch)
    _, steps, history = trained(network, dataset, "in memory", monkeypatch, LEARNS_FAST)
    torch.testing.assert_close(steps.prototypes[0], network.layer_of_parts.scores.prototypes.weight)
    assert "filter_loss" in history.epochs[0]
    assert steps.share is not None
