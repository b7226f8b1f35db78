"""What a release is made of: workflows that run what .ci/run runs, and forms that GitHub can read."""

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([\w-]+):", MAKEFILE, flags=re.MULTILINE))


def read(file: Path) -> dict[str, Any]:
    """`on` is a key of workflows, and true in YAML 1.1."""
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in found.items()}


def commands(workflow: dict[str, Any]) -> list[str]:
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def make_targets(text: str) -> list[str]:
    return re.findall(r"(?:^|\s)make ([\w-]+)", text)


def test_there_are_workflows_for_tests_docs_and_releases() -> None:
    assert [file.stem for file in WORKFLOWS] == ["docs", "release", "tests"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_says_when_with_which_rights_and_makes_what_there_is(file: Path) -> None:
    workflow = read(file)
    assert workflow["on"]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        for step in job["steps"]:
            assert len({"run", "uses"} & step.keys()) == 1
            assert "@" in step.get("uses", "@"), "an action of a named version"
    targets = [target for command in commands(workflow) for target in make_targets(command)]
    assert targets
    assert set(targets) <= TARGETS


def test_the_workflow_of_tests_makes_what_ci_makes() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "tests.yml")
    ours = make_targets((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    theirs = [target for step in workflow["jobs"]["newest"]["steps"] for target in make_targets(step.get("run", ""))]
    assert theirs == ours


def test_the_workflow_of_tests_runs_every_python_that_is_named() -> None:
    named = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    workflow = read(ROOT / ".github" / "workflows" / "tests.yml")
    assert workflow["jobs"]["newest"]["strategy"]["matrix"]["python"] == named


def test_a_release_is_published_without_a_token() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "release.yml")
    publish = workflow["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == "build"
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", [file for file in FORMS if file.stem != "config"], ids=lambda file: file.stem)
def test_a_form_of_issues_asks_for_something(file: Path) -> None:
    form = read(file)
    assert {"name", "description", "body"} <= form.keys()
    for field in form["body"]:
        assert field["type"] == "textarea"
        assert {"label"} <= field["attributes"].keys()
    assert any(field["validations"]["required"] for field in form["body"] if "validations" in field)


def test_the_wheel_has_every_file_of_the_package_and_no_other(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    package = ROOT / "src" / "partcnn"
    files = {file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert names == {file.relative_to(package.parent).as_posix() for file in files}
    assert {"partcnn/py.typed", "partcnn/model/saving/shipped_runs/demo/model.safetensors"} <= names
