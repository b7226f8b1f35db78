"""Modules by the names that they had before the twelve packages were drawn: `partcnn.templates`, `partcnn.layers`, …

Code that imports them goes on working: it is given the package, or the file, that has their names now. And measures by
the names that they had in files.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

EARLIER_NAMES = {
    "architectures": "networks.identification",
    "attribution": "explanation.attribution",
    "backbones": "networks",
    "benchmarks": "app.experiments",
    "category_memory": "objectives.category_memory",
    "checkpoint": "model.saving",
    "checkpoint_files": "model.saving.checkpoint_files",
    "cli": "app.cli",
    "contact_sheet": "plot.contact_sheet",
    "conversion": "model",
    "datasets.drawing": "datasets.drawn.drawing",
    "demo": "app.demo",
    "diversity": "objectives.diversity",
    "equivariance": "objectives.equivariance",
    "errors": "foundation.errors",
    "exporting": "model.saving.exporting",
    "feature_cache": "foundation.disk_cache",
    "feature_views": "training",
    "html_report": "reporting",
    "hub": "model.saving.hub",
    "layer_choice": "networks.probing.layer_choice",
    "layer_shapes": "networks.probing.layer_shapes",
    "layers": "model",
    "map_statistics": "metrics.functional.map_statistics",
    "observation": "evaluation.observation",
    "occlusion": "explanation.occlusion",
    "paper_networks": "networks.paper_networks",
    "part_metrics": "metrics.functional",
    "part_places": "objectives.part_places",
    "pruned_runs": "app.pruned_runs",
    "pruning": "training.pruning",
    "receptive_field": "networks.probing.receptive_field",
    "redundancy": "evaluation.redundancy",
    "runs": "app.runs",
    "significance": "metrics.significance",
    "skip_connections": "networks.probing.skip_connections",
    "templates": "objectives.templates",
    "tensorflow_padding": "networks.tensorflow_padding",
    "trunk_features": "training.cached_features",
    "viewer": "reporting.viewer",
    "weight_files": "networks.weight_files",
}

EARLIER_MEASURES = {"purity": "class_purity"}  # since part purity is measured, too


def with_present_names(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Measure → figure out of a file, each measure by its present name."""
    return {EARLIER_MEASURES.get(name, name): figure for name, figure in figures.items()}


def keep_earlier_names() -> None:
    """From now on the earlier names can be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())  # asked last: a module that exists comes first


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "partcnn" or name not in EARLIER_NAMES:
            return None
        return ModuleSpec(fullname, _Loader(f"partcnn.{EARLIER_NAMES[name]}"))


class _Loader(Loader):
    """Gives a module that is imported under its present name."""

    def __init__(self, name: str) -> None:
        self._module = importlib.import_module(name)
        self._spec = self._module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # importing put the earlier name's there
