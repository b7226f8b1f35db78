"""The network that comes with the package is small, right, measured, and stays as it is."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import partcnn
from partcnn.app.drawings import unseen_drawings, write_drawings
from partcnn.app.runs import opening
from partcnn.app.runs.audits import run_audit
from partcnn.app.runs.opening import evaluate_run, kept_figures, open_network, open_run
from partcnn.app.runs.place import new_run
from partcnn.datasets.samples import Sample
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.errors import RunError
from partcnn.foundation.files import file_digest
from partcnn.model.saving.checkpoint import save_names
from partcnn.model.saving.shipped import SHIPPED_DIRECTORY, is_shipped


def content() -> dict[str, str | None]:
    return {str(file): file_digest(file) for file in SHIPPED_DIRECTORY.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def unseen() -> list[Sample]:
    return unseen_drawings().samples


def test_it_is_under_a_megabyte() -> None:
    assert sum(file.stat().st_size for file in SHIPPED_DIRECTORY.rglob("*") if file.is_file()) < 1e6


def test_it_says_right_what_drawings_show_that_it_never_saw(unseen: list[Sample]) -> None:
    model = partcnn.load("demo:")
    chosen = unseen[:: len(unseen) // 8]
    assert {sample.label for sample in chosen} == {0, 1}
    for sample in chosen:
        why = partcnn.explain(model, sample.load_image())
        assert why.label == ("background", "giraffe")[sample.label]
        assert why.logit == pytest.approx(
            why.bias + why.surroundings + sum(one.value for one in why.contributions), abs=1e-4
        )


def test_its_filters_lie_on_the_parts_that_they_are_said_to_follow(unseen: list[Sample]) -> None:
    """The filter that follows the head is nearer to it than the one that follows the legs, and the other way round."""
    run = open_run("demo:")
    figures = kept_figures(run.directory)
    assert isinstance(figures, Evaluation)
    parts = ("head", "legs")
    best = {part: max(figures.filters, key=lambda one, part=part: one.r2_by_part[part]).filter for part in parts}
    giraffes = [sample for sample in unseen if sample.label == 1 and {*parts} <= sample.parts.keys()][:8]
    for sample in giraffes:
        places = {one.filter: one.position_px for one in partcnn.explain(run.model, sample.load_image()).contributions}
        for part, other in (parts, parts[::-1]):
            near, far = (math.dist(places[best[one]], sample.landmark(part)) for one in (part, other))
            assert near < far, f"{sample.image_id}: {part}"


def test_its_figures_and_its_audit_are_of_its_weights_and_are_good() -> None:
    run = open_run("demo:")
    figures = kept_figures(run.directory)
    assert figures is not None
    assert figures.summary["accuracy"] > 0.95
    assert figures.summary["parts_followed"] >= 3
    before = content()
    assert run_audit(run) is not None
    assert content() == before


def test_nothing_is_written_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content()
    run = open_run("demo:")
    with pytest.raises(RunError, match="comes with the package"):
        partcnn.save(run.model, "demo:")
    with pytest.raises(RunError, match="comes with the package"):
        save_names(run.model, SHIPPED_DIRECTORY)
    with pytest.raises(RunError, match=r"^out: demo: comes with the package"), new_run(Path("demo:"), force=True):
        pass
    figures = kept_figures(run.directory)
    assert figures is not None
    others = replace(figures, summary=figures.summary | {"accuracy": 0.5})
    monkeypatch.setattr(opening, "_measured", lambda *_, **__: others)
    assert evaluate_run(run) == others
    assert content() == before
    partcnn.save(open_network("demo:"), tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["classes"] == ["background", "giraffe"]


def test_other_names_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_shipped("demo")
    with pytest.raises(RunError, match="demo:40"):
        partcnn.load("demo:40")


def test_drawings_to_try_it_on_are_named_by_what_they_show(tmp_path: Path) -> None:
    files = write_drawings(unseen_drawings(), tmp_path / "drawn", num_pictures=1)
    assert [file.name.partition("-")[0] for file in files] == ["background", "giraffe"]
    assert all(file.stat().st_size > 1000 for file in files)
