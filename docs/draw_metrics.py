"""Draw the pictures of docs/metrics.md: schemes, and animals that the package draws. Every figure in them is computed.

python docs/draw_metrics.py
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.metrics.functional import (
    activation_shares,
    cell_discs,
    class_purity,
    coverage,
    displacement_scatter,
    location_instability,
    part_ious,
    part_tracking,
    pointing_game,
)

IMAGES = Path(__file__).parent / "images"
BLUE, RED, GREY = "#1f6fb4", "#c8452e", "#8a8a8a"
SIDE, SIZE, CENTER = 192, (192, 192), 96.0
GIRAFFE = draw_animal("giraffe", 5)


def main() -> None:
    for name, draw in PICTURES.items():
        figure = draw()
        file = IMAGES / f"metric-{name}.png"
        figure.savefig(file, dpi=90)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


def landmarks(count: int = 40) -> Tensor:
    """[image, 1, 2]: where a head might be in pictures of cropped animals."""
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(count, 1, 2, generator=generator, dtype=torch.float64)
    return (points * torch.tensor([34.0, 20.0]) + torch.tensor([96.0, 62.0])).clamp(6, 186)


def answers() -> dict[str, Tensor]:
    """Name → peaks [image, 1, 2] of filters that do and do not look."""
    heads = landmarks()
    generator = torch.Generator().manual_seed(1)
    noise = 9 * torch.randn(heads.shape, generator=generator, dtype=torch.float64)
    return {
        "follows, with an offset": heads + torch.tensor([0.0, 34.0]),
        "follows loosely": heads + noise,
        "constant point": torch.full_like(heads, CENTER),
        "follows other pictures": heads[torch.randperm(len(heads), generator=generator)],
    }


def panels(count: int, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(2.1 * count, height), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, count)).tolist()
    for one in axes:
        one.set(xlim=(0, SIDE), ylim=(SIDE, 0), aspect="equal", xticks=[], yticks=[])
    return figure, axes


def draw_displacements(measure: Callable[..., float], symbol: str) -> Figure:
    """One panel per filter: from its peak to the part, picture by picture."""
    heads = landmarks()
    figure, axes = panels(len(answers()))
    for one, (name, peaks) in zip(axes, answers().items(), strict=True):
        for (x0, y0), (x1, y1) in zip(peaks[:, 0].tolist(), heads[:, 0].tolist(), strict=True):
            one.plot([x0, x1], [y0, y1], color=GREY, linewidth=0.5)
        one.scatter(*heads[:, 0].T, s=9, color=BLUE, zorder=3)
        one.scatter(*peaks[:, 0].T, s=9, color=RED, marker="x", linewidth=0.8, zorder=3)
        value = measure(peaks, torch.ones(len(peaks), 1), heads, SIZE)
        one.set_title(f"{name}\n{symbol} = {value:.2f}", fontsize=8)
    return figure


def draw_tracking() -> Figure:
    return draw_displacements(lambda *arguments: part_tracking(*arguments).value, "R²")


def draw_scatter() -> Figure:
    """The displacements themselves: their cloud is what the measure is the size of."""
    heads = landmarks()
    figure, axes = panels(len(answers()))
    for one, (name, peaks) in zip(axes, answers().items(), strict=True):
        moved = (heads - peaks)[:, 0]
        one.scatter(*moved.T, s=8, color=BLUE)
        one.axhline(0, color=GREY, linewidth=0.5)
        one.axvline(0, color=GREY, linewidth=0.5)
        one.set(xlim=(-CENTER, CENTER), ylim=(CENTER, -CENTER))
        value = displacement_scatter(peaks, torch.ones(len(peaks), 1), heads, SIZE).value
        one.set_title(f"{name}\nscatter = {value:.2f}", fontsize=8)
    return figure


def draw_instability() -> Figure:
    """Distances only: a part that goes around the peak is as stable as one that stays; so is the middle."""
    angles = torch.linspace(0, 2 * torch.pi, 41, dtype=torch.float64)[:-1]
    circle = torch.stack([CENTER + 60 * angles.cos(), CENTER + 60 * angles.sin()], dim=-1)[:, None]
    heads, looking = landmarks(), answers()["follows loosely"]
    cases = {
        "follows loosely": (looking, heads),
        "constant point": (torch.full_like(heads, CENTER), heads),
        "part goes around the peak": (torch.full_like(circle, CENTER), circle),
    }
    figure, axes = panels(len(cases))
    for one, (name, (peaks, parts)) in zip(axes, cases.items(), strict=True):
        for (x0, y0), (x1, y1) in zip(peaks[:, 0].tolist(), parts[:, 0].tolist(), strict=True):
            one.plot([x0, x1], [y0, y1], color=GREY, linewidth=0.5)
        one.scatter(*parts[:, 0].T, s=9, color=BLUE, zorder=3)
        one.scatter(*peaks[:, 0].T, s=12, color=RED, marker="x", linewidth=0.8, zorder=3)
        scores = torch.ones(len(peaks), 1)
        value, r2 = (measure(peaks, scores, parts, SIZE).value for measure in (location_instability, part_tracking))
        one.set_title(f"{name}\ninstability = {value:.3f}, R² = {r2:.2f}", fontsize=8)
    return figure


def draw_interpretability() -> Figure:
    """A drawn giraffe's head, a filter that fires in the cells there, and discs of two radii."""
    mask = torch.from_numpy(GIRAFFE.masks["head"])
    centers = (torch.arange(12) + 0.5) * SIDE / 12
    centers_px = torch.stack(torch.meshgrid(centers, centers, indexing="xy"), dim=-1)
    x0, y0, x1, y1 = GIRAFFE.part_boxes["head"]
    row, col = int((y0 + y1) / 2 / 16), int((x0 + x1) / 2 / 16)
    is_above = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    is_above[0, 0, row, col : col + 2] = True
    figure, axes = panels(3)
    for one, radius in zip(axes, (10.0, 18.0, 36.0), strict=True):
        discs = cell_discs(centers_px, radius, SIZE, SIZE)
        iou = part_ious(is_above, mask[None, None], discs).item()
        one.imshow(GIRAFFE.image, alpha=0.55)
        one.contour(mask, levels=[0.5], colors=BLUE, linewidths=1.2)
        union = discs[is_above[0, 0]].any(dim=0)
        one.imshow(np.ma.masked_equal(union, False), cmap=ListedColormap([RED]), alpha=0.45)
        one.set_title(f"radius {radius:g} px\nIoU = {iou:.2f}{', a hit' if iou > 0.2 else ', no hit'}", fontsize=8)
    return figure


def draw_pointing() -> Figure:
    """Three peaks on one picture: in the part, within the tolerance of it, and elsewhere."""
    mask = torch.from_numpy(GIRAFFE.masks["head"])[None, None]
    x0, y0, x1, y1 = GIRAFFE.part_boxes["head"]
    figure, axes = panels(3)
    for one, point in zip(axes, ((x0 + 6, y0 + 8), (x1 + 6, (y0 + y1) / 2), (CENTER, CENTER)), strict=True):
        peaks = torch.tensor([[point]])
        hit = pointing_game(peaks, torch.ones(1, 1), mask, SIZE, tolerance_px=15.0).value
        one.imshow(GIRAFFE.image, alpha=0.55)
        one.contour(mask[0, 0], levels=[0.5], colors=BLUE, linewidths=1.2)
        one.add_patch(Circle(point, 15, fill=False, color=RED, linewidth=0.8, linestyle=":"))
        one.plot(*point, "x", color=RED, markersize=6)
        one.set_title("a hit" if hit else "a miss", fontsize=8)
    return figure


def draw_class_purity() -> Figure:
    """Mean activation of four filters on three categories, and the share that falls on their own."""
    activation = torch.tensor([[9.0, 0.4, 0.6], [3.0, 3.0, 3.0], [1.0, 6.0, 3.0], [0.2, 0.3, 0.1]])
    owner = torch.tensor([0, 1, 1, 2])
    shares, purity = activation_shares(activation), class_purity(activation, owner)
    figure = Figure(figsize=(6.3, 2.0), layout="constrained")
    one = figure.subplots()
    left = torch.zeros(4).double()
    for category, name in enumerate(("bird", "cat", "dog")):
        colours = [BLUE if own == category else "#d5dbe1" for own in owner.tolist()]
        one.barh(range(4), shares[:, category], left=left, color=colours, edgecolor="white")
        for row in range(4):
            one.text(left[row] + shares[row, category] / 2, row, name, ha="center", va="center", fontsize=7)
        left += shares[:, category]
    labels = [f"filter {row}: class purity {value:.2f}" for row, value in enumerate(purity.tolist())]
    one.set_yticks(range(4), labels, fontsize=8)
    one.invert_yaxis()
    one.set_xlabel("share of the filter's mean activation; its own category in blue", fontsize=8)
    one.tick_params(axis="x", labelsize=7)
    return figure


def draw_coverage() -> Figure:
    """R² of five filters on four parts: which parts some filter follows."""
    parts = ("head", "neck", "legs", "tail")
    r2 = torch.tensor([[0.8, 0.3, -0.9, -0.4], [0.7, 0.4, -1.0, -0.6], [0.6, 0.1, -0.2, -1.1], [-0.1, 0.2, 0.5, -0.3],
                       [0.0, 0.0, 0.0, 0.0]])  # fmt: skip
    figure = Figure(figsize=(4.2, 2.4), layout="constrained")
    one = figure.subplots()
    one.imshow(r2 >= 0.5, cmap=ListedColormap(["#eef1f4", "#a9cbe8"]), aspect="auto")
    for row in range(5):
        for col in range(4):
            one.text(col, row, f"{r2[row, col]:+.1f}", ha="center", va="center", fontsize=8)
    one.set_xticks(range(4), parts, fontsize=8)
    one.set_yticks(range(5), [f"filter {row}" for row in range(4)] + ["dead filter"], fontsize=8)
    one.set_title(f"R²; coverage = {coverage(r2):.2f}: two parts of four have a filter of 0.5", fontsize=8)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "tracking": draw_tracking,
    "scatter": draw_scatter,
    "instability": draw_instability,
    "interpretability": draw_interpretability,
    "pointing": draw_pointing,
    "class-purity": draw_class_purity,
    "coverage": draw_coverage,
}

if __name__ == "__main__":
    main()
