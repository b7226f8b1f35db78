"""Pictures with heat maps and parts on them, for the report, `explain` and notebooks.

Functions that draw figures take an axis and return it; nothing here touches pyplot or shows a window. Colours keep
their meaning for colour-blind readers: heat maps grow lighter, contributions are blue or orange.
"""

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

__all__ = [
    "AGAINST",
    "FOR",
    "LOSS_TERMS",
    "Curve",
    "contribution_bars",
    "explanation",
    "explanation_figure",
    "filter_gallery",
    "heat_colours",
    "heatmap",
    "heatmap_overlay",
    "part_map",
    "r2_histogram",
    "read_curves",
    "save_explanation",
    "training_curves",
]
