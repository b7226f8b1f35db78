"""A page where one drops a picture and sees which parts make the decision, on a Space or on this machine.

python app.py [PATH or OWNER/NAME]     else PARTCNN_NETWORK, else the folder "network" beside this file
"""

import os
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

import partcnn
from partcnn import plot
from partcnn.model.naming import filter_names, num_filters
from partcnn.model.network import conversion_of

LONG_SIDE = 720  # pixels of the picture as it is shown
OPACITY = 0.6  # of regions
MOST = 8  # parts of filters that do not share the picture among them
PREDICTED = "the predicted class"
ABOUT = """## Which parts made the decision?
The network's answer is a sum: a bias, what the surroundings add, and one contribution for each filter, which looks for
one part. Point at a name to see where its filter looks in this picture."""


def parts_of(why: partcnn.Explanation, names: dict[int, str]) -> tuple[Image.Image, list[tuple[Any, str]]]:
    """The picture, and where filters look in it: the region that each holds, or a box, with the filter's name."""
    assert why.picture is not None  # no tensor was explained
    scale = LONG_SIDE / max(why.picture.size)
    shown = why.picture.resize((round(why.picture.width * scale), round(why.picture.height * scale)))
    if why.is_tiling:
        regions = why.regions_at((shown.height, shown.width))
        held = [one.filter for one in why.contributions if (regions == one.filter).any()]
        return shown, [(OPACITY * (regions == number).astype(np.float32), names[number]) for number in held]
    found = [one for one in why.contributions if one.score > 0][:MOST]
    return shown, [(tuple(round(side * scale) for side in one.box_px), names[one.filter]) for one in found]


def bars_of(why: partcnn.Explanation) -> Figure:
    figure = Figure(figsize=(6, 5), layout="constrained")
    plot.contribution_bars(why, figure.subplots(), most=MOST)
    return figure


def page(model: torch.nn.Module) -> gr.Blocks:
    """The whole page of a network."""
    record, given = conversion_of(model), filter_names(model)
    names = {number: plot.filter_name(number, name=given.get(number)) for number in range(num_filters(model))}
    shades = plot.filter_colours(len(names))
    colours = {names[number]: "#{:02x}{:02x}{:02x}".format(*shades[number]) for number in names}

    def explained(picture: Image.Image | None, label: str) -> tuple[Any, Figure | None, dict[str, float] | None]:
        if picture is None:
            return None, None, None
        try:
            why = partcnn.explain(model, picture, None if label == PREDICTED else label)
        except partcnn.PartCNNError as error:
            raise gr.Error(str(error)) from error
        logits = torch.tensor(list(why.logits.values()))
        shares = (logits.sigmoid() if record.settings.multilabel else logits.softmax(0)).tolist()
        return parts_of(why, names), bars_of(why), dict(zip(why.logits, shares, strict=True))

    with gr.Blocks(title="Which parts made the decision?") as blocks:
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(type="pil", label="a picture")
                label = gr.Dropdown([PREDICTED, *record.classes], value=PREDICTED, label="explain")
                shares = gr.Label(label="classes", num_top_classes=5)
            with gr.Column():
                parts = gr.AnnotatedImage(label="parts", color_map=colours)
                bars = gr.Plot(show_label=False)
        for changed in (picture, label):
            changed.change(explained, [picture, label], [parts, bars, shares])
    return blocks


if __name__ == "__main__":
    beside = Path(__file__).parent / "network"
    network = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PARTCNN_NETWORK", str(beside))
    page(partcnn.from_pretrained(network)).launch()
