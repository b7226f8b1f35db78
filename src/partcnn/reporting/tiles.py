"""How filters that compete tile a picture, as the page draws it; and which pictures stand first."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.plot.tiling import InnerPlace, filter_regions, inner_place, region_outlines, svg_path
from partcnn.reporting.page_pictures import PagePicture

NUM_FIRST = 6  # pictures at the head of the page
_PLACE_STEPS = 64  # a side, where the place of a number within a region is looked for


@dataclass(frozen=True)
class Tile:
    """What one filter holds of one picture."""

    filter: int
    path: str  # data of an SVG path, in steps of 1/500 of the picture's sides
    place: InnerPlace  # where its number may stand


def picture_tiles(shares: Tensor, field: ReceptiveField) -> list[Tile]:
    """The region of every filter that holds some of the picture.

    Args:
        shares: [filter, row, col], see `partcnn.plot.filter_regions`.
        field: of the cells.
    """
    regions = filter_regions(shares, (_PLACE_STEPS, _PLACE_STEPS), field)
    tiles = []
    for number, outline in enumerate(region_outlines(shares, field)):
        path, place = svg_path(outline), inner_place(regions, number)
        if path and place is not None:
            tiles.append(Tile(number, path, place))
    return tiles


def usual_holders(tiles: Sequence[Sequence[Tile]], is_object: Sequence[bool]) -> list[int]:
    """The filters that hold some of at least half of the pictures of objects, ascending.

    Args:
        tiles: of each picture, see `picture_tiles`.
        is_object: whether the picture shows one.
    """
    counts = Counter(
        tile.filter for of_picture, is_shown in zip(tiles, is_object, strict=True) if is_shown for tile in of_picture
    )
    return sorted(number for number, count in counts.items() if 2 * count >= sum(is_object))


def evenly_chosen(candidates: Sequence[int], count: int) -> list[int]:
    """So many of them, or all, at even distances in their order."""
    number = min(count, len(candidates))
    return [candidates[math.floor((place + 0.5) * len(candidates) / number)] for place in range(number)]


def first_pictures(pictures: Sequence[PagePicture], is_object: Sequence[bool]) -> list[int]:
    """Pictures of objects that stand for all: evenly among those that are classified right, class by class.

    Where none is, among all pictures of objects.

    Args:
        pictures: all.
        is_object: whether each shows an object.

    Returns:
        At most `NUM_FIRST` indices.
    """
    objects = [place for place, shown in enumerate(is_object) if shown]
    right = [place for place in objects if pictures[place].is_right]
    return evenly_chosen(sorted(right or objects, key=lambda place: pictures[place].labels), NUM_FIRST)
