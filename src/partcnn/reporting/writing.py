"""`report`: an evaluation and its pictures → one self-contained HTML file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from partcnn.datasets import PartDataset
from partcnn.datasets.arguments import check_dataset
from partcnn.evaluation import Evaluation, evaluate
from partcnn.evaluation.audit_result import Audit
from partcnn.foundation.errors import ConfigError, RunError
from partcnn.foundation.files import as_path, write_text
from partcnn.model.class_names import with_classes_of
from partcnn.model.mask import top_mask
from partcnn.model.naming import filter_names
from partcnn.plot import read_curves
from partcnn.reporting.folding import folded
from partcnn.reporting.gathering import gather
from partcnn.reporting.page import render_page
from partcnn.reporting.panels.panel import PageContent, Panel


def report(
    model: nn.Module,
    dataset: PartDataset,
    path: str | os.PathLike[str],
    *,
    evaluation: Evaluation | None = None,
    compare: Mapping[str, Evaluation] | None = None,
    log: str | os.PathLike[str] | None = None,
    audit: Audit | None = None,
    title: str | None = None,
    panels: Sequence[Panel] = (),
) -> Path:
    """Write one HTML page on what each filter of the top part layer follows; it needs nothing beside itself.

    Args:
        model: made by `partcnn.convert`; left in the mode it was in.
        dataset: the pictures that were measured on, or are to be.
        path: of the page; folders are made where missing, an existing file is replaced whole.
        evaluation: of this model on this data set; None measures now.
        compare: evaluations of other networks on the same pictures, by a name to show, such as "plain".
        log: the run's log/metrics.csv, for the training curves; None leaves them out.
        audit: of this model on these pictures, see `partcnn.evaluation.audit`; None leaves its panel out.
        title: of the page; None names the task.
        panels: of your own, below those of the page; see `partcnn.reporting.Panel`.

    Returns:
        The path.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        DataError: the data set has other classes than the model, a picture cannot be read, or the log is none.
        ConfigError: the evaluation is of another model or of other pictures; an own panel gives no text.
        RunError: the path is a directory or none.
    """
    check_dataset(dataset)
    path = as_path(path, RunError, "path: expected the file to write")
    if path.is_dir():
        raise RunError(f"path: expected a file name, got the directory {path}; add report.html")
    dataset = with_classes_of(model, dataset)
    if evaluation is None:
        evaluation = evaluate(model, dataset)
    _check_evaluation(model, dataset, evaluation)
    curves = [] if log is None else read_curves(log)
    evaluation = replace(evaluation, filters=sorted(evaluation.filters, key=lambda measured: measured.filter))
    shown, gathered = folded(evaluation, gather(model, dataset, evaluation))
    content = PageContent(shown, gathered, dict(compare or {}), curves, audit, filter_names(model))
    text = render_page(content, title, panels)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path


def _check_evaluation(model: nn.Module, dataset: PartDataset, evaluation: Evaluation) -> None:
    name, mask = top_mask(model)
    measured = {(figures.layer, figures.filter) for figures in evaluation.filters}
    if measured != {(name, index) for index in range(mask.num_filters)}:
        layers = ", ".join(sorted({layer for layer, _ in measured})) or "none"
        raise ConfigError(
            f"evaluation: expected the {mask.num_filters} filters of {name}, got {len(measured)} of {layers}; "
            "evaluate this model, or leave the evaluation out"
        )
    for top in (top for figures in evaluation.filters for top in figures.top_images):
        known = dataset.samples[top.sample].image_path if top.sample < len(dataset) else None
        if known is None or known.name != Path(top.image_path).name:
            raise ConfigError(
                f"evaluation: expected one on these pictures, got {top.image_path} as picture {top.sample} where the "
                f"data set has {known or f'only {len(dataset)}'}; pass the split that was evaluated"
            )
