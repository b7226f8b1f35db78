"""What the page of the viewer is, and what it gets for a picture."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from partcnn.explanation.contribution import Contribution
from partcnn.explanation.explanation import Explanation
from partcnn.explanation.terms import Term
from partcnn.foundation.number_text import NOT_SEEN, signed
from partcnn.foundation.pixels import shrunk
from partcnn.plot import heatmap_overlay, tiled_picture
from partcnn.plot.tiling import filter_name, inner_place, shared_name, svg_path
from partcnn.reporting.swatches import Swatch, swatches
from partcnn.reporting.templates import as_json, joined, page_environment, script_hash

_PACKAGE = "partcnn.reporting.viewer"
_LONG_SIDE_PX = 720  # of the picture as sent back
_NUM_MAPS = 8  # of the strongest contributions, with their heat maps
_MAP_PX = 220


def page_text(name: str, classes: list[str], *, is_tiling: bool = False) -> tuple[str, str]:
    """The page, and the hash of its script for the policy; `is_tiling`: the filters compete, and tile the picture."""
    script = page_script("view.js")
    template = page_environment(_PACKAGE).get_template("view.html")
    data = as_json({"classes": classes})
    text = template.render(
        name=name, classes=classes, style=page_style(), script=script, data=data, is_tiling=is_tiling
    )
    return text, script_hash(script)


def page_script(own: str) -> Markup:
    """What all pages into which a picture is dropped share, and the script of one of them."""
    return joined(("base.js", "tiles.js", "sums.js")) + joined(("drop.js", own), package=_PACKAGE)


def page_style() -> Markup:
    """The style of these pages."""
    return joined(("page.css", "cards.css", "views.css")) + joined(("view.css",), package=_PACKAGE)


def picture_answer(why: Explanation, parts: dict[int, str]) -> dict[str, Any]:
    """Places as shares of the picture, shares of the logit, and small heat maps."""
    assert why.picture is not None  # a file was explained
    shown = shrunk(why.picture, _LONG_SIDE_PX)
    small = shrunk(shown, _MAP_PX)
    height, width = why.image_size
    own = swatches(len(why.contributions), parts, why.names) if why.is_tiling else {}
    regions = why.regions_at((shown.height, shown.width)) if why.is_tiling else None
    return {
        "label": why.label,
        "probability": why.probability,
        "logits": why.logits,
        "shown": why.shown,
        "size": [width, height],
        "picture": {"width": shown.width, "height": shown.height, "src": _data_uri(shown)},
        "sum": {
            "logit": why.logit,
            "bias": why.bias,
            "surroundings": why.surroundings,
            "remainder": why.completeness_error,
            "isExact": why.is_exact,
            "terms": [_term(why, term, parts) | _held(term, regions, own) for term in why.terms],
        },
        "maps": [
            _map(one, why, small) | {"name": own[one.filter].name if own else _name(one.filter, why.names)}
            for one in why.contributions[:_NUM_MAPS]
            if one.score > 0
        ],
    }


def term_name(name: str | None, filters: Sequence[int], parts: Mapping[int, str], *, is_tiling: bool) -> str:
    """What a line of the sum is called: the name that its filters share, else by its filter and the part it follows."""
    if name is not None:
        return shared_name(name, filters)
    number = filters[0]
    if is_tiling:
        return filter_name(number, parts.get(number))
    return f"filter {number}, {parts[number]}" if number in parts else f"filter {number}"


def _term(why: Explanation, term: Term, parts: dict[int, str]) -> dict[str, Any]:
    number, (height, width) = len(term.filters), why.image_size
    name = term_name(term.name, term.filters, parts, is_tiling=why.is_tiling)
    change = term.hidden_change
    note = f"{number} filters" if number > 1 else None
    if change is not None:
        note = f"hiding its place changes the logit by {signed(change)}"
    positions = [one.position_px for one in term.contributions if one.score > 0]
    return {
        "name": f"{name}, {NOT_SEEN}" if why.is_tiling and term.score <= 0 else name,
        "value": term.value,
        "places": [[x / width, y / height] for x, y in positions],
        "note": note,
        "hidden": change,
        "filters": list(term.filters),
        "number": number,
    }


def _held(term: Term, regions: npt.NDArray[np.int16] | None, own: dict[int, Swatch]) -> dict[str, Any]:
    """What filters that compete hold, with their colours; nothing of others."""
    if regions is None:
        return {}
    first = own[term.contributions[0].filter]
    found = [
        (own[one.filter], inner_place(regions, one.filter), svg_path(one.outline or [])) for one in term.contributions
    ]
    shown = [(vars(swatch), place, path) for swatch, place, path in found if place is not None and path]
    return {
        "colour": first.colour,
        "ink": first.ink,
        "places": [[place.x, place.y] for _, place, _ in shown],
        "marks": [swatch for swatch, _, _ in shown],
        "held": [swatch | {"path": path} for swatch, _, path in shown],
    }


def _name(number: int, names: dict[int, str]) -> str:
    return filter_name(number, name=names.get(number))


def _map(one: Contribution, why: Explanation, small: Image.Image) -> dict[str, Any]:
    height, width = why.image_size
    size = (small.height, small.width)
    if why.is_tiling:
        drawn = tiled_picture(small, why.regions_at(size), only=[one.filter])
    else:
        peak = (one.position_px[0] * small.width / width, one.position_px[1] * small.height / height)
        drawn = heatmap_overlay(small, one.heatmap_at(size), peak=peak)
    return {"filter": one.filter, "src": _data_uri(drawn), "hidden": one.hidden_change, "value": one.value}


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
