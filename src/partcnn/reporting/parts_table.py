"""For every annotated part the filters that follow it, and the parts that none follows."""

from dataclasses import dataclass

from partcnn.evaluation import COVERAGE_R2, Evaluation, FilterEvaluation
from partcnn.foundation.number_text import is_number


@dataclass(frozen=True)
class Follower:
    filter: int
    category: str
    r2: float  # of this part
    is_best: bool  # whether this part is the filter's best


@dataclass(frozen=True)
class PartRow:
    part: str
    followers: list[Follower]  # R² of at least the threshold, the highest first
    nearest: Follower | None  # the best of the others, where none follows
    is_measured: bool


def part_rows(evaluation: Evaluation) -> list[PartRow]:
    """One per annotated part, the most followed first."""
    rows = []
    for part in evaluation.parts:
        alive = [one for one in evaluation.filters if not one.is_dead and is_number(one.r2_by_part.get(part))]
        found = sorted((_follower(one, part) for one in alive), key=lambda one: -one.r2)
        followers = [one for one in found if one.r2 >= COVERAGE_R2]
        measured = any(is_number(one.r2_by_part.get(part)) for one in evaluation.filters)
        rows.append(PartRow(part, followers, found[0] if found and not followers else None, measured))
    return sorted(rows, key=lambda row: (-len(row.followers), -(row.nearest.r2 if row.nearest else 0)))


def _follower(one: FilterEvaluation, part: str) -> Follower:
    return Follower(one.filter, one.category, one.r2_by_part[part], one.best_part == part)
