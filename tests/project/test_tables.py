"""Cells of the benchmarks' tables: what was not measured never counts, and never stands there as a number."""

import importlib
import math
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("tables")


@pytest.mark.parametrize("unmeasured", [None, math.nan])
def test_what_was_not_measured_is_left_out(tables: ModuleType, unmeasured: float | None) -> None:
    assert tables.measured_or_none(unmeasured) is None
    assert tables.mean_of([unmeasured, 0.25, 0.35], 1, 100) == "30.0"
    assert tables.mean_and_spread([unmeasured, 0.25, 0.35], 1, 100) == "30.0 ± 5.0"
    assert tables.mean_and_spread([unmeasured, 0.25], 1, 100) == "25.0"
    assert tables.mean_of([unmeasured], 1, 100) == tables.mean_and_spread([], 1, 100) == "–"
