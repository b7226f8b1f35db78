"""A canvas that paints antialiased forms and keeps account of which pixels each part still shows."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from partcnn.datasets.drawn.curves import Form, bounds

Pixels = NDArray[np.float32]
Colour = tuple[float, float, float]  # red, green, blue, 0 to 1

SUPERSAMPLING = 4  # a form is filled on a grid this much finer, then averaged


@dataclass(frozen=True)
class Decal:
    """A mark on a form: painted only where the form is."""

    form: Form
    colour: Colour
    opacity: float = 1.0


@dataclass(frozen=True)
class Paint:
    """How a form looks.

    Attributes:
        colour: before light.
        relief: strength of the round shading from the canvas's light, 0 is flat.
        softness: how far that shading reaches in, as a share of the form's shorter side.
        rim: darkening of the outermost pixels, 0 to 1.
        grain: strength of the canvas's noise on the colour.
        opacity: 0 to 1.
        decals: marks on top of the colour and below the shading.
    """

    colour: Colour
    relief: float = 0.55
    softness: float = 0.16
    rim: float = 0.3
    grain: float = 0.25
    opacity: float = 1.0
    decals: tuple[Decal, ...] = field(default=())


class Canvas:
    """A square picture in the making; forms are given in units of its side, (0, 0) the top left corner.

    Attributes:
        pixels: [row, col, channel], 0 to 1.
        visible: per part [row, col], the share of each pixel that the part covers and nothing later hides.
        drawn: per part [row, col], the share it covers, hidden or not.
        touched: per part bool [row, col], the pixels that its paint reached, hidden or not.
    """

    def __init__(self, size: int, parts: tuple[str, ...], *, light: float, grain: Pixels) -> None:
        self.size = size
        self.light = light  # where the light comes from, −1 left to 1 right, always from above
        self.grain = grain
        self.pixels: Pixels = np.zeros((size, size, 3), dtype=np.float32)
        self.visible = {part: np.zeros((size, size), dtype=np.float32) for part in parts}
        self.drawn = {part: np.zeros((size, size), dtype=np.float32) for part in parts}
        self.touched = {part: np.zeros((size, size), dtype=np.bool_) for part in parts}

    def paint(self, form: Form, paint: Paint, *, part: str | None = None, hides: bool = True) -> None:
        """Paint over what is there. `part` is credited with the pixels; `hides=False` gives and takes none."""
        window = self._window(form)
        if window is None:
            return
        alpha = self._coverage(form, window) * np.float32(paint.opacity)
        self._blend(window, alpha, self._colours(alpha, paint, window))
        rows, cols = _slices(window)
        if part is not None:
            self.touched[part][rows, cols] |= alpha > 0
        if hides:
            for seen in self.visible.values():
                seen[rows, cols] *= 1 - alpha
            if part is not None:
                self.visible[part][rows, cols] += alpha
                drawn = self.drawn[part][rows, cols]
                drawn += alpha * (1 - drawn)

    def copy(self, pixels: Pixels | None = None) -> "Canvas":
        """A canvas of its own with the same light and grain, and these pixels or the same; no part is on it yet."""
        fresh = Canvas(self.size, tuple(self.visible), light=self.light, grain=self.grain)
        fresh.pixels[:] = self.pixels if pixels is None else pixels
        return fresh

    def shade(self, form: Form, *, strength: float, blur: float) -> None:
        """Darken the picture under a form with soft edges: a cast shadow. `blur` in units of the side."""
        window = self._window(form, margin=round(2 * blur * self.size))
        if window is None:
            return
        soft = _blurred(self._coverage(form, window), blur * self.size) * np.float32(strength)
        rows, cols = _slices(window)
        self.pixels[rows, cols] *= (1 - soft)[..., None]

    def _window(self, form: Form, *, margin: int = 2) -> tuple[int, int, int, int] | None:
        """The pixels a form can touch, (x0, y0, x1, y1); None when it lies outside the picture."""
        x0, y0, x1, y1 = (edge * self.size for edge in bounds(form))
        left, top = max(int(x0) - margin, 0), max(int(y0) - margin, 0)
        right, bottom = min(int(x1) + 1 + margin, self.size), min(int(y1) + 1 + margin, self.size)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def _coverage(self, form: Form, window: tuple[int, int, int, int]) -> Pixels:
        """The share of each pixel of the window that the form covers."""
        left, top, right, bottom = window
        sheet = Image.new("L", ((right - left) * SUPERSAMPLING, (bottom - top) * SUPERSAMPLING))
        pen = ImageDraw.Draw(sheet)
        for polygon in form:
            fine = (polygon * self.size - (left, top)) * SUPERSAMPLING
            pen.polygon(fine.ravel().tolist(), fill=255)
        return np.asarray(sheet.reduce(SUPERSAMPLING), dtype=np.float32) / np.float32(255)

    def _colours(self, alpha: Pixels, paint: Paint, window: tuple[int, int, int, int]) -> Pixels:
        rows, cols = _slices(window)
        colours = np.empty((*alpha.shape, 3), dtype=np.float32)
        colours[:] = paint.colour
        for decal in paint.decals:
            mark = (self._coverage(decal.form, window) * np.float32(decal.opacity))[..., None]
            colours += mark * (np.array(decal.colour, dtype=np.float32) - colours)
        light = 1 + np.float32(paint.grain) * (self.grain[rows, cols] - 0.5)
        if paint.relief or paint.rim:
            light *= self._relief(alpha, paint)
        colours *= light[..., None]
        return colours

    def _relief(self, alpha: Pixels, paint: Paint) -> Pixels:
        """Light on a round surface: the slope of the blurred form towards the light; and its dark rim."""
        reach = max(paint.softness * min(alpha.shape), 1.0)
        step = max(round(reach), 1)
        margin = step + round(2 * reach)  # the blur must reach zero before the window ends
        soft = _blurred(np.pad(alpha, margin), reach)
        height, width = alpha.shape
        aside = round(step * self.light)
        towards = soft[margin + step :, margin + aside :][:height, :width]
        away = soft[margin - step :, margin - aside :][:height, :width]
        light = 1 + np.float32(paint.relief) * (towards - away)
        if paint.rim:
            edge = _blurred(np.pad(alpha, 2), 0.006 * self.size)[2:-2, 2:-2]
            light *= 1 - np.float32(paint.rim) * np.clip(2 * (1 - edge), 0, 1) ** 1.5
        return light

    def _blend(self, window: tuple[int, int, int, int], alpha: Pixels, colours: Pixels) -> None:
        rows, cols = _slices(window)
        under = self.pixels[rows, cols]
        under += alpha[..., None] * (colours - under)


def noise(
    rng: np.random.Generator,
    size: int,
    *,
    cells: tuple[int, int] = (4, 4),
    octaves: int = 5,
    persistence: float = 0.55,
) -> Pixels:  # [row, col], 0 to 1
    """Noise of several octaves: random grids of cells, 2×, 4×… as fine, enlarged and added.

    The grids do not depend on the size: one seed gives the same texture at any size.
    """
    total = np.zeros((size, size), dtype=np.float32)
    weight, weights = 1.0, 0.0
    for octave in range(octaves):
        rows, cols = cells[0] * 2**octave, cells[1] * 2**octave
        grid = Image.fromarray(rng.random((rows, cols), dtype=np.float32))
        total += np.float32(weight) * np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
        weights += weight
        weight *= persistence
    spread: Pixels = 0.5 + (total / np.float32(weights) - 0.5) * np.float32(1.6)
    return spread.clip(0, 1)


def _blurred(alpha: Pixels, radius: float) -> Pixels:
    sheet = Image.fromarray((alpha * 255).astype(np.uint8))
    return np.asarray(sheet.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / np.float32(255)


def _slices(window: tuple[int, int, int, int]) -> tuple[slice, slice]:
    left, top, right, bottom = window
    return slice(top, bottom), slice(left, right)
