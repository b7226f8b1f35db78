"""The page as text: its panels, one below the other, and the data that its script draws from."""

from collections.abc import Sequence
from typing import NamedTuple

from partcnn.evaluation import Evaluation
from partcnn.foundation.errors import ConfigError
from partcnn.reporting.cards import make_cards
from partcnn.reporting.gathering import Gathered
from partcnn.reporting.packing import pack
from partcnn.reporting.panels.audit import audit
from partcnn.reporting.panels.faithfulness import faithfulness
from partcnn.reporting.panels.filters import filters, filters_heading
from partcnn.reporting.panels.overview import overview
from partcnn.reporting.panels.panel import PageContent, Panel
from partcnn.reporting.panels.parts import parts
from partcnn.reporting.panels.pictures import pictures
from partcnn.reporting.remarks import lead_sentence
from partcnn.reporting.templates import as_json, joined, rendered, script_hash

_STYLES = ("page.css", "cards.css", "views.css", "media.css")
_SCRIPTS = (
    "base.js",
    "tiles.js",
    "sums.js",
    "data.js",
    "names.js",
    "tiled.js",
    "gallery.js",
    "filter.js",
    "pictures.js",
)
_MOST_NAMES = 12  # of classes in the head of the page

PANELS = {  # by the id of the section
    "overview": Panel("Overview", overview),
    "filters": Panel("Filters", filters, lambda content: len(content.evaluation.filters), filters_heading),
    "parts": Panel("Parts", parts, lambda content: len(content.evaluation.parts)),
    "audit": Panel("Audit", audit, heading=lambda content: "Does it look at the right thing?"),
    "faithfulness": Panel(
        "Faithfulness", faithfulness, heading=lambda content: "Does the logit rest on what is named?"
    ),
    "pictures": Panel("Pictures", pictures, lambda content: len(content.gathered.pictures)),
}


def render_page(content: PageContent, title: str | None = None, panels: Sequence[Panel] = ()) -> str:
    """One HTML document without an address outside itself. All text from outside is escaped.

    Args:
        content: what is shown.
        title: of the page; None names the task.
        panels: own ones, after those of `PANELS`.

    Raises:
        ConfigError: an own panel gives something else than text or HTML.
    """
    evaluation, gathered = content.evaluation, content.gathered
    script = joined(_SCRIPTS)
    own = {f"panel-{number}": panel for number, panel in enumerate(panels, start=1)}
    return rendered(
        "page.html",
        title=title or _title(evaluation),
        lead=lead_sentence(evaluation, holders=gathered.holders),
        facts=_facts(evaluation, gathered),
        sections=[
            section for name, panel in (PANELS | own).items() if (section := _section(name, panel, content)).html
        ],
        style=joined(_STYLES),
        script=script,
        script_hash=script_hash(script),
        data=as_json(pack(evaluation, gathered, make_cards(evaluation), content.names)),
    )


class _Section(NamedTuple):
    """What the template needs of a panel."""

    id: str
    title: str
    heading: str
    amount: int | None
    html: str  # Jinja escapes it unless it is Markup


def _section(name: str, panel: Panel, content: PageContent) -> _Section:
    html = panel.html(content)
    if not isinstance(html, str):
        raise ConfigError(
            f"panels: expected the panel {panel.title!r} to give text or markupsafe.Markup, got {type(html).__name__}"
        )
    heading = panel.title if panel.heading is None else panel.heading(content)
    amount = None if panel.amount is None else panel.amount(content)
    return _Section(name, panel.title, heading, amount, html)


def _title(evaluation: Evaluation) -> str:
    category = evaluation.data.get("category")
    task = category or f"{len(evaluation.classes)} categories"
    number = len(evaluation.filters)
    return f"What {number} filters see: {task}" if number > 1 else f"What one filter sees: {task}"


def _facts(evaluation: Evaluation, gathered: Gathered) -> list[tuple[str, str]]:
    """What was measured on what."""
    data, field = evaluation.data, gathered.field
    split = {"test": "test split, not trained on", "train": "training split", "all": "both splits"}
    rows, cols = field.map_size
    height, width = field.input_size
    down, across = field.stride_px
    pictures = f"{data.get('num_images')} ({split.get(str(data.get('split')), data.get('split'))})"
    if len(gathered.pictures) < gathered.num_images:
        pictures += f"; {len(gathered.pictures)} of them are in this page"
    return [
        ("data", str(data.get("spec") or "a data set of your own")),
        (
            "category",
            str(data.get("category") or ("any number a picture" if gathered.is_multilabel else "all, told apart")),
        ),
        ("pictures", pictures),
        ("classes", _some(evaluation.classes)),
        ("annotated parts", _some(evaluation.parts) or "none"),
        ("layer", f"{evaluation.filters[0].layer}, {_filters(evaluation, gathered)}"),
        ("map", f"{rows} × {cols} cells, one every {down:g} × {across:g} px of an input of {height} × {width} px"),
        ("a cell sees", f"{field.size_px[0]:g} × {field.size_px[1]:g} px{_reach(field.size_px, field.input_size)}"),
    ]


def _filters(evaluation: Evaluation, gathered: Gathered) -> str:
    shown = len(evaluation.filters)
    if gathered.num_filters is None:
        return f"{shown} filters"
    return (
        f"{gathered.num_filters} filters; this page shows and counts the {shown} that add most to the logits of its "
        "pictures, and only the table of measures is over all"
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _reach(size_px: tuple[float, float], input_size: tuple[int, int]) -> str:
    is_whole = size_px[0] >= input_size[0] and size_px[1] >= input_size[1]
    return " at most, more than the picture: a peak says where a filter fires, not all it looked at" if is_whole else ""
