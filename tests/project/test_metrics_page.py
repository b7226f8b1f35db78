"""docs/metrics.md speaks of every measure, and its figures are those of the files that commands write."""

import json
import re
from pathlib import Path

import pytest

from partcnn.metrics import METRICS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METRICS)
def test_every_measure_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_picture_and_result_is_there() -> None:
    links = re.findall(r"\]\(((?:images|results)/[^)]+)\)", PAGE)
    assert len(links) >= 8
    assert [link for link in links if not (DOCS / link).is_file()] == []


def test_the_constant_points_figures_are_those_that_the_command_wrote() -> None:
    rows = json.loads((DOCS / "results" / "constant_point.json").read_text())["rows"]

    def mean(measure: str) -> float:
        return sum(row["constant point"][measure] for row in rows) / len(rows)

    assert f"of {len(rows)} Animal-Part categories" in PAGE
    assert f"location instability of **{mean('location_instability'):.3f}**" in PAGE
    assert PAGE.count(f"{mean('pointing_game'):.0%}".replace("%", " %")) == 2
    assert f"({mean('displacement_scatter'):.3f}\n" in PAGE
    assert max(abs(row["constant point"]["part_tracking_r2"]) for row in rows) < 1e-9
