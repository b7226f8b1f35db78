"""What filters get of every measure that do not look, that are copies, and that are perfect: docs/metrics.md's table.

Drawn: objects cut to their boxes, K = 6 parts. Parts move about their places by 0.09 of the side, and the whole object
by 0.03; part 0, the trunk, lies in the middle. A filter's map is a bump at its point, its point is exact.
"""

import functools
import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from partcnn.evaluation.together import num_followed
from partcnn.metrics import functional as measures

NUM_PARTS = 6
SIDE, CELLS = 224, 28
NUM_TRAIN, NUM_TEST = 150, 150
CASES = ("constant point", "random filters", "one perfect filter, 6 times", "6 perfect filters")
MEASURES = (
    "consistency", "stability", "part purity", "part tracking R²", "parts followed", "landmark error", "NMI", "ARI",
    "effective filters", "crowded pairs",
)  # fmt: skip
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
MIDDLES = torch.tensor([[0.5, 0.5], [0.2, 0.2], [0.8, 0.2], [0.2, 0.8], [0.8, 0.8], [0.5, 0.15]])


def drawn_landmarks(number: int, generator: torch.Generator) -> Tensor:  # [picture, part, 2] in shares of the picture
    moved = 0.09 * torch.randn(number, NUM_PARTS, 2, generator=generator)
    whole = 0.03 * torch.randn(number, 1, 2, generator=generator)
    return (MIDDLES + moved + whole).clamp(0.01, 0.99).double()


def points_of(case: str, landmarks: Tensor, generator: torch.Generator) -> Tensor:  # [picture, filter, 2]
    number = len(landmarks)
    if case == "constant point":
        return torch.full((number, NUM_PARTS, 2), 0.5).double()
    if case == "random filters":
        return torch.rand(number, NUM_PARTS, 2, generator=generator, dtype=torch.float64)
    return landmarks if case == "6 perfect filters" else landmarks[:, 1:2].expand(-1, NUM_PARTS, -1)


def maps_of(points: Tensor) -> Tensor:  # [picture, filter, row, col]
    cells = (torch.arange(CELLS) + 0.5) / CELLS
    across, down = ((cells - points[..., axis, None]).square() for axis in (0, 1))
    return torch.exp(-(down[..., :, None] + across[..., None, :]) / (2 * 0.05**2)).float()


@functools.cache
def figures(case: str) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    train, test = (drawn_landmarks(number, generator) for number in (NUM_TRAIN, NUM_TEST))
    train_points, points, noisy = (points_of(case, one, generator) for one in (train, test, test))
    pixels = {"peaks": SIDE * points, "landmarks": SIDE * test, "size": (SIDE, SIDE)}
    seen = (pixels["peaks"], torch.ones(points.shape[:2]), pixels["landmarks"])
    learned = measures.part_tracking(SIDE * train_points, seen[1], SIDE * train, pixels["size"], top=NUM_TRAIN)
    tracking = measures.part_tracking(*seen, pixels["size"], top=NUM_TEST)
    maps = maps_of(points)
    agreement = measures.part_agreement(maps, test.float(), input_size=(SIDE, SIDE))
    cells = (points * CELLS - 0.5).flip(-1)
    return {
        "consistency": measures.consistency(*seen, pixels["size"]).value,
        "stability": measures.stability(*seen[:2], SIDE * noisy, *seen[1:], pixels["size"]).mean().item(),
        "part purity": measures.part_purity(*seen, pixels["size"]).value,
        "part tracking R²": tracking.value,
        "parts followed": float(num_followed(tracking.per_filter, learned.best_part)),
        "landmark error": measures.landmark_regression_error(train_points, train, points, test).value,
        "NMI": agreement.nmi,
        "ARI": agreement.ari,
        "effective filters": measures.participation_ratio(measures.MapMoments.of(maps).correlation),
        "crowded pairs": measures.crowded_filters(cells, torch.ones(points.shape[:2], dtype=torch.bool)),
    }


def test_perfect_filters_have_the_best_of_every_measure() -> None:
    found = figures("6 perfect filters")
    best = {"consistency", "stability", "part purity", "part tracking R²"}
    assert {name: found[name] for name in best} == pytest.approx(dict.fromkeys(best, 1.0))
    assert found["parts followed"] == NUM_PARTS
    assert found["landmark error"] < 1e-6
    assert min(found["NMI"], found["ARI"]) > 0.95
    assert found["effective filters"] > 5
    assert found["crowded pairs"] < 0.02


def test_copies_win_whatever_looks_at_single_filters_and_none_of_what_looks_at_all() -> None:
    found = figures("one perfect filter, 6 times")
    best = {"consistency", "stability", "part purity", "part tracking R²", "parts followed", "crowded pairs"}
    assert {name: found[name] for name in best} == pytest.approx(dict.fromkeys(best, 1.0))
    assert found["effective filters"] == pytest.approx(1.0, abs=1e-4)
    assert found["landmark error"] > 5
    assert max(found["NMI"], abs(found["ARI"])) < 0.05


def test_a_constant_point_wins_consistency_and_stability_without_looking() -> None:
    found = figures("constant point")
    assert found["consistency"] == found["stability"] == 1
    assert 0.1 < found["part purity"] < 0.9
    assert found["part tracking R²"] == pytest.approx(0, abs=1e-9)
    assert found["parts followed"] == 0
    assert found["landmark error"] > figures("one perfect filter, 6 times")["landmark error"]
    assert found["crowded pairs"] == 1
    assert found["NMI"] == pytest.approx(0, abs=1e-6)


def test_random_filters_win_nothing_but_that_they_are_many() -> None:
    found = figures("random filters")
    assert found["consistency"] == found["parts followed"] == 0
    assert found["part purity"] < 0.4
    assert found["stability"] < 0.6
    assert found["part tracking R²"] < 0
    assert max(found["NMI"], abs(found["ARI"])) < 0.05
    assert found["effective filters"] > 5
    assert found["crowded pairs"] < 0.1


@pytest.mark.parametrize("measure", MEASURES)
def test_the_table_of_the_page_has_these_figures(measure: str) -> None:
    section = PAGE.read_text(encoding="utf-8").split("## How it is gamed")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    assert rows[0][1:-1] == [*CASES]
    (row,) = (row for row in rows if row[0] == measure)
    assert row[1:-1] == [shown(measure, figures(case)[measure]) for case in CASES]
    assert re.fullmatch(r"\S.*\.", row[-1])  # how, in a sentence


def shown(measure: str, value: float) -> str:
    digits = 0 if measure == "parts followed" else 1 if measure in ("landmark error", "effective filters") else 2
    text = f"{0.0 if round(value, digits) == 0 else value:.{digits}f}"
    return "–" if math.isnan(value) else text.replace("-", "−")
