"""Filters that share a name are one line of an explanation, and the lines add up to what the filters do."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from partcnn.app.cli.tables import contribution_table
from partcnn.explanation.contribution import Contribution
from partcnn.explanation.explanation import Explanation, explain
from partcnn.explanation.placed_map import PlacedMap
from partcnn.explanation.terms import terms_of
from partcnn.model.naming import name_filters
from partcnn.plot import contribution_bars
from tests.tiling_network import tiling_network

_MAP = PlacedMap(torch.zeros(1, 1))
SHARES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12)


def contributions(shares: list[float], silent: tuple[int, ...] = ()) -> list[Contribution]:
    made = [
        Contribution(number, value, 0.0 if number in silent else 1.0, (number, 1.0), (0, 0, 1, 1), "cat", _MAP, (9, 9))
        for number, value in enumerate(shares)
    ]
    return sorted(made, key=lambda one: -abs(one.value))


@given(SHARES, st.dictionaries(st.integers(0, 11), st.sampled_from(["ear", "leg", "nose"])))
def test_lines_hold_every_filter_once_and_have_the_same_sum(shares: list[float], names: dict[int, str]) -> None:
    found = terms_of(contributions(shares), names)
    assert sorted(number for term in found for number in term.filters) == list(range(len(shares)))
    assert math.fsum(term.value for term in found) == pytest.approx(math.fsum(shares), abs=1e-9)
    for term in found:
        assert term.value == pytest.approx(sum(shares[number] for number in term.filters), abs=1e-9)
        assert {names.get(number) for number in term.filters} == {term.name}
    named = [term.name for term in found if term.name is not None]
    assert len(named) == len(set(named))
    assert [abs(term.value) for term in found] == sorted((abs(term.value) for term in found), reverse=True)


def test_without_names_a_line_is_a_filter_in_the_same_order() -> None:
    given = contributions([1.0, -3.0, 2.0])
    assert [term.contributions for term in terms_of(given, {})] == [(one,) for one in given]


def test_a_shared_line_is_at_its_strongest_filter_that_found_something_and_was_not_hidden_as_one() -> None:
    (term,) = terms_of(contributions([1.0, -3.0, 2.0], silent=(1,)), dict.fromkeys(range(3), "ear"))
    assert term.filters == (0, 1, 2)
    assert term.strongest.filter == 2
    assert term.hidden_change is None
    assert term.score == 1.0


@pytest.fixture
def why() -> Explanation:
    model = tiling_network(4)
    name_filters(model, {0: "body", 2: "body", 1: "foot"})
    picture = torch.rand(3, *model_size(model), generator=torch.Generator().manual_seed(0))
    return explain(model, picture, "spots", hide=2)


def model_size(model: torch.nn.Module) -> tuple[int, int]:
    from partcnn.model.network import conversion_of

    return conversion_of(model).preprocessing.input_size


def test_an_explanation_speaks_the_names_of_its_network(why: Explanation) -> None:
    assert {(term.name, term.filters) for term in why.terms} == {("body", (0, 2)), ("foot", (1,)), (None, (3,))}
    assert why.surroundings is not None
    total = why.bias + why.surroundings + sum(term.value for term in why.terms) + why.completeness_error
    assert total == pytest.approx(why.logit, abs=1e-4)


def test_json_has_names_and_lines_beside_what_it_had(why: Explanation, tmp_path: Path) -> None:
    told = json.loads(why.save(tmp_path / "why.json").read_text())
    assert {one["filter"]: one["name"] for one in told["contributions"]} == {0: "body", 1: "foot", 2: "body", 3: None}
    lines = {one["name"]: (one["filters"], one["value"]) for one in told["terms"]}
    shares = {one["filter"]: one["value"] for one in told["contributions"]}
    assert lines["body"] == ([0, 2], pytest.approx(shares[0] + shares[2], abs=1e-6))


def test_without_names_json_is_as_it_was() -> None:
    model = tiling_network(3)
    told = explain(model, torch.rand(3, *model_size(model)), "spots").to_dict()
    assert "terms" not in told
    assert all("name" not in one for one in told["contributions"])


def test_the_table_and_the_bars_have_a_row_for_each_line(why: Explanation) -> None:
    table = contribution_table("p.png", why, {3: "tail"})
    called, filters = (
        next(list(c.cells) for c in table.columns if c.header == name) for name in ("name or part", "filter")
    )
    assert dict(zip(filters, called, strict=True)) == {"0, 2": "body", "1": "foot", "3": "tail"}
    axis = contribution_bars(why, Figure().subplots())
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert "body (0, 2)" in names
    assert "foot (1)" in names
    widths = dict(zip(names, (bar.get_width() for bar in axis.patches), strict=True))
    assert sum(width for name, width in widths.items() if name != "logit") == pytest.approx(why.logit, abs=1e-4)
