"""Settings → a trained, measured network in a run directory."""

import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partcnn.app.runs.choices import chosen_input_size, trained_layers
from partcnn.app.runs.opening import Run, check_free, dataset_of, evaluate_run
from partcnn.app.settings import NetworkSettings, RunSettings, write_settings
from partcnn.datasets.part_dataset import PartDataset
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.disk_cache import default_cache
from partcnn.foundation.errors import ConfigError, DataError
from partcnn.foundation.processes import is_first_process
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import METRICS_FILE
from partcnn.model.settings import UNREAD_BY_COMPETING, ConversionSettings
from partcnn.networks.backbones import BACKBONES, Backbone, load_backbone
from partcnn.networks.probing.layer_choice import AUTO, announced, auto_depths
from partcnn.networks.probing.layer_shapes import layer_shapes
from partcnn.training.devices import chosen_devices
from partcnn.training.fitting import History, check_trunk, fit
from partcnn.training.recipe import Recipe

_log = logging.getLogger("partcnn")


def train_run(
    settings: RunSettings, *, dataset: PartDataset | None = None, is_progress_shown: bool = True
) -> tuple[Run, History, Evaluation | None]:
    """Train, measure on the pictures kept out, and write the run directory.

    Args:
        settings: of the run.
        dataset: the training split of `settings.data`, where it is open already.
        is_progress_shown: bars on the terminal.

    Returns:
        The run, its history, and its evaluation: None after Ctrl-C, and in all processes of several
        devices but the first, which measures.

    Raises:
        RunError: the directory exists and `force` is off.
        PartCNNError: data, weights, layers or settings cannot be used; nothing is then written.
    """
    directory = Path(settings.out)
    is_first = is_first_process()  # of several devices, which all train and of which one writes
    if is_first:
        check_free(directory, settings.force)
    together = chosen_devices(settings.devices, settings.num_nodes, settings.strategy)
    settings = replace(settings, devices=together.num, num_nodes=together.num_nodes)
    recipe = recipe_of(settings)
    if dataset is None:
        dataset = dataset_of(settings)
    _check_classes(dataset)
    model, is_pretrained = built_network(settings, dataset, recipe)
    if not is_pretrained and recipe.trunk_lr_frac is None:
        recipe = replace(recipe, trunk_lr_frac=1.0)
    recipe = replace(recipe.resolved(len(dataset)), lr=recipe.learning_rate(model))  # recorded as it was
    trunk = settings.trunk or ("frozen" if is_pretrained and settings.head == "additive" else "finetune")
    check_trunk(trunk, model)
    cache = default_cache() if settings.cache and trunk == "frozen" else None
    settings = as_taken(replace(settings, recipe=recipe, trunk=trunk), model)
    if is_first:
        if directory.exists():
            shutil.rmtree(directory / "log", ignore_errors=True)
            (directory / METRICS_FILE).unlink(missing_ok=True)  # figures of another network
        directory.mkdir(parents=True, exist_ok=True)
        write_settings(settings, directory)
    history = fit(
        model,
        dataset,
        recipe,
        trunk=trunk,
        directory=directory,
        seed=settings.seed,
        num_workers=settings.workers,
        cache=cache,
        is_progress_shown=is_progress_shown,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
    )
    run = Run(directory, model, settings)
    if history.is_interrupted or not is_first:
        return run, history, None
    return run, history, evaluate_run(run, dataset.with_split("test"), num_workers=settings.workers, cache=cache)


def _check_classes(dataset: PartDataset) -> None:
    present = sorted({sample.label for sample in dataset.samples})
    if len(present) < 2:
        raise DataError(
            f"data: expected pictures of at least two classes to train on, got only {dataset.classes[present[0]]!r}; "
            "give background pictures too (cub:PATH,BACKGROUND_FOLDER)"
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
