"""What lies around the animals of the demo set: sky, hills, ground, and things that are no animal.

Everything is given in units of the picture's side, y downwards.
"""

from dataclasses import dataclass

import numpy as np

from partcnn.datasets.drawn.canvas import Canvas, Colour, Paint, Pixels, noise
from partcnn.datasets.drawn.curves import Form, ellipse, spline
from partcnn.datasets.drawn.figures import darker, rgb, varied


@dataclass(frozen=True)
class Scene:
    """A landscape's colours and what stands about in it."""

    sky: tuple[str, str]  # above, at the horizon
    hills: tuple[str, ...]  # far to near
    ground: tuple[str, str]  # the two colours that the noise mixes
    leaves: str
    things: tuple[str, ...]


SCENES = (
    Scene(("6fa8dc", "dcecf5"), ("9db9c9", "86a87a"), ("6f9a45", "a8bd62"), "4f7d38",
          ("bush", "tree", "rock", "fence", "flowers", "ball", "grass")),
    Scene(("e8b878", "f7e6c4"), ("c9a37c", "b08f5c"), ("c2a35c", "dcc68a"), "8a8a45",
          ("tree", "rock", "grass", "bush", "log")),
    Scene(("8fae9a", "c4d4b4"), ("5f8266", "4a6b4c"), ("5a5a38", "7f7a4a"), "3a5f38",
          ("tree", "tree", "bush", "log", "mushrooms", "grass", "rock")),
    Scene(("7fb6e0", "f4ead8"), ("d9b48a", "cfa06a"), ("d9b77c", "efd9a8"), "6f8a55",
          ("rock", "rock", "ball", "log", "bush")),
    Scene(("a9bdd0", "e6ebf0"), ("b9c6d2", "98aab8"), ("c9d3de", "f2f5f8"), "5a7568",
          ("tree", "rock", "fence", "log", "bush")),
    Scene(("9a9fb0", "d5cfd0"), ("8a8894", "6f7a6a"), ("7a7568", "9a9480"), "5f6f4a",
          ("fence", "rock", "ball", "bush", "grass", "log")),
)  # fmt: skip


def paint_land(canvas: Canvas, rng: np.random.Generator, horizon: float, number: int | None = None) -> Scene:
    """Fill the canvas with sky, hills and ground of one of the scenes; the ground begins at `horizon`.

    `number`: of the scene, in place of the one that chance takes.
    """
    drawn = rng.integers(len(SCENES))
    scene = SCENES[drawn if number is None else number]
    size = canvas.size
    down = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None]
    top, low = (varied(rng, rgb(code), 0.03) for code in scene.sky)
    clouds = np.clip(noise(rng, size, cells=(4, 2), octaves=4) * 2.2 - 1.1, 0, 1) * rng.uniform(0.2, 0.9)
    sky = _between(top, low, np.broadcast_to(np.clip(down / np.float32(horizon), 0, 1), (size, size)))
    canvas.pixels[:] = sky + clouds[..., None] * (1 - sky) * np.float32(0.8)
    for i, code in enumerate(scene.hills):
        ridge = horizon - (0.16, 0.06)[i] * rng.uniform(0.3, 1.3)
        canvas.paint(_ridge(rng, ridge), Paint(varied(rng, rgb(code), 0.03), relief=0, rim=0, grain=0.5))
    near, far = (varied(rng, rgb(code), 0.03) for code in scene.ground)
    rough = noise(rng, size, cells=(9, 4), octaves=5, persistence=0.75)
    ground = _between(near, far, rough) * (0.75 + 0.3 * down)[..., None]
    below = np.clip((down - horizon) * size + 0.5, 0, 1)[..., None]
    canvas.pixels += below * (ground - canvas.pixels)
    _paint_litter(canvas, rng, scene, horizon)
    return scene


def _paint_litter(canvas: Canvas, rng: np.random.Generator, scene: Scene, horizon: float) -> None:
    """Blades and pebbles strewn over the ground, larger towards the front; all of a colour in one form."""
    for code, tall in ((scene.leaves, True), (scene.ground[0], False), (scene.ground[1], False)):
        depths = rng.random(26)
        marks = []
        for x, depth in zip(rng.random(26).tolist(), depths.tolist(), strict=True):
            y, unit = horizon + 0.01 + depth * (1 - horizon), 0.006 + 0.012 * depth
            if tall:
                lean = unit * rng.uniform(-1, 1)
                marks.append(np.array([(x - 0.35 * unit, y), (x + lean, y - 2.6 * unit), (x + 0.35 * unit, y)]))
            else:
                marks += ellipse(x, y, unit * rng.uniform(0.7, 1.6), 0.5 * unit)
        tone = rgb(code) if tall else darker(rgb(code), rng.uniform(0.15, 0.4))
        canvas.paint(marks, Paint(tone, relief=0, rim=0, grain=0.5, opacity=0.6))


def _between(colour: Colour, other: Colour, share: Pixels) -> Pixels:
    start, end = np.array(colour, dtype=np.float32), np.array(other, dtype=np.float32)
    return start + share[..., None] * (end - start)


def _ridge(rng: np.random.Generator, height: float) -> Form:
    x = np.linspace(-0.1, 1.1, 9)
    crest = spline(np.stack([x, height + rng.normal(0, 0.035, 9)], axis=1), samples=4)
    return [np.concatenate([crest, [(1.1, 1.0), (-0.1, 1.0)]])]
