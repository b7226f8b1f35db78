"""Imports point one way: every file of the package is read, and an arrow that the table lacks fails.

A module that is new or has moved is added to the table, at its place; see DESIGN in docs/architecture.md.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import partcnn

PACKAGE = Path(partcnn.__file__).parent
FACADE = "__init__"

FOUNDATION = {"errors", "_torchvision"}
MATHEMATICS = {
    "templates",
    "objectives",
    "category_memory",
    "equivariance",
    "diversity",
    "part_places",
    "part_metrics",
    "receptive_field",
    "map_statistics",
}
NETWORKS = {"backbones", "tensorflow_padding"}
CHOICE = {"layer_shapes", "layer_choice", "skip_connections"}
CONVERTED = FOUNDATION | MATHEMATICS | NETWORKS | CHOICE | {"layers", "architectures", "conversion"}

# A room is a file beside __init__.py or a folder; what it may import of the others.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "_torchvision": set(),
    "templates": {"errors"},
    "objectives": {"errors", "templates"},
    "category_memory": set(),
    "equivariance": {"errors", "category_memory", "objectives"},
    "diversity": {"errors", "objectives"},
    "part_places": {"errors", "equivariance", "templates"},
    "part_metrics": {"errors"},
    "map_statistics": {"errors"},
    "field_tracing": {"errors"},
    "field_gradient": {"errors"},
    "receptive_field": {"errors", "field_tracing", "field_gradient"},
    "layers": {"errors"} | MATHEMATICS,
    "layer_shapes": {"errors", "receptive_field"},
    "layer_choice": {"errors", "layer_shapes"},
    "skip_connections": {"errors", "layer_shapes"},
    "weight_files": {"errors"},
    "tensorflow_padding": {"errors"},
    "paper_networks": set(),
    "backbones": FOUNDATION | {"weight_files", "tensorflow_padding", "paper_networks"},
    "architectures": FOUNDATION | NETWORKS,
    "conversion": FOUNDATION | MATHEMATICS | NETWORKS | CHOICE | {"layers", "architectures"},
    "datasets": FOUNDATION,
    "model_card": set(),
    "checkpoint_files": CONVERTED,
    "checkpoint": CONVERTED | {"checkpoint_files", "model_card"},
    "hub": CONVERTED | {"checkpoint", "checkpoint_files"},
    "exporting": CONVERTED | {"checkpoint"},
    "attribution": CONVERTED,
    "occlusion": CONVERTED,
    "explanation": CONVERTED | {"attribution", "datasets", "occlusion"},
    "feature_views": CONVERTED | {"datasets"},
    "feature_cache": CONVERTED | {"checkpoint"},
    "trunk_features": CONVERTED | {"datasets", "feature_cache", "feature_views"},
    "training": CONVERTED | {"checkpoint", "datasets", "feature_cache", "feature_views", "trunk_features"},
    "redundancy": CONVERTED | {"datasets"},
    "pruning": CONVERTED | {"datasets", "feature_views"},
    "metrics": FOUNDATION | {"part_metrics"},
    "significance": {"errors"},
    "observation": CONVERTED | {"datasets", "feature_views"},
    "evaluation": CONVERTED | {"checkpoint", "datasets", "feature_views", "metrics", "observation", "significance"},
    "contact_sheet": CONVERTED | {"checkpoint", "datasets"},
    "plot": CONVERTED | {"checkpoint", "datasets", "evaluation", "explanation"},
    "html_report": CONVERTED | {"attribution", "checkpoint", "datasets", "evaluation", "explanation", "plot"},
    "viewer": CONVERTED | {"explanation", "html_report", "plot"},
    "runs": CONVERTED | {"checkpoint", "datasets", "evaluation", "feature_cache", "training", "trunk_features"},
    "pruned_runs": CONVERTED | {"checkpoint", "datasets", "evaluation", "feature_views", "pruning", "runs", "training"},
    "demo": CONVERTED
    | {"checkpoint", "datasets", "evaluation", "explanation", "html_report", "plot", "runs", "training"},
    "benchmarks": CONVERTED
    | {"checkpoint", "checkpoint_files", "datasets", "evaluation", "feature_cache", "feature_views"}
    | {"runs", "training", "trunk_features"},
}
MAY_IMPORT["cli"] = {*MAY_IMPORT, FACADE}
MAY_IMPORT["__main__"] = {"cli"}
MAY_IMPORT[FACADE] = MAY_IMPORT.keys() - {
    "cli",
    "__main__",
    "runs",
    "pruned_runs",
    "demo",
    "contact_sheet",
    "benchmarks",
    "viewer",
}

# Arrows that point up, taken when a function is called and not before, each with its reason.
CALLED_UPWARDS = {
    ("explanation", "plot"): "Explanation.save draws itself; the drawing needs to know what an explanation is",
}


class Arrow(NamedTuple):
    """One import of a module of the package by another."""

    importer: str  # dotted name below the package, "" for the package itself
    imported: str
    is_at_import: bool  # not inside a function, and not for type checkers alone

    @property
    def rooms(self) -> tuple[str, str]:
        return room(self.importer), room(self.imported)


def room(module: str) -> str:
    return module.split(".")[0] or FACADE


def module_files(package: Path) -> dict[str, Path]:
    """Dotted name below the package → file, of every module there."""
    names = {path: path.relative_to(package).with_suffix("").parts for path in package.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


def imported_names(node: ast.AST, importer: str, is_package: bool) -> list[str]:
    """The dotted names that an import statement may mean, absolute."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = ["partcnn", *importer.split(".")] if importer else ["partcnn"]
        parts = parts[: len(parts) - node.level + is_package]
        base = ".".join([*parts, base] if base else parts)
    return [f"{base}.{alias.name}" for alias in node.names]


def statements(tree: ast.AST, is_at_import: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node of a file, and whether it runs when the file is imported."""
    for node in ast.iter_child_nodes(tree):
        yield node, is_at_import
        is_deferred = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        yield from statements(node, is_at_import and not is_deferred and not is_for_types)


def arrows(package: Path) -> list[Arrow]:
    """All imports within the package."""
    files = module_files(package)
    found = []
    for importer, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node, is_at_import in statements(tree):
            for name in imported_names(node, importer, path.name == "__init__.py"):
                if name.split(".")[0] != "partcnn":
                    continue
                inner = name.removeprefix("partcnn").removeprefix(".")
                while inner and inner not in files:  # a name within a module
                    inner = inner.rpartition(".")[0]
                found.append(Arrow(importer, inner, is_at_import))
    return found


def wrong_arrows(found: list[Arrow]) -> list[Arrow]:
    return [
        arrow
        for arrow in found
        if arrow.rooms[0] != arrow.rooms[1]
        and arrow.rooms[1] not in MAY_IMPORT.get(arrow.rooms[0], set())
        and not (arrow.rooms in CALLED_UPWARDS and not arrow.is_at_import)
    ]


def test_no_import_points_the_wrong_way() -> None:
    found = arrows(PACKAGE)
    assert len(found) > 100  # the reader of imports reads
    assert not wrong_arrows(found)


def test_the_table_has_every_module_and_no_other() -> None:
    assert {room(module) for module in module_files(PACKAGE)} == MAY_IMPORT.keys()


def test_the_table_itself_points_one_way() -> None:
    order = list(graphlib.TopologicalSorter(MAY_IMPORT).static_order())
    assert order.index("errors") < order.index("layers") < order.index("conversion") < order.index("cli")


def test_the_files_of_a_folder_do_not_import_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for arrow in arrows(PACKAGE):
        if arrow.is_at_import:
            graph.setdefault(arrow.importer, set()).add(arrow.imported)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_training_knows_no_evaluation_and_nothing_knows_the_command_line() -> None:
    rooms = {arrow.rooms for arrow in arrows(PACKAGE)}
    assert ("training", "evaluation") not in rooms
    assert {importer for importer, imported in rooms if imported == "cli"} == {"__main__"}
    assert {imported for importer, imported in rooms if importer == "datasets"} == {
        "datasets",
        "errors",
        "_torchvision",
    }


def test_every_upward_call_is_still_made() -> None:
    assert CALLED_UPWARDS.keys() <= {arrow.rooms for arrow in arrows(PACKAGE)}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("errors.py", "from partcnn.cli import main"),
        ("errors.py", "import partcnn.training"),
        ("errors.py", "from partcnn import layers"),
        ("errors.py", "from . import layers"),
        ("errors.py", "from .layers import PartMask"),
        ("errors.py", "from partcnn import convert"),
        ("training.py", "def late():\n    from partcnn.evaluation import evaluate"),
        ("explanation.py", "from partcnn.plot import save_explanation"),
        ("datasets/folder.py", "from ..layers import PartMask"),
        ("datasets/__init__.py", "from ..layers import PartMask"),
        ("novel.py", "from partcnn.errors import DataError"),
    ],
)
def test_a_wrong_arrow_is_seen_however_it_is_written(tmp_path: Path, file: str, text: str) -> None:
    for name in ("__init__.py", "cli.py", "training.py", "layers.py", "evaluation.py", "plot.py", "errors.py"):
        (tmp_path / name).touch()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert len(wrong_arrows(arrows(tmp_path))) == 1


_HEAVY = ("lightning", "torchvision", "matplotlib", "timm", "tensorboard", "PIL", "jsonargparse")


@pytest.mark.parametrize(
    "modules", ["partcnn", "partcnn.templates, partcnn.objectives, partcnn.part_metrics, partcnn.layers"]
)
def test_the_mathematics_costs_torch_and_no_more(modules: str) -> None:
    code = f"import sys, {modules}; print(*[name for name in {_HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
