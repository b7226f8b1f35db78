"""A drawn animal once more, with one thing changed: without a part, with another animal's part, elsewhere.

All else is equal to the pixel: chance is drawn in the same order, and what stands before the animal, its shadow, the
light and the noise of the camera stay.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partcnn.datasets.drawn import ANIMALS
from partcnn.datasets.drawn.canvas import Canvas
from partcnn.datasets.drawn.figures import PARTS, Piece, assembled, extent
from partcnn.datasets.drawn.scenery import SCENES
from partcnn.datasets.drawn.stage import (
    OCCLUSION_RATE,
    Corners,
    developed,
    generator,
    paint_back,
    paint_front,
    placed,
)
from partcnn.foundation.errors import ConfigError

MIN_VISIBLE = 0.15  # a part that shows less of its drawn area than this is absent


@dataclass(frozen=True)
class Change:
    """What is drawn otherwise.

    Args:
        without: parts that are left out. The animal's shadow stays, and so does what the part hid.
        swapped: part → (kind, seed) of another animal whose part is drawn in its place: as that animal's own picture
            has it, turned and mirrored with this one, with its middle at the part's and as large (√(width · height)).
        background: seed of other land and other things behind the animal, in the light of the picture. What stands
            before the animal stays.
        scene: with `background`, which kind of land it is, a number in `scenery.SCENES`; None: chance says.
    """

    without: frozenset[str] = frozenset()
    swapped: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    background: int | None = None
    scene: int | None = None


NO_CHANGE = Change()


@dataclass(frozen=True)
class Redrawing:
    """A drawn animal, changed or not.

    Attributes:
        image: RGB.
        masks: part → bool [row, col], of all parts, the pixels that show it; disjoint. Empty where it is not drawn.
        shown: parts of which at least 15 % of what was drawn is to be seen.
        touched: part → bool [row, col], the pixels that its paint reached, its soft edges and whiskers among them,
            hidden or not: nothing else of the picture depends on how the part is drawn.
    """

    image: Image.Image
    masks: dict[str, NDArray[np.bool_]]
    shown: tuple[str, ...]
    touched: dict[str, NDArray[np.bool_]]


class PosedAnimal:
    """An animal of `draw_animal` that can be drawn again with something changed.

    Args:
        kind, seed, size: as of `draw_animal`.

    Raises:
        ConfigError: the kind is unknown, the seed negative, or the size too small.
    """

    def __init__(self, kind: str, seed: int, size: int = 192) -> None:
        self.size = size
        rng = _animal_generator(kind, seed, size)
        self._placed = placed(rng, ANIMALS[kind](rng))
        self._foot = self._placed.box[3]
        self._back, self._scene = paint_back(rng, size, foot=self._foot)
        self._state = rng.bit_generator.state  # the rest of the picture's chance

    def drawn(self, change: Change = NO_CHANGE) -> Redrawing:
        """The picture with the change; with none the one of `draw_animal`.

        Raises:
            ConfigError: a part is unknown, left out and swapped at once; or another animal's kind or seed, or the
                background's seed, is none.
        """
        _check(change)
        rng = np.random.Generator(np.random.PCG64())
        rng.bit_generator.state = self._state
        canvas = self._background(change.background, change.scene)
        canvas.shade(self._placed.shadow, strength=0.5, blur=0.02)
        for piece in self._pieces(change):
            canvas.paint(piece.form, piece.paint, part=piece.part, hides=not piece.is_sheer)
        if rng.random() < OCCLUSION_RATE:
            paint_front(canvas, rng, self._scene, self._placed.box)
        masks = {part: canvas.visible[part] > 0.5 for part in PARTS}
        shown = tuple(part for part in PARTS if masks[part].any() and _is_shown(canvas, part))
        return Redrawing(developed(canvas, rng), masks, shown, canvas.touched)

    def _background(self, seed: int | None, scene: int | None) -> Canvas:
        if seed is None:
            return self._back.copy()
        rng = generator("background", seed, self.size)
        other, _ = paint_back(rng, self.size, foot=self._foot, light=self._back.light, number=scene)
        return self._back.copy(other.pixels)  # the animal keeps its light and grain

    def _pieces(self, change: Change) -> list[Piece]:
        pieces = [piece for piece in self._placed.pieces if piece.part not in change.without]
        for part, (kind, seed) in change.swapped.items():
            rng = _animal_generator(kind, seed, self.size)
            other = ANIMALS[kind](rng)
            pieces = _swapped(pieces, [self._fitted(layer, other, part) for layer in _layers(other, part)], part)
        return pieces

    def _fitted(self, pieces: list[Piece], other: list[Piece], part: str) -> list[Piece]:
        """Pieces of the other animal's part, from its own frame to where this animal's part is, and as large."""
        turn, mirrored = self._placed.turn, self._placed.mirrored
        x0, y0, x1, y1 = _extent(assembled(other, angle=turn, mirrored=mirrored), part)
        left, top, right, bottom = _extent(self._placed.pieces, part)
        scale = math.sqrt((right - left) * (bottom - top) / ((x1 - x0) * (y1 - y0)))
        to = ((left + right - scale * (x0 + x1)) / 2, (top + bottom - scale * (y0 + y1)) / 2)
        return assembled(assembled(pieces, angle=turn, mirrored=mirrored), scale=scale, to=to)


def _extent(pieces: list[Piece], part: str) -> Corners:
    return extent(piece for piece in pieces if piece.part == part)


def _layers(pieces: list[Piece], part: str) -> list[list[Piece]]:
    """The part's pieces in runs that nothing else is painted between: far legs, then, over the trunk, near legs."""
    runs = [list(run) for _, run in groupby(pieces, key=lambda piece: piece.part)]
    return [run for run in runs if run[0].part == part]


def _swapped(pieces: list[Piece], others: list[list[Piece]], part: str) -> list[Piece]:
    """The other's layers in place of the part's own, one by one; what is left over joins the last."""
    runs = [list(run) for _, run in groupby(pieces, key=lambda piece: piece.part)]
    own = [index for index, run in enumerate(runs) if run[0].part == part]
    for count, index in enumerate(own):
        taken = others[count:] if index == own[-1] else others[count : count + 1]
        runs[index] = [piece for layer in taken for piece in layer]
    return [piece for run in runs for piece in run]


def _animal_generator(kind: str, seed: int, size: int) -> np.random.Generator:
    if kind not in ANIMALS:
        raise ConfigError(f"kind: expected one of {', '.join(ANIMALS)}; got {kind!r}")
    return generator(kind, seed, size)


def _check(change: Change) -> None:
    unknown = sorted((change.without | change.swapped.keys()) - set(PARTS))
    if unknown:
        raise ConfigError(f"without, swapped: expected parts of {', '.join(PARTS)}; got {', '.join(unknown)}")
    both = sorted(change.without & change.swapped.keys())
    if both:
        raise ConfigError(f"without, swapped: expected different parts, got {', '.join(both)} in both")

    if change.scene is not None and (change.background is None or not 0 <= change.scene < len(SCENES)):
        raise ConfigError(
            f"scene: expected a number from 0 to {len(SCENES) - 1}, and a background's seed beside it, "
            f"got {change.scene} and {change.background}"
        )


def _is_shown(canvas: Canvas, part: str) -> bool:
    return bool(canvas.visible[part].sum() >= MIN_VISIBLE * canvas.drawn[part].sum())
