"""One prediction as a sum of parts: what each filter adds to a logit, and where in the picture it looks."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from partcnn.datasets import read_picture
from partcnn.explanation.attribution import attribute
from partcnn.explanation.occlusion import HIDDEN_FRAC, hiding_boxes, logits_when_hidden
from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.model.mask import part_masks
from partcnn.model.network import Conversion, conversion_of, unwrapped
from partcnn.networks.probing.receptive_field import receptive_field, upsample_map


@dataclass(frozen=True)
class Contribution:
    """What one filter of the top part layer adds to the logit, and where it looks."""

    filter: int
    value: float  # share of the logit, in its units; negative where the filter speaks against the class
    score: float  # largest activation; 0: the filter found nothing, and its position means nothing
    position_px: tuple[float, float]  # (x, y) of its `part_places`, in continuous pixels of the given picture
    box_px: tuple[float, float, float, float]  # its receptive field there, clipped to the picture
    category: str  # that the filter serves
    heatmap: npt.NDArray[np.float32]  # [height, width] of the given picture: the masked map, upsampled
    hidden_change: float | None = None  # of the logit when `hidden_box_px` is covered; None: not asked for
    hidden_box_px: tuple[float, float, float, float] | None = None  # around the position; see `hiding_boxes`


@dataclass(frozen=True)
class Explanation:
    """Why a picture got a logit: logit = bias + Σ contribution.value + completeness_error.

    Args:
        label: name of the class that is explained.
        against: name of the class it is contrasted with, or None. With it `logit`, `bias` and all contributions
            are of the difference of the two classes' logits.
        logit, bias: what is explained, and its part that no filter adds (0 for the original head).
        completeness_error: what is left of the logit; rounding for the additive head.
        is_exact: True for the additive head; False: contributions are gradient × activation.
        probability: softmax of the logits at the class.
        contributions: one per filter, the largest magnitude first.
        logits: of all classes, by name.
        image_size: (height, width) of the given picture in pixels.
        picture: the given picture, turned as its EXIF tag asks; None when a tensor was explained.
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

    @property
    def question(self) -> str:
        """What is explained: "fox", or "fox, not dog"."""
        return self.label if self.against is None else f"{self.label}, not {self.against}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a picture with the parts on it (.png, .jpg) or the numbers (.json). The file is replaced whole.

        Raises:
            ConfigError: another ending, or a picture of a prediction that was made on a tensor.
        """
        from partcnn.plot.explanations import save_explanation

        return save_explanation(self, Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the heat maps and the picture, for JSON."""
        return {
            "label": self.label,
            "against": self.against,
            "logit": self.logit,
            "bias": self.bias,
            "completeness_error": self.completeness_error,
            "method": "exact" if self.is_exact else "gradient x activation",
            "probability": self.probability,
            "logits": self.logits,
            "image_size": list(self.image_size),
            "contributions": [_without_heatmap(one) for one in self.contributions],
        }


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
        image: a file, a Pillow picture, or a preprocessed tensor [3, H, W] or [1, 3, H, W]. Positions are in
            pixels of the picture as one sees it (after its EXIF turn), or of the tensor.
        label: index or name of the class; None explains the predicted one.
        against: index or name of a second class: explain the first one's logit minus this one's.
        hide: for how many of the strongest contributions to ask what the logit were if their place was hidden.
        hide_frac: largest side of what is hidden, as a share of the picture's; see `hiding_boxes`.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        ConfigError: a class is unknown, both classes are the same, or `hide` is negative.
        ShapeError: the tensor has other axes.
        DataError: the file cannot be read.
    """
    record = conversion_of(model)
    if hide < 0:
        raise ConfigError(f"hide: expected a count of at least 0, got {hide}")
    wanted = None if label is None else _class_index(label, record.classes, "label")
    second = None if against is None else _class_index(against, record.classes, "against")
    picture, batch, size = _inputs(image, record)
    found = attribute(model, batch, None if wanted is None else _direction(record, wanted, second))
    index = int(found.logits[0].argmax()) if wanted is None else wanted
    if second == index:
        raise ConfigError(f"against: expected another class than the explained one, {record.classes[index]}")
    if wanted is None and second is not None:
        found = attribute(model, batch, _direction(record, index, second))
    inner = unwrapped(model)
    field = receptive_field(inner, found.layer, (batch.shape[2], batch.shape[3]))
    mask = dict(part_masks(inner))[found.layer]
    cells = mask.part_cells(found.feature_maps)[0]
    # From the network's input to the given picture: the whole picture was stretched.
    scale = torch.tensor([size[1] / batch.shape[3], size[0] / batch.shape[2]])
    centers, boxes = field.centers_px(cells) * scale, field.boxes_px(cells) * scale.repeat(2)
    masked = found.masked_feature_maps[0]
    order = found.shares[0].abs().argsort(descending=True, stable=True)
    seen = [one for one in order.tolist() if float(found.feature_maps[0, one].amax()) > 0][:hide]
    hidden_boxes = hiding_boxes(field, cells[seen], largest_frac=hide_frac)
    changes = _changes(model, batch[0], hidden_boxes, _direction(record, index, second)[0], float(found.explained[0]))
    hidden = {one: (changes[rank], _box(hidden_boxes[rank] * scale.repeat(2))) for rank, one in enumerate(seen)}
    contributions = [
        Contribution(
            filter=one,
            value=float(found.shares[0, one]),
            score=float(masked[one].amax()),
            position_px=(float(centers[one, 0]), float(centers[one, 1])),
            box_px=_box(boxes[one]),
            category=record.classes[int(mask.filter_category[one])],
            heatmap=upsample_map(masked[one], size, field).numpy(),
            hidden_change=hidden[one][0] if one in hidden else None,
            hidden_box_px=hidden[one][1] if one in hidden else None,
        )
        for one in order.tolist()
    ]
    return Explanation(
        label=record.classes[index],
        against=None if second is None else record.classes[second],
        logit=float(found.explained[0]),
        bias=float(found.bias[0]),
        completeness_error=float(found.remainder[0]),
        is_exact=found.is_exact,
        probability=float(found.logits[0].softmax(0)[index]),
        contributions=contributions,
        logits=dict(zip(record.classes, found.logits[0].tolist(), strict=True)),
        image_size=size,
        picture=picture,
    )


def _inputs(
    image: str | os.PathLike[str] | Image.Image | Tensor, record: Conversion
) -> tuple[Image.Image | None, Tensor, tuple[int, int]]:
    """The picture, the network's input [1, 3, H, W], and the (height, width) that positions are given in."""
    if isinstance(image, Tensor):
        batch = image[None] if image.ndim == 3 else image
        if batch.ndim != 4 or batch.shape[0] != 1:
            raise ShapeError(f"image: expected a tensor [3, H, W] or [1, 3, H, W], got {tuple(image.shape)}")
        return None, batch, (batch.shape[2], batch.shape[3])
    if isinstance(image, Image.Image):
        picture = ImageOps.exif_transpose(image).convert("RGB")  # as the same picture read from its file
    else:
        picture = read_picture(Path(image))
    return picture, record.preprocessing(picture)[None], (picture.height, picture.width)


def _direction(record: Conversion, index: int, second: int | None) -> Tensor:  # [1, class]
    direction = torch.zeros(1, len(record.classes))
    direction[0, index] = 1
    if second is not None:
        direction[0, second] -= 1
    return direction


def _changes(model: nn.Module, image: Tensor, boxes: Tensor, direction: Tensor, explained: float) -> list[float]:
    if not len(boxes):
        return []
    changes: list[float] = (logits_when_hidden(model, image, boxes) @ direction - explained).tolist()
    return changes


def _class_index(label: int | str, classes: list[str], name: str) -> int:
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    if isinstance(label, int) and 0 <= label < len(classes):
        return label
    raise ConfigError(f"{name}: expected one of {', '.join(classes)} or an index below {len(classes)}, got {label!r}")


def _box(box: Tensor) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1, y1


def _without_heatmap(one: Contribution) -> dict[str, Any]:
    entry = {key: value for key, value in vars(one).items() if key != "heatmap"}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in entry.items()}
