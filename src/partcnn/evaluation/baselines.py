"""What filters that do not look get on the very pictures that were measured."""

from partcnn.evaluation.figures import mean
from partcnn.observation import Observation
from partcnn.part_metrics import instability_of_table, scatter_of_table, tracking_of_table
from partcnn.part_metrics.results import hit_shares

BASELINES = {"constant_point": slice(0, 1), "random_filter": slice(1, None)}  # of the baseline filters observed


def measured_baselines(
    observation: Observation, owners: list[int], diagonal: float
) -> tuple[dict[str, dict[str, float]], dict[int, float]]:
    """Baseline → measure → mean over categories; and the constant point's location instability by category."""
    by_category = {
        name: {label: _of_category(observation, label, filters, diagonal) for label in owners}
        for name, filters in BASELINES.items()
    }
    num_classes = len(observation.confusion)
    names = (
        "location_instability",
        "part_tracking_r2",
        "displacement_scatter",
        "part_interpretability",
        "pointing_game",
    )
    means = {
        name: {measure: mean(figures.get(measure, float("nan")) for figures in found.values()) for measure in names}
        | {"purity": 1 / num_classes, "coverage": 0.0, "dead_filters": 0.0}
        for name, found in by_category.items()
    }
    nan = float("nan")
    constant = {
        label: figures.get("location_instability", nan) for label, figures in by_category["constant_point"].items()
    }
    return means, constant


def _of_category(observation: Observation, label: int, filters: slice, diagonal: float) -> dict[str, float]:
    if observation.parts is None or label not in observation.parts.baseline_tables:
        return {}
    table = observation.parts.baseline_tables[label].by_part()[filters]
    hits = observation.parts.baseline_hits(label)
    return {
        "location_instability": instability_of_table(table, diagonal).value,
        "part_tracking_r2": tracking_of_table(table, diagonal).value,
        "displacement_scatter": scatter_of_table(table, diagonal).value,
        "part_interpretability": hit_shares(hits.overlap[filters], hits.num_shown).value,
        "pointing_game": hit_shares(hits.pointing[filters], hits.num_shown).value,
    }
