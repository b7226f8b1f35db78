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
    name: str  # "muzzle (3)" where it has a name, "3 head" where it follows a part, else "filter 3"
    colour: str  # for CSS
    ink: str  # of text on it


def page_swatches(evaluation: Evaluation, gathered: Gathered) -> dict[int, Swatch]:
    """Of every filter by its number; empty where the filters do not compete: none holds a place alone.

    Names that people gave are put in by the page's script, where they can be changed.
    """
    if gathered.tiles is None:
        return {}
    parts = {one.filter: one.part_name for one in evaluation.filters if one.part_name}
    return swatches(len(evaluation.filters), parts)


def swatches(num_filters: int, parts: Mapping[int, str], names: Mapping[int, str] | None = None) -> dict[int, Swatch]:
    """Of so many filters; `parts`: filter → the part it follows; `names`: filter → what it is called."""
    called = names or {}
    return {
        number: Swatch(
            number, filter_name(number, parts.get(number), called.get(number)), web_colour(colour), ink_on(colour)
        )
        for number, colour in enumerate(filter_colours(num_filters))
    }
