"""Training: recipe, views, features, the LightningModule, `fit`, and pruning."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.training.batches import EpochBatches, EpochLoader
    from partcnn.training.cached_features import picture_features, trunk_features
    from partcnn.training.features import FeatureViews, compute_features, compute_picture_features
    from partcnn.training.filters_by_data import needed_filters
    from partcnn.training.fitting import check_trunk, fit
    from partcnn.training.history import History
    from partcnn.training.module import PartTraining
    from partcnn.training.projection import COMPONENT_VARIANCE, set_projection
    from partcnn.training.pruning import prune
    from partcnn.training.recipe import Recipe
    from partcnn.training.views import PictureViews

_HOMES = {
    "EpochBatches": "batches",
    "EpochLoader": "batches",
    "picture_features": "cached_features",
    "trunk_features": "cached_features",
    "FeatureViews": "features",
    "compute_features": "features",
    "compute_picture_features": "features",
    "History": "history",
    "check_trunk": "fitting",
    "fit": "fitting",
    "PartTraining": "module",
    "needed_filters": "filters_by_data",
    "COMPONENT_VARIANCE": "projection",
    "set_projection": "projection",
    "prune": "pruning",
    "Recipe": "recipe",
    "PictureViews": "views",
}

__all__ = [
    "COMPONENT_VARIANCE",
    "EpochBatches",
    "EpochLoader",
    "FeatureViews",
    "History",
    "PartTraining",
    "PictureViews",
    "Recipe",
    "check_trunk",
    "compute_features",
    "compute_picture_features",
    "fit",
    "needed_filters",
    "picture_features",
    "prune",
    "set_projection",
    "trunk_features",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
