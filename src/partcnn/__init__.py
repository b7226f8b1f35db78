"""Part filters for any CNN: train, measure and show filters that each detect one object part.

The public names are loaded when they are first used: importing partcnn costs torch and no more.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch  # noqa: F401

if TYPE_CHECKING:
    from partcnn.checkpoint import load, save
    from partcnn.conversion import convert, remove_masks
    from partcnn.datasets.loading import load_dataset
    from partcnn.errors import PartCNNError
    from partcnn.evaluation import Evaluation, evaluate
    from partcnn.explanation import Explanation, explain
    from partcnn.exporting import export
    from partcnn.fit import fit
    from partcnn.html_report import report
    from partcnn.hub import from_pretrained, push_to_hub
    from partcnn.losses import filter_loss
    from partcnn.network import recorded_feature_maps
    from partcnn.pruning import prune
    from partcnn.recipe import Recipe

__version__ = version("partcnn")

_HOMES = {
    "convert": "conversion",
    "recorded_feature_maps": "conversion",
    "remove_masks": "conversion",
    "filter_loss": "layers",
    "fit": "training",
    "Recipe": "training",
    "evaluate": "evaluation",
    "Evaluation": "evaluation",
    "explain": "explanation",
    "Explanation": "explanation",
    "export": "exporting",
    "report": "html_report",
    "save": "checkpoint",
    "load": "checkpoint",
    "from_pretrained": "hub",
    "push_to_hub": "hub",
    "prune": "pruning",
    "load_dataset": "datasets",
    "PartCNNError": "errors",
}

__all__ = [
    "Evaluation",
    "Explanation",
    "PartCNNError",
    "Recipe",
    "convert",
    "evaluate",
    "explain",
    "export",
    "filter_loss",
    "fit",
    "from_pretrained",
    "load",
    "load_dataset",
    "prune",
    "push_to_hub",
    "recorded_feature_maps",
    "remove_masks",
    "report",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'partcnn' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"partcnn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
