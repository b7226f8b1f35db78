"""Small runs on small pictures: what training changes, what it leaves alone, and what a run leaves behind."""

import copy
import csv
import io
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.datasets import PartDataset
from partcnn.foundation.errors import ConfigError
from partcnn.model.conversion import convert
from partcnn.model.mask import part_masks
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import load
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.batches import EpochBatches, EpochLoader
from partcnn.training.features import FeatureViews, compute_features
from partcnn.training.fitting import fit
from partcnn.training.head_training import HeadTraining
from partcnn.training.history import History
from partcnn.training.module import PartTraining
from partcnn.training.projection import set_projection
from partcnn.training.recipe import Recipe
from partcnn.training.views import PictureViews

SIZE = (48, 48)
QUICK = Recipe(epochs=2, batch_size=6, num_views=2, lr=1e-2)


@pytest.fixture
def objective() -> str:
    """Of `model`; a test may ask for another."""
    return "competing"


@pytest.fixture
def model(objective: str) -> nn.Module:
    torch.manual_seed(0)
    settings = {"num_classes": 2, "filters": 4, "objective": objective, "input_size": SIZE}
    return convert(DemoNet(num_classes=2), "features", **settings)


OBJECTIVES_AND_TERMS = pytest.mark.parametrize(
    ("objective", "logged"),
    [
        ("competing", {"certainty", "compactness", "presence", "use", "use_in_picture", "identity"}),
        ("labelled", {"prior_entropy", "spatial_entropy", "inter_category_entropy"}),
    ],
    ids=["competing", "labelled"],
)


@pytest.mark.parametrize(
    ("recipe", "num_pictures", "epochs", "head_epochs"),
    [
        (Recipe(), 548, 20, 6),
        (Recipe(), 47, 150, 45),  # two steps an epoch
        (Recipe(batch_size=8), 47, 50, 15),
        (Recipe(), 0, 300, 90),
        (Recipe(epochs=3), 47, 3, 1),
        (Recipe(head_epochs=0), 5000, 20, 0),
    ],
)
def test_few_pictures_are_shown_more_often(recipe: Recipe, num_pictures: int, epochs: int, head_epochs: int) -> None:
    resolved = recipe.resolved(num_pictures)
    assert (resolved.epochs, resolved.head_epochs) == (epochs, head_epochs)
    assert resolved.resolved(10 * num_pictures) == resolved


def run(model: nn.Module, dataset: PartDataset, recipe: Recipe = QUICK, **settings: Any) -> History:
    return fit(model, dataset, recipe, is_progress_shown=False, **settings)


def state(model: nn.Module, part: str = "") -> dict[str, Tensor]:
    """Weights and statistics whose names begin with `part`, copied."""
    return {key: value.clone() for key, value in model.state_dict().items() if key.startswith(part)}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    now = model.state_dict()
    return {key for key, value in before.items() if not torch.equal(value, now[key])}


class Probe(Callback):
    """Notes something at the start of every epoch, and may raise at the start of one."""

    def __init__(self, raises: BaseException | None = None, at_epoch: int = 1) -> None:
        self.raises, self.at_epoch = raises, at_epoch
        self.loss_weights: list[list[float]] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(module, PartTraining)
        if batch_idx == 0:
            self.loss_weights.append([mask.loss_weight for _, mask in part_masks(module.model)])
        if self.raises is not None and trainer.current_epoch == self.at_epoch and batch_idx == 1:
            raise self.raises


# --- what is learned, and what is not


@pytest.mark.parametrize("trunk", ["frozen", "finetune"])
def test_training_lowers_the_task_loss_and_the_filter_loss(model: nn.Module, dataset: PartDataset, trunk: str) -> None:
    pictures = PictureViews(dataset, Preprocessing(SIZE))
    for _ in range(10):  # else the maps of random weights fade to nothing
        model.trunk.train()(torch.cat([pictures[index][0] for index in range(20)]))
    recipe = Recipe(epochs=12, batch_size=10, num_views=2, lr=3e-2, trunk_lr_frac=0.3)
    history = run(model, dataset, recipe, trunk=trunk)
    assert len(history.epochs) == 12
    first, last = history.epochs[0], history.epochs[-1]
    assert last["task_loss"] < 0.7 * first["task_loss"]
    assert last["filter_loss"] < first["filter_loss"]
    assert last["accuracy"] > first["accuracy"]
    assert history.seconds > 0
    assert not history.is_interrupted


def test_a_frozen_trunk_keeps_its_weights_and_its_statistics(model: nn.Module, dataset: PartDataset) -> None:
    trunk, above = state(model, "trunk"), state(model, "part_layers") | state(model, "head")
    run(model, dataset, trunk="frozen")
    assert changed(trunk, model) == set()
    assert changed(above, model) == above.keys() - {"part_layers.0.mask.filter_category"}
    assert not any(parameter.requires_grad for parameter in model.trunk.parameters())


def test_fine_tuning_changes_every_weight_and_statistic(model: nn.Module, dataset: PartDataset) -> None:
    before = state(model)
    run(model, dataset, trunk="finetune")
    assert changed(before, model) == before.keys() - {"part_layers.0.mask.filter_category"}


def test_a_trunk_that_was_frozen_can_be_fine_tuned_afterwards(model: nn.Module, dataset: PartDataset) -> None:
    run(model, dataset, trunk="frozen")
    trunk = state(model, "trunk")
    run(model, dataset, trunk="finetune")
    assert changed(trunk, model) == trunk.keys()


@pytest.mark.parametrize("trunk", ["frozen", "finetune"])
def test_a_network_in_evaluation_mode_is_trained_in_training_mode(
    model: nn.Module, dataset: PartDataset, trunk: str
) -> None:
    class Modes(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
            assert isinstance(module, PartTraining)
            modes.append((module.model.dropout.training, module.model.trunk.network.features.block1.norm.training))

    modes: list[tuple[bool, bool]] = []
    run(model.eval(), dataset, trunk=trunk, callbacks=[Modes()])
    assert set(modes) == {(True, trunk == "finetune")}


def test_a_network_with_masks_in_place_is_trained_whole(dataset: PartDataset) -> None:
    torch.manual_seed(0)
    model = convert(DemoNet(num_classes=2), "features", num_classes=2, head="original", input_size=SIZE)
    before = state(model)
    run(model, dataset, trunk="finetune")
    assert changed(before, model) == before.keys() - {"features.block4.relu.part_mask.filter_category"}


def test_the_trunk_learns_at_its_share_of_the_learning_rate(model: nn.Module) -> None:
    for share, expected in ((None, 0.03), (0.5, 0.5), (0.0, 0.0)):
        recipe = Recipe(lr=0.1, trunk_lr_frac=share)
        groups = PartTraining(model, recipe, is_trunk_frozen=False, takes_features=False)._parameter_groups()
        assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.1 * expected])
        assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.parameters()}
        low = {id(p) for part in (model.trunk, model.projection) for p in part.parameters()}
        assert {id(p) for p in groups[1]["params"]} == low


@pytest.mark.parametrize(
    ("num_classes", "background", "lr", "expected"),
    [(2, 0, None, 3e-3), (3, None, None, 2e-3), (3, 1, None, 2e-3), (3, 1, 0.5, 0.5)],
    ids=["one category", "several", "several and background", "given"],
)
def test_the_learning_rate_is_lower_where_several_categories_own_filters(
    num_classes: int, background: int | None, lr: float | None, expected: float
) -> None:
    model = convert(
        DemoNet(num_classes), "features.block3", num_classes=num_classes, background=background, input_size=SIZE
    )
    module = PartTraining(model, Recipe(lr=lr), is_trunk_frozen=True, takes_features=False)
    assert module._parameter_groups()[0]["lr"] == expected


def test_the_recipe_sets_what_the_masks_remember(model: nn.Module, dataset: PartDataset) -> None:
    for memory in (0, 6):
        run(model, dataset, replace(QUICK, epochs=1, memory=memory))
        assert [mask.memory for _, mask in part_masks(model)] == [memory]


@pytest.mark.parametrize("objective", ["labelled"])  # which counts earlier maps
def test_what_one_training_remembers_is_not_of_the_next(model: nn.Module, dataset: PartDataset) -> None:
    run(model, dataset, QUICK)  # sets the projection
    start = copy.deepcopy(model.state_dict())
    losses = []
    for memory in (16, 16, 0):
        model.load_state_dict(start)
        history = run(model, dataset, replace(QUICK, memory=memory))
        losses.append([one["filter_loss"] for one in history.epochs])
    assert losses[0] == losses[1] != losses[2]


@OBJECTIVES_AND_TERMS
@pytest.mark.parametrize("weight", [0.0, 0.1, 2.5])
def test_the_loss_of_a_step_is_task_loss_filter_loss_and_equivariance(
    model: nn.Module, generator: torch.Generator, weight: float, logged: set[str]
) -> None:
    recipe = replace(QUICK, equivariance=weight)
    module = PartTraining(model, recipe, is_trunk_frozen=False, takes_features=False)
    images, labels = torch.randn(4, 2, 3, *SIZE, generator=generator), torch.tensor([0, 1, 0, 1])
    frames = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[-0.7, 0, 0.9], [0, 0.7, 0.1]]]).expand(4, 2, 2, 3)
    module.eval()  # without dropout
    loss = module.training_step((images, frames, labels), 0)
    means = module.means()
    views = torch.cat([images[:, 0], images[:, 1]])
    torch.testing.assert_close(means["task_loss"], F.cross_entropy(model(views), labels.repeat(2)).detach())
    moved = means.get("equivariance", 0.0)
    assert (moved != 0) == (weight > 0)
    torch.testing.assert_close(loss, means["task_loss"] + means["filter_loss"] + weight * moved)
    assert means["filter_loss"] != 0
    assert logged - {"identity"} <= means.keys()  # which is known once a step in training mode was seen


def test_the_history_holds_means_over_the_pictures_of_each_epoch(model: nn.Module, dataset: PartDataset) -> None:
    seen: list[tuple[dict[str, float], int]] = []

    class Watcher(L.Callback):
        before: tuple[dict[str, torch.Tensor], int] = ({}, 0)

        def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
            assert isinstance(module, PartTraining)
            sums, count = dict(module._sums), module._count
            old, old_count = self.before if count > self.before[1] else ({}, 0)
            share = count - old_count
            seen.append(({name: float(value - old.get(name, 0)) / share for name, value in sums.items()}, share))
            self.before = (sums, count)

    history = run(model, dataset, callbacks=[Watcher()])
    per_epoch = len(seen) // len(history.epochs)
    assert len({share for _, share in seen}) > 1  # the last batch is smaller, and weighs less
    for number, row in enumerate(history.epochs):
        batches = seen[number * per_epoch : (number + 1) * per_epoch]
        for name in ("task_loss", "filter_loss", "accuracy"):
            mean = sum(values[name] * share for values, share in batches) / sum(share for _, share in batches)
            assert row[name] == pytest.approx(mean, rel=1e-4)


def test_training_ends_in_evaluation_mode_with_the_classes_of_the_data(model: nn.Module, dataset: PartDataset) -> None:
    run(model, dataset)
    assert not any(module.training for module in model.modules())
    assert conversion_of(model).classes == ["clutter", "square"]


# --- seeds


@pytest.mark.parametrize("trunk", ["frozen", "finetune"])
def test_the_seed_alone_decides_the_weights(model: nn.Module, dataset: PartDataset, trunk: str) -> None:
    runs = []
    for seed in (3, 3, 4):
        torch.rand(len(runs))  # the state of the global generator must not matter
        trained = copy.deepcopy(model)
        run(trained, dataset, trunk=trunk, seed=seed)
        runs.append(state(trained))
    assert all(torch.equal(value, runs[1][key]) for key, value in runs[0].items())
    assert not torch.equal(runs[0]["head.weight"], runs[2]["head.weight"])


def test_pictures_decoded_in_every_epoch_train_as_well(
    model: nn.Module, dataset: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partcnn.training.fitting._PICTURES_IN_MEMORY_BYTES", 0)
    trained = [copy.deepcopy(model) for _ in range(2)]
    histories = [run(one, dataset, trunk="finetune") for one in trained]
    assert histories[0].epochs == histories[1].epochs
    assert len(histories[0].epochs) == 2
    assert changed(state(model, "trunk"), trained[0]) == state(model, "trunk").keys()


# --- schedules


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.4, 0.4, 0.4, 0.4]),
        ("linear", [0.8, 0.6, 0.4, 0.2]),
        ("inverse", [0.4, 0.4 / 2, 0.4 / 3, 0.4 / 4]),
    ],
)
def test_the_weight_of_the_filter_loss_follows_its_schedule(
    model: nn.Module, dataset: PartDataset, schedule: str, expected: list[float]
) -> None:
    probe = Probe()
    recipe = Recipe(epochs=4, batch_size=20, num_views=1, loss_weight=0.4, loss_weight_schedule=schedule)
    run(model, dataset, recipe, callbacks=[probe])
    assert probe.loss_weights == [pytest.approx([weight]) for weight in expected]


@OBJECTIVES_AND_TERMS
def test_a_weight_of_zero_leaves_the_task_loss_alone(model: nn.Module, dataset: PartDataset, logged: set[str]) -> None:
    history = run(model, dataset, Recipe(epochs=1, num_views=1, loss_weight=0.0))
    assert history.epochs[0]["filter_loss"] == 0
    assert all(history.epochs[0][term] != 0 for term in logged)


# --- the second stage, where filters compete


def test_the_second_stage_fits_a_new_head_and_nothing_else(
    model: nn.Module, dataset: PartDataset, tmp_path: Path
) -> None:
    other = copy.deepcopy(model)
    history = run(model, dataset, replace(QUICK, head_epochs=2), directory=tmp_path)
    assert run(other, dataset, replace(QUICK, head_epochs=0)).head_epochs == []
    assert [row["epoch"] for row in history.head_epochs] == [0, 1]
    assert {*history.head_epochs[0]} == {"epoch", "task_loss", "accuracy"}
    assert history.head_epochs[1]["task_loss"] < history.head_epochs[0]["task_loss"]
    heads = {name for name in other.state_dict() if name.startswith("head.")}
    assert changed(state(other), model) == heads
    assert changed(state(load(tmp_path)), model) == set()
    assert not model.training


@pytest.mark.parametrize("objective", ["labelled"])
def test_other_filters_have_one_stage(model: nn.Module, dataset: PartDataset) -> None:
    assert run(model, dataset, replace(QUICK, head_epochs=2)).head_epochs == []


@pytest.mark.usefixtures("handler")
def test_an_interrupted_second_stage_leaves_the_head_of_the_first(
    model: nn.Module, dataset: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy.deepcopy(model)
    run(other, dataset, replace(QUICK, head_epochs=0))

    def stop(module: HeadTraining) -> None:
        if module.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(HeadTraining, "on_train_epoch_end", stop)
    history = run(model, dataset, replace(QUICK, head_epochs=3), directory=tmp_path)
    assert history.is_interrupted
    assert len(history.epochs) == QUICK.epochs
    assert changed(state(other), model) == set()
    assert changed(state(load(tmp_path)), model) == set()


# --- interruption


@pytest.fixture
def handler() -> Iterator[Callable[..., Any]]:
    """What Ctrl-C calls; set here, for a run in the background ignores it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, previous)


def test_ctrl_c_leaves_a_usable_run_and_says_so(
    model: nn.Module, dataset: PartDataset, tmp_path: Path, handler: Callable[..., Any]
) -> None:
    before = state(model, "head")
    recipe = Recipe(epochs=4, batch_size=6, num_views=1)
    history = run(model, dataset, recipe, directory=tmp_path, callbacks=[Probe(KeyboardInterrupt(), at_epoch=2)])
    assert history.is_interrupted
    assert [row["epoch"] for row in history.epochs] == [0, 1]
    assert signal.getsignal(signal.SIGINT) is handler
    assert not model.training
    assert changed(before, model) == before.keys()
    loaded = load(tmp_path)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())


@pytest.mark.usefixtures("handler")
def test_ctrl_c_before_the_end_of_the_first_epoch_gives_an_empty_history(
    model: nn.Module, dataset: PartDataset
) -> None:
    history = run(model, dataset, callbacks=[Probe(KeyboardInterrupt(), at_epoch=0)])
    assert history.is_interrupted
    assert history.epochs == []


@pytest.mark.parametrize("error", [RuntimeError("mine"), SystemExit(3)], ids=["error", "exit"])
def test_other_exceptions_come_through(
    model: nn.Module, dataset: PartDataset, error: BaseException, handler: Callable[..., Any]
) -> None:
    with pytest.raises(type(error)) as raised:
        run(model, dataset, callbacks=[Probe(error)])
    assert raised.value is error
    assert signal.getsignal(signal.SIGINT) is handler


# --- what a run writes


@OBJECTIVES_AND_TERMS
def test_a_run_writes_its_logs_and_the_network(
    model: nn.Module, dataset: PartDataset, tmp_path: Path, logged: set[str]
) -> None:
    history = run(model, dataset, directory=tmp_path)
    rows = list(csv.DictReader((tmp_path / "log" / "metrics.csv").read_text().splitlines()))
    assert [float(row["task_loss"]) for row in rows] == pytest.approx([row["task_loss"] for row in history.epochs])
    assert {"filter_loss", "accuracy", "epoch"} | logged <= rows[0].keys()
    assert len(list((tmp_path / "log").glob("events.out.tfevents.*"))) == 1
    loaded = load(tmp_path)
    assert conversion_of(loaded).classes == ["clutter", "square"]
    images = torch.zeros(1, 3, *SIZE)
    assert torch.equal(loaded(images), model(images))


def test_a_run_without_a_directory_writes_nothing(
    model: nn.Module, dataset: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(model, dataset)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("objective", "weight", "of_maps"),
    [
        ("competing", "part_layers.0.scores.context.weight", torch.float32),  # as softmax gives them
        ("labelled", "part_layers.0.weight", torch.bfloat16),
    ],
    ids=["competing", "labelled"],
)
def test_bfloat16_trains_with_finite_losses_and_keeps_weights_in_float32(
    model: nn.Module, dataset: PartDataset, weight: str, of_maps: torch.dtype
) -> None:
    class Types(Callback):
        def on_train_batch_end(self, *arguments: Any) -> None:
            types.update(mask.feature_maps.dtype for _, mask in part_masks(model) if mask.feature_maps is not None)

    types: set[torch.dtype] = set()
    of_features: set[torch.dtype] = set()
    before = state(model)
    recipe = Recipe(epochs=2, batch_size=6, num_views=1, precision="bf16")

    def note(layer: nn.Module, _: object, features: Tensor) -> None:
        if layer.training:
            of_features.add(features.dtype)

    hook = model.dropout.register_forward_hook(note)
    history = run(model, dataset, recipe, trunk="finetune", callbacks=[Types()])
    hook.remove()
    assert (of_features, types) == ({torch.bfloat16}, {of_maps})
    assert all(np.isfinite(list(row.values())).all() for row in history.epochs)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert weight in changed(before, model)
    assert all(value.isfinite().all() for value in model.state_dict().values())


# --- what is refused


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"num_views": 0},
        {"lr": 0.0},
        {"trunk_lr_frac": -0.1},
        {"weight_decay": -1.0},
        {"loss_weight": -0.1},
        {"equivariance": -1.0},
        {"loss_weight_schedule": "cosine"},
        {"precision": "fp16"},
    ],
    ids=str,
)
def test_a_recipe_outside_what_it_may_be_names_the_setting(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"{name}.*expected.*got"):
        Recipe(**setting)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_crop_of_no_side_or_more_than_the_picture_is_refused(
    model: nn.Module, dataset: PartDataset, share: float
) -> None:
    with pytest.raises(ConfigError, match="min_crop_frac"):
        run(model, dataset, Recipe(epochs=1, min_crop_frac=share))


def test_an_unknown_trunk_and_a_frozen_one_that_there_is_not_are_refused(
    model: nn.Module, dataset: PartDataset
) -> None:
    with pytest.raises(ConfigError, match="frozen, finetune"):
        run(model, dataset, trunk="half")
    masked = convert(DemoNet(num_classes=2), "features", num_classes=2, head="original", input_size=SIZE)
    with pytest.raises(ConfigError, match="'finetune' with head='original'"):
        run(masked, dataset, trunk="frozen")


def test_another_number_of_classes_than_the_model_has_is_refused(dataset: PartDataset) -> None:
    model = convert(DemoNet(), "features", num_classes=3, input_size=SIZE)
    with pytest.raises(ConfigError, match="expected 3 classes, as the model has logits, got 2"):
        run(model, dataset)
    assert conversion_of(model).classes == ["0", "1", "2"]


def reordered(dataset: PartDataset) -> PartDataset:
    return dataset.with_classes(["square", "clutter"], [1, 0])


def test_classes_in_another_order_are_learned_on_by_their_names(model: nn.Module, dataset: PartDataset) -> None:
    run(model, dataset)
    twin = copy.deepcopy(model)
    run(model, dataset)
    run(twin, reordered(dataset))
    assert conversion_of(twin).classes == ["clutter", "square"]
    assert changed(state(model), twin) == set()


def test_features_of_another_order_are_refused(model: nn.Module, dataset: PartDataset) -> None:
    run(model, dataset)
    views = PictureViews(reordered(dataset), conversion_of(model).preprocessing, num_views=2)
    features = compute_features(nn.Sequential(model.trunk, model.projection), views)
    with pytest.raises(ConfigError, match="features: expected labels in the model's order of classes"):
        run(model, reordered(dataset), features=features)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_show_the_bars_ends_no_training(
    model: nn.Module, dataset: PartDataset, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    history = fit(model, dataset, QUICK, is_progress_shown=True)
    assert len(history.epochs) > 0
    assert b"Epoch" in terminal.buffer.getvalue()  # type: ignore[attr-defined]
    with pytest.raises(UnicodeEncodeError):  # as it was before
        terminal.write("猫")


def test_other_classes_take_the_place_of_those_known_and_are_told(
    model: nn.Module, dataset: PartDataset, caplog: pytest.LogCaptureFixture
) -> None:
    run(model, dataset)
    run(model, dataset.with_classes(["noise", "square"], [0, 1]))
    assert conversion_of(model).classes == ["noise", "square"]
    assert "the model knew ['clutter', 'square'], and is trained to tell ['noise', 'square'] apart" in caplog.text


# --- pictures and their views


def test_the_first_view_is_the_picture_as_it_is_measured(dataset: PartDataset) -> None:
    preprocessing = Preprocessing((48, 64))
    views, frames, label = PictureViews(dataset, preprocessing, num_views=3)[5]
    assert views.shape == (3, 3, 48, 64)
    assert frames[0].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert label == dataset.samples[5].label
    expected = preprocessing(dataset.samples[5].load_image())
    torch.testing.assert_close(views[0], expected, atol=0.02, rtol=0)  # Pillow rounds to whole levels
    assert not torch.allclose(views[1], views[0], atol=0.1)
    assert not torch.allclose(views[1], views[2], atol=0.1)


def test_a_single_random_view_is_not_the_picture_as_it_is_measured(dataset: PartDataset) -> None:
    whole, random = (PictureViews(dataset, Preprocessing(SIZE), is_random=flag)[0][0] for flag in (False, True))
    assert whole.shape == random.shape == (1, 3, *SIZE)
    assert not torch.allclose(whole, random, atol=0.1)


def test_views_depend_on_seed_epoch_and_picture_and_on_nothing_else(dataset: PartDataset) -> None:
    def views(seed: int = 0, epoch: int = 0, index: int = 0) -> Tensor:
        pictures = PictureViews(dataset, Preprocessing(SIZE), num_views=3, seed=seed)
        pictures.epoch = epoch
        torch.rand(1)  # the global generator moves on
        return pictures[index][0]

    assert torch.equal(views(), views())
    assert not torch.equal(views()[1:], views(seed=1)[1:])
    assert not torch.equal(views()[1:], views(epoch=1)[1:])
    same = copy.copy(dataset)
    same.samples = [dataset.samples[0]] * 2
    first, second = (PictureViews(same, Preprocessing(SIZE), num_views=2)[index][0] for index in (0, 1))
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    state_before = torch.get_rng_state()
    PictureViews(dataset, Preprocessing(SIZE), num_views=3)[0]
    assert torch.equal(torch.get_rng_state(), state_before)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_every_epoch_crops_anew_and_alike_whatever_the_number_of_workers(
    dataset: PartDataset, num_workers: int
) -> None:
    few = copy.copy(dataset)
    few.samples = dataset.samples[:3]
    loader = EpochLoader(PictureViews(few, Preprocessing(SIZE), is_random=True), batch_size=3, num_workers=num_workers)
    (first,), (second,) = list(loader), list(loader)
    assert not torch.equal(first[0], second[0])
    expected = PictureViews(few, Preprocessing(SIZE), is_random=True)
    expected.epoch = 2
    assert torch.equal(second[0], torch.stack([expected[index][0] for index in second[3].tolist()]))


def test_an_epoch_of_features_has_every_picture_once_in_two_different_views() -> None:
    maps = torch.arange(7 * 3, dtype=torch.float16).reshape(7, 3, 1, 1, 1)
    frames = torch.arange(7 * 3.0)[:, None, None].expand(-1, 2, 3).unflatten(0, (7, 3))
    features = EpochBatches(FeatureViews(maps, frames, torch.arange(7)), batch_size=3, seed=0)
    epochs = []
    for _ in range(9):
        batches = list(features)
        assert [batch.shape for batch, *_ in batches] == [(3, 2, 1, 1, 1), (3, 2, 1, 1, 1), (1, 2, 1, 1, 1)]
        assert all(torch.equal(batch.squeeze(), frame[..., 0, 0].squeeze()) for batch, frame, *_ in batches)
        labels = torch.cat([label for _, _, label, _ in batches])
        views = torch.cat([batch.flatten(1) for batch, *_ in batches])
        assert torch.equal(views // 3, labels[:, None].expand(-1, 2))
        assert (views[:, 0] != views[:, 1]).all()
        assert labels.sort().values.tolist() == list(range(7))
        assert torch.equal(labels, torch.cat([images for *_, images in batches]))
        epochs.append(views)
    assert len(features) == 3
    assert set((torch.cat(epochs) % 3).unique().tolist()) == {0, 1, 2}
    assert not torch.equal(epochs[0], epochs[1])


def test_one_view_in_all_gives_one_in_a_batch() -> None:
    features = FeatureViews(torch.zeros(4, 1, 2, 3, 3), torch.zeros(4, 1, 2, 3), torch.zeros(4, dtype=torch.long))
    ((maps, frames, *_),) = EpochBatches(features, batch_size=4, seed=0)
    assert (maps.shape, frames.shape) == ((4, 1, 2, 3, 3), (4, 1, 2, 3))


def test_a_frame_carries_points_of_a_view_to_the_picture(dataset: PartDataset) -> None:
    random = np.random.default_rng(3)
    root = dataset.samples[0].image_path.parent.parent
    marked = copy.copy(dataset)
    marked.samples = dataset.samples[:6]
    file = root / "marked.png"
    pixels = np.zeros((90, 60, 3), dtype=np.uint8)
    row, col = 41, 22
    pixels[row - 3 : row + 4, col - 3 : col + 4] = 255
    Image.fromarray(pixels + random.integers(0, 4, size=pixels.shape, dtype=np.uint8) * (pixels == 0)).save(file)
    marked.samples = [replace(sample, image_path=file) for sample in marked.samples]
    is_flipped = set()
    for index in range(6):
        views, frames, _ = PictureViews(marked, Preprocessing((96, 64)), num_views=5, min_crop_frac=0.9)[index]
        for view, frame in zip(views, frames, strict=True):
            grey = view.mean(dim=0)
            weight = (grey - (grey.min() + grey.max()) / 2).clamp(min=0)
            ys, xs = (torch.arange(size) + 0.5 for size in weight.shape)
            x, y = (weight.sum(0) @ xs) / weight.sum() / 64, (weight.sum(1) @ ys) / weight.sum() / 96
            found = frame @ torch.tensor([x, y, 1.0])
            torch.testing.assert_close(found, torch.tensor([(col + 0.5) / 60, (row + 0.5) / 90]), atol=0.015, rtol=0)
            is_flipped.add(bool(frame[0, 0] < 0))
    assert is_flipped == {True, False}


def test_the_projection_is_the_principal_components_of_the_trunks_maps(model: nn.Module, dataset: PartDataset) -> None:
    projected = convert(DemoNet(num_classes=2), "features", num_classes=2, filters=4, projection=6, input_size=SIZE)
    views = PictureViews(dataset, Preprocessing(SIZE))
    set_projection(projected, views)
    with torch.no_grad():
        maps = torch.cat([projected.trunk.eval()(views[index][0]) for index in range(len(views))]).double()
    cells = maps.movedim(1, -1).flatten(0, 2)
    centred = cells - cells.mean(dim=0)
    _, singular, components = torch.linalg.svd(centred, full_matrices=False)
    kept = projected.projection(maps.float()).movedim(1, -1).flatten(0, 2).double()
    torch.testing.assert_close(kept.mean(dim=0), torch.zeros(6, dtype=torch.float64), atol=1e-4, rtol=0)
    variances = singular[:6].square() / len(cells)
    expected = (centred @ components[:6].T) * (0.07 / (variances.mean() * variances).sqrt()).sqrt()
    sign = (expected * kept).sum(dim=0).sign()
    torch.testing.assert_close(kept * sign, expected, atol=1e-3 * float(expected.abs().max()), rtol=0)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * self.factor


def test_a_hook_on_the_trunk_sees_the_pictures_of_the_projection(model: nn.Module, dataset: PartDataset) -> None:
    """It runs in a copy in another layout, and a copy without the hooks would not be the user's network."""
    seen: list[int] = []
    model.trunk.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    set_projection(model, PictureViews(dataset, Preprocessing(SIZE)))
    assert sum(seen) == len(dataset)


def test_projected_maps_have_one_scale_whatever_the_trunks(dataset: PartDataset) -> None:
    """A recipe chosen on one network's maps then suits another's."""
    views = PictureViews(dataset, Preprocessing(SIZE))
    maps = []
    for scale in (1.0, 300.0):
        torch.manual_seed(0)
        network = convert(DemoNet(num_classes=2), "features", num_classes=2, filters=4, projection=6, input_size=SIZE)
        network.trunk = nn.Sequential(network.trunk, Times(scale)).eval()
        set_projection(network, views)
        with torch.no_grad():
            maps.append(network.features(views[0][0]))
    assert maps[0].std() > 0.05
    torch.testing.assert_close(maps[0], maps[1], atol=1e-3, rtol=1e-3)


def test_features_are_the_trunks_maps_of_every_view(model: nn.Module, dataset: PartDataset) -> None:
    views = PictureViews(dataset, Preprocessing(SIZE), num_views=2)
    done: list[int] = []
    features = compute_features(model.trunk, views, on_progress=done.append)
    assert features.maps.shape == (20, 2, 64, 6, 6)
    assert features.labels.tolist() == [sample.label for sample in dataset.samples]
    assert done[-1] == 20
    with torch.no_grad():
        expected = model.trunk.eval()(views[17][0])
    torch.testing.assert_close(features.maps[17].float(), expected, atol=1e-2, rtol=1e-2)
