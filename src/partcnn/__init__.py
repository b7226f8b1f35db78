"""Part filters for any CNN: train, measure and show filters that each detect one object part.

The public names are loaded when they are first used: importing partcnn costs next to nothing.
"""

from typing import TYPE_CHECKING

from partcnn.foundation.earlier_names import keep_earlier_names
from partcnn.foundation.faces import lazy_names
from partcnn.foundation.torchvision_shim import watch_torchvision
from partcnn.foundation.version import package_version

if TYPE_CHECKING:
    from partcnn.app.classifier import PartClassifier, fit_folder
    from partcnn.datasets.loading import load_dataset
    from partcnn.evaluation import Evaluation, evaluate
    from partcnn.explanation.explanation import Explanation, explain
    from partcnn.foundation.errors import PartCNNError
    from partcnn.model.conversion import convert, remove_masks
    from partcnn.model.losses import filter_loss
    from partcnn.model.network import recorded_feature_maps
    from partcnn.model.saving.checkpoint import load, save
    from partcnn.model.saving.exporting import export
    from partcnn.model.saving.hub import from_pretrained, push_to_hub
    from partcnn.reporting import report
    from partcnn.training.fitting import fit
    from partcnn.training.pruning import prune
    from partcnn.training.recipe import Recipe

__version__ = package_version()

_HOMES = {
    "convert": "model.conversion",
    "recorded_feature_maps": "model.network",
    "remove_masks": "model.conversion",
    "filter_loss": "model.losses",
    "fit": "training.fitting",
    "fit_folder": "app.classifier",
    "PartClassifier": "app.classifier",
    "Recipe": "training.recipe",
    "evaluate": "evaluation.measurement",
    "Evaluation": "evaluation.result",
    "explain": "explanation.explanation",
    "Explanation": "explanation.explanation",
    "export": "model.saving.exporting",
    "report": "reporting.writing",
    "save": "model.saving.checkpoint",
    "load": "model.saving.checkpoint",
    "from_pretrained": "model.saving.hub",
    "push_to_hub": "model.saving.hub",
    "prune": "training.pruning",
    "load_dataset": "datasets.loading",
    "PartCNNError": "foundation.errors",
}

__all__ = [
    "Evaluation",
    "Explanation",
    "PartCNNError",
    "PartClassifier",
    "Recipe",
    "convert",
    "evaluate",
    "explain",
    "export",
    "filter_loss",
    "fit",
    "fit_folder",
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


keep_earlier_names()
watch_torchvision()
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
