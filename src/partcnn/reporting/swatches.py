"""The colour and the name of each filter, the same all over a page, where filters that compete tile the pictures."""

from collections.abc import Mapping
from dataclasses import dataclass

from partcnn.evaluation import Evaluation
from partcnn.plot.colours import filter_colours, ink_on, web_colour
from partcnn.plot.tiling import filter_name
from partcnn.reporting.gathering import Gathered


@dataclass(frozen=True)
class Swatch:
    """Of one filter."""

    filter: int
    name: str  # "3 head", or "filter 3" where it follows no part
    colour: str  # for CSS
    ink: str  # of text on it


def page_swatches(evaluation: Evaluation, gathered: Gathered) -> dict[int, Swatch]:
    """Of every filter by its number; empty where the filters do not compete: none holds a place alone."""
    if gathered.tiles is None:
        return {}
    parts = {one.filter: one.part_name for one in evaluation.filters if one.part_name}
    return swatches(len(evaluation.filters), parts)


def swatches(num_filters: int, parts: Mapping[int, str]) -> dict[int, Swatch]:
    """Of so many filters; `parts`: filter → the part it follows."""
    return {
        number: Swatch(number, filter_name(number, parts.get(number)), web_colour(colour), ink_on(colour))
        for number, colour in enumerate(filter_colours(num_filters))
    }
