"""docs/architecture.md: the lines that the way of a picture names are the lines that it means."""

import ast
import re
from pathlib import Path

import pytest

import partcnn

PACKAGE = Path(partcnn.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
STEPS = re.findall(r"\[`([\w/]+\.py):(\d+)`\]\(\.\./src/partcnn/([\w/]+\.py)#L(\d+)\) `([\w.]+)`", PAGE.read_text())


def line_of(file: Path, name: str) -> int:
    """Where a function, a class or a method of a file is defined."""
    node: ast.AST = ast.parse(file.read_text(encoding="utf-8"))
    for part in name.split("."):
        kinds = (ast.FunctionDef, ast.ClassDef)
        node = next(inner for inner in ast.walk(node) if isinstance(inner, kinds) and inner.name == part)
    return node.lineno  # type: ignore[attr-defined]


def test_the_way_of_a_picture_has_its_steps() -> None:
    assert len(STEPS) >= 18


@pytest.mark.parametrize(("file", "line", "linked_file", "linked_line", "name"), STEPS, ids=lambda value: value)
def test_a_step_names_the_line_of_its_code(file: str, line: str, linked_file: str, linked_line: str, name: str) -> None:
    assert (linked_file, linked_line) == (file, line)
    assert int(line) == line_of(PACKAGE / file, name), f"{name} has moved: write {file}:{line_of(PACKAGE / file, name)}"


def test_every_package_stands_in_the_drawing() -> None:
    text = PAGE.read_text()
    packages = [folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()]
    assert len(packages) == 12
    for name in packages:
        assert f'{name}["{name}<br>' in text, name
        assert f"| `{name}` |" in text, name
