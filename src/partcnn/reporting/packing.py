"""What the page's script draws from, as JSON: numbers in base64 arrays, every picture once."""

import base64
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partcnn.evaluation import COVERAGE_R2, Evaluation
from partcnn.foundation.number_text import decimal, is_number
from partcnn.metrics.measures import measures_for_people
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.plot import heat_colours
from partcnn.reporting.cards import Card
from partcnn.reporting.gathering import Attributed, Gathered
from partcnn.reporting.page_pictures import PagePicture
from partcnn.reporting.patches import COLUMNS, PATCH_PX, patch_sheet
from partcnn.reporting.swatches import Swatch, page_swatches
from partcnn.reporting.tiles import Tile

_NUM_ALIKE = 6


def pack(
    evaluation: Evaluation, gathered: Gathered, cards: list[Card], names: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Plain lists, numbers and text. Arrays are {"type", "shape", "data"}, little endian, see page/data.js.

    `names`: filter → name, of filters that are not shown too.
    """
    classes = evaluation.classes
    served = [evaluation.served_by(one) for one in evaluation.filters]
    by_filter = {card.figures.filter: card for card in cards}
    swatches = page_swatches(evaluation, gathered)
    full = gathered.scores.amax(dim=0).clamp(min=1e-12)  # [filter]
    return {
        "classes": classes,
        "isMultilabel": gathered.is_multilabel,
        "parts": evaluation.parts,
        "names": {str(number): name for number, name in (names or {}).items()},
        "threshold": COVERAGE_R2,
        "isMasked": gathered.is_masked,
        "isExact": gathered.is_exact,
        "isFolded": gathered.num_filters is not None,
        "field": pack_field(gathered.field),
        "colours": pack_array(heat_colours(), "u8"),
        "filters": [
            _filter(by_filter[one.filter], own, gathered, place, swatches.get(one.filter))
            for place, (one, own) in enumerate(zip(evaluation.filters, served, strict=True))
        ],
        "weights": pack_array([list(one.class_weight.values()) for one in evaluation.filters], "f32"),
        "full": full.tolist(),
        "maps": pack_array((255 * gathered.top_maps / full[:, None, None, None]).round().clamp(0, 255), "u8"),
        "pictures": [pack_picture(picture) for picture in gathered.pictures],
        "tiles": None if gathered.tiles is None else [[pack_tile(one) for one in of] for of in gathered.tiles],
        "first": gathered.first,
        "cells": pack_array(gathered.cells, "u16"),
        "scores": pack_array((65535 * gathered.scores / full).round().clamp(0, 65535), "u16"),
        "logits": pack_array(gathered.logits, "f32"),
        "shares": pack_array(torch.stack([one.shares for one in gathered.predicted]), "f32"),
        "sums": [pack_sum(one) for one in gathered.predicted],
        "otherSums": {
            place: [pack_sum(one) | {"shares": pack_array(one.shares, "f32")} for one in of_picture]
            for place, of_picture in gathered.others.items()
        },
        "patches": {
            "src": _base64(patch_sheet(gathered, [[classes.index(name) for name in own] for own in served])),
            "columns": COLUMNS,
            "px": PATCH_PX,
            "rows": -(-len(served) // COLUMNS),
        },
    }


def pack_field(field: ReceptiveField) -> dict[str, Any]:
    """Cell (row, col) ↦ ((first + cell · stride) of x and y, as shares of the picture)."""
    (height, width), (stride_y, stride_x), (y, x) = field.input_size, field.stride_px, field.first_center_px
    return {
        "map": list(field.map_size),
        "first": [(x + 0.5) / width, (y + 0.5) / height],
        "stride": [stride_x / width, stride_y / height],
    }


def pack_picture(picture: PagePicture) -> dict[str, Any]:
    return {
        "name": picture.name,
        "labels": list(picture.labels),
        "predictions": list(picture.predictions),
        "width": picture.width,
        "height": picture.height,
        "src": _base64(picture.jpeg),
        "parts": {part: [_rounded(shape) for shape in shapes] for part, shapes in picture.parts.items()},
        "box": None if picture.object_box is None else _rounded(picture.object_box),
    }


def pack_tile(tile: Tile) -> dict[str, Any]:
    return {
        "filter": tile.filter,
        "path": tile.path,
        "place": _rounded(tile.place[:2]),
        "room": round(tile.place.room, 4),
    }


def pack_sum(one: Attributed) -> dict[str, Any]:
    return {name: value for name, value in vars(one).items() if name != "shares"}


def pack_array(values: Any, kind: str) -> dict[str, Any]:
    """An array of "u8", "u16" or "f32"."""
    numbers = values.numpy() if isinstance(values, Tensor) else np.asarray(values)
    array = numbers.astype({"u8": "<u1", "u16": "<u2", "f32": "<f4"}[kind])
    return {"type": kind, "shape": list(array.shape), "data": _base64(array.tobytes())}


def _filter(card: Card, serves: list[str], gathered: Gathered, index: int, swatch: Swatch | None) -> dict[str, Any]:
    one = card.figures
    likeness = gathered.likeness[index].clone()
    likeness[index] = math.nan
    order = likeness.nan_to_num(nan=-2.0).argsort(descending=True, stable=True)[:_NUM_ALIKE].tolist()
    return {
        "id": one.filter,
        "category": one.category,
        "serves": serves,
        "swatch": None if swatch is None else asdict(swatch),
        "level": card.level,
        "verdict": card.verdict,
        "part": card.part,
        "r2": _finite(one.part_tracking_r2),
        "r2ByPart": {part: _finite(r2) for part, r2 in one.r2_by_part.items()},
        "figures": [
            [measure.title, decimal(one.figure(measure), 2 if measure.is_percent else 3)]
            for measure in measures_for_people()
            if measure.is_filter_column
            and measure.name != "part_tracking_r2"  # which stands above, with its part
            and (one.r2_by_part or is_number(one.figure(measure)))
        ],
        "slope": float(gathered.slopes[index]),
        "top": gathered.top[index],
        "alike": [[other, round(float(likeness[other]), 3)] for other in order if not likeness[other].isnan()],
    }


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 4) for value in values]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
