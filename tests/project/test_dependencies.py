"""What pyproject.toml asks for is what the code imports: a new user with the core alone meets no missing library."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import partcnn
from partcnn.app.installation import EXTRAS

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
PACKAGE = Path(partcnn.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = {Requirement(text).name.lower() for text in PROJECT["dependencies"]}
OF_EXTRAS = {
    Requirement(text).name.lower().replace("_", "-")
    for name in EXTRAS
    for text in PROJECT["optional-dependencies"][name]
}
DISTRIBUTIONS = packages_distributions()


def imports(tree: ast.Module, *, within_functions: bool) -> Iterator[str]:
    """The top-level modules that a file imports: at once when it is imported, or also later."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            yield from [str(name).partition(".")[0]] if name else []
        if within_functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)


def libraries(*, within_functions: bool) -> set[str]:
    """Names on the package index of what the package imports from elsewhere."""
    modules = {
        module
        for file in PACKAGE.rglob("*.py")
        for module in imports(ast.parse(file.read_text(encoding="utf-8")), within_functions=within_functions)
    }
    foreign = modules - set(sys.stdlib_module_names) - {"partcnn"}
    return {_asked_for(module) for module in foreign}


def _asked_for(module: str) -> str:
    """The library that brings a module; of several one that is asked for."""
    names = [name.lower().replace("_", "-") for name in DISTRIBUTIONS.get(module, [module])]
    return next((name for name in names if name in NEEDED | OF_EXTRAS), names[0])


def test_what_is_imported_at_once_is_always_needed() -> None:
    assert libraries(within_functions=False) - {"markupsafe"} <= NEEDED  # markupsafe comes with Jinja2


def test_what_is_imported_later_comes_with_an_extra() -> None:
    assert libraries(within_functions=True) - {"markupsafe"} <= NEEDED | OF_EXTRAS


def test_each_extra_is_told_by_doctor_or_for_work_on_partcnn_itself() -> None:
    assert {*PROJECT["optional-dependencies"]} == {*EXTRAS, "dev", "docs", "notebook"}


def test_the_demonstration_installs_no_extra() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo: \$\(VENV\)/\.core ", makefile, flags=re.MULTILINE)
    core = makefile.split("$(VENV)/.core:")[1].split("\n\n")[0]
    assert "install --quiet -e .\n" in core
