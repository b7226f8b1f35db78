"""How well filters follow and cover object parts: functions of tensors. See docs/metrics.md for which to quote."""

from partcnn.metrics.functional.absence import hidden_firing
from partcnn.metrics.functional.activation import (
    activation_shares,
    category_confusion,
    class_purity,
    dead_filters,
    filter_purity,
)
from partcnn.metrics.functional.agreement import PartAgreement, part_agreement
from partcnn.metrics.functional.baselines import (
    Baseline,
    constant_peaks,
    constant_point_baseline,
    measure_baseline,
    random_peaks,
)
from partcnn.metrics.functional.consistency import Consistency, consistency, parts_in_boxes, stability
from partcnn.metrics.functional.crowding import crowded_filters
from partcnn.metrics.functional.displacement import (
    coverage,
    displacement_scatter,
    instability_of_table,
    least_location_instability,
    location_instability,
    part_tracking,
    scatter_of_table,
    tracking_of_table,
)
from partcnn.metrics.functional.identity import identity
from partcnn.metrics.functional.interpretability import part_interpretability, part_ious
from partcnn.metrics.functional.landmarks import LandmarkRegression, landmark_regression_error
from partcnn.metrics.functional.map_statistics import MapMoments, participation_ratio
from partcnn.metrics.functional.part_purity import merged_sides, part_purity
from partcnn.metrics.functional.pointing import pointing_game, pointing_hits
from partcnn.metrics.functional.quantile import activation_histogram, activation_thresholds
from partcnn.metrics.functional.regions import box_region, cell_discs, disc_region, grid_points, grown_regions
from partcnn.metrics.functional.results import BestPartMetric, PartMetric
from partcnn.metrics.functional.steadiness import steadiness
from partcnn.metrics.functional.strongest import merged_tables, strongest_images

__all__ = [
    "Baseline",
    "BestPartMetric",
    "Consistency",
    "LandmarkRegression",
    "MapMoments",
    "PartAgreement",
    "PartMetric",
    "activation_histogram",
    "activation_shares",
    "activation_thresholds",
    "box_region",
    "category_confusion",
    "cell_discs",
    "class_purity",
    "consistency",
    "constant_peaks",
    "constant_point_baseline",
    "coverage",
    "crowded_filters",
    "dead_filters",
    "disc_region",
    "displacement_scatter",
    "filter_purity",
    "grid_points",
    "grown_regions",
    "hidden_firing",
    "identity",
    "instability_of_table",
    "landmark_regression_error",
    "least_location_instability",
    "location_instability",
    "measure_baseline",
    "merged_sides",
    "merged_tables",
    "part_agreement",
    "part_interpretability",
    "part_ious",
    "part_purity",
    "part_tracking",
    "participation_ratio",
    "parts_in_boxes",
    "pointing_game",
    "pointing_hits",
    "random_peaks",
    "scatter_of_table",
    "stability",
    "steadiness",
    "strongest_images",
    "tracking_of_table",
]
