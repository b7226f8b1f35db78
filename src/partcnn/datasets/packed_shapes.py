"""Part masks at one bit a pixel of their box: those of a large data set are held in memory together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partcnn.datasets.samples import MaskShape, Shape


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A `MaskShape`, packed.

    Args:
        bits: of the rows and columns within the mask's box.
        corner: (row, col) of the box in the picture.
        box_size: (height, width) of the box.
        size: (height, width) of the picture.
    """

    bits: npt.NDArray[np.uint8]
    corner: tuple[int, int]
    box_size: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def pack(cls, mask: MaskShape) -> "PackedMask":
        x0, y0, x1, y1 = (int(edge) for edge in mask.box)
        return cls(np.packbits(mask.mask[y0:y1, x0:x1]), (y0, x0), (y1 - y0, x1 - x0), mask.mask.shape)

    def unpack(self) -> MaskShape:
        (row, col), (height, width) = self.corner, self.box_size
        mask = np.zeros(self.size, dtype=np.bool_)
        inside = np.unpackbits(self.bits, count=height * width).reshape(height, width)
        mask[row : row + height, col : col + width] = inside
        return MaskShape(mask)


class PackedShapes(Mapping[str, list[Shape]]):
    """The shapes of a sample's parts; masks are unpacked each time a part is asked for."""

    def __init__(self, parts: Mapping[str, Sequence[Shape]]) -> None:
        self._parts = {
            name: [PackedMask.pack(shape) if isinstance(shape, MaskShape) else shape for shape in shapes]
            for name, shapes in parts.items()
        }

    def __getitem__(self, part: str) -> list[Shape]:
        return [shape.unpack() if isinstance(shape, PackedMask) else shape for shape in self._parts[part]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
