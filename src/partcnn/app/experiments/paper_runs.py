"""Finished runs as rows of figures, and the training of those that are missing."""

import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from partcnn.app.runs.opening import dataset_of, is_finished, kept_figures
from partcnn.app.runs.place import is_begun, settings_of
from partcnn.app.runs.training import begun_or_new, built_network, recipe_of
from partcnn.app.settings import RunSettings, read_settings
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation.result import half_run
from partcnn.foundation.errors import ConfigError, DataError, RunError
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import METRICS_FILE
from partcnn.model.saving.checkpoint_files import read_config
from partcnn.model.settings import ConversionSettings

_log = logging.getLogger("partcnn")
PLAIN = "plain"
_SAME = ("data", "category", "backbone", "weights", "head", "plain", "crop", "margin", "epochs", "seed")


@dataclass(frozen=True)
class RunFigures:
    """What one run measured on the pictures kept out of it.

    Args:
        place: its directory.
        network: the backbone.
        variant: "plain", or "part filters (labelled)" with the objective, and whether masks are on.
        kind: of the data, such as "animalpart".
        category: full name; None where several are told apart.
        summary: of its `Evaluation`.
        constant_point: measure → what the middle of the picture gets on the same pictures.
        options: how it was trained and measured, as the page tells: data, layers, seed, epochs, num_views, places,
            split, num_images.
    """

    place: str
    network: str
    variant: str
    kind: str
    category: str | None
    summary: dict[str, Any]
    constant_point: dict[str, float | None]
    options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values without nan, of which `read_runs` makes it again."""
        known = {"summary": _without_nan(self.summary), "constant_point": _without_nan(self.constant_point)}
        return asdict(self) | known


def read_runs(places: Iterable[Path]) -> list[RunFigures]:
    """The figures of finished runs, of which an earlier page (paper.json) may hold some.

    Args:
        places: run directories, the metrics.json in them, or files that `write_tables` wrote. Of one run that is
            there twice the later counts.

    Raises:
        RunError, DataError: as `read_figures`; the page is malformed or of a version that kept no figures of runs.
    """
    found: dict[str, RunFigures] = {}
    for place in places:
        is_page = place.is_file() and place.name != METRICS_FILE
        for run in _runs_of_page(place) if is_page else [read_figures(place)]:
            found[run.place] = run
    return list(found.values())


def _runs_of_page(file: Path) -> list[RunFigures]:
    try:
        return [RunFigures(**run) for run in json.loads(file.read_text(encoding="utf-8"))["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"runs: expected a run directory, its {METRICS_FILE} or a paper.json of this version, got {file} ({error})"
        ) from error


def _without_nan(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if isinstance(value, int | float) and math.isfinite(value)}


def read_figures(run: Path) -> RunFigures:
    """The figures of a finished run.

    Args:
        run: its directory, or the metrics.json in it.

    Raises:
        RunError: the settings are missing or malformed, or the run was not measured.
        DataError: metrics.json is malformed.
    """
    directory = run.parent if run.name == METRICS_FILE else run
    settings = read_settings(directory)
    evaluation = kept_figures(directory)
    if evaluation is None:
        raise RunError(f"runs: expected {METRICS_FILE} of its weights in {directory}; run partcnn evaluate on it first")
    half = half_run(evaluation.run)
    if half is not None:
        _log.warning("%s is %s", directory, half)
    masks = ", masks" if settings.network.masks else ""
    return RunFigures(
        place=str(directory),
        network=settings.backbone,
        variant=PLAIN if settings.plain else f"part filters ({_objective(directory, settings)}{masks})",
        kind=settings.data.partition(":")[0],
        category=evaluation.data.get("category"),
        summary=evaluation.summary,
        constant_point={
            "location_instability": evaluation.summary.get("constant_point_instability"),
            **evaluation.baselines.get("constant_point", {}),  # an earlier version has none
        },
        options={"data": settings.data, "layers": settings.layers, "seed": settings.seed}
        | {"epochs": settings.recipe.epochs, "num_views": settings.recipe.num_views}
        | {name: evaluation.data.get(name) for name in ("split", "num_images")}
        | {"places": evaluation.protocol["places"]},
    )


def train_missing(wanted: Sequence[RunSettings], *, is_progress_shown: bool = True) -> Iterator[Path]:
    """The directories of these runs, one after the other; those that are not finished are trained first.

    Raises:
        RunError: a directory holds a run of other settings.
        PartCNNError: what training raises.
        KeyboardInterrupt: training was interrupted; what is finished stays.
    """
    for settings in wanted:
        directory = Path(settings.out)
        if is_begun(directory):
            _check_same(settings, directory)
        if not is_finished(directory):
            _log.info("training %s", directory)
            _, _, evaluation = begun_or_new(settings, is_progress_shown=is_progress_shown)
            if evaluation is None:
                raise KeyboardInterrupt
        yield directory


def wanted_runs(
    base: RunSettings, *, categories: Sequence[str], has_multi: bool, backbones: Sequence[str], seeds: Sequence[int]
) -> list[RunSettings]:
    """Settings of every run: each category, backbone and seed, plain and with part filters.

    Args:
        base: settings that all share; `out` is the folder they go to.
        categories: each against background; "all" for all of the data set.
        has_multi: also one that tells all categories apart.
        backbones: NAME, or NAME=WEIGHTS.
        seeds: of each.

    Raises:
        ConfigError: there is nothing to train.
    """
    tasks: list[str | None] = list(categories)
    if "all" in categories:
        tasks = list(load_dataset(base.data, split="all", max_bad=base.max_bad).classes)
    tasks += [None] if has_multi else []
    if not tasks or not backbones or not seeds:
        raise ConfigError("categories: expected categories to train on, all, or --multi, and a backbone and a seed")
    of_parts = ConversionSettings(
        num_classes=2, head=base.head, new_layers=base.network.new_layers, objective=base.objective
    )
    # Filters that compete have one way to read places: asking for another would only be warned of.
    network_of_parts = replace(base.network, places=None) if of_parts.is_competing else base.network
    runs = []
    for category in tasks:
        for backbone in backbones:
            name, _, weights = backbone.partition("=")
            for seed in seeds:
                for is_plain in (True, False):
                    variant = PLAIN if is_plain else base.objective
                    folder = f"{name}-{category or 'several'}-{variant}-{seed}".replace("/", "-").replace(":", "-")
                    changes: dict[str, Any] = {"category": category, "backbone": name, "weights": weights or None}
                    changes["network"] = base.network if is_plain else network_of_parts
                    changes |= {"seed": seed, "plain": is_plain, "out": str(Path(base.out) / folder), "force": True}
                    runs.append(replace(base, **changes))
    return runs


def _objective(directory: Path, settings: RunSettings) -> str:
    """What was asked for, or what "auto" took."""
    if settings.objective != "auto":
        return settings.objective
    return str(read_config(directory)["arguments"]["objective"])


def _check_same(wanted: RunSettings, directory: Path) -> None:
    found = settings_of(directory)
    differing = [name for name in _SAME if getattr(found, name) != getattr(wanted, name)]
    if found.recipe.num_views != wanted.recipe.num_views:
        differing.append("recipe.num_views")
    if not differing and (directory / METRICS_FILE).is_file():
        differing = _converted_otherwise(wanted, directory)
    if differing:
        raise RunError(
            f"out: {wanted.out} holds a run of other settings ({', '.join(differing)}); give another --out or remove it"
        )


def _converted_otherwise(wanted: RunSettings, directory: Path) -> list[str]:
    """In what the finished run's network differs from the wanted one: "auto" may have meant something else then."""
    model, _ = built_network(wanted, dataset_of(wanted), recipe_of(wanted))
    ours, theirs = conversion_of(model).settings, ConversionSettings.from_spec(read_config(directory)["arguments"])
    return [one.name for one in fields(ours) if getattr(ours, one.name) != getattr(theirs, one.name)]
