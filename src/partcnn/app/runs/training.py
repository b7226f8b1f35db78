"""Settings → a trained, measured network in a run directory."""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partcnn.app.runs.choices import chosen_input_size, trained_layers
from partcnn.app.runs.loggers import check_loggers
from partcnn.app.runs.making import Untrained, trained_beside, trained_in
from partcnn.app.runs.opening import Run, cache_of, dataset_of, open_run, run_evaluation
from partcnn.app.runs.place import half_made, new_run, resumed_run, settings_of, state_of
from partcnn.app.settings import NetworkSettings, RunSettings, read_settings
from partcnn.datasets.part_dataset import PartDataset
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.errors import ConfigError, DataError, RunError
from partcnn.foundation.processes import is_first_process
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.settings import UNREAD_BY_COMPETING, ConversionSettings
from partcnn.networks.backbones import BACKBONES, Backbone, load_backbone
from partcnn.networks.probing.layer_choice import AUTO, announced, auto_depths
from partcnn.networks.probing.layer_shapes import layer_shapes
from partcnn.training.devices import chosen_devices
from partcnn.training.fitting import check_trunk
from partcnn.training.history import History
from partcnn.training.recipe import Recipe

_log = logging.getLogger("partcnn")
_TRIES, _BETWEEN_TRIES_S = 10, 0.3


def train_run(
    settings: RunSettings, *, dataset: PartDataset | None = None, is_progress_shown: bool = True
) -> tuple[Run, History, Evaluation | None]:
    """Train, measure on the pictures kept out, and write the run directory, which is there when all of it is.

    Args:
        settings: of the run.
        dataset: the training split of `settings.data`, where it is open already.
        is_progress_shown: bars on the terminal.

    Returns:
        The run, its history, and its evaluation: None after Ctrl-C, and in all processes of several devices but the
        first, which measures. The run's directory is another one after Ctrl-C where a run was to be replaced, which
        stays.

    Raises:
        RunError: the directory exists and `force` is off, or another process trains to it.
        PartCNNError: data, weights, layers or settings cannot be used; nothing is then written.
    """
    if not is_first_process():
        return trained_beside(untrained(settings, dataset))
    with new_run(Path(settings.out), force=settings.force) as place:
        return trained_in(place, untrained(settings, dataset), is_progress_shown=is_progress_shown)


def resume_run(
    directory: str | Path, changes: Mapping[str, Any] | None = None, *, is_progress_shown: bool = True
) -> tuple[Run, History, Evaluation | None]:
    """Go on with the training of half a run, by its own settings.

    Args:
        directory: where the run is, or was to be.
        changes: settings that change nothing of what is trained, such as `workers`, by name.
        is_progress_shown: bars on the terminal.

    Returns:
        As of `train_run`. A whole run comes back as it is, with an empty history, measured where it was not.

    Raises:
        RunError: there is no run, or another process trains to it.
        PartCNNError: as of `train_run`; the half run stays.
    """
    if not is_first_process():
        settings = replace(_settings_soon(Path(directory)), out=str(directory), **(changes or {}))
        return trained_beside(untrained(settings), resume=True)
    with resumed_run(Path(directory)) as place:
        if place is not None:
            settings = replace(read_settings(place.directory), out=str(directory), **(changes or {}))
            return trained_in(place, untrained(settings), resume=True, is_progress_shown=is_progress_shown)
    run = open_run(directory)
    return run, History(), run_evaluation(run)


def _settings_soon(directory: Path) -> RunSettings:
    """Of half a run that the first process may be about to move."""
    for _ in range(_TRIES):
        with suppress(RunError):
            return settings_of(directory)
        time.sleep(_BETWEEN_TRIES_S)
    return settings_of(directory)


def begun_or_new(settings: RunSettings, *, is_progress_shown: bool = True) -> tuple[Run, History, Evaluation | None]:
    """Half a run goes on, and a whole one comes back; else a new one is trained, in place of one that cannot go on.

    Args:
        settings: those of half a run are the same, which is not checked.
        is_progress_shown: bars on the terminal.

    Returns, Raises:
        As of `train_run`.
    """
    directory = Path(settings.out)
    if half_made(directory) is not None or state_of(directory) is not None:
        return resume_run(directory, is_progress_shown=is_progress_shown)
    return train_run(replace(settings, force=directory.is_dir()), is_progress_shown=is_progress_shown)


def untrained(settings: RunSettings, dataset: PartDataset | None = None) -> Untrained:
    """What `settings` speak of: pictures, network, and the settings as they were taken.

    Args:
        settings: of a run, asked for or taken.
        dataset: the training split, where it is open already.

    Raises:
        PartCNNError: data, weights, layers or settings cannot be used.
    """
    recipe = recipe_of(settings)
    check_loggers(settings)
    if dataset is None:
        dataset = dataset_of(settings)
    _check_classes(dataset)
    model, is_pretrained = built_network(settings, dataset, recipe)
    if not is_pretrained and recipe.trunk_lr_frac is None:
        recipe = replace(recipe, trunk_lr_frac=1.0)
    recipe = replace(recipe.resolved(len(dataset)), lr=recipe.learning_rate(model))  # recorded as it was
    trunk = settings.trunk or ("frozen" if is_pretrained and settings.head == "additive" else "finetune")
    check_trunk(trunk, model)
    together = chosen_devices(settings.devices, settings.num_nodes, settings.strategy)
    settings = replace(settings, recipe=recipe, trunk=trunk, devices=together.num, num_nodes=together.num_nodes)
    return Untrained(model, dataset, as_taken(settings, model), cache_of(settings))


def _check_classes(dataset: PartDataset) -> None:
    present = sorted({label for sample in dataset.samples for label in sample.labels})
    if dataset.is_multilabel:
        _check_marks(dataset)
    elif len(present) < 2:
        raise DataError(
            f"data: expected pictures of at least two classes to train on, got only {dataset.classes[present[0]]!r}; "
            "give background pictures too (cub:PATH,BACKGROUND_FOLDER)"
        )


def _check_marks(dataset: PartDataset) -> None:
    if len(dataset.classes) < 2:
        raise DataError(
            f"data: expected at least two classes, got only {dataset.classes[0]!r}; --category "
            f"{dataset.classes[0]} tells pictures that show it from all others"
        )
    marks = dataset.labels()
    is_same = (marks == marks[0]).all(dim=0)
    if bool(is_same.all()):
        raise DataError(
            "data: expected pictures that show different classes to train on, got all with the same; add others"
        )


def recipe_of(settings: RunSettings) -> Recipe:
    """The recipe with what other settings say of it: `epochs`, and no filter loss for a plain network."""
    changes: dict[str, Any] = {} if settings.epochs is None else {"epochs": settings.epochs}
    if settings.plain:
        changes |= {"loss_weight": 0.0, "equivariance": 0.0, "diversity": 0.0}
    return Recipe(**(asdict(settings.recipe) | changes))


def built_network(settings: RunSettings, dataset: PartDataset, recipe: Recipe) -> tuple[nn.Module, bool]:
    """The converted network of these settings, not trained, and whether its trunk has weights."""
    weights = settings.weights or ("none" if settings.backbone in BACKBONES else "default")
    # The seed also makes the new layers' first weights, so two runs of one seed start alike.
    torch.manual_seed(settings.seed)
    num_classes = len(dataset.classes)
    if settings.head == "original" and weights == "default":
        raise ConfigError("weights: head='original' needs a network of the task's classes; give --weights PATH or none")
    keeps_classifier = settings.head == "original"
    backbone = load_backbone(settings.backbone, weights, num_classes=num_classes if keeps_classifier else 1000)
    input_size = chosen_input_size(backbone, side=settings.network.input_size, head=settings.head)
    preprocessing = replace(backbone.preprocessing, input_size=input_size)
    # Masks in place are all that head="original" adds beside the loss.
    has_masks = not settings.plain and (settings.network.masks or settings.head == "original")
    model = convert(
        backbone.network,
        _layers(settings, backbone, input_size),
        num_classes=num_classes,
        new_layers=settings.network.new_layers,
        filters=_num_filters(settings, num_classes, dataset.background),
        projection=settings.network.projection,
        hidden=settings.network.hidden,
        head=settings.head,
        mask_skip=settings.network.mask_skip,
        objective=None if settings.plain else settings.objective,
        background=dataset.background,
        multilabel=dataset.is_multilabel,
        input_size=input_size,
        grid=settings.network.grid,
        dropout=settings.network.dropout,
        erasing=settings.network.erasing,
        masks=has_masks,
        places=settings.network.places or ("peak" if has_masks else "expected"),
        loss_weight=recipe.loss_weight,
        inplace=True,
    )
    record = conversion_of(model)
    if record.settings.is_competing:
        _warn_of_unread(settings.network)
    record.preprocessing = preprocessing
    record.classes = list(dataset.classes)
    return model, weights != "none"


def _warn_of_unread(network: NetworkSettings) -> None:
    """One warning of all settings that do nothing where filters compete, and were set."""
    unread = [name for name in UNREAD_BY_COMPETING if getattr(network, name) != getattr(NetworkSettings(), name)]
    if unread:
        names = ", ".join(f"network.{name}" for name in unread)
        _log.warning("%s: not read where filters compete; objective exact or labelled reads them", names)


def as_taken(settings: RunSettings, model: nn.Module) -> RunSettings:
    """What run.yaml records: the objective, layers, filters and input size that `built_network` gave the network.

    "auto" and None may mean something else to another version. A plain network's objective stays as it was asked for.
    """
    taken = conversion_of(model).settings
    height, width = taken.input_size
    network = replace(
        settings.network,
        filters=_filters_taken(settings, model),
        input_size=height if height == width else None,
    )
    objective = taken.objective or settings.objective
    return replace(settings, layers=",".join(taken.layers), objective=objective, network=network)


def _filters_taken(settings: RunSettings, model: nn.Module) -> int | str | None:
    """Their number, where a run of these settings always has it: masks in place make none, and "auto" looks first."""
    record = conversion_of(model)
    is_known = settings.head == "additive" and not record.drops_filters
    return record.settings.num_filters if is_known else settings.network.filters


def _num_filters(settings: RunSettings, num_classes: int, background: int | None) -> int | str | None:
    """Those that are asked for; of a plain network as many as its objective would take."""
    if not settings.plain or settings.head != "additive":
        return settings.network.filters
    return ConversionSettings(
        num_classes=num_classes,
        new_layers=settings.network.new_layers,
        filters=settings.network.filters,
        objective=settings.objective,
        background=background,
    ).chosen_filters


def _layers(settings: RunSettings, backbone: Backbone, input_size: tuple[int, int]) -> str | list[str]:
    """The layers that are asked for; of "auto" those that are below every layer whose weights are missing."""
    if settings.layers != AUTO:
        return [name.strip() for name in settings.layers.split(",")]
    if not backbone.missing_layers or settings.head == "original":
        return AUTO
    trained = trained_layers(backbone, layer_shapes(backbone.network, input_size))
    return [announced(shape, input_size).name for shape in auto_depths(trained)]
