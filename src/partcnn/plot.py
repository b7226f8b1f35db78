"""Pictures with heat maps and parts on them, for the report, `explain` and notebooks.

Functions that draw figures take an axis and return it; nothing here touches pyplot or shows a window.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

from partcnn.checkpoint import replace_file, write_text
from partcnn.errors import ConfigError, ShapeError
from partcnn.explanation import Contribution, Explanation
from partcnn.receptive_field import upsample_map

# Light and dark are told apart without hue; its darkest third would look like shadow on a picture and is left out.
_COLOURS = colormaps["inferno"]
_DARKEST = 0.3
_MOST_OPAQUE = 0.85
FOR, AGAINST = "#1f6fb4", "#d9730d"  # blue and orange: told apart with every common colour blindness
_NEAR = 0.05  # of the diagonal: places nearer than that share a label
_LABEL_POINTS = 34  # between a place and its label
_PICTURE_ENDINGS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


def heatmap_overlay(
    picture: Image.Image,
    heatmap: npt.ArrayLike | Tensor,
    *,
    peak: tuple[float, float] | None = None,
    full: float | None = None,
) -> Image.Image:
    """A picture with a heat map over it: the stronger, the brighter and the less transparent.

    Args:
        picture: any size and mode.
        heatmap: [row, col], ≥ 0. Of another size than the picture it is laid evenly over it and upsampled
            bilinearly; see `upsample_map` for cells that do not lie evenly.
        peak: (x, y) in continuous pixels of the picture, marked by a ring.
        full: the value of the brightest colour; None takes the map's maximum. A map of zeros leaves the picture
            as it is, and so does nan.

    Raises:
        ShapeError: the map has other than two axes, or none of its values.
    """
    values = heatmap.detach().cpu() if isinstance(heatmap, Tensor) else np.asarray(heatmap)
    strength = torch.as_tensor(values, dtype=torch.float32)
    if strength.ndim != 2 or not strength.numel():
        raise ShapeError(f"heatmap: expected [row, col], got {list(strength.shape)}")
    strength = strength.nan_to_num(nan=0.0)
    full = float(strength.amax()) if full is None else full
    strength = (strength / full).clamp(0, 1) if full > 0 else torch.zeros_like(strength)
    if strength.shape != (picture.height, picture.width):
        strength = upsample_map(strength, (picture.height, picture.width))
    shares = strength.numpy()
    colours = np.asarray(_COLOURS(_DARKEST + (1 - _DARKEST) * shares))[..., :3] * 255
    opacity = _MOST_OPAQUE * shares[..., None] ** 0.7  # below 1, so that weaker places are seen too
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    drawn = Image.fromarray((pixels * (1 - opacity) + colours * opacity).round().astype(np.uint8))
    return drawn if peak is None else _with_ring(drawn, peak)


def part_map(explanation: Explanation, axis: Axes, *, most: int = 6) -> Axes:
    """The picture with the places of the strongest contributions, labelled by rank.

    Filters that look at nearly the same place share a label; it is blue where together they speak for the class,
    orange where they speak against it. Filters that found nothing have no place and are left out.

    Raises:
        ConfigError: the explanation was made on a tensor and holds no picture.
    """
    axis.imshow(_picture_of(explanation), extent=(0, explanation.image_size[1], explanation.image_size[0], 0))
    axis.set_axis_off()
    axis.set_anchor("N")
    groups = _groups(_strongest(explanation, most), near_px=_NEAR * math.hypot(*explanation.image_size))
    places = np.array([group[0][1].position_px for group in groups]).reshape(-1, 2)
    for (x, y), group in zip(places, groups, strict=True):
        colour = FOR if sum(one.value for _, one in group) >= 0 else AGAINST
        away = (x, y) - places.mean(axis=0)  # labels fan out, so that they do not cover each other or the part
        away = np.array([1.0, -1.0]) if not away.any() else away
        offset = _LABEL_POINTS * away / np.hypot(*away) * (1, -1)  # y of a picture goes down, of an offset up
        axis.plot([x], [y], "o", color=colour, markeredgecolor="white", markersize=7)
        axis.annotate(
            " · ".join(str(rank) for rank, _ in group),
            (x, y),
            xytext=tuple(offset),
            textcoords="offset points",
            color="white",
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold",
            bbox={"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "white"},
            arrowprops={"arrowstyle": "-", "color": "white", "shrinkB": 3},
        )
    return axis


def contribution_bars(explanation: Explanation, axis: Axes, *, most: int = 6) -> Axes:
    """The logit as a sum: bars of the strongest contributions, of all other filters together, and of the bias."""
    strongest = _strongest(explanation, most)
    named = {one.filter for _, one in strongest}
    others = [one.value for one in explanation.contributions if one.filter not in named]
    bars = [(f"{rank}  filter {one.filter}", one.value) for rank, one in strongest]
    if others:
        bars.append((f"{len(others)} other filter{'s' * (len(others) > 1)}", sum(others)))
    bars.append(("bias", explanation.bias))
    bars.append(("logit", explanation.logit))
    places = list(range(len(bars)))
    values = [value for _, value in bars]
    colours = [FOR if value >= 0 else AGAINST for value in values[:-1]] + ["#555555"]
    axis.barh(places, values, color=colours, height=0.65)
    axis.set_yticks(places, [name for name, _ in bars])
    axis.invert_yaxis()
    axis.axvline(0, color="#555555", linewidth=0.8)
    axis.margins(x=0.2)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    for place, value in zip(places, values, strict=True):
        axis.annotate(
            f"{value:+.2f}".replace("-", "\N{MINUS SIGN}"),
            (value, place),
            xytext=(4 if value >= 0 else -4, 0),
            textcoords="offset points",
            ha="left" if value >= 0 else "right",
            va="center",
            fontsize=8,
        )
    axis.set_title(f"{explanation.label}: {explanation.probability:.1%}", loc="left", fontsize=11)
    return axis


def filter_gallery(rows: Mapping[str, Sequence[Image.Image]], axis: Axes, *, tile_px: int = 160) -> Axes:
    """Rows of pictures under each other, each row with its name: what several filters fire on.

    Args:
        rows: name → pictures, for example of `heatmap_overlay`; each is fitted into a square.
        axis: drawn on.
        tile_px: side of a square.

    Raises:
        ConfigError: there is no picture.
    """
    most = max((len(pictures) for pictures in rows.values()), default=0)
    if not most:
        raise ConfigError("rows: expected names with pictures, got none")
    sheet = Image.new("RGB", (most * tile_px, len(rows) * tile_px), "white")
    for row, pictures in enumerate(rows.values()):
        for col, picture in enumerate(pictures):
            fitted = picture.convert("RGB")
            fitted.thumbnail((tile_px - 4, tile_px - 4))
            room = tile_px - fitted.width, tile_px - fitted.height
            sheet.paste(fitted, (col * tile_px + room[0] // 2, row * tile_px + room[1] // 2))
    axis.imshow(np.asarray(sheet))
    axis.set_xticks([])
    axis.set_yticks([(row + 0.5) * tile_px for row in range(len(rows))], list(rows))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return axis


def explanation_figure(explanation: Explanation, *, most: int = 6) -> Figure:
    """Where the strongest filters look, what each adds, and the map of each.

    Raises:
        ConfigError: the explanation was made on a tensor and holds no picture.
    """
    picture = _picture_of(explanation)
    strongest = _strongest(explanation, most)
    steepness = min(1.5, max(0.5, picture.height / picture.width))
    heights = max(3.2, 4.4 * steepness), 1.5 * steepness + 0.35  # inches
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=heights)
    upper, lower = (figure.add_subfigure(grid[row]) for row in range(2))
    left, right = upper.subplots(1, 2)
    part_map(explanation, left, most=most)
    contribution_bars(explanation, right, most=most)
    for place, (rank, one) in enumerate(strongest, start=1):
        axis = lower.add_subplot(1, len(strongest), place)
        axis.imshow(np.asarray(heatmap_overlay(picture, one.heatmap, peak=one.position_px)))
        axis.set_axis_off()
        axis.set_title(f"{rank}  filter {one.filter}", fontsize=9)
    return figure


def save_explanation(explanation: Explanation, path: Path) -> Path:
    """Write `explanation_figure` (.png, .jpg) or the numbers (.json). The file is replaced whole.

    Raises:
        ConfigError: another ending, or a figure of an explanation that holds no picture.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        write_text(path, json.dumps(explanation.to_dict(), indent=2) + "\n")
        return path
    if ending not in _PICTURE_ENDINGS:
        raise ConfigError(f"path: expected an ending of {', '.join(_PICTURE_ENDINGS)} or .json, got {path.name!r}")
    figure = explanation_figure(explanation)
    replace_file(path, lambda file: figure.savefig(file, format=_PICTURE_ENDINGS[ending], dpi=150))
    return path


def _with_ring(picture: Image.Image, peak: tuple[float, float]) -> Image.Image:
    """A white ring with a dark seam, seen on any ground; drawn at four times the size, for smooth edges."""
    radius = max(4.0, 0.035 * max(picture.size))
    large = Image.new("L", (picture.width * 4, picture.height * 4))
    seam = large.copy()
    for layer, width in ((seam, 0.75), (large, 0.4)):
        reach = 4 * radius * (1 + (width - 0.4) / 2)
        x, y = 4 * peak[0], 4 * peak[1]
        box = (x - reach, y - reach, x + reach, y + reach)
        ImageDraw.Draw(layer).ellipse(box, outline=255, width=round(4 * radius * width))
    marked = picture.copy()
    for layer, colour in ((seam, (20, 20, 20)), (large, (255, 255, 255))):
        marked.paste(colour, mask=layer.resize(picture.size, Image.Resampling.BOX))
    return marked


def _picture_of(explanation: Explanation) -> Image.Image:
    if explanation.picture is None:
        raise ConfigError("explanation: expected one made on a picture, got one made on a tensor; explain the file")
    return explanation.picture


def _strongest(explanation: Explanation, most: int) -> list[tuple[int, Contribution]]:
    """Rank from 1 and contribution, those that found something only: a position without activation means nothing."""
    found = [one for one in explanation.contributions if one.score > 0]
    return list(enumerate(found[:most], start=1))


def _groups(ranked: list[tuple[int, Contribution]], near_px: float) -> list[list[tuple[int, Contribution]]]:
    groups: list[list[tuple[int, Contribution]]] = []
    for rank, one in ranked:
        for group in groups:
            if math.dist(group[0][1].position_px, one.position_px) < near_px:
                group.append((rank, one))
                break
        else:
            groups.append([(rank, one)])
    return groups
