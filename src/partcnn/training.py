"""Train a converted network: the LightningModule, its schedule, and `fit`."""

import logging
import os
import signal
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn import _torchvision  # noqa: F401

# isort: split
import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from rich.progress import Progress

from partcnn.checkpoint import save
from partcnn.conversion import PartNetwork, conversion_of
from partcnn.datasets import PartDataset
from partcnn.errors import ConfigError
from partcnn.feature_cache import FeatureCache
from partcnn.feature_views import EpochLoader, FeatureViews, PictureViews, compute_features, set_projection
from partcnn.layers import diversity_loss, equivariance_loss, filter_loss_terms, num_owners, part_masks
from partcnn.receptive_field import cell_centers, receptive_field
from partcnn.trunk_features import trunk_features

_log = logging.getLogger("partcnn")

TRUNKS = ("frozen", "finetune")
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
SCHEDULES = ("constant", "linear", "inverse")
_LR, _LR_OF_SEVERAL = 3e-3, 2e-3
_PRETRAINED_TRUNK_LR_FRAC = 0.03
_PICTURES_IN_MEMORY_BYTES = 2 * 1024**3  # of views that are kept for a trunk that learns; more are decoded every epoch

# Lightning's own, about things that are meant here: a frozen trunk is in eval mode; batches may come from memory.
_EXPECTED_WARNINGS = (
    r".*module\(s\) in eval mode at the start of training",
    r".*does not have many workers",
    r".*isinstance\(treespec, LeafSpec\)",
    r".*Checkpoint directory .* exists and is not empty",
)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The defaults are what reached the figures in the README.

    Args:
        epochs: passes over the training pictures.
        batch_size: pictures per step, each in two of its views.
        lr: highest learning rate of the one-cycle schedule, AdamW. None takes 3e-3 where one category owns all
            filters, 2e-3 where several do: with 24 animals a fifth of them died at 3e-3.
        trunk_lr_frac: the trunk's learning rate as a share of `lr`, when it is fine-tuned. None takes 0.03, right
            for pretrained weights; `partcnn train` takes 1 for a trunk without.
        weight_decay: of AdamW.
        loss_weight: λ, weight of the filter loss in every part layer.
        equivariance: weight of the term that asks a part's place to differ between pictures and not between two
            views of one (`partcnn.equivariance`); 0 leaves the paper's loss alone.
        diversity: weight of the term that spreads a category's filters over different places
            (`partcnn.diversity`). Filters then follow more parts, and fewer of them the one that is followed best.
        memory: maps of each filter's category, from earlier batches, that "labelled" counts beside the batch's where
            several classes own filters (`partcnn.category_memory`); the equivariance term counts half as many
            pictures. 0 counts the batch alone.
        loss_weight_schedule: "constant"; "linear", from 2λ down to 0; or "inverse", λ/epoch as in the paper.
        num_views: views of each picture that are made once, the first the picture itself, the others random crops
            with flips; a frozen trunk's maps of them too. With a trunk that learns and views of over 2 GiB every
            epoch makes a new view of each picture.
        min_crop_frac: smallest side of a random crop as a share of the picture's.
        precision: "fp32" or "bf16" (autocast; the filter loss stays in float32).
    """

    epochs: int = 20
    batch_size: int = 32
    lr: float | None = None
    trunk_lr_frac: float | None = None
    weight_decay: float = 0.3
    loss_weight: float = 0.2
    equivariance: float = 0.1
    diversity: float = 0.0
    memory: int = 16
    loss_weight_schedule: str = "constant"
    num_views: int = 9
    min_crop_frac: float = 0.6
    precision: str = "fp32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "num_views"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("trunk_lr_frac", "weight_decay", "loss_weight", "equivariance", "diversity", "memory"):
            if (getattr(self, name) or 0) < 0:
                raise ConfigError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.lr is not None and self.lr <= 0:
            raise ConfigError(f"lr: expected a number above 0, got {self.lr}")
        if self.loss_weight_schedule not in SCHEDULES:
            raise ConfigError(
                f"loss_weight_schedule: expected one of {', '.join(SCHEDULES)}, got {self.loss_weight_schedule!r}"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    def learning_rate(self, model: nn.Module) -> float:
        """`lr`, or what None takes for this network."""
        if self.lr is not None:
            return self.lr
        arguments = conversion_of(model).arguments
        return _LR if num_owners(arguments["num_classes"], arguments["background"]) == 1 else _LR_OF_SEVERAL

    def loss_weight_at(self, epoch: int) -> float:
        """λ in an epoch, counted from 0."""
        factors = {"constant": 1.0, "linear": 2 * (1 - epoch / self.epochs), "inverse": 1 / (1 + epoch)}
        return self.loss_weight * factors[self.loss_weight_schedule]


@dataclass
class History:
    """What training logged, one row per epoch: task_loss, filter_loss, its terms, accuracy (of the training set)."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    is_interrupted: bool = False
    seconds: float = 0.0


class PartTraining(L.LightningModule):
    """Task loss + filter loss + equivariance + diversity, AdamW, one cycle.

    Args:
        model: made by `partcnn.convert`.
        recipe: of the training.
        is_trunk_frozen: the trunk and its projection keep their weights and their statistics.
        takes_features: batches hold the trunk's projected maps and not pictures.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, *, is_trunk_frozen: bool, takes_features: bool) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.is_trunk_frozen, self.takes_features = is_trunk_frozen, takes_features
        self.centers = _cell_centers(model) if recipe.equivariance else {}
        self._sums: dict[str, Any] = {}
        self._count = 0  # pictures in the sums

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_index: int) -> Tensor:
        inputs, frames, labels = batch  # [picture, view, channel, row, col], [picture, view, 2, 3], [picture]
        num_views = inputs.shape[1]
        inputs, frames = (one.transpose(0, 1).flatten(0, 1) for one in (inputs, frames))  # all first views first
        labels = labels.repeat(num_views)
        logits = self.model.forward_from_features(inputs) if self.takes_features else self.model(inputs)  # type: ignore[operator]
        task_loss = F.cross_entropy(logits.float(), labels)
        filter_loss, terms = filter_loss_terms(self.model, labels)
        loss = task_loss + filter_loss
        if self.recipe.equivariance and num_views == 2:
            terms["equivariance"] = equivariance_loss(self.model, labels, frames, self.centers)
            loss = loss + self.recipe.equivariance * terms["equivariance"]
        if self.recipe.diversity:
            terms["diversity"] = diversity_loss(self.model, labels)
            loss = loss + self.recipe.diversity * terms["diversity"]
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        shown = {"task_loss": task_loss, "filter_loss": filter_loss, "accuracy": accuracy} | terms
        self._count += len(labels)
        for name, value in shown.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach() * len(labels)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Log the epoch's means with its last batch: a call of Lightning's per value and step took 7 % of the time."""
        if self.trainer.is_last_batch:
            self.log_dict(self.means(), on_step=False, on_epoch=True, prog_bar=True, batch_size=1)

    def means(self) -> dict[str, Tensor]:
        """What is logged, over the pictures of the epoch so far."""
        return {name: total / self._count for name, total in self._sums.items()}

    def on_train_epoch_start(self) -> None:
        self._sums, self._count = {}, 0
        for _, mask in part_masks(self.model):
            mask.loss_weight, mask.memory = self.recipe.loss_weight_at(self.current_epoch), self.recipe.memory

    def train(self, mode: bool = True) -> "PartTraining":
        super().train(mode)
        if self.is_trunk_frozen and isinstance(self.model, PartNetwork):
            self.model.trunk.eval()  # its batch norms keep their statistics
        return self

    def configure_optimizers(self) -> Any:
        groups = self._parameter_groups()
        optimizer = torch.optim.AdamW(groups, weight_decay=self.recipe.weight_decay)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in groups],
            total_steps=max(2, int(self.trainer.estimated_stepping_batches)),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        recipe, lr = self.recipe, self.recipe.learning_rate(self.model)
        if not isinstance(self.model, PartNetwork):
            return [{"params": list(self.model.parameters()), "lr": lr}]
        trunk = [*self.model.trunk.parameters(), *self.model.projection.parameters()]
        in_trunk = {id(parameter) for parameter in trunk}
        above = [parameter for parameter in self.model.parameters() if id(parameter) not in in_trunk]
        groups = [{"params": above, "lr": lr}]
        if not self.is_trunk_frozen and trunk:
            share = _PRETRAINED_TRUNK_LR_FRAC if recipe.trunk_lr_frac is None else recipe.trunk_lr_frac
            groups.append({"params": trunk, "lr": lr * share})
        return groups


class _Keeper(Callback):
    """Saves the model as training goes on, so that an interrupted run is a usable run; gathers the history."""

    _MIN_SECONDS = 60.0  # between two saves; the last state is always saved

    def __init__(self, directory: Path | None, history: History) -> None:
        self.directory, self.history = directory, history
        self._saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.epochs.append({"epoch": trainer.current_epoch, **metrics})
        if time.monotonic() - self._saved_at > self._MIN_SECONDS:
            self._save(module)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._save(module)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt):
            self.history.is_interrupted = True
            self._save(module)

    def _save(self, module: L.LightningModule) -> None:
        self._saved_at = time.monotonic()
        if self.directory is not None:
            assert isinstance(module, PartTraining)
            save(module.model, self.directory)


def fit(
    model: nn.Module,
    dataset: PartDataset,
    recipe: Recipe | None = None,
    *,
    trunk: str = "frozen",
    directory: Path | None = None,
    seed: int = 0,
    num_workers: int = 0,
    features: FeatureViews | None = None,
    cache: FeatureCache | None = None,
    callbacks: Sequence[Callback] = (),
    is_progress_shown: bool = True,
) -> History:
    """Train a converted network on the pictures of a data set, in place.

    A network that is not trained yet, by `fit` or before it was loaded, first gets its projection: the principal
    components of its trunk's maps on the training pictures (`partcnn.feature_views.set_projection`).

    Args:
        model: made by `partcnn.convert`.
        dataset: the training split. Its classes and the model's must agree in number.
        recipe: None takes the defaults.
        trunk: "frozen" trains what `convert` put on it, on features computed once; "finetune" trains all.
        directory: where logs (log/) and the model are written; None writes nothing.
        seed: of views, order and dropout.
        num_workers: processes that decode pictures.
        features: of these pictures through this model's trunk and projection, to spare computing them; the
            recipe's `num_views`, `min_crop_frac` and `batch_size` are then not used, and the projection stays.
        cache: where a frozen trunk's features, and the projection, are kept for the next time, and looked for
            (`partcnn.feature_cache`); the result is the same. None keeps none.
        callbacks: of the Lightning Trainer.
        is_progress_shown: bars on the terminal.

    Returns:
        Losses per epoch. After Ctrl-C the epochs so far, `is_interrupted` set, and the model as it was then.

    Raises:
        ConfigError: an argument is outside what it may be, or does not fit the model or the data.
    """
    recipe = recipe or Recipe()
    record = conversion_of(model)
    check_trunk(trunk, model)
    if features is not None and trunk != "frozen":
        raise ConfigError("features: expected None with trunk='finetune', whose maps change as it learns")
    if len(dataset.classes) != record.arguments["num_classes"]:
        raise ConfigError(
            f"dataset: expected {record.arguments['num_classes']} classes, as the model has logits, "
            f"got {len(dataset.classes)}"
        )
    is_frozen = trunk == "frozen"
    L.seed_everything(seed, workers=True, verbose=False)
    record.classes = list(dataset.classes)
    began = time.monotonic()
    history = History()
    trainer = _trainer(recipe, directory, [_Keeper(directory, history), *callbacks], is_progress_shown)
    model.to(trainer.strategy.root_device)
    batches: Iterable[Any] | None = features
    if batches is None:
        batches = _batches(model, dataset, recipe, is_frozen, seed, num_workers, cache, is_progress_shown)
    if isinstance(model, PartNetwork):
        model.trunk.requires_grad_(not is_frozen)
        model.projection.requires_grad_(not is_frozen)
    module = PartTraining(model, recipe, is_trunk_frozen=is_frozen, takes_features=is_frozen)
    _forget(model)
    module.train()  # Lightning leaves the mode as it is, and a network that was loaded is in evaluation mode
    try:
        _run(trainer, module, batches, history)
    finally:
        _forget(model)
    history.seconds = time.monotonic() - began
    record.is_trained = True
    model.eval()
    return history


def _forget(model: nn.Module) -> None:
    """What masks remember is of one training, of its pictures and its weights."""
    for _, mask in part_masks(model):
        mask.forget()


def check_trunk(trunk: str, model: nn.Module) -> None:
    """Raises ConfigError where the model's trunk cannot be treated so."""
    if trunk not in TRUNKS:
        raise ConfigError(f"trunk: expected one of {', '.join(TRUNKS)}, got {trunk!r}")
    if trunk == "frozen" and not isinstance(model, PartNetwork):
        raise ConfigError("trunk: expected 'finetune' with head='original', whose layers have no trunk below them")


def _cell_centers(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    input_size = conversion_of(model).preprocessing.input_size
    return {name: cell_centers(receptive_field(model, name, input_size)) for name, _ in part_masks(model)}


def _run(trainer: L.Trainer, module: PartTraining, batches: Iterable[Any], history: History) -> None:
    previous = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            trainer.fit(module, batches)
    except SystemExit:  # Lightning ends the process on Ctrl-C; a library must not
        if not history.is_interrupted:
            raise
        signal.signal(signal.SIGINT, previous)
        _log.warning("training was interrupted after %d of %d epochs", len(history.epochs), module.recipe.epochs)


def _batches(
    model: nn.Module,
    dataset: PartDataset,
    recipe: Recipe,
    is_frozen: bool,
    seed: int,
    num_workers: int,
    cache: FeatureCache | None,
    is_progress_shown: bool,
) -> Iterable[Any]:
    """What a training step takes: a frozen trunk's maps or pictures, made once where memory allows it."""
    record = conversion_of(model)
    preprocessing = record.preprocessing
    settings: dict[str, Any] = {"min_crop_frac": recipe.min_crop_frac, "seed": seed}
    views = PictureViews(dataset, preprocessing, num_views=recipe.num_views, **settings)
    loading: dict[str, Any] = {"batch_size": recipe.batch_size, "seed": seed, "num_workers": num_workers}
    with Progress(disable=not is_progress_shown, transient=True) as progress:
        task = progress.add_task(f"{len(views)} pictures × {recipe.num_views} views", total=len(views))
        loading["on_progress"] = lambda done: progress.update(task, completed=done)
        if is_frozen and isinstance(model, PartNetwork):
            return trunk_features(model, views, cache=cache, **loading)
        if isinstance(model, PartNetwork) and not record.is_trained:
            set_projection(model, views, num_workers=num_workers)
        height, width = preprocessing.input_size
        if len(dataset) * recipe.num_views * 3 * height * width * 2 <= _PICTURES_IN_MEMORY_BYTES:
            return compute_features(nn.Identity(), views, **loading)
    views = PictureViews(dataset, preprocessing, num_views=min(2, recipe.num_views), is_random=True, **settings)
    return EpochLoader(
        views,
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),
    )


def _trainer(recipe: Recipe, directory: Path | None, callbacks: list[Callback], is_progress_shown: bool) -> L.Trainer:
    logs = directory / "log" if directory is not None else None
    loggers: Any = False
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
        loggers = [CSVLogger(logs, name="", version=""), TensorBoardLogger(logs, name="", version="")]
    return L.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        devices=1,
        precision=PRECISIONS[recipe.precision],  # type: ignore[arg-type]
        logger=loggers,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=is_progress_shown,
        log_every_n_steps=1,
        default_root_dir=os.fspath(directory) if directory is not None else None,
    )
