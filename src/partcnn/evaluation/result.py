"""Figures of a network on a data set: in all, by category, by part, by filter and by split; as tables and files."""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from partcnn.evaluation.faithfulness_result import Faithfulness
from partcnn.evaluation.files import check_kinds, csv_text, json_text, with_nan
from partcnn.foundation.earlier_names import with_present_names
from partcnn.foundation.errors import DataError
from partcnn.foundation.files import write_text
from partcnn.foundation.number_text import is_number
from partcnn.metrics.functional.displacement import COVERAGE_R2 as COVERAGE_R2  # of the package's face
from partcnn.metrics.measures import MEASURES, Measure, measures_for_people
from partcnn.model.mask import ALL_CATEGORIES

# 1 had no categories, parts, splits, intervals, baselines, protocol; 2 no filters' `others`; in 1–3 `class_purity` was
# `purity`.
SCHEMA_VERSION = 4
_NOTHING = "–"
_LEFT_OUT = ("presence", "consistency", "stability", "part_purity")  # of the filters' table in a terminal
_LIES_ON = 0.1  # a filter lies on a part, where its place does so on this share of the pictures that show it


@dataclass(frozen=True)
class TopImage:
    """A picture on which a filter fires strongly."""

    image_path: str
    sample: int  # index in the data set's samples
    score: float  # activation at the peak
    peak_px: tuple[float, float]  # (x, y) in continuous pixels of the network's input, not of the file
    peak_cell: tuple[int, int]  # (row, col)


@dataclass(frozen=True)
class FilterEvaluation:
    """One filter of the top part layer, on the pictures of its category; see docs/metrics.md."""

    layer: str
    filter: int
    category: str  # the class it serves, or `ALL_CATEGORIES`
    best_part: str | None  # of highest R²; None without annotated parts, and for a dead filter
    part_tracking_r2: float  # of the best part; nan without annotated parts; 0 for a dead filter
    r2_by_part: dict[str, float]
    location_instability: float  # mean over parts, fraction of the diagonal
    displacement_scatter: float  # of the best part, fraction of the diagonal
    is_dead: bool
    class_weight: dict[str, float]  # mean contribution to each class's logit
    top_images: list[TopImage] = field(default_factory=list)
    part_interpretability: float = math.nan  # of its best part, a share of that part's pictures
    interpretability_by_part: dict[str, float] = field(default_factory=dict)
    pointing_game: float = math.nan  # of its best part, a share of that part's pictures
    pointing_by_part: dict[str, float] = field(default_factory=dict)
    class_purity: float = math.nan  # share of its activation that falls on its category
    activation_share: dict[str, float] = field(default_factory=dict)  # on each class: a row of the confusion table
    activation_threshold: float = math.nan  # of part interpretability
    steadiness: float = math.nan  # share of its movement that is between pictures, not between views of one
    identity: float = math.nan  # share of pictures on which it is known by the feature under it
    presence: float = math.nan  # share of its category's pictures on which it fires
    consistency: float = math.nan  # 1: some part lies in its box on 80 % of that part's pictures; 0: none does
    box_by_part: dict[str, float] = field(default_factory=dict)  # share of a part's pictures with it in the box
    stability: float = math.nan  # share of pictures on which the parts in its box stay the same under noise
    part_purity: float = math.nan  # of its best part, a share of its ten strongest pictures
    others: dict[str, float] = field(default_factory=dict)  # measures that have no field of their own

    @property
    def purity(self) -> float:
        """The earlier name of `class_purity`."""
        return self.class_purity

    def figure(self, measure: Measure) -> float:
        """A row of the table of measures; nan where it was not taken of each filter."""
        name = measure.by_filter or ""
        own: float = getattr(self, name, math.nan)
        return self.others.get(name, own)

    @property
    def named_part(self) -> tuple[str, bool] | None:
        """Of the parts that it follows, with R² of 0.5 or more, the one that it lies on most; and whether it does.

        A part may be followed from beside it. None: it follows no part.
        """
        followed = [part for part, r2 in self.r2_by_part.items() if r2 >= COVERAGE_R2 and not self.is_dead]
        lies_on = {part: self.pointing_by_part.get(part, math.nan) for part in followed}
        known = {part: share for part, share in lies_on.items() if not math.isnan(share)}
        if not followed:
            return None
        if not known:
            return max(followed, key=lambda part: self.r2_by_part[part]), True
        part = max(known, key=lambda part: (known[part], self.r2_by_part[part]))
        return part, known[part] >= _LIES_ON

    @property
    def part_name(self) -> str | None:
        """What to call it by: "legs", or "by the legs" where it follows them from beside. None: as of `named_part`."""
        if self.named_part is None:
            return None
        part, lies_on = self.named_part
        return part if lies_on else f"by the {part}"

    @property
    def standing(self) -> float:
        """What filters are ranked by where no part is annotated: steadiness × identity × presence, so that none is high
        that points anywhere, is a copy, or seldom there. Without identity, where the network gives none; nan where
        nothing was measured."""
        return self.steadiness * self.presence * (1.0 if math.isnan(self.identity) else self.identity)


@dataclass(frozen=True)
class Evaluation:
    """Figures of a network on a data set.

    Args:
        summary: see `docs/metrics.md`; shares between 0 and 1, R² at most 1. What could not be measured is nan, in
            JSON null; what was not asked for (a selection) is None.
        filters: one entry per filter of the top part layer.
        lower_layers: mean R², instability and dead share of the part layers below the top one.
        classes: in the order of the logits.
        parts: names.
        data: spec, category, split, number of pictures.
        schema_version: of the JSON.
        by_category: the summary's measures over the filters and pictures of each category that has filters; where all
            categories share the filters, over all filters on each one's pictures.
        by_part: of each category, by part: how many pictures show it, which filter follows it best and how well; where
            they share the filters, of `ALL_CATEGORIES` first, parts of one name taken together.
        by_split: the summary on each split that was measured, this one and that of the selection.
        confusion: category → class → share of the activation of the category's filters, averaged over these.
        intervals: (low, high) of measures of the summary, by bootstrap over the pictures; absent where there are too
            few (see `significance.bootstrap_intervals`).
        baselines: "constant_point" and "random_filter" → measure → what filters get that do not look; "perfect_filter"
            → what a single one gets that points at a part exactly, the part that serves best.
        protocol: the numbers that the measures depend on, and what parts were given as: masks, boxes or points.
        run: of a network out of a run directory: "id" and "state" of its training, its "epochs" of "num_epochs", and
            the SHA-256 of the "weights" that were measured.
        faithfulness: insertion and deletion of explanations; None: not asked for.
    """

    summary: dict[str, float | None]
    filters: list[FilterEvaluation]
    lower_layers: dict[str, dict[str, float]]
    classes: list[str]
    parts: list[str]
    data: dict[str, Any]
    schema_version: int = SCHEMA_VERSION
    by_category: dict[str, dict[str, float]] = field(default_factory=dict)
    by_part: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    by_split: dict[str, dict[str, float | None]] = field(default_factory=dict)
    confusion: dict[str, dict[str, float]] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    faithfulness: Faithfulness | None = None

    def served_by(self, one: FilterEvaluation) -> list[str]:
        """The classes on whose pictures a filter was measured: its own, or those that share it with all filters."""
        return [one.category] if one.category in self.classes else list(self.by_category)

    def table(self) -> Table:
        """The summary, with intervals and what a constant point gets, for a terminal."""
        title = f"{self.data['spec']} {self.data['category'] or 'all categories'}, {self.data['split']}"
        confidence = self.protocol.get("confidence")
        table = Table(title=title, caption=self._caption())
        table.add_column("measure", no_wrap=True)
        table.add_column("value", justify="right")
        table.add_column(
            "interval" if confidence is None else f"{confidence:.0%} interval", justify="right", no_wrap=True
        )
        table.add_column("constant point", justify="right")
        table.add_column("random filter", justify="right")
        for name, value in self.summary.items():
            if shown(value) == _NOTHING and (not self.parts or is_optional(name)):
                continue
            baselines = (self.baselines.get(kind, {}).get(name) for kind in ("constant_point", "random_filter"))
            table.add_row(name, shown(value), shown_interval(self.intervals.get(name)), *map(shown, baselines))
        return table

    def filter_table(self, most: int = 10) -> Table:
        """The filters of highest R²; where no part is annotated, of highest `standing`, else of highest class purity.

        Their category has a column where there are several, or few other columns.
        """
        measured = [one for one in measures_for_people() if one.is_filter_column]
        if self.parts:
            measured = [
                one for one in measured if one.name not in _LEFT_OUT
            ]  # as many columns as fit into 80 characters
        else:
            measured = [one for one in measured if any(is_number(each.figure(one)) for each in self.filters)]
        by, rank = self._ranking()
        table = Table(title=f"best {min(most, len(self.filters))} of {len(self.filters)} filters by {by}")
        has_category = not self.parts or len({one.category for one in self.filters}) > 1
        names = ["filter", *(["category"] if has_category else []), *(["part"] if self.parts else [])]
        for name in (*names, *(one.column for one in measured)):
            table.add_column(name, justify="left" if name in ("category", "part") else "right")
        ordered = sorted(self.filters, key=lambda one: -_or_low(rank(one)))
        for one in ordered[:most]:
            named = {"filter": one.filter, "category": one.category, "part": one.best_part}
            table.add_row(*(shown(named[name]) for name in names), *(shown(one.figure(each)) for each in measured))
        return table

    def _ranking(self) -> tuple[str, Callable[[FilterEvaluation], float]]:
        if self.parts:
            return MEASURES["part_tracking_r2"].column, lambda one: one.part_tracking_r2
        if any(is_number(one.steadiness) for one in self.filters):
            has_identity = any(is_number(one.identity) for one in self.filters)
            product = "steadiness × identity × presence" if has_identity else "steadiness × presence"
            return product, lambda one: one.standing
        return MEASURES["class_purity"].column, lambda one: one.class_purity

    def category_table(self) -> Table:
        """The main measures by category; where no part is annotated, those that were taken."""
        table = Table(title="by category: each one's own filters on its own pictures")
        columns = {"pictures": "num_images", "filters": "num_filters"}
        columns |= {one.column: one.name for one in measures_for_people() if one.is_category_column}
        rows = self.by_category.values()
        may_be_absent = {name for name, key in columns.items() if not self.parts or is_optional(key)}
        absent = {name for name in may_be_absent if not any(is_number(row.get(columns[name])) for row in rows)}
        columns = {name: key for name, key in columns.items() if name not in absent}
        for name in ("category", *columns):
            table.add_column(name, justify="left" if name == "category" else "right")
        for category, figures in self.by_category.items():
            table.add_row(category, *(shown(figures.get(key)) for key in columns.values()))
        return table

    def part_table(self) -> Table:
        """Which filter follows each part, and how well; of categories that share the filters only taken together."""
        table = Table(title="by part: the filter that follows it best")
        columns = {"pictures": "num_images", "best filter": "best_filter", "R²": "part_tracking_r2"}
        columns |= {"following": "num_following"} | {one.column: one.name for one in MEASURES.values() if one.by_part}
        for name in ("category", "part", *columns):
            table.add_column(name, justify="left" if name in ("category", "part") else "right")
        together = self.by_part.get(ALL_CATEGORIES)
        for category, parts in (self.by_part if together is None else {ALL_CATEGORIES: together}).items():
            for part, figures in parts.items():
                table.add_row(category, part, *(shown(figures.get(key)) for key in columns.values()))
        return table

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write all figures; nan becomes null. The file is replaced whole."""
        write_text(Path(path), self.dumps() + "\n")
        return Path(path)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write one row per filter, for a spreadsheet; nan becomes empty. The file is replaced whole."""
        left_out = ("top_images", "others")
        rows = [{name: v for name, v in vars(one).items() if name not in left_out} | one.others for one in self.filters]
        write_text(Path(path), csv_text(rows))
        return Path(path)

    def dumps(self) -> str:
        """The JSON text of `to_json`."""
        return json_text(asdict(self))

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> "Evaluation":
        """Read what `to_json` wrote, also by an earlier version: what that did not measure is nan or empty, and what
        only that wrote is left out.

        Raises:
            DataError: the file is missing or is something else.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema_version"] > SCHEMA_VERSION:
                raise DataError(f"{path}: written by a later partcnn; upgrade to read it")
            filters = [_filter_from(with_present_names(entry)) for entry in content.pop("filters")]
            intervals = {name: tuple(one) for name, one in with_present_names(content.pop("intervals", {})).items()}
            content["summary"] = with_present_names(content["summary"])
            for name in ("by_category", "by_split", "baselines"):
                content[name] = {key: with_present_names(one) for key, one in content.get(name, {}).items()}
            for name in ("by_category", "by_part", "confusion", "baselines"):
                content[name] = with_nan(content.get(name, {}))
            content["run"] = dict(content.get("run", {}))  # an earlier version has none
            content["protocol"] = {"places": "peak"} | content.get("protocol", {})  # an earlier version read no others
            faithful = content.pop("faithfulness", None)
            content["faithfulness"] = None if faithful is None else Faithfulness.from_record(faithful)
            found = cls(filters=filters, intervals=intervals, **_known(content, cls))
            check_kinds(found)
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}: expected the JSON that Evaluation.to_json writes ({error})") from error

    def _caption(self) -> str | None:
        told = [text for text in (half_run(self.run), self._protocol_told()) if text is not None]
        return "; ".join(told) or None

    def _protocol_told(self) -> str | None:
        if not self.parts:
            return "no part is annotated in these pictures; steadiness and identity need none"
        if "regions" not in self.protocol:
            return None
        regions, radius = self.protocol["regions"], self.protocol["radius_px"]
        places = f"places {self.protocol['places']}; "
        perfect = self.baselines.get("perfect_filter", {}).get("landmark_error", math.nan)
        alone = "" if math.isnan(perfect) else f"; one perfect filter alone: landmark error {shown(perfect)}"
        discs = f"discs of {shown(radius)} px, IoU above {self.protocol['iou_threshold']}"
        return f"{places}parts as {regions}; {discs}{alone}"


def half_run(run: Mapping[str, Any]) -> str | None:
    """That a network is of a training that was not finished, in words; None where it was, or nothing is known.

    Args:
        run: `Evaluation.run`.
    """
    if run.get("state", "done") == "done":
        return None
    return f"half a run: {run['state']} after {run.get('epochs')} of {run.get('num_epochs')} epochs"


def shown(value: Any) -> str:
    """A figure for people: three decimals, a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _NOTHING
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def is_optional(name: str) -> bool:
    """Whether a measure has no row where it was not measured, see `Measure`."""
    return name in MEASURES and MEASURES[name].is_optional


def shown_interval(interval: tuple[float, float] | None) -> str:
    """From – to, or a dash where there is none."""
    return _NOTHING if interval is None else f"{interval[0]:.3f} … {interval[1]:.3f}"


def _filter_from(entry: dict[str, Any]) -> FilterEvaluation:
    images = [
        TopImage(**{**image, "peak_px": tuple(image["peak_px"]), "peak_cell": tuple(image["peak_cell"])})
        for image in entry.pop("top_images")
    ]
    best_part = entry.pop("best_part")  # the one entry that may be nothing rather than no number
    return FilterEvaluation(best_part=best_part, top_images=images, **with_nan(_known(entry, FilterEvaluation)))


def _known(content: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """What a data class still has a field for."""
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in content.items() if name in names}


def _or_low(value: float) -> float:
    return -math.inf if math.isnan(value) else value
