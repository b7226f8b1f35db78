"""docs/method.md: every file and every name that it gives for an equation is there, and no equation is left out."""

import ast
import re
from pathlib import Path

import pytest

import partcnn
from partcnn.model.competing_mask import TermWeights

ROOT = Path(__file__).parents[2]
PACKAGE = Path(partcnn.__file__).parent
PAGE = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
CELLS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if "](../src/" in line]
CODE = re.compile(r"`([\w.]+)`")
NAMES_IN_FILE = re.compile(r"((?:(?:and as printed )?`[\w.]+`(?:, )?)+) in \[`([\w/.]+)`\]")
FILES = (
    "competing", "templates", "information", "one_template", "equivariance", "diversity", "part_places", "object_cells",
)  # fmt: skip
NO_EQUATION = {"check_places", "entropy_of_presence", "cell_distances", "MutualInformation"}


def defined_in(file: Path) -> set[str]:
    """Functions, classes and, as `Class.method`, methods of a file."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def test_the_page_has_its_rows() -> None:
    assert len(CELLS) >= 40
    assert {len(row) for row in CELLS} == {4}


@pytest.mark.parametrize("row", CELLS, ids=lambda row: row[0])
def test_a_row_names_what_is_there(row: list[str]) -> None:
    _, code, file, twin = row
    (path,) = re.findall(r"\]\(\.\./src/partcnn/([\w/]+\.py)\)", file)
    assert f"`{path}`" in file
    names = CODE.findall(code)
    assert names
    assert set(names) <= defined_in(PACKAGE / path), f"{path} lacks {set(names) - defined_in(PACKAGE / path)}"
    links = re.findall(r"\[`([\w/.]+)`\]\(\.\./([\w/.]+)\)", twin)
    assert links, "a row names the twin, or the test, that holds its equation"
    for shown, linked in links:
        assert shown == linked
        assert (ROOT / linked).is_file(), linked
    for names_of, path_of in NAMES_IN_FILE.findall(twin):
        assert set(CODE.findall(names_of)) <= defined_in(ROOT / path_of), path_of
    named = [name for name in CODE.findall(twin) if "/" not in name]
    assert len(named) == sum(len(CODE.findall(names_of)) for names_of, _ in NAMES_IN_FILE.findall(twin))


@pytest.mark.parametrize("file", FILES)
def test_no_public_function_of_the_objectives_is_left_out(file: str) -> None:
    public = {name for name in defined_in(PACKAGE / "objectives" / f"{file}.py") if name[0] != "_" and "." not in name}
    named = {name for row in CELLS for name in CODE.findall(row[1])}
    assert public - named - NO_EQUATION == set()


def test_the_weights_of_the_terms_are_those_of_the_code() -> None:
    weights = {name.replace("_", " "): 0.2 * weight for name, weight in vars(TermWeights()).items()}
    weights["steadiness"] /= 2  # by the recipe's equivariance, 0.1, and not by λ, 0.2
    rows = re.findall(r"^\| ([\w ]+) \| .+ \| ([\d.]+) \|$", PAGE, flags=re.MULTILINE)
    assert {name: float(weight) for name, weight in rows} == pytest.approx(weights)
