"""Annotations and the picture they belong to: what lies outside is left out; a crop moves all of it together."""

import math
from dataclasses import dataclass, field, replace

from PIL import Image

from partcnn.datasets.annotations import Skips
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.pictures import CheckedPicture
from partcnn.datasets.samples import Box, MaskShape, Point, Sample, Shape
from partcnn.foundation.errors import DataError

OUTSIDE = "parts outside their picture"
OBJECT_OUTSIDE = "object boxes outside their picture"


@dataclass(frozen=True)
class CroppedSample(Sample):
    """A window of another sample's picture; object box and parts are those within, in pixels of the window.

    Args:
        whole: the sample that is cropped.
        window: x0, y0, x1, y1 in pixels of the whole picture.
    """

    whole: Sample = field(kw_only=True)
    window: tuple[int, int, int, int] = field(kw_only=True)

    def pinned(self) -> "CroppedSample":
        return replace(self, whole=self.whole.pinned())

    def load_image(self) -> Image.Image:
        return self.whole.load_image().crop(self.window)

    def load_reduced(
        self, resized_to: tuple[int, int], window: tuple[int, int, int, int] | None = None
    ) -> tuple[Image.Image, tuple[int, int]]:
        x0, y0, x1, y1 = self.window
        if window is not None:
            x0, y0, x1, y1 = x0 + window[0], y0 + window[1], x0 + window[2], y0 + window[3]
        return self.whole.load_reduced(resized_to, (x0, y0, x1, y1))

    def picture_digest(self) -> bytes:
        return self.whole.picture_digest() + repr(self.window).encode()

    def check_image(self) -> CheckedPicture | None:
        checked = self.whole.check_image()
        return checked and replace(checked, size=(self.window[3] - self.window[1], self.window[2] - self.window[0]))


def check_placement(sample: Sample, size: tuple[int, int], skips: Skips) -> Sample:
    """The sample without the parts, and without the object box, that lie outside its picture altogether.

    Args:
        sample: as its reader gives it.
        size: (height, width) of its picture.
        skips: what is left out is counted here.

    Raises:
        DataError: a mask, or the sample's own `size`, is of another size than the picture.
    """
    if sample.size is not None and sample.size != size:
        raise DataError(_size_message(sample, sample.size, size))
    parts: dict[str, list[Shape]] = {}
    is_changed = False
    for name, shapes in sample.parts.items():
        for shape in shapes:
            if isinstance(shape, MaskShape) and shape.mask.shape != size:
                raise DataError(_size_message(sample, shape.mask.shape, size))
            if _is_inside(shape, size):
                parts.setdefault(name, []).append(shape)
            else:
                skips.add(OUTSIDE, f"{sample.image_path}, {name} {_listed(shape)}, picture {size[1]}×{size[0]}")
                is_changed = True
    object_box = sample.object_box
    if object_box is not None and not _is_inside(object_box, size):
        skips.add(OBJECT_OUTSIDE, f"{sample.image_path}, {_listed(object_box)}, picture {size[1]}×{size[0]}")
        object_box, is_changed = None, True
    if not is_changed:
        return sample
    return replace(sample, object_box=object_box, parts=PackedShapes(parts), size=size)


def crop_to_object(sample: Sample, size: tuple[int, int] | None, margin: float) -> Sample:
    """The sample's object with a margin; the whole picture where no object is annotated.

    Args:
        sample: any.
        size: (height, width) of its picture; None where it has no file.
        margin: added on each side, as a share of the box's width and height; cut at the picture's edge. The
            window then grows to whole pixels.
    """
    if sample.object_box is None:
        return sample
    if size is None:
        image = sample.load_image()
        size = image.height, image.width
    window = _window(sample.object_box, size, margin)
    moved = {name: _moved_all(shapes, window) for name, shapes in sample.parts.items()}
    return CroppedSample(
        image_path=sample.image_path,
        label=sample.label,
        object_box=_moved_box(sample.object_box, window),
        parts=PackedShapes({name: shapes for name, shapes in moved.items() if shapes}),
        image_id=sample.image_id,
        split=sample.split,
        whole=sample,
        window=window,
    )


def _window(box: Box, size: tuple[int, int], margin: float) -> tuple[int, int, int, int]:
    height, width = size
    extra_x, extra_y = margin * (box.x1 - box.x0), margin * (box.y1 - box.y0)
    x0, y0 = math.floor(max(0.0, box.x0 - extra_x)), math.floor(max(0.0, box.y0 - extra_y))
    x1, y1 = math.ceil(min(width, box.x1 + extra_x)), math.ceil(min(height, box.y1 + extra_y))
    return x0, y0, x1, y1


def _moved_all(shapes: list[Shape], window: tuple[int, int, int, int]) -> list[Shape]:
    """Boxes are not clipped, so that their centres stay; a shape wholly outside the window is dropped."""
    size = window[3] - window[1], window[2] - window[0]
    moved: list[Shape] = []
    for shape in shapes:
        if isinstance(shape, MaskShape):
            cut = shape.mask[window[1] : window[3], window[0] : window[2]]
            if cut.any():
                moved.append(MaskShape(cut))
            continue
        place = _moved_box(shape, window) if isinstance(shape, Box) else Point(shape.x - window[0], shape.y - window[1])
        if _is_inside(place, size):
            moved.append(place)
    return moved


def _moved_box(box: Box, window: tuple[int, int, int, int]) -> Box:
    return Box(box.x0 - window[0], box.y0 - window[1], box.x1 - window[0], box.y1 - window[1])


def _is_inside(shape: Shape, size: tuple[int, int]) -> bool:
    height, width = size
    if isinstance(shape, Box):
        return shape.x0 < width and shape.x1 > 0 and shape.y0 < height and shape.y1 > 0
    return not isinstance(shape, Point) or (0 <= shape.x < width and 0 <= shape.y < height)


def _listed(shape: Shape) -> str:
    return "mask" if isinstance(shape, MaskShape) else "[" + ", ".join(f"{edge:g}" for edge in shape) + "]"


def _size_message(sample: Sample, annotated: tuple[int, ...], size: tuple[int, int]) -> str:
    return (
        f"{sample.image_path}: expected a picture of {annotated[1]}×{annotated[0]} pixels, for which it is annotated, "
        f"got {size[1]}×{size[0]}" + (" (after the turn that its EXIF tag asks for)" if annotated == size[::-1] else "")
    )
