"""The README.md of a saved network: what it is, how it is used, and what was measured."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from partcnn.model.settings import ConversionSettings

MARK = "<!-- Written by partcnn.save. Take this line out to keep a README.md of your own. -->"

_MOST_CLASSES = 50  # that are named
_MEASURES = {
    "accuracy": "accuracy",
    "part_tracking_r2": "part tracking R², mean over filters",
    "part_tracking_r2_best": "part tracking R², the best filter (chosen on training pictures)",
    "location_instability": "location instability (lower is better)",
    "constant_point_instability": "the same of a point that never moves",
    "part_interpretability": "part interpretability",
    "coverage": "coverage: share of parts that some filter follows",
    "dead_filters": "dead filters",
    "num_filters": "filters measured",
    "num_images": "pictures measured on, all kept out of training",
}
_PLACES = {"peak": "the peak of its map", "expected": "as expected over its whole map"}


def model_card(config: Mapping[str, Any], summary: Mapping[str, Any] | None = None) -> str:
    """Markdown with the YAML header that the Hugging Face hub reads.

    Args:
        config: what `partcnn.save` writes into config.json.
        summary: of an evaluation of this very network; None: nothing is said about figures.
    """
    settings, preprocessing = ConversionSettings.from_spec(config["arguments"]), config["preprocessing"]
    network = (config["network"] or {}).get("name", "a network of its own (pass it as `model=`)")
    header = {
        "library_name": "partcnn",
        "pipeline_tag": "image-classification",
        "tags": ["interpretability", "object-parts", "image-classification"],
    }
    is_own = config["network"] is None
    is_plain = settings.objective is None
    what = (
        "the plain network to compare part filters with" if is_plain else "each filter of its top layer detects a part"
    )
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False).rstrip(),
        "---",
        MARK,
        "",
        f"# An image classifier: {what}",
        "",
        f"Made by [partcnn](https://arxiv.org/abs/1710.00935 'the method it starts from') {config['partcnn']}.",
        "",
        "| | |",
        "|---|---|",
        f"| network | {network} |",
        f"| layer | {', '.join(settings.layers)} |",
        f"| head | {settings.head} |",
        f"| filters | {settings.filters} in {settings.new_layers} part layer(s) |",
        f"| objective | {settings.objective or 'none (plain)'} |",
        f"| a filter's place | {_PLACES.get(settings.places, '?')} |",
        f"| classes | {len(config['classes'])} |",
        f"| input | RGB / 255, stretched to {_by(preprocessing['input_size'])} pixels (height × width), "
        f"− {preprocessing['mean']}, / {preprocessing['std']} |",
        "",
        "```python",
        "import partcnn",
        "",
        f'model = partcnn.load("PATH"{", model=MyNetwork()" if is_own else ""})',
        'why = partcnn.explain(model, "photo.jpg")  # logit = bias + one contribution per filter',
        "```",
        "",
        "Classes, in the order of the logits:",
        "",
        "```json",
        json.dumps(list(config["classes"][:_MOST_CLASSES]), ensure_ascii=False).replace("```", "'''"),
        "```",
        *_figures(summary),
    ]
    return "\n".join(lines) + "\n"


def _figures(summary: Mapping[str, Any] | None) -> list[str]:
    """A table of the figures that are numbers, or nothing."""
    measured = {
        name: value
        for name in _MEASURES
        if isinstance(value := (summary or {}).get(name), (int, float)) and value == value  # not nan
    }
    if not measured:
        return ["", "It has not been measured yet: `partcnn evaluate`."]
    rows = [
        f"| {_MEASURES[name]} | {value if name.startswith('num_') else f'{value:.3f}'} |"
        for name, value in measured.items()
    ]
    return ["", "## Measured", "", "| measure | value |", "|---|---|", *rows]


def _by(size: list[int]) -> str:
    return " × ".join(str(side) for side in size)
