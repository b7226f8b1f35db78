"""Run directories: from settings to a trained, measured network on the disk, and back.

run.yaml            the settings (`partcnn.app.settings`), and how far training came (`partcnn.app.runs.state`)
config.json         how the network was converted (partcnn.model.saving.checkpoint)
model.safetensors   its weights
README.md           a model card with the figures (partcnn.model.saving.checkpoint)
names.yaml          what filters are called, where they have names (partcnn.model.saving.names_file)
metrics.json        its evaluation on the pictures kept out, and of which weights
log/                metrics.csv and TensorBoard events of the training
training_state/     of half a run: what `partcnn train --resume` goes on from

A run is made in a hidden directory and takes its place when it is whole (`partcnn.app.runs.place`).
"""

from typing import TYPE_CHECKING

from partcnn.app.settings import DEFAULT_WORKERS, SETTINGS_FILE, NetworkSettings, RunSettings
from partcnn.foundation.faces import lazy_names
from partcnn.training.recipe import Recipe

if TYPE_CHECKING:
    from partcnn.app.runs.opening import (
        Run,
        dataset_of,
        evaluate_run,
        figures_of,
        followed_parts,
        is_finished,
        open_network,
        open_run,
        run_evaluation,
    )
    from partcnn.app.runs.training import begun_or_new, built_network, recipe_of, resume_run, train_run

_HOMES = {
    "Run": "opening",
    "dataset_of": "opening",
    "evaluate_run": "opening",
    "figures_of": "opening",
    "followed_parts": "opening",
    "is_finished": "opening",
    "open_network": "opening",
    "open_run": "opening",
    "run_evaluation": "opening",
    "begun_or_new": "training",
    "built_network": "training",
    "recipe_of": "training",
    "resume_run": "training",
    "train_run": "training",
}

__all__ = [
    "DEFAULT_WORKERS",
    "SETTINGS_FILE",
    "NetworkSettings",
    "Recipe",
    "Run",
    "RunSettings",
    "begun_or_new",
    "built_network",
    "dataset_of",
    "evaluate_run",
    "figures_of",
    "followed_parts",
    "is_finished",
    "open_network",
    "open_run",
    "recipe_of",
    "resume_run",
    "run_evaluation",
    "train_run",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
