"""Things that are no animal: they stand about in the scenes, and sometimes before the animal."""

from collections.abc import Callable

import numpy as np

from partcnn.datasets.drawn.canvas import Canvas, Decal, Paint
from partcnn.datasets.drawn.curves import blob, ellipse, spline, tube
from partcnn.datasets.drawn.figures import darker, lighter, mixed, pick_coat, rgb, varied
from partcnn.datasets.drawn.scenery import Scene


def paint_thing(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    """One of the scene's things, standing at (x, y), `scale` about its height."""
    THINGS[scene.things[rng.integers(len(scene.things))]](canvas, rng, scene, x, y, scale)


def paint_rock(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    (colour,) = pick_coat(rng, (("8a8784",), ("a39684",), ("6f7278",), ("9a7f6a",)))
    for _ in range(rng.integers(1, 4)):
        width, height = scale * rng.uniform(0.3, 0.6), scale * rng.uniform(0.22, 0.42)
        place = x + scale * rng.uniform(-0.4, 0.4)
        canvas.shade(ellipse(place, y, width, 0.05 * scale + 0.01), strength=0.4, blur=0.012)
        stone = blob(rng, place, y - 0.7 * height, width, height, jitter=0.25, knots=7)
        canvas.paint(stone, Paint(varied(rng, colour, 0.02), grain=0.8, rim=0.35))


def paint_bush(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    canvas.shade(ellipse(x, y, 0.5 * scale, 0.06 * scale), strength=0.4, blur=0.015)
    _paint_leaves(canvas, rng, scene, x, y - 0.28 * scale, 0.5 * scale, 0.3 * scale)


def paint_tree(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    height, lean = scale * rng.uniform(1.4, 2.6), scale * rng.uniform(-0.25, 0.25)
    bark = varied(rng, rgb(("6a4f3a", "8a7460", "d0c8bc")[rng.integers(3)]), 0.03)
    course = [(x, y), (x + lean * 0.3, y - 0.5 * height), (x + lean, y - height)]
    canvas.shade(ellipse(x, y, 0.3 * scale, 0.05 * scale), strength=0.4, blur=0.015)
    stem = tube(course, [0.13 * scale, 0.09 * scale, 0.05 * scale])
    canvas.paint(stem, Paint(bark, grain=0.9))
    crown = 0.55 * scale * rng.uniform(0.7, 1.3)
    _paint_leaves(canvas, rng, scene, x + lean, y - height - 0.2 * crown, crown, crown * rng.uniform(0.6, 0.9))


def _paint_leaves(
    canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, rx: float, ry: float
) -> None:
    """Three layers of tufts, the upper ones smaller and lighter."""
    colour = varied(rng, rgb(scene.leaves), 0.04)
    for layer, (share, count) in enumerate(((0.0, 10), (0.17, 10), (0.34, 9))):
        places = rng.uniform(-1, 1, (count, 2))
        tufts = [
            polygon
            for dx, dy in places.tolist()
            for polygon in blob(
                rng,
                x + rx * dx * (0.75 - 0.15 * layer) + canvas.light * rx * 0.12 * layer,
                y + ry * (dy * (0.7 - 0.15 * layer) - 0.15 * layer),
                rx * (0.42 - 0.1 * layer),
                ry * (0.5 - 0.12 * layer),
                jitter=0.3,
                knots=8,
            )
        ]
        paint = Paint(lighter(darker(colour, 0.25), share), relief=0.45, softness=0.05, grain=0.45, rim=0.3)
        canvas.paint(tufts, paint)


def paint_trunk(canvas: Canvas, rng: np.random.Generator, x: float, radius: float) -> None:
    """A tree trunk from the bottom of the picture to its top."""
    bark = varied(rng, rgb(("6a4f3a", "8a7460", "d0c8bc", "55483f")[rng.integers(4)]), 0.03)
    lean = rng.uniform(-0.06, 0.06)
    course = [(x - lean, 1.1), (x, 0.5), (x + lean, -0.1)]
    knots = rng.uniform((x - radius, 0), (x + radius, 1), (7, 2)).tolist()
    marks = tuple(Decal(ellipse(kx, ky, 0.5 * radius, 0.012), darker(bark, 0.6), 0.7) for kx, ky in knots)
    canvas.paint(tube(course, [1.15 * radius, radius, 0.9 * radius]), Paint(bark, grain=1.0, decals=marks))


def paint_fence(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    (wood,) = pick_coat(rng, (("8a6a48",), ("b59a78",), ("e8e2d8",), ("6f625a",)))
    height, gap = 0.6 * scale, 0.34 * scale
    paint = Paint(wood, grain=0.8, softness=0.3)
    for rail in (0.35, 0.75):
        slope = rng.uniform(-0.02, 0.02)
        ends = [(x - 2 * gap, y - rail * height), (x + 2 * gap, y - rail * height + slope)]
        canvas.paint(tube(ends, [0.035 * scale] * 2, samples=2), paint)
    for post in range(-2, 3):
        foot = x + post * gap + rng.uniform(-0.02, 0.02) * scale
        canvas.paint(tube([(foot, y), (foot, y - height)], [0.05 * scale, 0.045 * scale], samples=2), paint)


def paint_ball(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    radius = scale * rng.uniform(0.16, 0.32)
    colours = pick_coat(rng, (("d94f43", "f4efe4"), ("3f74c4", "f0d24a"), ("e8943a", "5a4036"), ("5fae6a", "f4efe4")))
    middle = y - radius
    turn = rng.uniform(0, 3.1)
    band = [Decal(ellipse(x, middle, radius * 0.35, radius * 1.05, angle=turn), colours[1])]
    canvas.shade(ellipse(x, y, radius * 1.1, radius * 0.3), strength=0.45, blur=0.015)
    canvas.paint(ellipse(x, middle, radius), Paint(colours[0], relief=0.9, softness=0.22, decals=tuple(band)))
    shine = ellipse(x + 0.35 * canvas.light * radius, middle - 0.45 * radius, 0.16 * radius, 0.12 * radius)
    canvas.paint(shine, Paint((1, 1, 1), relief=0, rim=0, grain=0, opacity=0.7))


def paint_log(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    bark = varied(rng, rgb(("6a4f3a", "8a6f52", "55483f")[rng.integers(3)]), 0.03)
    half, radius = scale * rng.uniform(0.3, 0.65), scale * rng.uniform(0.09, 0.18)
    tilt = rng.uniform(-0.1, 0.1) * scale
    ends = [(x - half, y - radius + tilt), (x + half, y - radius - tilt)]
    canvas.shade(ellipse(x, y, half * 1.1, radius * 0.5), strength=0.45, blur=0.015)
    canvas.paint(tube(ends, [radius, radius], samples=2), Paint(bark, grain=1.0, relief=0.7, softness=0.25))
    cut = lighter(bark, 0.45)
    rings = tuple(
        Decal(ellipse(*ends[1], radius * 0.55 * share, radius * share), mixed(cut, bark, tone))
        for share, tone in ((0.7, 0.35), (0.55, 0.0), (0.3, 0.4))
    )
    canvas.paint(ellipse(*ends[1], radius * 0.55, radius), Paint(cut, relief=0.1, decals=rings))


def paint_mushrooms(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    (cap,) = pick_coat(rng, (("c9453a",), ("c99a6a",), ("8a6a58",)))
    for _ in range(rng.integers(2, 4)):
        tall, place = scale * rng.uniform(0.2, 0.42), x + scale * rng.uniform(-0.4, 0.4)
        canvas.paint(tube([(place, y), (place, y - tall)], [0.25 * tall, 0.17 * tall]), Paint(rgb("ece2cc")))
        dots = tuple(
            Decal(ellipse(place + dx * tall, y - tall * dy, 0.08 * tall), rgb("f8f0e4"))
            for dx, dy in ((-0.3, 1.0), (0.02, 1.2), (0.32, 1.02))
        )
        hat = [
            spline(
                [
                    (place - 0.62 * tall, y - 0.85 * tall),
                    (place, y - 1.45 * tall),
                    (place + 0.62 * tall, y - 0.85 * tall),
                    (place, y - 0.78 * tall),
                ],
                is_closed=True,
            )
        ]
        canvas.paint(hat, Paint(cap, decals=dots))


def paint_flowers(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    (petal,) = pick_coat(rng, (("e85a6a",), ("f4d04a",), ("f4f0f4",), ("8a6ad0",)))
    places = [(x + scale * dx, y - scale * (0.3 + dy)) for dx, dy in rng.uniform(-0.25, 0.25, (6, 2)).tolist()]
    stems = [
        polygon
        for place in places
        for polygon in tube([(place[0] * 0.7 + x * 0.3, y), place], [0.012 * scale] * 2, samples=2)
    ]
    canvas.paint(stems, Paint(rgb(scene.leaves), relief=0, rim=0))
    petals = [
        polygon
        for px, py in places
        for turn in np.arange(0, 6.2, 1.26).tolist()
        for polygon in ellipse(px + 0.05 * scale * np.cos(turn), py + 0.05 * scale * np.sin(turn), 0.038 * scale)
    ]
    canvas.paint(petals, Paint(petal, softness=0.05, rim=0.2))
    hearts = [polygon for px, py in places for polygon in ellipse(px, py, 0.028 * scale)]
    canvas.paint(hearts, Paint(rgb("e8a83a"), relief=0, rim=0))


def paint_grass(canvas: Canvas, rng: np.random.Generator, scene: Scene, x: float, y: float, scale: float) -> None:
    """A tuft of blades, dark behind and light before."""
    colour = varied(rng, mixed(rgb(scene.leaves), rgb(scene.ground[0]), rng.uniform(0.2, 0.8)), 0.03)
    for share in (-0.3, 0.0, 0.3):
        tone = darker(colour, -share) if share < 0 else lighter(colour, share)
        blades = []
        for _ in range(9):
            foot, bend = x + scale * rng.uniform(-0.3, 0.3), scale * rng.uniform(-0.22, 0.22)
            low = y + scale * rng.uniform(-0.05, 0.05)
            tall, wide = scale * rng.uniform(0.35, 0.8), scale * rng.uniform(0.02, 0.04)
            blades.append(
                np.array(
                    [
                        (foot - 0.4 * wide, low),
                        (foot + 0.35 * bend - wide, y - 0.55 * tall),
                        (foot + bend, y - tall),
                        (foot + 0.35 * bend + wide, y - 0.55 * tall),
                        (foot + 0.4 * wide, low),
                    ]
                )
            )
        canvas.paint(blades, Paint(tone, relief=0.2, softness=0.05, rim=0.2, grain=0.3))


Painter = Callable[[Canvas, np.random.Generator, Scene, float, float, float], None]

THINGS: dict[str, Painter] = {
    "ball": paint_ball,
    "bush": paint_bush,
    "fence": paint_fence,
    "flowers": paint_flowers,
    "grass": paint_grass,
    "log": paint_log,
    "mushrooms": paint_mushrooms,
    "rock": paint_rock,
    "tree": paint_tree,
}
