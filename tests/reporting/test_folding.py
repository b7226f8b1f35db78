"""A page of very many filters shows some of them, says so, and its sums are still sums."""

import json
import re
from pathlib import Path

import pytest

from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import evaluate
from partcnn.reporting import folding, report
from partcnn.reporting.folding import folded
from partcnn.reporting.gathering import gather
from tests.reporting.test_report import small_model

KEPT = 4


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MOST_FILTERS", KEPT)


def test_those_that_add_most_are_shown_and_the_rest_goes_into_the_remainder(tmp_path: Path) -> None:
    dataset = load_dataset("demo:4", category="cat", split="all")
    model = small_model(dataset, objective="exact")
    evaluation = evaluate(model, dataset)
    gathered = gather(model, dataset, evaluation)
    shown, some = folded(evaluation, gathered)
    kept = [one.filter for one in shown.filters]
    use = sum(one.shares.abs() for one in gathered.predicted)
    assert kept == sorted(use.argsort(descending=True)[:KEPT].tolist())  # type: ignore[union-attr]
    assert shown.summary == evaluation.summary
    assert (some.cells.shape[1], some.scores.shape[1], len(some.top), len(some.top_maps)) == (KEPT,) * 4
    assert some.likeness.shape == (KEPT, KEPT)
    for before, after in zip(gathered.predicted, some.predicted, strict=True):
        assert after.shares.tolist() == before.shares[kept].tolist()
        total = after.bias + after.remainder + float(after.shares.sum())
        assert total == pytest.approx(before.bias + before.remainder + float(before.shares.sum()), abs=1e-4)
    text = report(model, dataset, tmp_path / "page.html", evaluation=evaluation).read_text()
    assert f"{len(evaluation.filters)} filters; this page shows and counts the {KEPT} that add most" in text
    found = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert data["isFolded"]
    assert [one["id"] for one in data["filters"]] == kept
    assert data["shares"]["shape"] == [len(gathered.pictures), KEPT]


def test_filters_that_compete_stay_all() -> None:
    dataset = load_dataset("demo:4", category="cat", split="all")
    model = small_model(dataset)
    evaluation = evaluate(model, dataset)
    assert folded(evaluation, gather(model, dataset, evaluation))[0] is evaluation
