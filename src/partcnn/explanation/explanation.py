"""One prediction as a sum of parts: what each filter adds to a logit, and where in the picture it looks."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor, nn

from partcnn.explanation.contribution import Contribution
from partcnn.explanation.given import given_picture
from partcnn.explanation.look import Look, looked
from partcnn.explanation.occlusion import HIDDEN_FRAC, hiding_boxes, logits_when_hidden
from partcnn.explanation.placed_map import PlacedShares
from partcnn.explanation.question import Question, attributed, class_index
from partcnn.explanation.terms import Term, terms_of
from partcnn.foundation.errors import ConfigError
from partcnn.foundation.labels import answered
from partcnn.model.mask import ALL_CATEGORIES
from partcnn.model.network import Conversion, conversion_of


@dataclass(frozen=True)
class Explanation:
    """Why a picture got a logit: logit = bias + surroundings + Σ contribution.value + completeness_error.

    Args:
        label: name of the class that is explained.
        against: name of the class it is contrasted with, or None. With it `logit`, `bias` and all contributions
            are of the difference of the two classes' logits.
        logit, bias: what is explained, and its part that no filter adds (0 for the original head).
        completeness_error: what is left of the logit; rounding for the additive head.
        is_exact: True for the additive head; False: contributions are gradient × activation.
        probability: softmax of the logits at the class; in a multi-label task the sigmoid of its own.
        contributions: one per filter, the largest magnitude first.
        logits: of all classes, by name.
        shown: in a multi-label task the classes that the network finds, whose logits are above 0; else None.
        image_size: (height, width) of the given picture in pixels.
        picture: the given picture, turned as its EXIF tag asks; None when a tensor was explained.
        surroundings: what the cells add that no filter holds; None where filters do not compete.
        placed_shares: what each filter has of every cell; None where they do not compete.
        names: filter → name, of those that have one; see `partcnn.model.naming`.
    """

    label: str
    logit: float
    bias: float
    probability: float
    contributions: list[Contribution]
    logits: dict[str, float]
    image_size: tuple[int, int]
    picture: Image.Image | None
    against: str | None = None
    completeness_error: float = 0.0
    is_exact: bool = True
    surroundings: float | None = None
    placed_shares: PlacedShares | None = None
    names: dict[int, str] = field(default_factory=dict)
    shown: list[str] | None = None

    @property
    def terms(self) -> list[Term]:
        """The contributions, those of filters that share a name added up; the largest magnitude first."""
        return terms_of(self.contributions, self.names)

    @property
    def is_tiling(self) -> bool:
        """Whether the filters compete, and so tile the picture."""
        return self.placed_shares is not None

    @property
    def regions(self) -> npt.NDArray[np.int16] | None:  # [height, width] of the given picture
        """`regions_at` the picture's size, worked out anew at each call; None where the filters do not compete."""
        return self.regions_at(self.image_size) if self.is_tiling else None

    def regions_at(self, size: tuple[int, int]) -> npt.NDArray[np.int16]:  # [height, width]
        """The filter that holds each pixel of the picture when shown at this size, −1 for the rest.

        See `partcnn.plot.filter_regions`.

        Raises:
            ConfigError: the filters do not compete, and hold nothing alone.
        """
        if self.placed_shares is None:
            raise ConfigError("explanation: expected one of filters that compete, got one of others, without regions")
        return self.placed_shares.regions_at(size)

    @property
    def question(self) -> str:
        """What is explained: "fox", or "fox, not dog"."""
        return self.label if self.against is None else f"{self.label}, not {self.against}"

    def save(self, path: str | os.PathLike[str], *, parts: Mapping[int, str] | None = None) -> Path:
        """Write a picture with the parts on it (.png, .jpg) or the numbers (.json). The file is replaced whole.

        Args:
            path: of the file.
            parts: filter → the part it follows, to name it by in the picture.

        Raises:
            ConfigError: another ending, or a picture of a prediction that was made on a tensor.
        """
        from partcnn.plot.explanations import save_explanation  # brings matplotlib

        return save_explanation(self, Path(path), parts=parts)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps, the outlines and the picture, for JSON.

        Where filters have names, each contribution has one or None, and `terms` are added up by name.
        """
        return {
            "label": self.label,
            "against": self.against,
            "logit": self.logit,
            "bias": self.bias,
            **({} if self.surroundings is None else {"surroundings": self.surroundings}),
            "completeness_error": self.completeness_error,
            "method": "exact" if self.is_exact else "gradient x activation",
            "probability": self.probability,
            "logits": self.logits,
            **({} if self.shown is None else {"shown": self.shown}),
            "image_size": list(self.image_size),
            "contributions": [contribution.to_dict() | self._name(contribution) for contribution in self.contributions],
            **({"terms": [term.to_dict() for term in self.terms]} if self.names else {}),
        }

    def _name(self, contribution: Contribution) -> dict[str, Any]:
        return {"name": self.names.get(contribution.filter)} if self.names else {}


def explain(
    model: nn.Module,
    image: str | os.PathLike[str] | Image.Image | Tensor,
    label: int | str | None = None,
    *,
    against: int | str | None = None,
    hide: int = 0,
    hide_frac: float = HIDDEN_FRAC,
) -> Explanation:
    """Split the logit of one class into what each filter of the top part layer adds to it.

    Exact for the additive head (checked on every call to 1e-4); gradient × activation, with its completeness
    error, for the original head. See `partcnn.explanation.attribution.attribute`.

    Args:
        model: made by `partcnn.convert`.
        image: a file, a Pillow picture, or a preprocessed tensor [channel, H, W] or [1, channel, H, W]. Positions are
            in pixels of the picture as one sees it (after its EXIF turn), or of the tensor.
        label: index or name of the class; None explains the predicted one, of the largest logit.
        against: index or name of a second class: explain the first one's logit minus this one's.
        hide: for how many of the strongest contributions to ask what the logit were if their place was hidden.
        hide_frac: largest side of what is hidden, as a share of the picture's; see `hiding_boxes`.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        ConfigError: a class is unknown, both classes are the same, `hide` is negative, `image` is something else, or it
            is a picture and the network takes neither colour nor grey.
        ShapeError: the tensor has other axes or channels, or whole numbers.
        DataError: the picture cannot be read, or nobody knows the range of its pixels (floating point, 32 bits).
    """
    record = conversion_of(model)
    if not isinstance(hide, int) or hide < 0:
        raise ConfigError(f"hide: expected a count of at least 0, got {hide!r:.50}")
    wanted = None if label is None else class_index(label, record.classes, "label")
    other = None if against is None else class_index(against, record.classes, "against")
    given = given_picture(image, record.preprocessing)
    question, found = attributed(model, given.network_input, record.classes, wanted, other)
    look = looked(model, given, found)
    hidden = _hidden(model, look, question, hide, hide_frac)
    contributions = [_contribution(look, index, record.classes, hidden.get(index)) for index in look.order]
    return _explanation(look, question, contributions, record)


@dataclass(frozen=True)
class _Hidden:
    change: float  # of what is explained, while the box is covered
    box_px: tuple[float, float, float, float]  # in pixels of the given picture


def _hidden(model: nn.Module, look: Look, question: Question, count: int, largest_frac: float) -> dict[int, _Hidden]:
    """What hiding the part changes, of so many of the strongest filters that found something."""
    fires = look.fires.tolist()
    chosen = [index for index in look.order if fires[index]][:count]
    boxes = hiding_boxes(look.field, look.cells[chosen], largest_frac=largest_frac)
    if not chosen:
        return {}
    logits = logits_when_hidden(model, look.given.network_input[0], boxes)
    changes = (logits @ question.direction - look.found.explained[0]).tolist()
    found = zip(chosen, changes, look.given.from_input(boxes), strict=True)
    return {index: _Hidden(change, _box(box)) for index, change, box in found}


def _contribution(look: Look, index: int, classes: list[str], hidden: _Hidden | None) -> Contribution:
    x, y = look.positions_px[index].tolist()
    return Contribution(
        filter=index,
        value=float(look.found.shares[0, index]),
        score=float(look.found.masked_feature_maps[0, index].amax()) if look.fires[index] else 0.0,
        position_px=(x, y),
        box_px=_box(look.boxes_px[index]),
        category=ALL_CATEGORIES if look.is_shared else classes[int(look.filter_category[index])],
        placed_map=look.placed_map(index),
        image_size=look.given.size,
        hidden_change=None if hidden is None else hidden.change,
        hidden_box_px=None if hidden is None else hidden.box_px,
        outline=None if look.outlines is None else look.outlines[index],
    )


def _explanation(look: Look, question: Question, contributions: list[Contribution], record: Conversion) -> Explanation:
    found, classes = look.found, question.classes
    logits, shown = found.logits[0], None
    shares = logits.sigmoid() if record.settings.multilabel else logits.softmax(0)
    if record.settings.multilabel:
        shown = [classes[label] for label in answered(found.logits, is_multilabel=True)[0]]
    return Explanation(
        label=classes[question.label],
        against=None if question.against is None else classes[question.against],
        logit=float(found.explained[0]),
        bias=float(found.bias[0]),
        completeness_error=float(found.remainder[0]),
        is_exact=found.is_exact,
        surroundings=None if found.surroundings is None else float(found.surroundings[0]),
        probability=float(shares[question.label]),
        contributions=contributions,
        logits=dict(zip(classes, logits.tolist(), strict=True)),
        image_size=look.given.size,
        picture=look.given.picture,
        placed_shares=look.placed_shares,
        names=dict(record.filter_names),
        shown=shown,
    )


def _box(box: Tensor) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1, y1
