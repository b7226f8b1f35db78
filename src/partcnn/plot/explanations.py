"""Figures of one explanation: where its parts lie, and the logit as a sum of them."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from PIL import Image

from partcnn.foundation.errors import ConfigError
from partcnn.foundation.files import replace_file, write_text
from partcnn.foundation.number_text import NOT_SEEN, signed
from partcnn.foundation.pixels import shrunk
from partcnn.plot.callouts import Callout, draw_callouts
from partcnn.plot.colours import filter_colours, web_colour
from partcnn.plot.lettering import drawable, lettering, points
from partcnn.plot.overlay import heatmap_overlay
from partcnn.plot.tiling import Outline, filter_name, inner_place, shared_name

FOR, AGAINST = "#1f6fb4", "#d9730d"  # blue and orange: told apart with every common colour blindness
MOST_NAMED = 6  # contributions
_FILL_OPACITY = 0.55  # of regions
_MOST_TILES = 12  # of filters that compete
_REST, _TOTAL = "#a6a6a6", "#555555"  # bars of several filters together, and of all
_NEAR = 0.05  # of the diagonal: places nearer than that share a label
_PICTURE_PX, _MAP_PX = 1200, 480  # longer sides of what is drawn: more is not seen in a figure, and costs memory
_PLACES_PX = 512  # of the regions, in which a place for a filter's name is looked for
_LABEL_POINTS = 34  # between a place and its label
_LINE_LETTERS = 30  # of a bar's name
_PICTURE_ENDINGS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


class Contribution(Protocol):
    """What is drawn of `partcnn.explanation.contribution.Contribution`."""

    @property
    def filter(self) -> int: ...
    @property
    def value(self) -> float: ...
    @property
    def score(self) -> float: ...
    @property
    def position_px(self) -> tuple[float, float]: ...
    @property
    def hidden_change(self) -> float | None: ...
    @property
    def outline(self) -> Outline | None: ...
    def heatmap_at(self, size: tuple[int, int]) -> npt.NDArray[np.float32]: ...


class Term(Protocol):
    """What is drawn of `partcnn.explanation.terms.Term`."""

    @property
    def name(self) -> str | None: ...
    @property
    def filters(self) -> tuple[int, ...]: ...
    @property
    def contributions(self) -> Sequence[Contribution]: ...
    @property
    def value(self) -> float: ...
    @property
    def score(self) -> float: ...
    @property
    def strongest(self) -> Contribution: ...
    @property
    def hidden_change(self) -> float | None: ...


class Explanation(Protocol):
    """What is drawn of `partcnn.Explanation`, which stands above this room and draws itself with it."""

    @property
    def contributions(self) -> Sequence[Contribution]: ...
    @property
    def terms(self) -> Sequence[Term]: ...
    @property
    def logit(self) -> float: ...
    @property
    def bias(self) -> float: ...
    @property
    def surroundings(self) -> float | None: ...
    @property
    def probability(self) -> float: ...
    @property
    def completeness_error(self) -> float: ...
    @property
    def is_exact(self) -> bool: ...
    @property
    def against(self) -> str | None: ...
    @property
    def question(self) -> str: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def picture(self) -> Image.Image | None: ...
    @property
    def is_tiling(self) -> bool: ...
    def regions_at(self, size: tuple[int, int]) -> npt.NDArray[np.int16]: ...
    def to_dict(self) -> dict[str, Any]: ...


def part_map(
    explanation: Explanation, axis: Axes, *, most: int = MOST_NAMED, parts: Mapping[int, str] | None = None
) -> Axes:
    """The picture with the places of the strongest contributions.

    Where filters compete, the regions that they hold, each in its colour, with its name and what it alone adds.
    Else the places, labelled by rank: filters that look at nearly the same place share a label; it is blue where
    together they speak for the class, orange where they speak against it. Filters that found nothing have no place and
    are left out.

    Args:
        explanation: of `partcnn.explain` on a picture.
        axis: drawn on and returned.
        most: contributions that are named.
        parts: filter → the part it follows, to name it by.

    Raises:
        ConfigError: the explanation was made on a tensor and holds no picture.
    """
    picture = picture_of(explanation)
    axis.imshow(shrunk(picture, _PICTURE_PX), extent=(0, explanation.image_size[1], explanation.image_size[0], 0))
    axis.set_axis_off()
    axis.set_anchor("N")
    if explanation.is_tiling:
        return _named_regions(explanation, axis, most, parts or {})
    placed = [
        (rank, one) for rank, term in _strongest(explanation, most) for one in term.contributions if one.score > 0
    ]
    groups = _groups(placed, near_px=_NEAR * math.hypot(*explanation.image_size))
    places = np.array([group[0][1].position_px for group in groups]).reshape(-1, 2)
    for (x, y), group in zip(places, groups, strict=True):
        colour = FOR if sum(one.value for _, one in group) >= 0 else AGAINST
        away = (x, y) - places.mean(axis=0)  # labels fan out, so that they do not cover each other or the part
        away = np.array([1.0, -1.0]) if not away.any() else away
        offset = _LABEL_POINTS * away / np.hypot(*away) * (1, -1)  # y of a picture goes down, of an offset up
        axis.plot([x], [y], "o", color=colour, markeredgecolor="white", markersize=7)
        axis.annotate(
            " · ".join(dict.fromkeys(str(rank) for rank, _ in group)),
            (x, y),
            xytext=tuple(offset),
            textcoords="offset points",
            color="white",
            ha="center",
            va="center",
            fontsize=points(0.9),
            fontweight="bold",
            bbox={"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "white"},
            arrowprops={"arrowstyle": "-", "color": "white", "shrinkB": 3},
        )
    return axis


def contribution_bars(
    explanation: Explanation, axis: Axes, *, most: int = MOST_NAMED, parts: Mapping[int, str] | None = None
) -> Axes:
    """The logit as a sum: bars of the strongest contributions, of all other filters together, and of the bias.

    Where the explanation asked what happens when a part is hidden, a diamond on its row tells by how much the logit
    then changes. For the original head a bar tells what gradient × activation leaves unexplained.
    Where filters compete, a bar has its filter's colour, and what no filter holds, the surroundings, a bar of its own;
    `parts`, filter → the part it follows, names them. Filters that share a name are one bar, in the colour of the one
    that adds most.
    """
    strongest = _strongest(explanation, most)
    named = {number for _, term in strongest for number in term.filters}
    others = [one for one in explanation.contributions if one.filter not in named]
    bars = [(_bar_name(explanation, rank, term, parts or {}), term.value) for rank, term in strongest]
    if others:
        unseen = f", {NOT_SEEN}" if all(one.score <= 0 for one in others) else ""
        name = f"{len(others)} other filter{'s' * (len(others) > 1)}{unseen}"
        bars.append((name, sum(one.value for one in others)))
    if explanation.surroundings is not None:
        bars.append(("surroundings", explanation.surroundings))
    if explanation.is_exact:
        bars.append(("bias", explanation.bias))
    else:
        bars.append(("unexplained", explanation.completeness_error))
    bars.append(("logit" if explanation.against is None else "difference of logits", explanation.logit))
    places = list(range(len(bars)))
    values = [value for _, value in bars]
    colours = [FOR if value >= 0 else AGAINST for value in values[:-1]] + [_TOTAL]
    if explanation.is_tiling:
        own = _colours(explanation)
        colours = [web_colour(own[term.strongest.filter]) for _, term in strongest]
        colours += [_REST] * (len(values) - len(colours) - 1) + [_TOTAL]
    axis.barh(places, values, color=colours, height=0.65)
    names = [drawable(name, line_letters=_LINE_LETTERS) for name, _ in bars]
    axis.set_yticks(places, names, **lettering(names))
    axis.invert_yaxis()
    axis.axvline(0, color="#555555", linewidth=0.8)
    axis.margins(x=0.3)  # for the figures at the ends of bars
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    for place, value in zip(places, values, strict=True):
        axis.annotate(
            signed(value),
            (value, place),
            xytext=(4 if value >= 0 else -4, 0),
            textcoords="offset points",
            ha="left" if value >= 0 else "right",
            va="center",
            fontsize=points(0.8),
        )
    hidden = [
        (term.hidden_change, place) for place, (_, term) in enumerate(strongest) if term.hidden_change is not None
    ]
    if hidden:
        axis.plot(*zip(*hidden, strict=True), "D", color="#333333", markersize=4, label="change when hidden")
        axis.legend(frameon=False, fontsize=points(0.8), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    # The legend lies between bars and title: a long title would run into it.
    title = drawable(f"{explanation.question}: {explanation.probability:.1%}")
    axis.set_title(title, loc="left", fontsize=points(1.1), pad=24 if hidden else 6, **lettering([title]))
    return axis


def explanation(
    why: Explanation, axis: Axes, *, most: int = MOST_NAMED, parts: Mapping[int, str] | None = None
) -> Axes:
    """`part_map` and `contribution_bars` side by side within one axis.

    Args:
        why: of `partcnn.explain` on a picture.
        axis: drawn on and returned; about twice as wide as high serves best.
        most: contributions that are named.
        parts: filter → the part it follows, to name it by.

    Raises:
        ConfigError: the explanation was made on a tensor and holds no picture.
    """
    picture_of(why)
    axis.set_axis_off()
    part_map(why, axis.inset_axes((0, 0, 0.44, 1)), most=most, parts=parts)
    contribution_bars(why, axis.inset_axes((0.62, 0.05, 0.38, 0.85)), most=most, parts=parts)
    return axis


def explanation_figure(
    explanation: Explanation, *, most: int | None = None, parts: Mapping[int, str] | None = None
) -> Figure:
    """Where the strongest filters look, and what each adds; below, the map of each, unless their regions say it.

    Args:
        explanation: of `partcnn.explain` on a picture.
        most: contributions that are named; None: 6, or 12 where filters compete.
        parts: filter → the part it follows, to name it by.

    Raises:
        ConfigError: the explanation was made on a tensor and holds no picture.
    """
    picture = picture_of(explanation)
    if explanation.is_tiling:
        return _tiled_figure(explanation, most or _MOST_TILES, parts)
    most = most or MOST_NAMED
    strongest = _strongest(explanation, most)
    steepness = min(1.5, max(0.5, picture.height / picture.width))
    heights = max(3.2, 4.4 * steepness), 1.5 * steepness + 0.35  # inches
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=heights)
    upper, lower = (figure.add_subfigure(grid[row]) for row in range(2))
    left, right = upper.subplots(1, 2)
    part_map(explanation, left, most=most, parts=parts)
    contribution_bars(explanation, right, most=most, parts=parts)
    small = shrunk(picture, _MAP_PX)
    for place, (rank, term) in enumerate(strongest, start=1):
        one = term.strongest
        axis = lower.add_subplot(1, len(strongest), place)
        axis.imshow(_map_of(one, small, explanation.image_size), extent=(0, picture.width, picture.height, 0))
        axis.set_axis_off()
        axis.set_title(f"{rank}  filter {one.filter}", fontsize=9)
    return figure


def save_explanation(explanation: Explanation, path: FilePath, *, parts: Mapping[int, str] | None = None) -> FilePath:
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
    figure = explanation_figure(explanation, parts=parts)
    # The layout does not know how far names beside a picture reach; "tight" cuts none of them off.
    replace_file(path, lambda file: figure.savefig(file, format=_PICTURE_ENDINGS[ending], dpi=150, bbox_inches="tight"))
    return path


def _tiled_figure(explanation: Explanation, most: int, parts: Mapping[int, str] | None) -> Figure:
    height, width = explanation.image_size
    figure = Figure(figsize=(10, min(7.5, max(3.6, 4.4 * height / width))))
    figure.set_layout_engine("constrained", wspace=0.06)  # room for names on the right of the picture
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    part_map(explanation, left, most=most, parts=parts)
    contribution_bars(explanation, right, most=most, parts=parts)
    return figure


def _map_of(one: Contribution, small: Image.Image, image_size: tuple[int, int]) -> Image.Image:
    """Its map over the picture as that is drawn."""
    height, width = image_size
    x, y = one.position_px
    peak = (x * small.width / width, y * small.height / height)
    return heatmap_overlay(small, one.heatmap_at((small.height, small.width)), peak=peak)


def draw_regions(
    explanation: Explanation, axis: Axes, *, only: Collection[int] | None = None, line_points: float = 1.2
) -> Axes:
    """What each filter holds of the picture, in its colour with a white line around it, as vectors.

    Args:
        explanation: of filters that compete.
        axis: with the picture on it, in its pixels; returned.
        only: filters that are drawn; None: all.
        line_points: width of the line.
    """
    height, width = explanation.image_size
    colours = _colours(explanation)
    for one in explanation.contributions:
        if one.outline and (only is None or one.filter in only):
            path = Path.make_compound_path(*(Path(line * (width, height), closed=True) for line in one.outline))
            face = (*(colours[one.filter] / 255), _FILL_OPACITY)
            axis.add_patch(PathPatch(path, facecolor=face, edgecolor="white", linewidth=line_points))
    return axis


def _named_regions(explanation: Explanation, axis: Axes, most: int, parts: Mapping[int, str]) -> Axes:
    height, width = explanation.image_size
    scale = min(1.0, _PLACES_PX / max(height, width))
    regions = explanation.regions_at((max(1, round(height * scale)), max(1, round(width * scale))))
    colours = _colours(explanation)
    draw_regions(explanation, axis)
    callouts = []
    named = [(term, one) for _, term in _strongest(explanation, most) for one in term.contributions if one.score > 0]
    for term, one in named[: max(most, _MOST_TILES)]:
        place = inner_place(regions, one.filter)
        if place is not None:
            text = f"{_name_of(one, term, parts)} {signed(one.value)}"
            callouts.append(Callout(text, (place.x * width, place.y * height), colours[one.filter]))
    draw_callouts(callouts, axis, explanation.image_size)
    return axis


def _bar_name(explanation: Explanation, rank: int, term: Term, parts: Mapping[int, str]) -> str:
    if term.name is not None:
        name = shared_name(term.name, term.filters)
        return name if explanation.is_tiling else f"{rank}  {name}"
    part = parts.get(term.filters[0])
    if explanation.is_tiling:
        return filter_name(term.filters[0], part)
    return f"{rank}  filter {term.filters[0]}" + (f", {part}" if part else "")


def _name_of(one: Contribution, term: Term, parts: Mapping[int, str]) -> str:
    return filter_name(one.filter, parts.get(one.filter), term.name)


def _colours(explanation: Explanation) -> npt.NDArray[np.uint8]:
    return filter_colours(len(explanation.contributions))


def picture_of(explanation: Explanation) -> Image.Image:
    if explanation.picture is None:
        raise ConfigError("explanation: expected one made on a picture, got one made on a tensor; explain the file")
    return explanation.picture


def _strongest(explanation: Explanation, most: int) -> list[tuple[int, Term]]:
    """Rank from 1 and term, those that found something only: a position without activation means nothing."""
    found = [term for term in explanation.terms if term.score > 0]
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
