"""What filters that do not look get on the very pictures that were measured."""

import torch
from torch import Tensor

from partcnn.evaluation.figures import OF_TABLES, mean
from partcnn.evaluation.observation.observer import Observation
from partcnn.metrics.functional.displacement import (
    COVERAGE_R2,
    instability_of_table,
    least_location_instability,
    tracking_of_table,
)
from partcnn.metrics.functional.results import hit_shares

BASELINES = {"constant_point": slice(0, 1), "random_filter": slice(1, None)}  # of the baseline filters observed


def measured_baselines(
    observation: Observation, owners: list[int], diagonal: float
) -> tuple[dict[str, dict[str, float]], dict[int, float]]:
    """Baseline → measure → mean over categories; and the constant point's location instability by category."""
    found = {} if observation.parts is None else observation.parts.baseline_tables
    tables = {label: table.by_part() for label, table in found.items()}
    by_category = {
        name: {label: _of_category(observation, label, tables, filters, diagonal) for label in owners}
        for name, filters in BASELINES.items()
    }
    names = (*OF_TABLES, "part_interpretability", "pointing_game")
    means = {
        name: {measure: mean(one.get(measure, float("nan")) for one in figures.values()) for measure in names}
        | _of_all_categories(observation, owners, tables, BASELINES[name], diagonal)
        for name, figures in by_category.items()
    }
    nan = float("nan")
    constant = {
        label: figures.get("location_instability", nan) for label, figures in by_category["constant_point"].items()
    }
    return means, constant


def _of_all_categories(
    observation: Observation, owners: list[int], tables: dict[int, Tensor], filters: slice, diagonal: float
) -> dict[str, float]:
    """They fire equally on every picture of every class: never dead, and as pure as the number of classes allows."""
    known = {"purity": 1 / len(observation.confusion), "dead_filters": 0.0}
    if observation.parts is None:
        return known
    instability = [instability_of_table(table[filters], diagonal).per_filter for table in tables.values()]
    r2 = [tracking_of_table(tables[label][filters], diagonal).per_filter for label in owners if label in tables]
    measured = [(~one.isnan()).any(dim=0) for one in r2]
    covered = [(one >= COVERAGE_R2).any(dim=0)[own] for one, own in zip(r2, measured, strict=True)]
    return known | {
        "coverage": mean(torch.cat(covered).tolist()) if covered else float("nan"),
        "least_location_instability": least_location_instability(instability) if instability else float("nan"),
    }


def _of_category(
    observation: Observation, label: int, tables: dict[int, Tensor], filters: slice, diagonal: float
) -> dict[str, float]:
    if observation.parts is None or label not in tables:
        return {}
    table = tables[label][filters]
    hits = observation.parts.baseline_hits(label)
    return {
        **{name: measure(table, diagonal, None).value for name, measure in OF_TABLES.items()},
        "part_interpretability": hit_shares(hits.overlap[filters], hits.num_shown).value,
        "pointing_game": hit_shares(hits.pointing[filters], hits.num_shown).value,
    }
