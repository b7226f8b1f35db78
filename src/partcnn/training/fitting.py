"""Train a converted network: `fit`."""

import logging
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from rich.progress import Progress
from torch import Tensor, nn

from partcnn.datasets import PartDataset
from partcnn.datasets.arguments import check_dataset
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.errors import ConfigError, DataError
from partcnn.foundation.processes import is_first_process
from partcnn.foundation.streams import replacing
from partcnn.model.class_names import has_names, with_classes_of
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.mask import part_masks
from partcnn.model.network import PartNetwork, conversion_of, unwrapped
from partcnn.model.saving.checkpoint import save
from partcnn.training.batches import EpochBatches, EpochLoader
from partcnn.training.cached_features import picture_features, trunk_features
from partcnn.training.competing_start import start_competing
from partcnn.training.devices import (
    Devices,
    agreed,
    chosen_devices,
    first_of_host_first,
    join_devices,
    share_of,
    telling_of_lost_devices,
)
from partcnn.training.features import FeatureViews, compute_features
from partcnn.training.filters_by_data import needed_filters
from partcnn.training.head_training import HeadTraining
from partcnn.training.module import PartTraining
from partcnn.training.projection import prepare
from partcnn.training.pruning import keep_filters
from partcnn.training.recipe import PRECISIONS, Recipe
from partcnn.training.threads import fitting_threads
from partcnn.training.views import PictureViews

_log = logging.getLogger("partcnn")
TRUNKS = ("frozen", "finetune")
_PICTURES_DTYPE = torch.float16
_MOST_LOOKED_AT = 256  # pictures, to see which filters are parts
_PICTURES_IN_MEMORY_BYTES = 2 * 1024**3  # of views that are kept for a trunk that learns; more are decoded every epoch
# Lightning's own, about things that are meant here: a frozen trunk is in eval mode; batches may come from memory.
_EXPECTED_WARNINGS = (
    r".*module\(s\) in eval mode at the start of training",
    r".*does not have many workers",
    r".*isinstance\(treespec, LeafSpec\)",
    r".*Checkpoint directory .* exists and is not empty",
)


@dataclass
class History:
    """What training logged, one row per epoch: task_loss, filter_loss, its terms, accuracy (of the training set).

    `head_epochs` are those of the second stage, where filters compete.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    head_epochs: list[dict[str, float]] = field(default_factory=list)
    is_interrupted: bool = False
    seconds: float = 0.0

    def rows_of(self, module: L.LightningModule) -> list[dict[str, float]]:
        """Those of the stage that a module trains."""
        return self.head_epochs if isinstance(module, HeadTraining) else self.epochs


class _Keeper(Callback):
    """Saves the model as training goes on, so that an interrupted run is a usable run; gathers the history."""

    _MIN_SECONDS = 60.0  # between two saves; the last state is always saved

    def __init__(self, directory: Path | None, history: History) -> None:
        self.directory, self.history = directory, history
        self._saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.rows_of(module).append({"epoch": trainer.current_epoch, **metrics})
        if time.monotonic() - self._saved_at > self._MIN_SECONDS:
            self.save(module)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.save(module)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt):
            self.history.is_interrupted = True
            self.save(module)

    def save(self, module: L.LightningModule) -> None:
        self._saved_at = time.monotonic()
        if self.directory is not None and is_first_process():
            assert isinstance(module, PartTraining)
            save(module.model, self.directory)


@telling_of_lost_devices()
@replacing()  # a bar's signs end no training where the terminal cannot show them
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
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
) -> History:
    """Train a converted network on the pictures of a data set, in place.

    A network that is not trained yet, by `fit` or before it was loaded, first gets its projection: the principal
    components of its trunk's maps on the training pictures (`partcnn.training.set_projection`). One that was converted
    with `filters="auto"` has fewer filters afterwards: those that are parts (`partcnn.training.needed_filters`).

    Args:
        model: made by `partcnn.convert`; what wraps it is not used.
        dataset: the training split. Its classes and the model's must agree in number. A model that was trained on
            the same classes in another order keeps its own.
        recipe: None takes the defaults.
        trunk: "frozen" trains what `convert` put on it, on features computed once; "finetune" trains all.
        directory: where logs (log/) and the model are written; None writes nothing.
        seed: of views, order and dropout.
        num_workers: processes that decode pictures.
        features: of these pictures through this model's trunk and projection, to spare computing them; the
            recipe's `num_views` and `min_crop_frac` are then not used, and the projection stays.
        cache: where a frozen trunk's features, and the projection, are kept for the next time, and looked for
            (`partcnn.foundation.disk_cache`); the result is the same. None keeps none.
        callbacks: of the Lightning Trainer.
        is_progress_shown: bars on the terminal.
        devices, num_nodes, strategy: of the Lightning Trainer: devices of a host, hosts, and how they train together
            (`partcnn.training.devices.STRATEGIES`). A step's batch of `recipe.batch_size` is shared out among all, and
            the training is that of one device but for what is random in a step, dropout and erasing, which is each
            device's own. Under torchrun the numbers are torchrun's. Every process calls `fit`; the first one writes.

    Returns:
        Losses per epoch. After Ctrl-C the epochs so far, `is_interrupted` set, and the model as it was then.

    Raises:
        ConfigError: an argument is outside what it may be, or does not fit the model or the data.
        DeviceError: another process of this training has ended.
    """
    record, model = conversion_of(model), unwrapped(model)
    check_dataset(dataset)
    if not isinstance(recipe, Recipe | None):
        raise ConfigError(f"recipe: expected a Recipe, as Recipe(epochs=20), got a {type(recipe).__name__}")
    recipe = (recipe or Recipe()).resolved(len(dataset))
    _check_arguments(model, dataset, trunk, features)
    dataset = _in_known_order(model, dataset, features)
    is_frozen = trunk == "frozen"
    L.seed_everything(seed, workers=True, verbose=False)
    record.classes = list(dataset.classes)
    began = time.monotonic()
    history = History()
    keeper = _Keeper(directory, history)
    together = chosen_devices(devices, num_nodes, strategy)
    trainer = _trainer(recipe, directory, [keeper, *callbacks], is_progress_shown, together)
    join_devices(trainer, seed)
    model.to(trainer.strategy.root_device)
    views = PictureViews(
        dataset, record.preprocessing, num_views=recipe.num_views, min_crop_frac=recipe.min_crop_frac, seed=seed
    )
    if features is None:
        first = first_of_host_first(trainer, is_kept=cache is not None)
        with first, _progress(views, is_progress_shown) as on_progress:
            passing: dict[str, Any] = {"num_workers": num_workers, "on_progress": on_progress}
            if is_frozen and isinstance(model, PartNetwork):
                features = trunk_features(model, views, cache=cache, keeps_whole=True, **passing)
            else:
                features = _pictures_in_memory(model, views, **passing)
    batches = _batches(features, views, recipe, num_workers, share_of(trainer))
    if isinstance(model, PartNetwork):
        model.trunk.requires_grad_(not is_frozen)
        model.projection.requires_grad_(not is_frozen)
    module = PartTraining(model, recipe, is_trunk_frozen=is_frozen, takes_features=is_frozen)
    if isinstance(model, CompetingNetwork):
        module.object_share = _started(model, features if is_frozen else None, views, num_workers)
    _forget(model)
    module.train()  # Lightning leaves the mode as it is, and a network that was loaded is in evaluation mode
    try:
        with fitting_threads(trainer.strategy.root_device):
            _run(trainer, module, batches, history)
            if isinstance(model, CompetingNetwork) and record.drops_filters and not history.is_interrupted:
                _drop_filters(model, features if is_frozen else None, views, num_workers)
                keeper.save(module)
            if isinstance(model, CompetingNetwork) and recipe.head_epochs and not history.is_interrupted:
                second = replace(recipe, epochs=recipe.head_epochs)
                again = _trainer(
                    second, None, [_Keeper(None, history)], is_progress_shown, together.with_unused_weights
                )
                _fit_head(again, HeadTraining(model, second, takes_features=is_frozen), batches, history)
                keeper.save(module)
    finally:
        _forget(model)
    history.seconds = time.monotonic() - began
    record.is_trained = True
    model.eval()
    return history


def _drop_filters(
    model: CompetingNetwork, features: FeatureViews | None, views: PictureViews, num_workers: int
) -> None:
    """Keep the filters that are parts, on training pictures of objects; `features` as of `_started`."""
    background = conversion_of(model).settings.background
    images = [number for number, sample in enumerate(views.dataset.samples) if sample.label != background]
    images = images[:: -(-len(images) // _MOST_LOOKED_AT)]
    if features is not None:
        maps, frames = features.maps[images, :2], features.frames[images, :2]
    else:
        chosen = views.dataset.with_samples([views.dataset.samples[number] for number in images])
        two_views = PictureViews(chosen, views.preprocessing, num_views=2, seed=views.seed)
        seen = compute_features(nn.Sequential(model.trunk, model.projection), two_views, num_workers=num_workers)
        maps, frames = seen.maps, seen.frames
    num_filters = model.layer_of_parts.mask.num_filters
    kept = agreed(needed_filters(model, maps, frames))
    keep_filters(model, kept)
    _log.info("%d of %d filters are parts and stay", len(kept), num_filters)


def _fit_head(trainer: L.Trainer, module: HeadTraining, batches: Iterable[Any], history: History) -> None:
    """The second stage; interrupted, the head stays as the first one left it."""
    head = module.model.head
    before = {name: values.clone() for name, values in head.state_dict().items()}
    head.reset_parameters()
    _run(trainer, module, batches, history)
    if history.is_interrupted:
        head.load_state_dict(before)


def _check_arguments(model: nn.Module, dataset: PartDataset, trunk: str, features: FeatureViews | None) -> None:
    check_trunk(trunk, model)
    if features is not None and trunk != "frozen":
        raise ConfigError("features: expected None with trunk='finetune', whose maps change as it learns")
    num_classes = conversion_of(model).settings.num_classes
    if len(dataset.classes) != num_classes:
        raise ConfigError(
            f"dataset: expected {num_classes} classes, as the model has logits, got {len(dataset.classes)}"
        )


def _in_known_order(model: nn.Module, dataset: PartDataset, features: FeatureViews | None) -> PartDataset:
    """What was trained on the same classes learns them on in its own order; other classes are learned in its place."""
    names = conversion_of(model).classes
    if dataset.classes == names or not has_names(names):
        return dataset
    try:
        known = with_classes_of(model, dataset)
    except DataError:
        _log.warning(
            "classes: the model knew %s, and is trained to tell %s apart from now on", names, list(dataset.classes)
        )
        return dataset
    if features is not None and known is not dataset:
        raise ConfigError(
            f"features: expected labels in the model's order of classes, {names}, got those of {dataset.classes}; "
            "leave the features out"
        )
    return known


def _started(
    model: CompetingNetwork, features: FeatureViews | None, views: PictureViews, num_workers: int
) -> Tensor:  # [image, row, col]
    """Where filters that compete start, unless they are trained already; and what is the object's in every picture.

    Args:
        features: of a frozen trunk; of one that learns None, and its maps are made as it is now.
    """
    background, labels = conversion_of(model).settings.background, [sample.label for sample in views.dataset.samples]
    if features is not None:
        whole = features.maps[:, 0]
    else:
        with torch.random.fork_rng(devices=[]):  # loaders draw from the generator: dropout would be another one
            whole = picture_features(model, views.dataset, num_workers=num_workers).maps
    return start_competing(model, whole, torch.tensor(labels), background=background, seed=views.seed)


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
        _log.warning(
            "training was interrupted after %d of %d epochs", len(history.rows_of(module)), module.recipe.epochs
        )


def _pictures_in_memory(
    model: nn.Module, views: PictureViews, *, num_workers: int, on_progress: Callable[[int], None]
) -> FeatureViews | None:
    """Every view of every picture, for a trunk that learns, and its projection; None where they are too many."""
    with views.remembering():
        prepare(model, views, num_workers=num_workers)
        if views.num_values * _PICTURES_DTYPE.itemsize > _PICTURES_IN_MEMORY_BYTES:
            return None
        making: dict[str, Any] = {"num_workers": num_workers, "on_progress": on_progress}
        return compute_features(nn.Identity(), views, dtype=_PICTURES_DTYPE, **making)


def _batches(
    features: FeatureViews | None, views: PictureViews, recipe: Recipe, num_workers: int, share: tuple[int, int]
) -> EpochBatches | EpochLoader:
    """What training goes through once an epoch: maps or pictures that are in memory, or pictures decoded anew."""
    if features is not None:
        return EpochBatches(features, batch_size=recipe.batch_size, seed=views.seed, share=share)
    return EpochLoader(
        views.at_random(min(2, recipe.num_views)),
        batch_size=recipe.batch_size,
        share=share,
        shuffle=True,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(views.seed),
    )


@contextmanager
def _progress(views: PictureViews, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal; it is told how many pictures are done."""
    with Progress(disable=not (is_shown and is_first_process()), transient=True) as progress:
        task = progress.add_task(f"{len(views)} pictures × {views.num_views} views", total=len(views))
        yield lambda done: progress.update(task, completed=done)


def _trainer(
    recipe: Recipe, directory: Path | None, callbacks: list[Callback], is_progress_shown: bool, devices: Devices
) -> L.Trainer:
    logs = directory / "log" if directory is not None else None
    loggers: Any = False
    if logs is not None:
        if is_first_process():
            logs.mkdir(parents=True, exist_ok=True)
        loggers = [CSVLogger(logs, name="", version=""), TensorBoardLogger(logs, name="", version="")]
    return L.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        **devices.of_trainer,
        precision=PRECISIONS[recipe.precision],  # type: ignore[arg-type]
        logger=loggers,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=is_progress_shown,
        log_every_n_steps=1,
        default_root_dir=os.fspath(directory) if directory is not None else None,
    )
