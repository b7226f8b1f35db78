"""What insertion and deletion say, see `partcnn.evaluation.faithfulness`; as tables, and out of JSON."""

import math
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from partcnn.evaluation.files import with_nan
from partcnn.foundation.errors import ConfigError
from partcnn.foundation.number_text import NONE, decimal, signed


@dataclass(frozen=True)
class Area:
    """Under one curve, mean over pictures; or the mean difference of two.

    Args:
        logit: in units of the logit.
        interval: lower and upper end; nan where it is not known.
        normalised: 0 the logit with all cells hidden, 1 that of the whole picture; of a difference in units of the gap
            between these. nan where it is below `LEAST_GAP` in the mean.
        normalised_interval: as `interval`.
    """

    logit: float
    interval: list[float]
    normalised: float
    normalised_interval: list[float]


@dataclass(frozen=True)
class OrderAreas:
    """Of one order of the cells: insertion is better higher, deletion lower."""

    insertion: Area
    deletion: Area


@dataclass(frozen=True)
class Curves:
    """Mean logits over pictures, at each of `Faithfulness.shares` of the cells shown, or hidden."""

    insertion: list[float]
    deletion: list[float]


@dataclass(frozen=True)
class Faithfulness:
    """Insertion and deletion of several explanations of a network, on the same pictures.

    Args:
        areas: by order of the cells, an explanation's or random.
        differences: "first − other" → of the first order and each other one, paired by picture.
        curves: by order.
        shares: of the cells, from 0 to 1: where the curves were taken.
        hidden_logit, whole_logit: means of the predicted class's logit with all cells hidden, and with none.
        num_images: pictures.
        num_reversed: of these, where the first of the two is not below the other.
        grid: rows and columns of the cells.
        sigma_px: of the blur in a hidden cell's place, down and across, in pixels of the input.
        num_random: random orders of each picture.
        confidence: of the intervals.
        left_out: explanation → why it was not measured.

    Raises:
        ConfigError: curves and shares of different lengths, shares outside of 0 to 1, an interval without two ends.
    """

    areas: dict[str, OrderAreas]
    differences: dict[str, OrderAreas]
    curves: dict[str, Curves]
    shares: list[float]
    hidden_logit: float
    whole_logit: float
    num_images: int
    num_reversed: int
    grid: list[int]
    sigma_px: list[float]
    num_random: int
    confidence: float
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in self.shares):
            raise ConfigError("faithfulness: expected shares of the cells in 0 to 1")
        for name, one in self.curves.items():
            if not len(one.insertion) == len(one.deletion) == len(self.shares):
                raise ConfigError(f"faithfulness: expected {len(self.shares)} points of each curve of {name!r:.50}")
        found = [each for one in (self.areas | self.differences).values() for each in (one.insertion, one.deletion)]
        pairs = [ends for one in found for ends in (one.interval, one.normalised_interval)]
        if any(len(pair) != 2 for pair in (*pairs, self.sigma_px)) or len(self.grid) != 2:
            raise ConfigError("faithfulness: expected intervals, grid and sigma_px of two numbers each")

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Faithfulness":
        """Out of what JSON holds; null is nan. Kinds of values are checked by whoever holds it.

        Raises:
            TypeError, KeyError, AttributeError, ConfigError: it is something else.
        """
        record = with_nan(record)
        for name in ("areas", "differences"):
            record[name] = {
                order: OrderAreas(**{kind: Area(**one) for kind, one in found.items()})
                for order, found in record[name].items()
            }
        record["curves"] = {order: Curves(**one) for order, one in record["curves"].items()}
        return cls(**record)

    def tables(self) -> list[Table]:
        """The areas in logits, and normalised, for a terminal; without the second where nothing is normalised."""
        told = f"{self.num_images} pictures, {self.grid[0]} × {self.grid[1]} cells"
        remarks = [told, "insertion: higher is better, deletion: lower", *self.remarks()]
        found = [self._table("area under the logit of the predicted class", "; ".join(remarks), is_normalised=False)]
        if self.is_normalised:
            hidden, whole = decimal(self.hidden_logit, 3), decimal(self.whole_logit, 3)
            scale = f"0: all hidden, mean logit {hidden}; 1: the whole picture, {whole}"
            found.append(self._table("the same, normalised", scale, is_normalised=True))
        return found

    @property
    def is_normalised(self) -> bool:
        """Whether the hidden pictures' mean logit lies far enough below that of the whole ones."""
        return not all(math.isnan(one.insertion.normalised) for one in self.areas.values())

    def remarks(self) -> list[str]:
        """What is to be known beside the figures, in words."""
        remarks = []
        if self.num_reversed:
            remarks.append(f"on {self.num_reversed} of {self.num_images} the hidden picture has no lower logit")
        if not self.is_normalised:
            remarks.append("not normalised: the hidden pictures' mean logit is not far enough below the whole ones'")
        return remarks + [f"without {name}: {reason}" for name, reason in self.left_out.items()]

    def _table(self, title: str, caption: str, *, is_normalised: bool) -> Table:
        table = Table(title=title, caption=caption)
        table.add_column("order of the cells")
        for name in ("insertion", "deletion"):
            table.add_column(name, justify="right")
            table.add_column(f"{self.confidence:.0%} interval", justify="right", no_wrap=True)
        for rows, text in ((self.areas, decimal), (self.differences, signed)):
            for number, (name, one) in enumerate(rows.items(), start=1):
                cells = []
                for area in (one.insertion, one.deletion):
                    value = area.normalised if is_normalised else area.logit
                    ends = area.normalised_interval if is_normalised else area.interval
                    cells += [text(value, 3), shown_ends(ends)]
                table.add_row(name, *cells, end_section=number == len(rows))
        return table


def shown_ends(ends: list[float]) -> str:
    """An interval for people, or a dash."""
    return NONE if any(map(math.isnan, ends)) else f"{decimal(ends[0], 3)} … {decimal(ends[1], 3)}"
