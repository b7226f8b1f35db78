"""Train a converted network: `fit`."""

import logging
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from rich.progress import Progress
from torch import Tensor, nn

from partcnn.datasets import PartDataset
from partcnn.datasets.arguments import check_dataset
from partcnn.foundation.allocator import give_back_freed
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.errors import ConfigError, DataError, DivergedError
from partcnn.foundation.processes import is_first_process
from partcnn.foundation.signals import ENDING, Stopped, raise_waiting, restore, stopping, waiting
from partcnn.foundation.streams import replacing
from partcnn.model.class_names import check_labels, has_names, with_classes_of
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.mask import part_masks
from partcnn.model.network import PartNetwork, conversion_of, unwrapped
from partcnn.model.saving.checkpoint import save
from partcnn.training.batches import EpochBatches, EpochLoader
from partcnn.training.cached_features import trunk_features, views_in_files
from partcnn.training.competing_start import start_competing, start_from_pictures
from partcnn.training.devices import (
    Devices,
    agreed,
    chosen_devices,
    first_of_host_first,
    join_devices,
    share_of,
    telling_of_lost_devices,
)
from partcnn.training.divergence import FiniteGuard
from partcnn.training.features import FeatureViews, compute_features
from partcnn.training.filters_by_data import needed_filters
from partcnn.training.head_training import HeadTraining
from partcnn.training.history import History
from partcnn.training.module import PartTraining
from partcnn.training.projection import prepare
from partcnn.training.pruning import keep_filters
from partcnn.training.recipe import PRECISIONS, Recipe
from partcnn.training.resuming import Keeper, StateFolder, TrainingProgress, begin_again, told
from partcnn.training.threads import fitting_threads
from partcnn.training.views import PictureViews

_log = logging.getLogger("partcnn")
TRUNKS = ("frozen", "finetune")
_MOST_LOOKED_AT = 256  # pictures, to see which filters are parts
_PICTURES_IN_MEMORY_BYTES = 2 * 1024**3  # of views that are kept for a trunk that learns; more are decoded every epoch
# Lightning's own, about things that are meant here: a frozen trunk is in eval mode; batches may come from memory.
_EXPECTED_WARNINGS = (
    r".*module\(s\) in eval mode at the start of training",
    r".*does not have many workers",
    r".*isinstance\(treespec, LeafSpec\)",
    r".*Checkpoint directory .* exists and is not empty",
)


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
    loggers: Sequence[Logger] | None = None,
    resume: bool = False,
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
        directory: where logs (log/), the state of the training (training_state/, until it is whole) and at its end
            the model are written; None writes nothing.
        seed: of views, order and dropout.
        num_workers: processes that decode pictures.
        features: of these pictures through this model's trunk and projection, to spare computing them; the
            recipe's `num_views` and `min_crop_frac` are then not used, and the projection stays.
        cache: where a frozen trunk's features, and the projection, are kept for the next time, and looked for
            (`partcnn.foundation.disk_cache`); the result is the same. None keeps none.
        callbacks: of the Lightning Trainer.
        loggers: Lightning's, which get the losses of each epoch of the first stage beside log/metrics.csv of the
            directory; None: TensorBoard's, in log/ too.
        resume: go on with the training whose state is in the directory, with the same model, pictures and settings;
            where there is none, begin. On a CPU with as many threads the result is the same bit by bit; on several
            devices maps remembered of earlier batches are not, and gather anew.
        is_progress_shown: bars on the terminal.
        devices, num_nodes, strategy: of the Lightning Trainer: devices of a host, hosts, and how they train together
            (`partcnn.training.devices.STRATEGIES`). A step's batch of `recipe.batch_size` is shared out among all, and
            the training is that of one device but for what is random in a step, dropout and erasing, which is each
            device's own. Under torchrun the numbers are torchrun's. Every process calls `fit`; the first one writes,
            and the directory of the others is not used.

    Returns:
        Losses per epoch. After Ctrl-C the epochs so far, `is_interrupted` set, and the model as it was then.

    Raises:
        ConfigError: an argument is outside what it may be, or does not fit the model, the data, or the training that
            is to go on.
        DeviceError: another process of this training has ended.
        DivergedError: a loss or a weight is not finite. The model is as the last good epoch left it, and saved so.
        RunError: the state of the training is damaged.
    """
    record, model = conversion_of(model), unwrapped(model)
    check_dataset(dataset)
    if not isinstance(recipe, Recipe | None):
        raise ConfigError(f"recipe: expected a Recipe, as Recipe(epochs=20), got a {type(recipe).__name__}")
    recipe = (recipe or Recipe()).resolved(len(dataset))
    _check_arguments(model, dataset, trunk, features)
    dataset = _in_known_order(model, dataset, features)
    is_frozen = trunk == "frozen"
    is_first = is_first_process()
    directory = directory if is_first else None
    if resume and is_first and directory is None:
        raise ConfigError("resume: expected a directory that holds the state of a training, got directory=None")
    state = StateFolder(directory, told(recipe, dataset, trunk=trunk, seed=seed)) if directory is not None else None
    resumed = state.read() if state is not None and resume else None
    L.seed_everything(seed, workers=True, verbose=False)
    record.classes = list(dataset.classes)
    progress, told_to = TrainingProgress(History()), _loggers(directory, loggers)
    keeper = Keeper(state, progress, seed)
    together = chosen_devices(devices, num_nodes, strategy)
    trainer = _trainer(recipe, told_to, keeper, callbacks, is_progress_shown, together)
    join_devices(trainer, seed)
    resumed = agreed(resumed)
    if resumed is not None:
        keeper.resumed = resumed
        progress.go_on(resumed["progress"])
        _log_again(told_to, progress)
    device = trainer.strategy.root_device
    model.to(device)
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
                features = _kept_pictures(model, views, **passing)
    keeper.batches = _batches(features, views, recipe, num_workers, share_of(trainer))
    if isinstance(model, PartNetwork):
        model.trunk.requires_grad_(not is_frozen)
        model.projection.requires_grad_(not is_frozen)
    maps = features if is_frozen else None  # None: pictures pass the trunk in every epoch
    module = PartTraining(model, recipe, is_trunk_frozen=is_frozen, takes_features=maps is not None)
    looked_at = (maps, views, num_workers)
    if resumed is not None:
        module.object_share = begin_again(model, resumed)
    elif isinstance(model, CompetingNetwork):
        module.object_share = _started(model, *looked_at)
    _forget(model)
    if state is not None and resumed is None:
        state.keep_start(model, module.object_share)
    module.train()  # Lightning leaves the mode as it is, and a network that was loaded is in evaluation mode
    try:
        with fitting_threads(device, progress.threads):
            if progress.first_head is None:
                _run(trainer, module, keeper)
            if isinstance(model, CompetingNetwork) and record.drops_filters and not keeper.is_stopped:
                progress.kept = _drop_filters(model, *looked_at) if progress.kept is None else progress.kept
            if isinstance(model, CompetingNetwork) and recipe.head_epochs and not keeper.is_stopped:
                second = replace(recipe, epochs=recipe.head_epochs)
                again = _trainer(second, [], keeper, [], is_progress_shown, together.with_unused_weights)
                _fit_head(again, HeadTraining(model, second, takes_features=maps is not None), keeper)
    except (DivergedError, SystemExit):  # of a signal
        _end(model, directory)
        raise
    finally:
        _forget(model)
    _end(model, directory)
    if state is not None and not keeper.is_stopped:
        state.clear()
    progress.history.seconds = progress.seconds
    return progress.history


def _end(model: nn.Module, directory: Path | None) -> None:
    """What was trained is ready for use, and saved."""
    conversion_of(model).is_trained = True
    model.eval()
    if directory is not None:
        save(model, directory)


def _drop_filters(
    model: CompetingNetwork, features: FeatureViews | None, views: PictureViews, num_workers: int
) -> Tensor:  # [kept]
    """Keep the filters that are parts, on training pictures of objects; `features` as of `_started`."""
    images = [number for number, sample in enumerate(views.dataset.samples) if views.dataset.shows_object(sample)]
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
    return kept


def _fit_head(trainer: L.Trainer, module: HeadTraining, keeper: Keeper) -> None:
    """The second stage; interrupted, the head stays as the first one left it."""
    head, progress = module.model.head, keeper.progress
    if progress.first_head is None:
        progress.first_head = {name: values.clone() for name, values in head.state_dict().items()}
        head.reset_parameters()
    try:
        _run(trainer, module, keeper)
    finally:
        if keeper.is_stopped:
            head.load_state_dict(progress.first_head)


def _check_arguments(model: nn.Module, dataset: PartDataset, trunk: str, features: FeatureViews | None) -> None:
    check_trunk(trunk, model)
    if features is not None and trunk != "frozen":
        raise ConfigError("features: expected None with trunk='finetune', whose maps change as it learns")
    settings = conversion_of(model).settings
    num_classes = settings.num_classes
    if len(dataset.classes) != num_classes:
        raise ConfigError(
            f"dataset: expected {num_classes} classes, as the model has logits, got {len(dataset.classes)}"
        )
    check_labels(settings, dataset)


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
    if features is None:
        with torch.random.fork_rng(devices=[]):  # loaders draw from the generator: dropout would be another one
            return start_from_pictures(model, views.dataset, seed=views.seed, num_workers=num_workers)
    background = conversion_of(model).settings.background
    labels = views.dataset.labels()
    return start_competing(model, features.maps[:, 0], labels, background=background, seed=views.seed)


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


class _SecondSignal(Callback):
    """Lightning ignores Ctrl-C from the first one on; here a second one ends what saving the first one left to do."""

    def __init__(self, handlers: dict[int, Any]) -> None:
        self._handlers = handlers

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        restore(self._handlers)


def _run(trainer: L.Trainer, module: PartTraining, keeper: Keeper) -> None:
    """Train a stage, or what of it is still to come.

    Raises:
        SystemExit: after SIGTERM, where nobody else handles it.
    """
    if keeper.restore(module):
        return
    give_back_freed()  # by what the stage was made ready with
    before = {number: signal.getsignal(number) for number in ENDING}
    with warnings.catch_warnings(), stopping(signal.SIGTERM) as stop:
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        trainer.callbacks.insert(0, _SecondSignal({signal.SIGINT: before[signal.SIGINT]}))  # type: ignore[attr-defined]
        try:
            with waiting():
                trainer.fit(module, keeper.batches, ckpt_path=keeper.resumed_file)
            raise_waiting()  # it came after the last step
        except (SystemExit, Stopped) as error:  # Lightning ends the process on signals; a library must not
            keeper.progress.history.is_interrupted |= isinstance(error, Stopped)
            if not keeper.is_stopped:
                raise
            done, epochs = len(keeper.progress.history.rows_of(module)), module.recipe.epochs
            _log.warning("training was interrupted after %d of %d epochs", done, epochs)
        finally:
            restore(before)
            give_back_freed()
    keeper.resumed = None  # the next stage begins at its beginning
    if stop.number is not None:
        raise SystemExit(stop.exit_status)


def _kept_pictures(
    model: nn.Module, views: PictureViews, *, num_workers: int, on_progress: Callable[[int], None]
) -> FeatureViews | None:
    """Every view of every picture, for a trunk that learns, and its projection; None where there are too many."""
    with views.remembering():
        prepare(model, views, num_workers=num_workers)
        if views.num_values * torch.float16.itemsize > _PICTURES_IN_MEMORY_BYTES:
            return None
        return views_in_files(views, num_workers=num_workers, on_progress=on_progress)


def _batches(
    features: FeatureViews | None, views: PictureViews, recipe: Recipe, num_workers: int, share: tuple[int, int]
) -> EpochBatches | EpochLoader:
    """What training goes through once an epoch: maps or pictures that are in memory, or pictures decoded anew."""
    if features is not None:
        return EpochBatches(features, batch_size=recipe.batch_size, seed=views.seed, share=share)
    return EpochLoader(
        views.at_random(min(2, recipe.num_views)),
        batch_size=recipe.batch_size,
        seed=views.seed,
        share=share,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
    )


@contextmanager
def _progress(views: PictureViews, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal; it is told how many pictures are done."""
    with Progress(disable=not (is_shown and is_first_process()), transient=True) as progress:
        task = progress.add_task(f"{len(views)} pictures × {views.num_views} views", total=len(views))
        yield lambda done: progress.update(task, completed=done)


def _loggers(directory: Path | None, given: Sequence[Logger] | None) -> list[Logger]:
    """Of the first stage, on an empty folder."""
    if directory is None:
        return list(given or ())
    logs = directory / "log"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    others = [TensorBoardLogger(logs, name="", version="")] if given is None else given
    return [CSVLogger(logs, name="", version=""), *others]


def _log_again(loggers: list[Logger], progress: TrainingProgress) -> None:
    """What was logged before the training was stopped; the second stage is not."""
    rows = progress.history.epochs
    for logger in loggers:
        for row, step in zip(rows, progress.steps[: len(rows)], strict=True):
            logger.log_metrics(row, step)
        logger.save()


def _trainer(
    recipe: Recipe,
    loggers: list[Logger],
    keeper: Keeper,
    callbacks: Sequence[Callback],
    is_progress_shown: bool,
    devices: Devices,
) -> L.Trainer:
    return L.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        **devices.of_trainer,
        precision=PRECISIONS[recipe.precision],  # type: ignore[arg-type]
        logger=loggers,
        callbacks=[FiniteGuard(), keeper, *callbacks],
        plugins=[keeper.state_io],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=is_progress_shown,
        log_every_n_steps=1,
    )
