"""The names that others call, and what importing the package costs."""

import importlib
import subprocess
import sys
from pathlib import Path

import partcnn


def test_the_public_names_are_these() -> None:
    assert set(partcnn.__all__) == {
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
    }


def test_every_public_name_can_be_had() -> None:
    for name in partcnn.__all__:
        assert callable(getattr(partcnn, name)), name


def test_no_public_name_hides_a_module() -> None:
    modules = [name for name in partcnn.__all__ if f"partcnn.{name}" in sys.modules]
    assert modules == []


def test_importing_partcnn_loads_torch_and_none_of_the_heavy_libraries() -> None:
    heavy = "'lightning', 'torchvision', 'matplotlib', 'timm', 'scipy', 'jinja2', 'rich'"
    code = f"import sys, partcnn; print([name for name in [{heavy}] if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_name_of_a_package_is_that_of_one_of_its_modules() -> None:
    """Importing the module would put it in the name's place: `partcnn.reporting.report` was once either."""
    root = Path(partcnn.__file__).parent
    for init in root.rglob("__init__.py"):
        face = ".".join(("partcnn", *init.parent.relative_to(root).parts))
        names = set(getattr(importlib.import_module(face), "_HOMES", {}))
        modules = {file.stem for file in init.parent.glob("*.py")} | {
            file.parent.name for file in init.parent.glob("*/*")
        }
        assert not names & modules, face
