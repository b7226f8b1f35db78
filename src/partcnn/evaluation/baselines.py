"""What filters that do not look get on the very pictures that were measured."""

import torch
from torch import Tensor

from partcnn.evaluation.figures import OF_TABLES, mean
from partcnn.evaluation.observation.layers import ALL
from partcnn.evaluation.observation.observer import Observation
from partcnn.evaluation.observation.strongest import joined_tables
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
    labels = {one: [label for label in observation.top.classes_of(one) if label in found] for one in owners}
    tables = {
        one: joined_tables([found[label].by_part() for label in own], observation.protocol.top)
        for one, own in labels.items()
        if own
    }
    by_category = {
        name: {one: _of_category(observation, labels[one], tables.get(one), filters, diagonal) for one in owners}
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
    known = {"class_purity": _blind_purity(observation, owners), "dead_filters": 0.0}
    if observation.parts is None:
        return known
    known_tables = observation.parts.baseline_tables
    by_class = [known_tables[label].by_part()[filters] for label in observation.top.labels if label in known_tables]
    instability = [instability_of_table(table, diagonal).per_filter for table in by_class]
    r2 = [tracking_of_table(table[filters], diagonal).per_filter for table in tables.values()]
    measured = [(~one.isnan()).any(dim=0) for one in r2]
    covered = [(one >= COVERAGE_R2).any(dim=0)[own] for one, own in zip(r2, measured, strict=True)]
    return known | {
        "coverage": mean(torch.cat(covered).tolist()) if covered else float("nan"),
        "least_location_instability": least_location_instability(instability) if instability else float("nan"),
    }


def _blind_purity(observation: Observation, owners: list[int]) -> float:
    if ALL not in owners:
        return 1 / observation.top.groups.num_classes
    return 1 / 2 if observation.top.has_background else float("nan")  # objects against the background


def _of_category(
    observation: Observation, labels: list[int], tables: Tensor | None, filters: slice, diagonal: float
) -> dict[str, float]:
    if observation.parts is None or tables is None:
        return {}
    table = tables[filters]
    hits = observation.parts.baseline_hits(labels)
    return {
        **{name: measure(table, diagonal, None).value for name, measure in OF_TABLES.items()},
        "part_interpretability": hit_shares(hits.overlap[filters], hits.num_shown).value,
        "pointing_game": hit_shares(hits.pointing[filters], hits.num_shown).value,
    }
