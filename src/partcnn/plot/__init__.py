"""Pictures with heat maps and parts on them, for the report, `explain` and notebooks.

Functions that draw figures take an axis and return it; nothing here touches pyplot or shows a window. Colours keep
their meaning for colour-blind readers: heat maps grow lighter, contributions are blue or orange, and the colours of
filters that tile a picture stay apart.
"""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.plot.colours import filter_colours
    from partcnn.plot.curves import LOSS_TERMS, Curve, r2_histogram, read_curves, training_curves
    from partcnn.plot.explanations import (
        AGAINST,
        FOR,
        contribution_bars,
        explanation,
        explanation_figure,
        part_map,
        save_explanation,
    )
    from partcnn.plot.overlay import filter_gallery, heat_colours, heatmap, heatmap_overlay
    from partcnn.plot.tiling import filter_name, filter_regions, region_outlines, tiled_picture

_HOMES = {
    "filter_colours": "colours",
    "LOSS_TERMS": "curves",
    "Curve": "curves",
    "r2_histogram": "curves",
    "read_curves": "curves",
    "training_curves": "curves",
    "AGAINST": "explanations",
    "FOR": "explanations",
    "contribution_bars": "explanations",
    "explanation": "explanations",
    "explanation_figure": "explanations",
    "part_map": "explanations",
    "save_explanation": "explanations",
    "filter_gallery": "overlay",
    "heat_colours": "overlay",
    "heatmap": "overlay",
    "heatmap_overlay": "overlay",
    "filter_name": "tiling",
    "filter_regions": "tiling",
    "region_outlines": "tiling",
    "tiled_picture": "tiling",
}

__all__ = [
    "AGAINST",
    "FOR",
    "LOSS_TERMS",
    "Curve",
    "contribution_bars",
    "explanation",
    "explanation_figure",
    "filter_colours",
    "filter_gallery",
    "filter_name",
    "filter_regions",
    "heat_colours",
    "heatmap",
    "heatmap_overlay",
    "part_map",
    "r2_histogram",
    "read_curves",
    "region_outlines",
    "save_explanation",
    "tiled_picture",
    "training_curves",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
