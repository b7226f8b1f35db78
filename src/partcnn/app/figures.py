"""Figures of a run for papers: what filters hold, the parts of pictures, a decision, the training."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from partcnn.app.named_data import check_named
from partcnn.app.runs.opening import Run, dataset_of, followed_parts, run_evaluation
from partcnn.datasets import PartDataset
from partcnn.evaluation import Evaluation, FilterEvaluation
from partcnn.explanation.explanation import Explanation, explain
from partcnn.explanation.naming import parts_told_apart
from partcnn.foundation.errors import ConfigError, DataError
from partcnn.model.competing_mask import competing_masks
from partcnn.model.mask import top_mask
from partcnn.model.saving.checkpoint import METRICS_FILE
from partcnn.plot import read_curves
from partcnn.plot.overlay import heatmap_overlay
from partcnn.plot.papers import (
    curves_for_paper,
    explanation_for_paper,
    filters_for_paper,
    parts_for_paper,
)
from partcnn.plot.tiling import filter_name
from partcnn.reporting.tiles import evenly_chosen

_log = logging.getLogger("partcnn")
_MOST_ROWS = 16  # filters below each other on a page
_NUM_PICTURES = {"filters": 6, "parts": 6}
_NARROW_CM = 12.0  # below, half as many pictures stand beside each other


@dataclass(frozen=True)
class FigureSettings:
    """What is drawn.

    Args:
        width_cm: of the figure.
        images: picture files; none takes some of those that were kept out of the run.
        label: the class to explain; None the predicted one.
        against: a second class to contrast it with.
        filters: that are drawn; none takes all, of "filters" at most 16.
        num_pictures: of "filters" in a row, of "parts" in all; None takes 6.
        data: where the run's pictures lie, KIND:PLACE; None: where it says, if they were named on this machine.
    """

    width_cm: float
    images: Sequence[str] = ()
    label: str | None = None
    against: str | None = None
    filters: Sequence[int] = ()
    num_pictures: int | None = None
    data: str | None = None


def draw_figure(run: Run, kind: str, settings: FigureSettings) -> Figure:
    """A figure of a run, made within `partcnn.plot.papers.paper_style`.

    Args:
        run: its pictures are looked at where no image is given and the figure shows some, or filters must be measured.
        kind: one of `KINDS`.
        settings: what is drawn.

    Raises:
        ConfigError: an unknown kind, filter or class, or no or several images where one is meant.
        RunError: the run's own pictures would be drawn, and nobody named them here.
        DataError: a picture or the log cannot be read.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind: expected {', '.join(KINDS)}, got {kind!r:.40}")
    if settings.num_pictures is not None and settings.num_pictures < 1:
        raise ConfigError(f"num-pictures: expected at least 1, got {settings.num_pictures}")
    num_filters = top_mask(run.model)[1].num_filters
    unknown = [number for number in settings.filters if not 0 <= number < num_filters]
    if unknown:
        raise ConfigError(f"filters: expected numbers from 0 to {num_filters - 1}, got {unknown[0]}")
    if settings.data is not None:
        run = replace(run, settings=replace(run.settings, data=settings.data))
    return KINDS[kind](run, settings)


def _curves(run: Run, settings: FigureSettings) -> Figure:
    return curves_for_paper(read_curves(run.directory / "log" / "metrics.csv"), settings.width_cm)


def _explanation(run: Run, settings: FigureSettings) -> Figure:
    if len(settings.images) > 1:
        raise ConfigError(f"images: expected one picture to explain, got {len(settings.images)}")
    (picture,) = settings.images or _chosen(_kept_out(run, settings), 1)
    why = explain(run.model, picture, settings.label, against=settings.against)
    return explanation_for_paper(why, settings.width_cm, parts=parts_told_apart(why, followed_parts(run)))


def _parts(run: Run, settings: FigureSettings) -> Figure:
    pictures = settings.images or _chosen(_kept_out(run, settings), settings.num_pictures or _NUM_PICTURES["parts"])
    explained = [explain(run.model, picture) for picture in pictures]
    num_filters = top_mask(run.model)[1].num_filters
    chosen = settings.filters or (range(num_filters) if explained[0].is_tiling else _best_of_parts(run, settings))
    columns = min(len(explained), 3 if settings.width_cm < _NARROW_CM else 6)
    return parts_for_paper(explained, _names(run, chosen), settings.width_cm, num_columns=columns)


def _filters(run: Run, settings: FigureSettings) -> Figure:
    chosen = list(settings.filters) or list(range(top_mask(run.model)[1].num_filters))
    if not settings.filters and len(chosen) > _MOST_ROWS:
        _log.info("of %d filters the first %d are drawn; --filters names others", len(chosen), _MOST_ROWS)
        chosen = chosen[:_MOST_ROWS]
    number = settings.num_pictures or _NUM_PICTURES["filters"] // (2 if settings.width_cm < _NARROW_CM else 1)
    rows: Mapping[int, Sequence[Image.Image | Explanation]]
    if not settings.images and not competing_masks(run.model):
        by_number = {one.filter: one for one in _measured(run, settings).filters}
        rows = _strongest(run, _kept_out(run, settings), [by_number[index] for index in chosen], number)
        return filters_for_paper(rows, _names(run, chosen), settings.width_cm)
    explained = [
        explain(run.model, picture) for picture in settings.images or _chosen(_kept_out(run, settings), number)
    ]
    if explained[0].is_tiling:
        rows = dict.fromkeys(chosen, explained)
    else:
        rows = {number: [_heat(why, number) for why in explained] for number in chosen}
    return filters_for_paper(rows, _names(run, chosen), settings.width_cm)


KINDS: dict[str, Callable[[Run, FigureSettings], Figure]] = {
    "filters": _filters,
    "parts": _parts,
    "explanation": _explanation,
    "curves": _curves,
}


def _kept_out(run: Run, settings: FigureSettings) -> PartDataset:
    if settings.data is None:
        check_named(run.settings.data, run.directory)
    return dataset_of(run.settings, "test")


def _measured(run: Run, settings: FigureSettings) -> Evaluation:
    """Of the run; where it was not measured, its own pictures are looked at."""
    if settings.data is None and not (run.directory / METRICS_FILE).is_file():
        check_named(run.settings.data, run.directory)
    return run_evaluation(run)


def _chosen(dataset: PartDataset, number: int) -> list[Image.Image]:
    """Pictures of objects, at even distances in the data set's order: nobody chose them."""
    objects = [place for place, sample in enumerate(dataset.samples) if dataset.shows_object(sample)]
    if not objects:
        raise DataError(f"data: expected pictures of objects in {dataset.spec}, got none; --images names some")
    return [dataset.samples[place].load_image() for place in evenly_chosen(objects, number)]


def _strongest(
    run: Run, dataset: PartDataset, measured: Sequence[FilterEvaluation], number: int
) -> dict[int, list[Image.Image]]:
    """Filter → the pictures on which it fires most, with its heat on them."""
    strongest = [image for one in measured for image in one.top_images]
    paths = [Path(sample.image_path).name for sample in dataset.samples]
    if any(one.sample >= len(paths) or paths[one.sample] != Path(one.image_path).name for one in strongest):
        raise ConfigError(f"data: expected the pictures that {run.directory} was measured on, got others")
    explained = dict[int, Explanation]()
    rows = dict[int, list[Image.Image]]()
    for one in measured:
        samples = [image.sample for image in one.top_images[:number]]
        for sample in samples:
            if sample not in explained:
                explained[sample] = explain(run.model, dataset.samples[sample].load_image())
        rows[one.filter] = [_heat(explained[sample], one.filter) for sample in samples]
    return {number: row for number, row in rows.items() if row}


def _heat(why: Explanation, number: int) -> Image.Image:
    assert why.picture is not None  # a picture was explained
    contribution = next(one for one in why.contributions if one.filter == number)
    return heatmap_overlay(why.picture, contribution.heatmap_at(why.image_size), peak=contribution.position_px)


def _best_of_parts(run: Run, settings: FigureSettings) -> list[int]:
    """Of each annotated part the filter that follows it best; all filters where none follows any."""
    best = dict[str, FilterEvaluation]()
    for one in _measured(run, settings).filters:
        part = one.part_name
        if part and (part not in best or one.part_tracking_r2 > best[part].part_tracking_r2):
            best[part] = one
    return [one.filter for one in best.values()] or list(range(top_mask(run.model)[1].num_filters))


def _names(run: Run, numbers: Sequence[int]) -> dict[int, str]:
    parts = followed_parts(run)
    return {number: filter_name(number, parts.get(number), run.names.get(number)) for number in numbers}
