"""Figures for papers: as wide as a column, lines and letters as vectors with their fonts, pictures sharp in print."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator
from PIL import Image

from partcnn.foundation.errors import ConfigError
from partcnn.foundation.files import replace_file
from partcnn.foundation.pixels import shrunk
from partcnn.plot.colours import filter_colours, web_colour
from partcnn.plot.curves import LOSS_TERMS, Curve, training_curves
from partcnn.plot.explanations import (
    MOST_NAMED,
    Contribution,
    Explanation,
    contribution_bars,
    draw_regions,
    part_map,
    picture_of,
)
from partcnn.plot.lettering import drawable, letter_legend, lettering, points
from partcnn.plot.tiling import inner_place

WIDTHS_CM = {"single": 8.5, "double": 17.5}  # of a column, and of a page of two
_LEAST_CM, _MOST_CM = 4.0, 60.0
_ENDINGS = ("pdf", "svg", "png")
_CM = 1 / 2.54  # inches
_NARROW = 5.0  # inches: below, panels stand under each other
_POINTS = 8.0  # of letters
_GAP = 0.03  # inches between pictures
_LINE = 0.6  # points, around regions
_BAR, _TITLE, _SCALE = 0.17, 0.24, 0.28  # inches of a bar, the title above, the scale below
_PLACES_PX = 512  # of the regions, in which places for numbers are looked for
_SAMPLE_PX = 600  # longer side at which pictures are handed on: two inches at 300 dots
_PANELS = (("task_loss", "filter_loss"), LOSS_TERMS, ("equivariance",), ("accuracy",))  # of curves


def width_in_cm(given: str) -> float:
    """A width: "single", "double", or a number of centimetres.

    Raises:
        ConfigError: it is neither, or not between 4 and 60 cm.
    """
    if given in WIDTHS_CM:
        return WIDTHS_CM[given]
    try:
        width = float(given)
    except ValueError:
        width = math.nan
    if not _LEAST_CM <= width <= _MOST_CM:
        names = " or ".join(WIDTHS_CM)
        raise ConfigError(f"width: expected {names}, or {_LEAST_CM:g} to {_MOST_CM:g} cm, got {given!r:.40}")
    return width


@contextmanager
def paper_style() -> Iterator[None]:
    """Within it figures are made and saved: letters of 8 points, embedded as fonts (PDF) or drawn as outlines (SVG)."""
    settings: Any = {
        "font.size": _POINTS,
        "pdf.fonttype": 42,  # TrueType, which publishers ask for; 3 is refused by many
        "svg.fonttype": "path",
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.linewidth": 1.2,
    }
    with rc_context(settings):
        yield


def check_paper_file(path: Path, dpi: int) -> None:
    """Raises ConfigError where a figure cannot be saved so: another ending, fewer than 30 dots or more than 2400."""
    if path.suffix.lower().removeprefix(".") not in _ENDINGS:
        raise ConfigError(f"out: expected an ending of {', '.join(f'.{one}' for one in _ENDINGS)}, got {path.name!r}")
    if not 30 <= dpi <= 2400:
        raise ConfigError(f"dpi: expected 30 to 2400 dots an inch, got {dpi}")


def save_paper_figure(figure: Figure, path: Path, *, dpi: int = 300) -> Path:
    """Write a figure (.pdf, .svg, .png). The file is replaced whole.

    Args:
        figure: made within `paper_style`.
        path: of the file; its folder is made where missing.
        dpi: dots an inch of the pictures in it.

    Raises:
        ConfigError: as of `check_paper_file`.
    """
    check_paper_file(path, dpi)
    ending = path.suffix.lower().removeprefix(".")
    dated: Any = {} if ending == "png" else {"metadata": {"CreationDate" if ending == "pdf" else "Date": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: figure.savefig(file, format=ending, dpi=dpi, **dated))
    return path


def explanation_for_paper(
    why: Explanation, width_cm: float, *, most: int = MOST_NAMED, parts: Mapping[int, str] | None = None
) -> Figure:
    """Where the parts of a decision lie, and the logit as a sum of them; beside each other where there is room.

    What filters that compete hold has the colour of its bar, and the filter's number in it.

    Args:
        why: of `partcnn.explain` on a picture.
        width_cm: of the figure.
        most: contributions that are named.
        parts: filter → the part it follows, to name it by.

    Raises:
        ConfigError: the explanation was made on a tensor and holds no picture.
    """
    width, steepness = width_cm * _CM, min(1.5, max(0.5, why.image_size[0] / why.image_size[1]))
    most = min(most, len(why.terms))
    named = [term for term in why.terms if term.score > 0][:most]
    bars = _BAR * (len(named) + 4)  # with those of the other filters, the surroundings, the bias and the sum
    across = 0.62 * width if width < _NARROW else 0.38 * width
    down = across * steepness
    if width < _NARROW:
        height, left, top = down + bars + _TITLE + _SCALE, 0.0, down + _TITLE
        corner = (width - across) / 2, 0.0
    else:
        height, left, top = max(down, bars + _TITLE + _SCALE), across, _TITLE
        corner = 0.0, (height - down) / 2
    figure = Figure(figsize=(width, height))
    of_map = _inch_axis(figure, *corner, across, down)
    if why.is_tiling:
        _show_regions(why, of_map, only=None)
        _number(why, of_map, [one.filter for term in named for one in term.contributions])
    else:
        part_map(why, of_map, most=most, parts=parts)
        of_map.set_anchor("C")
    of_bars = _inch_axis(figure, left, top, width - left, bars)
    contribution_bars(why, of_bars, most=most, parts=parts)
    names = [label.get_text() for label in of_bars.get_yticklabels()]
    of_names = _letters_wide(names, _BAR_LETTERS) + 0.05
    _place(figure, of_bars, left + of_names, top, width - left - of_names - 0.03, bars)
    _make_room(of_bars, width - left - of_names - 0.03)
    return figure


def curves_for_paper(curves: Sequence[Curve], width_cm: float) -> Figure:
    """A training over its epochs: losses, the filter loss's terms, equivariance and accuracy, those that are there.

    Args:
        curves: of `partcnn.plot.read_curves`.
        width_cm: of the figure.
    """
    titles = {curve.name: curve.title for curve in curves}
    panels = [names for names in _PANELS if titles.keys() & {*names}]
    width = width_cm * _CM
    rows, cols = (len(panels), 1) if width < _NARROW else (1, len(panels))
    size = width, rows * min(1.9, 0.62 * width / cols + 0.45)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, cols, squeeze=False).flat
    for axis, names in zip(axes, panels, strict=True):
        training_curves(list(curves), axis, names=names)
        for line in axis.lines:
            line.set_linewidth(1.2)
        present = [name for name in names if name in titles]
        if len(present) == 1:
            legend = axis.get_legend()
            assert legend is not None  # `training_curves` puts one
            legend.remove()
            letters = int(width / cols / _letter_inches(0.9))
            axis.set_title(drawable(titles[present[0]], line_letters=letters), fontsize=points(0.9))
    return figure


def filters_for_paper(
    rows: Mapping[int, Sequence[Image.Image | Explanation]], names: Mapping[int, str], width_cm: float
) -> Figure:
    """A row of pictures for each filter.

    Args:
        rows: filter → pictures, or explanations of filters that compete, on which what it holds is outlined.
        names: filter → what stands beside its row.
        width_cm: of the figure.
    """
    most = max(len(row) for row in rows.values())
    left = _letters_wide(names.values())
    tile = (width_cm * _CM - left) / most
    figure = Figure(figsize=(width_cm * _CM, tile * len(rows)))
    for down, (number, row) in enumerate(rows.items()):
        for across, shown in enumerate(row):
            axis = _tile_axis(figure, left + across * tile, down * tile, tile)
            if isinstance(shown, Image.Image):
                _show(shown, axis)
            else:
                _show_regions(shown, axis, only=[number])
        label = drawable(names[number], line_letters=_LINE_LETTERS)
        height = 1 - (down + 0.5) / len(rows)
        figure.text((left - 0.06) / (width_cm * _CM), height, label, ha="right", va="center", **lettering([label]))
    return figure


def parts_for_paper(
    explained: Sequence[Explanation], names: Mapping[int, str], width_cm: float, *, num_columns: int
) -> Figure:
    """Pictures with what filters found on them, each in its colour, and a legend that names the filters.

    Args:
        explained: of `partcnn.explain` on pictures: what filters that compete hold is outlined; of others the places
            are dots.
        names: filter → its name in the legend; others are not drawn.
        width_cm: of the figure.
        num_columns: pictures beside each other.
    """
    width, rows = width_cm * _CM, math.ceil(len(explained) / num_columns)
    tile = width / num_columns
    colours = filter_colours(1 + max(names, default=0))
    seen = {one.filter for why in explained for one in why.contributions if one.filter in names and _is_drawn(why, one)}
    handles = [_handle(number, names[number], colours[number], explained[0]) for number in sorted(seen)]
    entry = max((len(names[number]) for number in seen), default=0) * _letter_inches(0.9) + 0.3
    most_columns = max(1, min(len(handles), int(width / entry)))
    legend_rows = math.ceil(len(handles) / most_columns)
    legend_columns = math.ceil(len(handles) / max(1, legend_rows))  # rows of about equal length
    below = 0.155 * legend_rows + 0.06 if handles else 0.0
    figure = Figure(figsize=(width, rows * tile + below))
    for index, why in enumerate(explained):
        down, across = divmod(index, num_columns)
        axis = _tile_axis(figure, across * tile, down * tile, tile)
        if why.is_tiling:
            _show_regions(why, axis, only=names)
        else:
            _show_dots(why, axis, names)
    if handles:
        legend = figure.legend(
            handles=handles,
            loc="lower center",
            ncols=legend_columns,
            frameon=False,
            borderaxespad=0.1,
            handlelength=1.0,
            columnspacing=1.0,
            borderpad=0.1,
            labelspacing=0.4,
            fontsize=points(0.9),
        )
        letter_legend(legend)
    return figure


_LINE_LETTERS = 14  # of a name beside a row
_BAR_LETTERS = 30  # beside a bar, see `contribution_bars`


def _letter_inches(share: float = 1.0) -> float:
    """The width of a letter of that share of the usual size: in DejaVu Sans some 0.58 of its height."""
    return 0.58 * points(share) / 72


def _letters_wide(names: Collection[str], line_letters: int = _LINE_LETTERS) -> float:
    """Inches that names take beside rows."""
    lines = [line for name in names for line in drawable(name, line_letters=line_letters).split("\n")]
    return max(map(len, lines), default=0) * _letter_inches() + 0.1


def _inch_axis(figure: Figure, left: float, top: float, across: float, down: float) -> Axes:
    """An axis whose place is given in inches from the figure's top left corner."""
    axis = figure.add_axes((0, 0, 1, 1))
    _place(figure, axis, left, top, across, down)
    return axis


def _place(figure: Figure, axis: Axes, left: float, top: float, across: float, down: float) -> None:
    width, height = figure.get_size_inches()
    axis.set_position((left / width, 1 - (top + down) / height, across / width, down / height))


def _tile_axis(figure: Figure, left: float, top: float, side: float) -> Axes:
    """A square for a picture."""
    axis = _inch_axis(figure, left, top, side - _GAP, side - _GAP)
    axis.set_axis_off()
    return axis


def _make_room(axis: Axes, across: float) -> None:
    """Limits between which bars leave their values room on both sides."""
    values = [0.0, *(float(bar.get_width()) for bar in axis.patches if isinstance(bar, Rectangle))]
    room = 6 * _letter_inches(0.8) + 0.06
    left = room if min(values) < 0 else 0.02
    a_unit = (across - left - room) / max(1e-9, max(values) - min(values))  # inches
    axis.set_xlim(min(values) - left / a_unit, max(values) + room / a_unit)
    axis.xaxis.set_major_locator(MaxNLocator(5, prune="both"))  # a number at either end would be cut


def _number(why: Explanation, axis: Axes, numbers: Collection[int]) -> None:
    """The numbers of filters, each in the largest piece of what it holds."""
    height, width = why.image_size
    scale = min(1.0, _PLACES_PX / max(height, width))
    regions = why.regions_at((max(1, round(height * scale)), max(1, round(width * scale))))
    for number in numbers:
        place = inner_place(regions, number)
        if place is not None:
            text = axis.text(
                place.x * width, place.y * height, str(number), ha="center", va="center", fontsize=points(0.75)
            )
            text.set_path_effects([Stroke(linewidth=1.5, foreground="white"), Normal()])


def _show(picture: Image.Image, axis: Axes) -> None:
    axis.imshow(np.asarray(shrunk(picture, _SAMPLE_PX)), extent=(0, picture.width, picture.height, 0))


def _show_regions(why: Explanation, axis: Axes, only: Collection[int] | None) -> None:
    _show(picture_of(why), axis)
    axis.set_axis_off()
    draw_regions(why, axis, only=only, line_points=_LINE)


def _show_dots(why: Explanation, axis: Axes, names: Mapping[int, str]) -> None:
    _show(picture_of(why), axis)
    colours = filter_colours(1 + max(names, default=0))
    for one in why.contributions:
        if one.filter in names and one.score > 0:
            colour = web_colour(colours[one.filter])
            axis.plot(*one.position_px, "o", color=colour, markeredgecolor="white", markersize=4, markeredgewidth=_LINE)


def _is_drawn(why: Explanation, one: Contribution) -> bool:
    return bool(one.outline) if why.is_tiling else one.score > 0


def _handle(number: int, name: str, colour: Sequence[int], why: Explanation) -> Patch | Line2D:
    shown, label = web_colour(colour), drawable(name)
    if why.is_tiling:
        return Patch(facecolor=shown, edgecolor="#555555", linewidth=0.4, label=label)
    return Line2D([], [], marker="o", linestyle="none", color=shown, markersize=4, label=label)
