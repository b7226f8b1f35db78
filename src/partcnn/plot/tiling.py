"""Pictures tiled by filters that compete for cells: the region that each of them holds, in a colour of its own."""

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from contourpy import FillType, contour_generator
from PIL import Image
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.foundation.pixels import to_rgb
from partcnn.networks.probing.receptive_field import ReceptiveField, upsample_map
from partcnn.plot.colours import filter_colours

MOST_NUMBERS = 6  # of filters beside a name that they share
REST = -1  # of what no filter holds
_OPACITY = 0.55
_LINE_FRAC = 0.004  # of the longer side: half the width of a line between two regions
_OUTLINE_STEPS = 64  # a side of the picture, between which outlines run straight
PATH_STEPS = 500  # a side of the picture, in the data of SVG paths
_PLACE_STEPS = 128  # of the longer side, at about which a place within a region is looked for
_LEAST_FRAC = 2e-4  # of the picture: a smaller piece is no more than a corner that two outlines leave

_ROUNDING = 0.01  # of sums of shares in half precision

Outline = list[npt.NDArray[np.float64]]  # closed lines [point, 2] (x, y) in shares of the picture; holes among them


def filter_name(number: int, part: str | None = None, name: str | None = None) -> str:
    """What a filter is called beside its colour: "muzzle (3)" where it has a name, "3 head" where it follows a part,
    else "filter 3"."""
    if name is not None:
        return shared_name(name, [number])
    return f"filter {number}" if part is None else f"{number} {part}"


def shared_name(name: str, numbers: Sequence[int]) -> str:
    """A name with the filters that have it: "ears (3, 5)"."""
    more = f", … {len(numbers)} filters" if len(numbers) > MOST_NUMBERS else ""
    return f"{name} ({', '.join(map(str, numbers[:MOST_NUMBERS]))}{more})"


def filter_regions(
    shares: Tensor, size: tuple[int, int], field: ReceptiveField | None = None
) -> npt.NDArray[np.int16]:  # [height, width]
    """The filter that holds each pixel: the largest share there, the shares upsampled bilinearly; −1 for the rest.

    Args:
        shares: [filter, row, col] in 0–1 of one picture: of each cell the share that each filter has. What they
            leave of 1 is the rest's.
        size: (height, width) of the picture.
        field: of the cells; see `upsample_map`.

    Raises:
        ShapeError: the shares have other axes, or no value.
        ConfigError: they are none: below 0, or above 1 in sum.
    """
    shares = _checked(shares)
    best = upsample_map(1 - shares.sum(dim=0), size, field)
    regions = torch.full(size, REST, dtype=torch.int16)
    for number, feature_map in enumerate(shares):  # one after the other: all of them at once would be large
        share = upsample_map(feature_map, size, field)
        regions[share > best] = number
        best = best.maximum(share)
    return regions.numpy()


def region_outlines(shares: Tensor, field: ReceptiveField | None = None) -> list[Outline]:  # [filter]
    """The outline of every filter's region, as `filter_regions` has it, in lines that fit a picture of any size.

    Args:
        shares, field: see `filter_regions`.

    Returns:
        Of each filter the closed lines around what it holds, in shares of the picture's width and height from its
        top left corner; none where it holds nothing. Lines around holes are among them: fill by the even-odd rule.

    Raises:
        ShapeError, ConfigError: as of `filter_regions`.
    """
    shares = _checked(shares)
    everyone = torch.cat([shares, 1 - shares.sum(dim=0, keepdim=True)])
    size = (_OUTLINE_STEPS, _OUTLINE_STEPS)
    fine = torch.stack([upsample_map(feature_map, size, field) for feature_map in everyone])
    fine = torch.nn.functional.pad(fine[None], (1, 1, 1, 1), mode="replicate")[0]  # out to the picture's edges
    places = np.concatenate([[0.0], (np.arange(_OUTLINE_STEPS) + 0.5) / _OUTLINE_STEPS, [1.0]])
    first, second = fine.topk(2, dim=0).values
    holder = fine.argmax(dim=0)
    outlines = []
    for number, share in enumerate(fine[:-1]):
        lead = share - torch.where(holder == number, second, first)
        outlines.append(_outline(places, lead.numpy()) if bool((lead > 0).any()) else [])
    return outlines


def tiled_picture(
    picture: Image.Image,
    regions: npt.NDArray[np.integer],
    *,
    only: Collection[int] | None = None,
    colours: npt.ArrayLike | None = None,
) -> Image.Image:
    """A picture with the region of every filter in its colour, and a thin line around it.

    Args:
        picture: any mode.
        regions: [height, width] of the picture, a filter's number at each pixel, −1 where none; see
            `filter_regions`.
        only: filters that are drawn; None all.
        colours: [filter, 3] in 0–255; None takes `filter_colours`, so that a filter has one colour on all pictures.

    Raises:
        ShapeError: the regions are not of the picture's size, or there are fewer colours than filters.
    """
    picture = to_rgb(picture)
    if regions.shape != (picture.height, picture.width):
        raise ShapeError(
            f"regions: expected [height, width] {[picture.height, picture.width]}, got {list(regions.shape)}"
        )
    drawn = np.asarray(regions)
    if only is not None:
        drawn = np.where(np.isin(drawn, list(only)), drawn, REST)
    num_filters = max(1, int(drawn.max()) + 1)
    table = filter_colours(num_filters) if colours is None else np.asarray(colours)
    if table.ndim != 2 or table.shape[1] != 3 or len(table) < num_filters:
        raise ShapeError(f"colours: expected [filter, 3] of at least {num_filters} filters, got {list(table.shape)}")
    pixels = np.asarray(picture, dtype=np.float32)
    coloured = np.where((drawn >= 0)[..., None], (1 - _OPACITY) * pixels + _OPACITY * table[drawn], pixels)
    lined = _lines(drawn, max(1, round(_LINE_FRAC * max(picture.size))))[..., None]
    return Image.fromarray(np.where(lined, 0.15 * pixels + 0.85 * 255, coloured).round().astype(np.uint8))


class InnerPlace(NamedTuple):
    """Shares of a picture's width and height."""

    x: float
    y: float
    room: float  # of the shorter side: the distance to the region's edge


def inner_place(regions: npt.NDArray[np.integer], number: int) -> InnerPlace | None:
    """The place within a filter's region that lies farthest from its edge, to write its name at.

    The centroid of a region may lie in another's, as between two eyes.

    Args:
        regions: [height, width], see `filter_regions`.
        number: of the filter.

    Returns:
        None where it holds no pixel, or so few that they fall between those that are looked at.
    """
    from scipy.ndimage import distance_transform_edt

    step = max(1, max(regions.shape) // _PLACE_STEPS)
    is_held = np.pad(regions[step // 2 :: step, step // 2 :: step] == number, 1)
    if not is_held.any():
        return None
    depth = distance_transform_edt(is_held)
    row, col = (int(axis) for axis in np.unravel_index(int(depth.argmax()), depth.shape))
    height, width = regions.shape
    x, y = ((cell - 1) * step + step // 2 + 0.5 for cell in (col, row))
    return InnerPlace(x / width, y / height, float(depth[row, col]) * step / min(height, width))


def svg_path(outline: Outline) -> str:
    """An outline as the data of an SVG path, in whole steps of 1/500 of the sides; empty for an empty one."""
    pieces = []
    for line in outline:
        points = np.rint(line * PATH_STEPS).astype(int)
        moves = np.diff(points, axis=0)
        moves = moves[moves.any(axis=1)]
        if len(moves) > 1:
            text = " ".join(f"{x} {y}" for x, y in moves).replace(" -", "-")
            pieces.append(f"M{points[0][0]} {points[0][1]}l{text}z")
    return "".join(pieces)


def _outline(places: npt.NDArray[np.float64], lead: npt.NDArray[np.float32]) -> Outline:
    """Where the lead over all others is above 0; the lines also run along the picture's edges."""
    contours = contour_generator(places, places, lead, fill_type=FillType.OuterOffset)
    # FillType.OuterOffset: of each region its lines in one array, and where each begins and ends
    points, offsets = cast(
        "tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.uint32]]]", contours.filled(0, np.inf)
    )
    lines = [
        line[first:last] for line, ends in zip(points, offsets, strict=True) for first, last in itertools.pairwise(ends)
    ]
    return [line for line in lines if abs(_area(line)) >= _LEAST_FRAC]


def _area(line: npt.NDArray[np.float64]) -> float:
    """Of a closed line, by the shoelace formula."""
    x, y = line.T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def _lines(regions: npt.NDArray[np.integer], half_width: int) -> npt.NDArray[np.bool_]:
    """Pixels within so many of another region's; along the picture's edges there is no line."""
    padded = np.pad(regions, half_width, mode="edge")
    height, width = regions.shape
    found = np.zeros(regions.shape, dtype=bool)
    for down, across in ((0, 1), (2, 1), (1, 0), (1, 2)):
        top, left = down * half_width, across * half_width
        found |= padded[top : top + height, left : left + width] != regions
    return found


def _checked(shares: Tensor) -> Tensor:
    shares = shares.detach().float().cpu()
    if shares.ndim != 3 or not shares.numel():
        raise ShapeError(f"shares: expected [filter, row, col], got {list(shares.shape)}")
    if not (shares >= 0).all() or float(shares.sum(dim=0).amax()) > 1 + _ROUNDING:
        raise ConfigError(
            "shares: expected those of filters that compete, from 0 on and at most 1 in sum at each cell, got "
            f"{float(shares.amin()):.3g} to {float(shares.sum(dim=0).amax()):.3g} in sum"
        )
    return shares
