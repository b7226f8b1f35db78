"""Run directories: from settings to a trained, measured network on the disk, and back.

run.yaml            the settings (`partcnn.app.settings`)
config.json         how the network was converted (partcnn.model.saving.checkpoint)
model.safetensors   its weights
README.md           a model card with the figures (partcnn.model.saving.checkpoint)
metrics.json        its evaluation on the pictures kept out
log/                metrics.csv and TensorBoard events of the training
"""

from typing import TYPE_CHECKING

from partcnn.app.settings import DEFAULT_WORKERS, SETTINGS_FILE, NetworkSettings, RunSettings
from partcnn.foundation.faces import lazy_names
from partcnn.training.recipe import Recipe

if TYPE_CHECKING:
    from partcnn.app.runs.opening import (
        Run,
        check_free,
        dataset_of,
        evaluate_run,
        figures_of,
        followed_parts,
        open_run,
        run_evaluation,
    )
    from partcnn.app.runs.training import built_network, recipe_of, train_run

_HOMES = {
    "Run": "opening",
    "check_free": "opening",
    "dataset_of": "opening",
    "evaluate_run": "opening",
    "figures_of": "opening",
    "followed_parts": "opening",
    "open_run": "opening",
    "run_evaluation": "opening",
    "built_network": "training",
    "recipe_of": "training",
    "train_run": "training",
}

__all__ = [
    "DEFAULT_WORKERS",
    "SETTINGS_FILE",
    "NetworkSettings",
    "Recipe",
    "Run",
    "RunSettings",
    "built_network",
    "check_free",
    "dataset_of",
    "evaluate_run",
    "figures_of",
    "followed_parts",
    "open_run",
    "recipe_of",
    "run_evaluation",
    "train_run",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
