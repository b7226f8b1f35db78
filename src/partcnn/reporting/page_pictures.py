"""The pictures that a page holds: which, of what size, and with what drawn on them."""

import io
import math
from dataclasses import dataclass

from PIL import Image

from partcnn.datasets import Box, MaskShape, Point, Sample
from partcnn.evaluation import Evaluation
from partcnn.evaluation.observation.strongest import NUM_TOP_IMAGES

MOST_PICTURES = 600  # in one page; of more, the strongest of the filters and an even choice of the others
_MOST_STRONGEST = 400  # of these, so many at most for being some filter's strongest
_QUALITY = 78


@dataclass(frozen=True)
class PagePicture:
    """One picture; points and boxes are shares of its width and height, from its top left corner."""

    sample: int  # index in the data set's samples
    name: str
    labels: tuple[int, ...]  # of the classes that it shows: one, but in a multi-label task
    predictions: tuple[int, ...]  # the same as the network says
    width: int  # of the JPEG
    height: int
    jpeg: bytes
    parts: dict[str, list[tuple[float, ...]]]  # boxes (x0, y0, x1, y1) and points (x, y)
    object_box: tuple[float, ...] | None

    @property
    def is_right(self) -> bool:
        return self.labels == self.predictions


def chosen_pictures(num_images: int, evaluation: Evaluation) -> list[int]:
    """All, or of too many: first every filter's strongest picture, then the second ones, …, then an even choice."""
    if num_images <= MOST_PICTURES:
        return list(range(num_images))
    tops = [measured.top_images for measured in evaluation.filters]
    strongest = dict.fromkeys(
        images[rank].sample for rank in range(NUM_TOP_IMAGES) for images in tops if rank < len(images)
    )
    chosen = set(list(strongest)[:_MOST_STRONGEST])
    rest = [index for index in range(num_images) if index not in chosen]
    room = MOST_PICTURES - len(chosen)
    return sorted([*chosen, *(rest[math.floor(i * len(rest) / room)] for i in range(min(room, len(rest))))])


def long_side(num_pictures: int) -> int:
    """Pixels of the longer side of each picture as kept: fewer may be larger."""
    return 288 if num_pictures <= 120 else 224 if num_pictures <= 300 else 160


def page_picture(
    index: int,
    sample: Sample,
    decoded: Image.Image,
    annotated: tuple[int, int],
    predictions: tuple[int, ...],
    side: int,
) -> PagePicture:
    """A sample as the page shows it.

    Args:
        index: of the sample in the data set.
        sample: its annotations.
        decoded: the whole picture, of any size.
        annotated: (height, width) of the picture in whose pixels the annotations are.
        predictions: of the classes that the network finds, as of `PagePicture`.
        side: pixels of the longer side; a smaller picture keeps its size.
    """
    scale = min(1.0, side / max(decoded.size))
    width, height = (max(1, round(length * scale)) for length in decoded.size)
    small = decoded.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return PagePicture(
        sample=index,
        name=sample.image_path.name,
        labels=sample.labels,
        predictions=predictions,
        width=width,
        height=height,
        jpeg=buffer.getvalue(),
        parts={part: [_shares(shape, annotated) for shape in shapes] for part, shapes in sample.parts.items()},
        object_box=None if sample.object_box is None else _shares(sample.object_box, annotated),
    )


def _shares(shape: Box | Point | MaskShape, annotated: tuple[int, int]) -> tuple[float, ...]:
    height, width = annotated
    numbers = shape.box if isinstance(shape, MaskShape) else shape
    return tuple(number / (height if axis % 2 else width) for axis, number in enumerate(numbers))
