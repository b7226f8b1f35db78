"""What an audit says, see `partcnn.evaluation.audit`; as JSON and back."""

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from partcnn.evaluation.files import check_kinds, json_text, with_nan
from partcnn.foundation.errors import DataError
from partcnn.foundation.files import write_text

MOST_PAIRED = 64  # classes, of which every pair is looked at
ALONE = 0.8  # of what tells two classes apart: one term is then all but alone
SURROUNDINGS = -1  # in place of a filter


@dataclass(frozen=True)
class ClassEvidence:
    """What tells one class from the others.

    Args:
        parts: [filter] shares of the evidence; nan where the class's pictures do not lie above the others'.
        surroundings: their share; nan as of `parts`, and where every cell is a filter's.
        interval: lower and upper end of that share, at 95 %, by the delta method over pictures; nan where it is not
            known.
        num_images: of the class.
    """

    parts: list[float]
    surroundings: float
    interval: list[float]
    num_images: int


@dataclass(frozen=True)
class DecidedPicture:
    """A picture that is taken for something else once its surroundings are usual ones."""

    image_path: str
    true: str
    predicted: str
    without_surroundings: str


@dataclass(frozen=True)
class MisleadingPart:
    """A part that speaks for a class on other objects: beyond half the way between the classes' means."""

    class_name: str
    filter: int
    share: float  # of the class's evidence
    on_own: float  # share of the class's pictures on which it speaks for the class
    on_others: float  # of all others'


@dataclass(frozen=True)
class Mistake:
    """Pictures of one class that are taken for another, and the term that speaks loudest for it there."""

    true: str
    predicted: str
    num_images: int
    filter: int  # or SURROUNDINGS
    share: float  # of all that speaks for the mistake


@dataclass(frozen=True)
class PairByOne:
    """Two classes that one term all but alone tells apart."""

    first: str
    second: str
    filter: int  # or SURROUNDINGS
    share: float


_LISTED = {"decided": DecidedPicture, "misleading": MisleadingPart, "mistakes": Mistake, "pairs": PairByOne}


@dataclass(frozen=True)
class Audit:
    """What a network's decisions on some pictures are made of; see the module.

    Args:
        layer: whose filters they are.
        classes: in the order of the logits.
        evidence: class → what tells it from the others, of the classes that have pictures.
        surroundings: mean share over these classes, without the background where there is one; nan where every cell is
            a filter's, or no class is told apart.
        accuracy: of the network on these pictures.
        accuracy_without_surroundings: the same, each picture's surroundings put to the mean; nan where every cell is a
            filter's.
        decided: the pictures that the surroundings decide.
        misleading: parts that speak for a class on other objects, the loudest first.
        mistakes: pairs of classes, most pictures first.
        pairs: those told apart by one term, with a share of at least `ALONE`; of more than `MOST_PAIRED` classes none
            are looked at.
        doubles: sentences on pictures that stand on both sides of the split, or in two classes.
        data: the pictures: spec, category, split, num_images.
        run: what is known of the run, as in `Evaluation.run`.
    """

    layer: str
    classes: list[str]
    evidence: dict[str, ClassEvidence]
    surroundings: float
    accuracy: float
    accuracy_without_surroundings: float
    decided: list[DecidedPicture]
    misleading: list[MisleadingPart]
    mistakes: list[Mistake]
    pairs: list[PairByOne]
    doubles: list[str]
    data: dict[str, Any]
    run: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_kinds(self)
        if len({len(one.parts) for one in self.evidence.values()}) != 1:
            raise ValueError("evidence: expected at least one class, and as many filters of each")
        if any(len(one.interval) != 2 for one in self.evidence.values()):
            raise ValueError("interval: expected two ends")
        listed: list[MisleadingPart | Mistake | PairByOne] = [*self.misleading, *self.mistakes, *self.pairs]
        if any(not SURROUNDINGS <= one.filter < self.num_filters for one in listed):
            raise ValueError(f"filter: expected one of {self.num_filters}, or {SURROUNDINGS}")
        number = self.data.get("num_images")
        if not isinstance(number, int) or number < 1:
            raise ValueError("num_images: expected a number of pictures")

    @property
    def num_filters(self) -> int:
        """Of the layer."""
        return len(next(iter(self.evidence.values())).parts)

    @property
    def share_decided(self) -> float:
        """Of all pictures, those that the surroundings decide."""
        return float(len(self.decided) / self.data["num_images"])

    @property
    def has_surroundings(self) -> bool:
        """Whether some cells are no filter's."""
        return not math.isnan(self.accuracy_without_surroundings)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""
        return asdict(self)

    def dumps(self) -> str:
        """JSON; what is nan is null."""
        return json_text(self.to_dict())

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write it; an existing file is replaced whole."""
        write_text(Path(path), self.dumps())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> "Audit":
        """Read what `to_json` wrote.

        Raises:
            DataError: the file cannot be read, or holds something else.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            known = {name: record.pop(name) for name in ("data", "run")}
            record = with_nan(record)
            record["evidence"] = {name: ClassEvidence(**one) for name, one in record["evidence"].items()}
            for name, kind in _LISTED.items():
                record[name] = [kind(**one) for one in record[name]]
            return cls(**record, **known)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}: expected the JSON that Audit.to_json writes ({error})") from error
