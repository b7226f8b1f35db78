"""The table of measures: what each is called, what it says, which way is better, and where it is computed.

Evaluation, comparison, report, model card and tables loop over it. A measure is a function in `metrics/functional`, a
torchmetrics class in the file of the same name in `metrics`, a row here, and a line in `evaluation/figures.py`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from partcnn.metrics.functional.activation import class_purity, dead_filters
from partcnn.metrics.functional.consistency import consistency, stability
from partcnn.metrics.functional.displacement import (
    COVERAGE_R2,
    coverage,
    displacement_scatter,
    least_location_instability,
    location_instability,
    part_tracking,
)
from partcnn.metrics.functional.interpretability import part_interpretability
from partcnn.metrics.functional.part_purity import part_purity
from partcnn.metrics.functional.pointing import pointing_game

if TYPE_CHECKING:
    from torchmetrics import Metric

_INFINITY = float("inf")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of `Evaluation.summary`.

    Args:
        name: there.
        title, sentence: of its row in the report, where it has one.
        card: its title in the model card; "": it is not in it.
        column: head of its column in tables; those of filters and of categories say whether they have it.
        better: 1: higher is better, −1: lower, 0: neither.
        lowest, highest: what it may be.
        by_filter: its name in `FilterEvaluation`; None: one figure of all filters.
        by_part: the name there of its figures by part.
        is_percent: the report shows a share in percent.
        is_count: a whole number.
        is_first: pages for people show it before the others.
        is_companion: it belongs to the row above.
        is_beside_baselines: the report's row says what filters get that do not look.
        is_optional: it has no row where it is not measured: where no pictures trained on are at hand, or no cell can be
            nobody's.
    """

    name: str
    title: str = ""
    sentence: str = ""
    card: str = ""
    column: str = ""
    is_filter_column: bool = False
    is_category_column: bool = False
    better: int = 0
    lowest: float = 0
    highest: float = _INFINITY
    by_filter: str | None = None
    by_part: str | None = None
    is_percent: bool = False
    is_count: bool = False
    is_first: bool = False
    is_companion: bool = False
    is_beside_baselines: bool = False
    is_optional: bool = False


@dataclass(frozen=True, kw_only=True)
class MetricEntry(Measure):
    """A measure that can be had without an evaluation, as a function of tensors and batch by batch.

    Args:
        function: of tensors.
        metric_name: "file.Class" in `partcnn.metrics`, imported when it is asked for: torchmetrics takes seconds.
    """

    function: Callable[..., Any]
    metric_name: str

    @property
    def metric(self) -> "type[Metric]":
        """The same, batch by batch."""
        file, name = self.metric_name.split(".")
        found: type[Metric] = getattr(importlib.import_module(f"partcnn.metrics.{file}"), name)
        return found


_ROWS = (
    Measure(
        name="parts_followed",
        title="parts followed",
        sentence="Different parts among the best ones of filters with R² of "
        f"{COVERAGE_R2} or more; each filter's chosen on training pictures. Copies of one filter follow one part.",
        card="parts followed by filters, each counted once",
        column="parts",
        is_category_column=True,
        better=1,
        is_count=True,
        is_optional=True,
        is_first=True,
    ),
    Measure(
        name="landmark_error",
        title="landmark error",
        sentence="How far from the annotated parts a linear regression from all filters' places lands, in percent of "
        "the object's box; fitted on training pictures. More filters lower it: compare at the same number.",
        card="landmark error, % of the object's box (lower is better)",
        column="error",
        is_category_column=True,
        better=-1,
        is_optional=True,
        is_first=True,
        is_beside_baselines=True,
    ),
    Measure(
        name="nmi",
        title="NMI of filters and parts",
        sentence="How much the filter that holds an annotated point tells which part it is: normalised mutual "
        "information.",
        card="NMI of filters and parts",
        better=1,
        highest=1,
        is_first=True,
    ),
    Measure(
        name="ari",
        title="ARI of filters and parts",
        sentence="Whether annotated points are of one part just where they are of one filter: adjusted Rand index, 0 "
        "by chance.",
        card="ARI of filters and parts",
        better=1,
        lowest=-1,
        highest=1,
        is_first=True,
    ),
    Measure(name="fg_nmi", better=1, highest=1),
    Measure(name="fg_ari", better=1, lowest=-1, highest=1),
    Measure(
        name="effective_filters",
        title="effective filters",
        sentence="How many filters of unlike maps these are worth; copies of one are worth 1.",
        card="effective number of filters",
        better=1,
        is_first=True,
    ),
    Measure(
        name="crowded",
        title="crowded pairs",
        sentence="Two filters within one cell of each other, share of all pairs on all pictures.",
        card="crowded pairs of filters (lower is better)",
        better=-1,
        highest=1,
        is_percent=True,
        is_first=True,
    ),
    Measure(
        name="landmarks_held",
        title="annotated points held",
        sentence="Share of the annotated points that lie in a filter's cells, not in those of none.",
        column="held",
        better=1,
        highest=1,
        is_percent=True,
        is_optional=True,
    ),
    Measure(
        name="held_outside",
        title="held outside the object",
        sentence="Share of the cells that filters hold whose middle lies outside the object's box.",
        column="outside",
        better=-1,
        highest=1,
        is_percent=True,
        is_optional=True,
    ),
    Measure(
        name="hidden_firing",
        title="fires on hidden parts",
        sentence="A filter fires on 90 % of the pictures that show its part: on how many of those that hide it? Mean "
        "over parts that a filter follows, each filter's chosen on training pictures. One that does not look has 90 %.",
        column="hidden",
        better=-1,
        highest=1,
        is_percent=True,
        is_optional=True,
    ),
    Measure(
        name="steadiness",
        title="steadiness",
        sentence="Share of a filter's movement that is from picture to picture, not between two views of one; mean "
        "over filters. 1 moves exactly with its picture, 0 points anywhere. Needs no annotation.",
        card="steadiness: filters move with their pictures",
        column="steadiness",
        is_filter_column=True,
        is_category_column=True,
        better=1,
        lowest=-1,
        highest=1,
        by_filter="steadiness",
        is_first=True,
        is_beside_baselines=True,
    ),
    Measure(
        name="identity",
        title="identity",
        sentence="On how many pictures a filter is told from the others by what it holds alone, mean over filters; by "
        "chance 1 / number of filters. Needs no annotation.",
        card="identity: filters are known by what they hold",
        column="identity",
        is_filter_column=True,
        is_category_column=True,
        better=1,
        highest=1,
        by_filter="identity",
        is_percent=True,
        is_first=True,
    ),
    Measure(
        name="accuracy",
        title="accuracy",
        sentence="Pictures whose class is named right; where a picture may show several classes, the right answers "
        "to whether it shows each.",
        card="accuracy",
        column="accuracy",
        is_category_column=True,
        better=1,
        highest=1,
        is_percent=True,
        is_first=True,
    ),
    Measure(
        name="mean_average_precision",
        title="mean average precision",
        sentence="Mean over classes of the area under precision against recall, as the threshold of the logit falls: 1 "
        "where every picture that shows the class stands before all others.",
        card="mean average precision",
        column="mAP",
        is_category_column=True,
        better=1,
        highest=1,
        is_percent=True,
        is_first=True,
        is_optional=True,
    ),
    MetricEntry(
        name="part_tracking_r2",
        title="part tracking R²",
        sentence="Mean over all filters, each with its best part. 1 follows the part exactly, 0 is a point that never "
        "moves, below 0 is worse than not looking.",
        card="part tracking R², mean over filters",
        column="R²",
        is_filter_column=True,
        is_category_column=True,
        better=1,
        lowest=-_INFINITY,
        highest=1,
        by_filter="part_tracking_r2",
        by_part="r2_by_part",
        is_first=True,
        is_beside_baselines=True,
        function=part_tracking,
        metric_name="displacement.PartTracking",
    ),
    Measure(
        name="part_tracking_r2_top_quarter",
        title="… best quarter of the filters",
        sentence="Chosen on training pictures, measured on these.",
        better=1,
        lowest=-_INFINITY,
        highest=1,
        is_first=True,
        is_companion=True,
    ),
    Measure(
        name="part_tracking_r2_best",
        title="… the one best filter",
        sentence="Of each category; chosen on training pictures, measured on these.",
        card="part tracking R², the best filter (chosen on training pictures)",
        better=1,
        lowest=-_INFINITY,
        highest=1,
        is_first=True,
        is_companion=True,
    ),
    MetricEntry(
        name="location_instability",
        title="location instability",
        sentence="The paper's measure: how much the distance from peak to part varies, as a share of the picture's "
        "diagonal. Lower is better, but a point that never moves does well too:",
        card="location instability (lower is better)",
        column="instability",
        is_filter_column=True,
        is_category_column=True,
        better=-1,
        by_filter="location_instability",
        function=location_instability,
        metric_name="displacement.LocationInstability",
    ),
    Measure(
        name="constant_point_instability",
        title="… of the middle of the picture",
        sentence="The same measure for a “filter” that always points at the centre.",
        card="the same of a point that never moves",
        column="constant point",
        is_category_column=True,
        is_companion=True,
    ),
    MetricEntry(
        name="least_location_instability",
        better=-1,
        function=least_location_instability,
        metric_name="displacement.LeastLocationInstability",
    ),
    MetricEntry(
        name="displacement_scatter",
        title="displacement scatter",
        sentence="Spread of the arrow from peak to part, as a share of the diagonal; mean of each filter's best part.",
        column="scatter",
        is_filter_column=True,
        better=-1,
        by_filter="displacement_scatter",
        is_beside_baselines=True,
        function=displacement_scatter,
        metric_name="displacement.DisplacementScatter",
    ),
    MetricEntry(
        name="coverage",
        title="coverage",
        sentence=f"Parts that some filter follows with R² of {COVERAGE_R2} or more.",
        card="coverage: share of parts that some filter follows",
        column="coverage",
        is_category_column=True,
        better=1,
        highest=1,
        is_percent=True,
        is_first=True,
        function=coverage,
        metric_name="displacement.Coverage",
    ),
    MetricEntry(
        name="part_interpretability",
        title="part interpretability",
        sentence="On how many pictures of its best part what a filter fires on overlaps the part, mean over all "
        "filters. It depends on the radius of the discs: compare no other radius.",
        card="part interpretability",
        column="interpretability",
        is_filter_column=True,
        is_category_column=True,
        better=1,
        highest=1,
        by_filter="part_interpretability",
        by_part="interpretability_by_part",
        is_percent=True,
        is_beside_baselines=True,
        function=part_interpretability,
        metric_name="interpretability.PartInterpretability",
    ),
    MetricEntry(
        name="pointing_game",
        title="pointing game",
        sentence="On how many pictures of its best part a filter's peak lies in the part, mean over all filters.",
        column="points",
        is_filter_column=True,
        better=1,
        highest=1,
        by_filter="pointing_game",
        by_part="pointing_by_part",
        is_percent=True,
        is_beside_baselines=True,
        function=pointing_game,
        metric_name="pointing.PointingGame",
    ),
    MetricEntry(
        name="consistency",
        title="consistency",
        sentence="Filters with one part within a box of 72 of 224 of the sides around their peak, on 80 % of the "
        "pictures that show it. A point that never moves has it where a part lies near.",
        card="consistency: one part around a filter's peak",
        column="consistent",
        is_filter_column=True,
        better=1,
        highest=1,
        by_filter="consistency",
        by_part="box_by_part",
        is_percent=True,
        is_beside_baselines=True,
        function=consistency,
        metric_name="consistency.FilterConsistency",
    ),
    MetricEntry(
        name="stability",
        title="stability",
        sentence="On how many of the pictures on which a filter fires the parts in that box stay the same under noise, "
        "mean over filters. A point that never moves is stable, and so is a box that holds no part.",
        card="stability: the same parts there under noise",
        column="stable",
        is_filter_column=True,
        better=1,
        highest=1,
        by_filter="stability",
        is_percent=True,
        is_beside_baselines=True,
        function=stability,
        metric_name="consistency.FilterStability",
    ),
    MetricEntry(
        name="part_purity",
        title="part purity",
        sentence="On how many of the ten pictures on which a filter fires most its best part lies within 32 of 224 of "
        "the sides around its peak, mean over filters; left and right are one part.",
        card="part purity: one part in the window where a filter fires most",
        column="part purity",
        is_filter_column=True,
        better=1,
        highest=1,
        by_filter="part_purity",
        is_percent=True,
        is_beside_baselines=True,
        function=part_purity,
        metric_name="part_purity.PartPurity",
    ),
    MetricEntry(
        name="class_purity",
        title="class purity",
        sentence="Share of a filter's activation that falls on its category, mean over all.",
        column="class purity",
        is_filter_column=True,
        is_category_column=True,
        better=1,
        highest=1,
        by_filter="class_purity",
        is_percent=True,
        is_beside_baselines=True,
        function=class_purity,
        metric_name="activation.ClassPurity",
    ),
    Measure(
        name="presence",
        title="presence",
        sentence="On how many of its category's pictures a filter fires, or, where filters compete, holds a cell by "
        "more than half; mean over filters.",
        column="presence",
        is_filter_column=True,
        highest=1,
        by_filter="presence",
        is_percent=True,
    ),
    MetricEntry(
        name="dead_filters",
        title="dead filters",
        sentence="Silent on more than half of their category's pictures; their R² counts as 0.",
        card="dead filters",
        column="dead",
        is_category_column=True,
        better=-1,
        highest=1,
        by_filter="is_dead",
        is_percent=True,
        function=dead_filters,
        metric_name="activation.DeadFilters",
    ),
    Measure(name="num_filters", card="filters measured", is_count=True),
    Measure(name="num_images", card="pictures measured on, all kept out of training", is_count=True),
)

MEASURES: dict[str, Measure] = {row.name: row for row in _ROWS}  # in the order of the summary
METRICS: dict[str, MetricEntry] = {row.name: row for row in _ROWS if isinstance(row, MetricEntry)}


def measures_for_people() -> list[Measure]:
    """All rows in the order of pages for people: what decides comes first."""
    return sorted(MEASURES.values(), key=lambda measure: not measure.is_first)
