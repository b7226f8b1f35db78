"""Run directories: from settings to a trained, measured network on the disk, and back.

run.yaml            the settings
config.json         how the network was converted (partcnn.model.saving.checkpoint)
model.safetensors   its weights
README.md           a model card with the figures (partcnn.model.saving.checkpoint)
metrics.json        its evaluation on the pictures kept out
log/                metrics.csv and TensorBoard events of the training
"""

import logging
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import Evaluation, evaluate
from partcnn.foundation.disk_cache import FeatureCache, default_cache
from partcnn.foundation.errors import ConfigError, DataError, RunError
from partcnn.foundation.files import write_text
from partcnn.model.conversion import convert
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.model.saving.checkpoint import METRICS_FILE, load, write_card
from partcnn.networks.backbones import BACKBONES, load_backbone
from partcnn.training.cached_features import picture_features
from partcnn.training.fitting import History, check_trunk, fit
from partcnn.training.recipe import Recipe

_log = logging.getLogger("partcnn")

SETTINGS_FILE = "run.yaml"
# More than 8 wait for the network, also where a GPU runs it.
DEFAULT_WORKERS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@dataclass(frozen=True)
class NetworkSettings:
    """What `partcnn.convert` puts on the trunk.

    Args:
        new_layers: part layers.
        filters: per part layer; None takes 32 a category.
        projection: principal components that the trunk's maps are projected to; 0 for none.
        hidden: filters of the ordinary layer below the part layers; None takes twice `filters`, at most 128.
        grid: cells per side that the head pools each map to.
        dropout: share of the projected channels dropped in training.
        erasing: share of the projected maps that lose a rectangle in training.
        masks: keep of each map only what lies around its peak, as in the paper. Off: in trials masks
            cost accuracy and filters followed parts no better (docs/results/objectives.md has a row).
        places: how a filter's place is read from its map: peak, as in the paper, or expected, the mean over all
            templates. None takes peak with masks, which are about it, else expected.
        mask_skip: with head=original, whether masks cover what a residual block's skip connection carries, or its
            branch alone.
        input_size: side of the square input in pixels; None takes the backbone's own.
    """

    new_layers: int = 1
    filters: int | None = None
    projection: int = 128
    hidden: int | None = None
    grid: int = 7
    dropout: float = 0.2
    erasing: float = 0.5
    masks: bool = False
    places: str | None = None
    mask_skip: bool = True
    input_size: int | None = None


@dataclass(frozen=True)
class RunSettings:
    """One training run.

    Args:
        data: pictures, KIND:PLACE: folder:PATH, animalpart:PATH, cub:PATH, pascal-part:PATH, coco:IMAGES,JSON, demo:
        out: the run directory, which must not exist.
        category: one category against background, by name or identifier; without it all are told apart.
        backbone: a torchvision network, timm:NAME, or demo.
        weights: of the backbone: PATH, default (the library's, downloaded) or none. Without it: default, none for demo.
        layers: dotted name of the trunk's last layer, or auto.
        head: additive (a logit is a sum of parts) or original (masks in place, the network above stays).
        objective: labelled, exact, assigned or official; auto takes exact for one category, labelled for several.
        plain: train the same network without masks and filter loss, to compare with.
        trunk: frozen or finetune. Without it: frozen where the backbone has weights.
        seed: of weights, views, order and dropout.
        epochs: short for recipe.epochs.
        workers: processes that decode pictures; by default one per processor, at most 8.
        max_bad: unreadable pictures that may be left out.
        crop: object cuts each picture to its object box; without it pictures stay as the files are.
        margin: of that cut on each side, as a share of the box.
        cache: keep a frozen trunk's features for later runs, in PARTCNN_CACHE or ~/.cache/partcnn, up to
            PARTCNN_CACHE_GIB (20); a run that finds its own there skips the trunk.
        force: replace an existing run.
        network: what is put on the trunk.
        recipe: how it is trained.
    """

    data: str
    out: str
    category: str | None = None
    backbone: str = "resnet18"
    weights: str | None = None
    layers: str = "auto"
    head: str = "additive"
    objective: str = "auto"
    plain: bool = False
    trunk: str | None = None
    seed: int = 0
    epochs: int | None = None
    workers: int = DEFAULT_WORKERS
    max_bad: int = 10
    crop: str | None = None
    margin: float = 0.1
    cache: bool = True
    force: bool = False
    network: NetworkSettings = field(default_factory=NetworkSettings)
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Run:
    """A run directory that was opened."""

    directory: Path
    model: nn.Module
    settings: dict[str, Any]

    def dataset(self, split: str) -> PartDataset:
        """The pictures the run was trained on ("train") or those kept out ("test")."""
        return load_dataset(
            self.settings["data"],
            category=self.settings["category"],
            split=split,
            max_bad=self.settings["max_bad"],
            **self.crop,
        )

    @property
    def crop(self) -> dict[str, Any]:
        """How its pictures were cut, as `load_dataset` takes it; runs of earlier versions do not say."""
        return {name: self.settings[name] for name in ("crop", "margin") if name in self.settings}


def train_run(
    settings: RunSettings, *, dataset: PartDataset | None = None, is_progress_shown: bool = True
) -> tuple[Run, History, Evaluation | None]:
    """Train, measure on the pictures kept out, and write the run directory.

    Args:
        settings: of the run.
        dataset: the training split of `settings.data`, where it is open already.
        is_progress_shown: bars on the terminal.

    Returns:
        The run, its history, and its evaluation: None after Ctrl-C.

    Raises:
        RunError: the directory exists and `force` is off.
        PartCNNError: data, weights, layers or settings cannot be used; nothing is then written.
    """
    directory = Path(settings.out)
    check_free(directory, settings.force)
    recipe = recipe_of(settings)
    if dataset is None:
        dataset = load_dataset(
            settings.data,
            category=settings.category,
            max_bad=settings.max_bad,
            crop=settings.crop,
            margin=settings.margin,
        )
    _check_classes(dataset)
    model, is_pretrained = built_network(settings, dataset, recipe)
    if not is_pretrained and recipe.trunk_lr_frac is None:
        recipe = replace(recipe, trunk_lr_frac=1.0)
    recipe = replace(recipe, lr=recipe.learning_rate(model))  # recorded as it was
    trunk = settings.trunk or ("frozen" if is_pretrained and settings.head == "additive" else "finetune")
    check_trunk(trunk, model)
    cache = default_cache() if settings.cache and trunk == "frozen" else None
    if directory.exists():
        shutil.rmtree(directory / "log", ignore_errors=True)
        (directory / METRICS_FILE).unlink(missing_ok=True)  # figures of another network
    directory.mkdir(parents=True, exist_ok=True)
    record = asdict(settings) | {"recipe": asdict(recipe), "trunk": trunk}
    write_text(directory / SETTINGS_FILE, yaml.safe_dump(record, sort_keys=False))
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
    )
    run = Run(directory, model, record)
    if history.is_interrupted:
        return run, history, None
    return run, history, evaluate_run(run, dataset.with_split("test"), num_workers=settings.workers, cache=cache)


def evaluate_run(
    run: Run, dataset: PartDataset | None = None, *, num_workers: int = 0, cache: FeatureCache | None = None
) -> Evaluation:
    """Measure a run on the pictures kept out of it, and write metrics.json.

    Args:
        run: any.
        dataset: the pictures kept out, where they are open already.
        num_workers: processes that decode pictures.
        cache: where the trunk's maps of whole pictures are kept and looked for. None: the trunk runs.
    """
    features = None
    if cache is not None and isinstance(run.model, PartNetwork):
        features = partial(picture_features, run.model, cache=cache, num_workers=num_workers)
    pictures = dataset or run.dataset("test")
    evaluation = evaluate(run.model, pictures, num_workers=num_workers, features=features)
    evaluation.to_json(run.directory / METRICS_FILE)
    write_card(run.directory)
    return evaluation


def open_run(directory: str | Path) -> Run:
    """A run that was trained before.

    Raises:
        RunError: the directory is missing, incomplete or malformed.
    """
    directory = Path(directory)
    file = directory / SETTINGS_FILE
    if not file.is_file():
        raise RunError(f"run: expected a directory of partcnn train, got {directory} without {SETTINGS_FILE}")
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
        missing = {"data", "category", "max_bad"} - settings.keys()
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise RunError(f"run: {file} is not the settings that partcnn train writes ({error})") from error
    if missing:
        raise RunError(f"run: {file} lacks {', '.join(sorted(missing))}")
    return Run(directory, load(directory), settings)


def run_evaluation(run: Run) -> Evaluation:
    """The figures in metrics.json, measured now where the file is missing."""
    file = run.directory / METRICS_FILE
    return Evaluation.from_json(file) if file.is_file() else evaluate_run(run)


def check_free(directory: Path, force: bool) -> None:
    """Raises RunError where a new run cannot be written: a file, another run without `force`, or other files."""
    if directory.exists() and not directory.is_dir():
        raise RunError(f"out: expected a directory, got the file {directory}")
    if not directory.exists() or not any(directory.iterdir()):
        return
    if not force:
        raise RunError(f"out: {directory} exists already; give another --out, or --force to replace the run")
    if not (directory / SETTINGS_FILE).is_file():
        raise RunError(f"out: {directory} is not empty and no run; --force replaces runs only")


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
    preprocessing = backbone.preprocessing
    if settings.network.input_size is not None:
        side = settings.network.input_size
        preprocessing = type(preprocessing)((side, side), preprocessing.mean, preprocessing.std)
    # Masks in place are all that head="original" adds beside the loss.
    has_masks = not settings.plain and (settings.network.masks or settings.head == "original")
    model = convert(
        backbone.network,
        settings.layers,
        num_classes=num_classes,
        new_layers=settings.network.new_layers,
        filters=settings.network.filters,
        projection=settings.network.projection,
        hidden=settings.network.hidden,
        head=settings.head,
        mask_skip=settings.network.mask_skip,
        objective=None if settings.plain else settings.objective,
        background=dataset.background,
        input_size=preprocessing.input_size,
        grid=settings.network.grid,
        dropout=settings.network.dropout,
        erasing=settings.network.erasing,
        masks=has_masks,
        places=settings.network.places or ("peak" if has_masks else "expected"),
        loss_weight=recipe.loss_weight,
        inplace=True,
    )
    record = conversion_of(model)
    record.preprocessing = preprocessing
    record.classes = list(dataset.classes)
    return model, weights != "none"
