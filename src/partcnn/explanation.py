"""One prediction as a sum of parts: what each filter adds to a logit, and where in the picture it looks."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from partcnn.conversion import Conversion, PartNetwork, conversion_of, evaluation_mode, recorded_feature_maps
from partcnn.datasets import read_picture
from partcnn.errors import ConfigError, LayerError, ShapeError
from partcnn.layers import part_masks
from partcnn.receptive_field import receptive_field, upsample_map
from partcnn.templates import map_peaks

_TOLERANCE = 1e-4  # of logit = bias + Σ contributions, relative to the larger of the logit and 1


@dataclass(frozen=True)
class Contribution:
    """What one filter of the top part layer adds to the logit, and where it looks."""

    filter: int
    value: float  # share of the logit, in its units; negative where the filter speaks against the class
    score: float  # activation at the peak; 0: the filter found nothing, and its position means nothing
    position_px: tuple[float, float]  # (x, y) of the peak, in continuous pixels of the given picture
    box_px: tuple[float, float, float, float]  # its receptive field there, clipped to the picture
    category: str  # that the filter serves
    heatmap: npt.NDArray[np.float32]  # [height, width] of the given picture: the masked map, upsampled


@dataclass(frozen=True)
class Explanation:
    """Why a picture got a logit: logit = bias + Σ contribution.value, exactly, for the additive head.

    Args:
        label: name of the class that is explained.
        logit, bias: of that class.
        probability: softmax of the logits at that class.
        contributions: one per filter, the largest magnitude first.
        logits: of all classes, by name.
        image_size: (height, width) of the given picture in pixels.
        picture: the given picture; None when a tensor was explained.
    """

    label: str
    logit: float
    bias: float
    probability: float
    contributions: list[Contribution]
    logits: dict[str, float]
    image_size: tuple[int, int]
    picture: Image.Image | None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a picture with the parts on it (.png, .jpg) or the numbers (.json). The file is replaced whole.

        Raises:
            ConfigError: another ending, or a picture of a prediction that was made on a tensor.
        """
        from partcnn.plot import save_explanation  # the drawing stands above this module

        return save_explanation(self, Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the heat maps and the picture, for JSON."""
        return {
            "label": self.label,
            "logit": self.logit,
            "bias": self.bias,
            "probability": self.probability,
            "logits": self.logits,
            "image_size": list(self.image_size),
            "contributions": [
                {
                    "filter": one.filter,
                    "value": one.value,
                    "score": one.score,
                    "position_px": list(one.position_px),
                    "box_px": list(one.box_px),
                    "category": one.category,
                }
                for one in self.contributions
            ],
        }


def explain(
    model: nn.Module, image: str | os.PathLike[str] | Image.Image | Tensor, label: int | str | None = None
) -> Explanation:
    """Split the logit of one class into what each filter of the top part layer adds to it.

    Args:
        model: made by `partcnn.convert` with the additive head.
        image: a file, a Pillow picture, or a preprocessed tensor [3, H, W] or [1, 3, H, W]. Positions are in
            pixels of the picture as given (after its EXIF turn), or of the tensor.
        label: index or name of the class; None explains the predicted one.

    Raises:
        LayerError: the network has no additive head.
        ConfigError: the class is unknown.
        ShapeError: the tensor has other axes.
        DataError: the file cannot be read.
    """
    record = conversion_of(model)
    inner = getattr(model, "module", getattr(model, "_orig_mod", model))
    if not isinstance(inner, PartNetwork):
        raise LayerError("model: expected the additive head, whose logits are sums; convert with head='additive'")
    picture, batch, size = _inputs(image, record)
    reference = next(inner.parameters())
    with evaluation_mode(inner), torch.inference_mode(), recorded_feature_maps(inner) as maps:
        logits = inner(batch.to(reference.device, reference.dtype))[0].float().cpu()
        name, mask = list(part_masks(inner))[-1]
        masked = mask.masked(maps[name])
        shares = inner.head.contributions(masked)[0].float().cpu()  # [class, filter]
        peaks = map_peaks(maps[name])[0].cpu()
        masked = masked[0].float().cpu()
    index = _class_index(label, record.classes, logits)
    bias = float(inner.head.bias[index].detach())
    _check_sum(float(logits[index]), bias, shares[index])
    field = receptive_field(inner, name, (batch.shape[2], batch.shape[3]))
    # From the network's input to the given picture: the whole picture was stretched.
    scale = torch.tensor([size[1] / batch.shape[3], size[0] / batch.shape[2]])
    centers = field.centers_px(peaks).cpu() * scale
    boxes = field.boxes_px(peaks).cpu() * scale.repeat(2)
    contributions = [
        Contribution(
            filter=one,
            value=float(shares[index, one]),
            score=float(masked[one].amax()),
            position_px=(float(centers[one, 0]), float(centers[one, 1])),
            box_px=tuple(boxes[one].tolist()),
            category=record.classes[int(mask.filter_category[one])],
            heatmap=upsample_map(masked[one], size, field).numpy(),
        )
        for one in shares[index].abs().argsort(descending=True, stable=True).tolist()
    ]
    return Explanation(
        label=record.classes[index],
        logit=float(logits[index]),
        bias=bias,
        probability=float(logits.softmax(0)[index]),
        contributions=contributions,
        logits=dict(zip(record.classes, logits.tolist(), strict=True)),
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
    picture = image.convert("RGB") if isinstance(image, Image.Image) else read_picture(Path(image))
    return picture, record.preprocessing(picture)[None], (picture.height, picture.width)


def _class_index(label: int | str | None, classes: list[str], logits: Tensor) -> int:
    if label is None:
        return int(logits.argmax())
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    if isinstance(label, int) and 0 <= label < len(classes):
        return label
    raise ConfigError(f"label: expected one of {', '.join(classes)} or an index below {len(classes)}, got {label!r}")


def _check_sum(logit: float, bias: float, shares: Tensor) -> None:
    gap = abs(bias + float(shares.double().sum()) - logit)
    if gap > _TOLERANCE * max(1.0, abs(logit)):
        raise LayerError(
            f"explain: the contributions miss the logit {logit:.6g} by {gap:.2g}; the head is not additive"
        )
