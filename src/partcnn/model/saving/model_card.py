"""The README.md of a saved network: what it is, how it is used, and what was measured."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from partcnn.metrics.measures import measures_for_people
from partcnn.model.settings import ConversionSettings
from partcnn.networks.preprocessing import Preprocessing

MARK = "<!-- Written by partcnn.save. Take this line out to keep a README.md of your own. -->"

_LOADED = 'partcnn.load("PATH"'
_MOST_CLASSES = 50  # that are named
_PLACES = {
    "peak": "the peak of its map",
    "expected": "as expected over its whole map",
    "centroid": "the centroid of its map",
}


def model_card(
    config: Mapping[str, Any],
    summary: Mapping[str, Any] | None = None,
    names: Mapping[int, str] | None = None,
) -> str:
    """Markdown with the YAML header that the Hugging Face hub reads.

    Args:
        config: what `partcnn.save` writes into config.json.
        summary: of an evaluation of this very network; None: nothing is said about figures.
        names: filter → what it is called.
    """
    settings, preprocessing = ConversionSettings.from_spec(config["arguments"]), config["preprocessing"]
    network = (config["network"] or {}).get("name", "a network of its own (pass it as `model=`)")
    pixels = Preprocessing.from_spec(preprocessing).pixels
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
        f"| input | {pixels}, stretched to {_by(preprocessing['input_size'])} pixels (height × width), "
        f"− {preprocessing['mean']}, / {preprocessing['std']} |",
        "",
        "```python",
        "import partcnn",
        "",
        f"model = {_LOADED}{', model=MyNetwork()' if is_own else ''})",
        'why = partcnn.explain(model, "photo.jpg")  # logit = bias (+ surroundings) + one contribution per filter',
        "```",
        "",
        "Classes, in the order of the logits:",
        "",
        "```json",
        _json(list(config["classes"][:_MOST_CLASSES])),
        "```",
        *_names(names or {}),
        *_figures(summary),
    ]
    return "\n".join(lines) + "\n"


def card_of_repository(card: str, repo_id: str, pictures: Sequence[str]) -> str:
    """A card of `model_card`, in a repository of the hub: it says how to load from there, and shows pictures.

    Args:
        card: the text.
        repo_id: OWNER/NAME.
        pictures: files of the repository.
    """
    card = card.replace(_LOADED, f"partcnn.from_pretrained({json.dumps(repo_id)}", 1)
    if not pictures:
        return card
    lines = ["", "## Decisions as sums of parts", "", *(f"![The parts of a decision]({name})" for name in pictures)]
    return card + "\n".join(lines) + "\n"


def _names(names: Mapping[int, str]) -> list[str]:
    """Filters that have a name, or nothing."""
    if not names:
        return []
    return ["", "Names of filters, as people gave them:", "", "```json", _json(dict(names)), "```"]


def _json(values: Any) -> str:
    """On one line, which ends no block of code."""
    return json.dumps(values, ensure_ascii=False).replace("```", "'''")


def _figures(summary: Mapping[str, Any] | None) -> list[str]:
    """A table of the figures that are numbers, or nothing."""
    measured = [
        (measure, value)
        for measure in measures_for_people()
        if measure.card and isinstance(value := (summary or {}).get(measure.name), (int, float)) and value == value
    ]  # not nan, which is not itself
    if not measured:
        return ["", "It has not been measured yet: `partcnn evaluate`."]
    rows = [
        f"| {measure.card} | {value if measure.is_count and isinstance(value, int) else f'{value:.3f}'} |"
        for measure, value in measured
    ]
    return ["", "## Measured", "", "| measure | value |", "|---|---|", *rows]


def _by(size: list[int]) -> str:
    return " × ".join(str(side) for side in size)
