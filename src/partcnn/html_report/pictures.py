"""The strongest pictures of every filter, small, with the filter's masked map over them."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn

from partcnn.conversion import conversion_of, evaluation_mode, recorded_feature_maps
from partcnn.datasets import Box, PartDataset, PartMask, Point, Sample, Shape
from partcnn.evaluation import Evaluation, FilterEvaluation, TopImage
from partcnn.layers import part_masks
from partcnn.plot import heatmap_overlay
from partcnn.receptive_field import ReceptiveField, receptive_field, upsample_map

NUM_SHOWN = 6  # pictures of a filter
_LONG_SIDE_PX = 176
_QUALITY = 80
_BATCH = 16


@dataclass(frozen=True)
class ShownPicture:
    """One picture of a card; all positions in pixels of the picture as shown."""

    source: str  # data URI
    width: int
    height: int
    name: str  # of the file
    score: float
    peak: tuple[float, float] | None  # None where the filter did not fire: a position without activation
    part_boxes: list[Box]  # of the filter's best part, where it is annotated
    part_points: list[Point]


class TopPictures:
    """Pictures by filter, drawn when made: every needed picture passes the network once.

    Args:
        model: made by `partcnn.convert`; left in the mode it was in.
        dataset: that `evaluation` is of.
        evaluation: whose `top_images` are shown.
    """

    field: ReceptiveField  # of the top part layer's cells

    def __init__(self, model: nn.Module, dataset: PartDataset, evaluation: Evaluation) -> None:
        self._of_filter: dict[int, list[ShownPicture]] = {one.filter: [] for one in evaluation.filters}
        self.is_masked = list(part_masks(model))[-1][1].enabled
        wanted: dict[int, list[tuple[FilterEvaluation, int, TopImage]]] = {}
        for one in evaluation.filters:
            for rank, top in enumerate(one.top_images[:NUM_SHOWN]):
                wanted.setdefault(top.sample, []).append((one, rank, top))
        found: dict[tuple[int, int], ShownPicture] = {}
        with evaluation_mode(model):
            self.field = receptive_field(model, list(part_masks(model))[-1][0], _input_size(model))
            for index, picture, masked in _masked_maps(model, dataset, sorted(wanted)):
                for one, rank, top in wanted[index]:
                    shown = self._drawn(dataset.samples[index], picture, masked[one.filter], one, top)
                    found[one.filter, rank] = shown
        for filter_index, rank in sorted(found):
            self._of_filter[filter_index].append(found[filter_index, rank])

    def of(self, filter_index: int) -> list[ShownPicture]:
        """The strongest first; empty where the category has no picture."""
        return self._of_filter[filter_index]

    def _drawn(
        self, sample: Sample, picture: Image.Image, masked_map: Tensor, one: FilterEvaluation, top: TopImage
    ) -> ShownPicture:
        scale = min(1.0, _LONG_SIDE_PX / max(picture.size))
        width, height = (max(1, round(side * scale)) for side in picture.size)
        small = picture.resize((width, height), Image.Resampling.LANCZOS)
        # One scale for all pictures of a filter, so that a weaker picture looks weaker.
        overlay = heatmap_overlay(
            small, upsample_map(masked_map, (height, width), self.field), full=one.top_images[0].score
        )
        boxes, points = _part_shapes(
            sample, None if one.is_dead else one.best_part, (width / picture.width, height / picture.height)
        )
        input_height, input_width = self.field.input_size
        peak = (top.peak_px[0] * width / input_width, top.peak_px[1] * height / input_height)
        return ShownPicture(
            source=_data_uri(overlay),
            width=width,
            height=height,
            name=sample.image_path.name,
            score=top.score,
            peak=peak if top.score > 0 else None,
            part_boxes=boxes,
            part_points=points,
        )


def _masked_maps(
    model: nn.Module, dataset: PartDataset, indices: list[int]
) -> Iterator[tuple[int, Image.Image, Tensor]]:
    """Sample index, picture, and what the layers above see of its maps [filter, row, col]."""
    preprocessing = conversion_of(model).preprocessing
    name, mask = list(part_masks(model))[-1]
    reference = next(model.parameters())
    for start in range(0, len(indices), _BATCH):
        chosen = indices[start : start + _BATCH]
        pictures = [dataset.samples[index].load_image() for index in chosen]
        batch = torch.stack([preprocessing(picture) for picture in pictures])
        with torch.inference_mode(), recorded_feature_maps(model) as maps:
            model(batch.to(reference.device, reference.dtype))
            masked = mask.masked(maps[name]).float().cpu()
        yield from zip(chosen, pictures, masked, strict=True)


def _input_size(model: nn.Module) -> tuple[int, int]:
    return conversion_of(model).preprocessing.input_size


def _part_shapes(sample: Sample, part: str | None, scale: tuple[float, float]) -> tuple[list[Box], list[Point]]:
    shapes: list[Shape] = list(sample.parts.get(part, [])) if part is not None else []
    across, down = scale
    boxes, points = [], []
    for shape in shapes:
        if isinstance(shape, Point):
            points.append(Point(shape.x * across, shape.y * down))
        else:
            box = shape.box if isinstance(shape, PartMask) else shape
            boxes.append(Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down))
    return boxes, points


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
