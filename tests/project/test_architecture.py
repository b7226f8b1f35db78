"""Imports point one way: from a package to those on lower floors; and no files import each other in a circle.

Every import counts, also one inside a function and one for type checkers alone. The drawing of the floors is in
docs/architecture.md.
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
FLOORS = [
    {"foundation"},
    {"objectives", "networks", "datasets", "metrics"},
    {"model", "plot"},
    {"training", "evaluation", "explanation"},
    {"reporting"},
    {"app"},
    {"__main__"},
]
FACE = ""  # partcnn itself, a table of names that are loaded when they are used: it may name all but the top floor
FLOOR_OF = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
FLOOR_OF_FACE = (FLOOR_OF["app"] + FLOOR_OF["__main__"]) / 2


class Arrow(NamedTuple):
    """One import of a module of the package by another; dotted names below partcnn, "" for partcnn itself."""

    importer: str
    imported: str


def package_of(module: str) -> str:
    return module.split(".")[0]


def module_files(root: Path) -> dict[str, Path]:
    """Dotted name below the package → file, of every module there."""
    names = {path: path.relative_to(root).with_suffix("").parts for path in root.rglob("*.py")}
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


def lazy_homes(tree: ast.Module, importer: str) -> Iterator[str]:
    """The modules that a lazy face names in its table `_HOMES`: they are imported when a name is used."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            homes = ast.literal_eval(node.value)
            yield from {f"partcnn.{importer}.{home}".replace("..", ".") for home in homes.values()}


def arrows(root: Path) -> list[Arrow]:
    """All imports within the package, each once."""
    files = module_files(root)
    found = set()
    for importer, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [name for node in ast.walk(tree) for name in imported_names(node, importer, path.name == "__init__.py")]
        for name in [*names, *lazy_homes(tree, importer)]:
            if name.split(".")[0] != "partcnn":
                continue
            inner = name.removeprefix("partcnn").removeprefix(".")
            while inner and inner not in files:  # a name within a module
                inner = inner.rpartition(".")[0]
            if inner != importer:
                found.add(Arrow(importer, inner))
    return sorted(found)


def wrong_arrows(found: list[Arrow]) -> list[Arrow]:
    """Those that point up, or to a neighbour on the same floor."""
    wrong = []
    for arrow in found:
        importer, imported = (package_of(module) for module in arrow)
        if importer == imported:
            continue
        floors = {FACE: FLOOR_OF_FACE, **FLOOR_OF}
        if floors.get(imported, len(FLOORS)) >= floors.get(importer, -1):
            wrong.append(arrow)
    return wrong


def circles(found: list[Arrow]) -> list[str]:
    """The files of a circle, or nothing."""
    graph: dict[str, set[str]] = {}
    for arrow in found:
        graph.setdefault(arrow.importer, set()).add(arrow.imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_points_up_or_to_a_neighbour() -> None:
    found = arrows(PACKAGE)
    assert len(found) > 400  # the reader of imports reads
    assert wrong_arrows(found) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(arrows(PACKAGE)) == []


def test_the_house_has_these_packages_and_no_other() -> None:
    assert {package_of(module) for module in module_files(PACKAGE)} == {*FLOOR_OF, FACE}
    assert len([*PACKAGE.glob("[!_]*"), *PACKAGE.glob("__[im]*.py")]) <= 16  # what a newcomer sees first


def test_the_packages_are_joined_by_few_arrows() -> None:
    joined = {(package_of(arrow.importer), package_of(arrow.imported)) for arrow in arrows(PACKAGE)}
    assert len({(start, end) for start, end in joined if start != end and start != FACE}) <= 64


def test_tests_lie_in_folders_under_the_names_of_the_packages() -> None:
    tests = Path(__file__).parents[1]
    folders = {file.relative_to(tests).parts[0] for file in tests.rglob("test_*.py")}
    assert folders <= FLOOR_OF.keys() | {"project"}
    for file in tests.rglob("test_*.py"):
        package = file.relative_to(tests).parent
        assert package.parts[0] == "project" or (PACKAGE / package).is_dir(), file


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("foundation/errors.py", "from partcnn.app.runs import train_run"),
        ("foundation/errors.py", "import partcnn.training.fitting"),
        ("foundation/errors.py", "from partcnn import model"),
        ("foundation/errors.py", "from .. import model"),
        ("foundation/errors.py", "from ..model.mask import PartMask"),
        ("model/mask.py", "from partcnn import convert"),
        ("training/fitting.py", "def late():\n    from partcnn.evaluation import evaluate"),
        ("training/fitting.py", "if TYPE_CHECKING:\n    from partcnn.reporting import report"),
        ("plot/overlay.py", "from partcnn.model.mask import PartMask"),
        ("novel.py", "from partcnn.foundation.errors import DataError"),
    ],
)
def test_a_wrong_arrow_is_seen_however_it_is_written(tmp_path: Path, file: str, text: str) -> None:
    for name in ("app/runs", "training/fitting", "model/mask", "evaluation/__init__", "reporting/__init__"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").touch()
        (tmp_path / name).with_name("__init__.py").touch()
    (tmp_path / "foundation").mkdir()
    for name in ("__init__.py", "foundation/__init__.py", "foundation/errors.py"):
        (tmp_path / name).touch()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert len(wrong_arrows(arrows(tmp_path))) == 1


def test_a_circle_is_seen_also_where_one_import_is_made_in_a_function(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").touch()
    (tmp_path / "model" / "mask.py").write_text("from partcnn.model.losses import filter_loss")
    (tmp_path / "model" / "losses.py").write_text("def late():\n    from partcnn.model import mask")
    assert {*circles(arrows(tmp_path))} == {"model.mask", "model.losses"}


_HEAVY = ("lightning", "torchvision", "torchmetrics", "matplotlib", "timm", "tensorboard", "PIL", "jsonargparse")


@pytest.mark.parametrize(
    "modules",
    ["partcnn.objectives, partcnn.metrics.functional, partcnn.model.mask, partcnn.model.losses", "partcnn.layers"],
)
def test_the_mathematics_costs_torch_and_no_more(modules: str) -> None:
    code = f"import sys, {modules}; print(*[name for name in {_HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
