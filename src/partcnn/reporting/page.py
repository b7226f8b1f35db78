"""The page as text: figures, words and data put into the template."""

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from partcnn.evaluation import COVERAGE_R2, Evaluation
from partcnn.foundation.number_text import decimal, percent, signed
from partcnn.plot import LOSS_TERMS, Curve
from partcnn.reporting.cards import make_cards
from partcnn.reporting.charts import HEIGHT, WIDTH, make_charts
from partcnn.reporting.gathering import Gathered
from partcnn.reporting.packing import pack
from partcnn.reporting.parts_table import part_rows
from partcnn.reporting.remarks import lead_sentence, write_remarks
from partcnn.reporting.strip import make_instability_strip, make_strip
from partcnn.reporting.summary import summary_rows

THIS = "this network"
_STYLES = ("page.css", "cards.css", "views.css", "media.css")
_SCRIPTS = ("base.js", "tiles.js", "sums.js", "data.js", "gallery.js", "filter.js", "pictures.js")
_MOST_NAMES = 12  # of classes in the head of the page


def render_page(
    evaluation: Evaluation,
    gathered: Gathered,
    compare: dict[str, Evaluation],
    curves: list[Curve],
    title: str | None,
) -> str:
    """One HTML document without an address outside itself. All text from outside is escaped."""
    cards = make_cards(evaluation)
    script = joined(_SCRIPTS)
    named = {THIS: evaluation} | compare
    return (
        page_environment()
        .get_template("page.html")
        .render(
            title=title or _title(evaluation),
            lead=lead_sentence(evaluation),
            facts=_facts(evaluation, gathered),
            remarks=write_remarks(evaluation, compare),
            rows=summary_rows(evaluation, compare),
            this=THIS,
            others=list(compare),
            strip=make_strip(named),
            instability=make_instability_strip(named),
            charts=make_charts(curves),
            has_loss_terms={curve.name for curve in curves}.issuperset(LOSS_TERMS),
            chart_size=(WIDTH, HEIGHT),
            cards=cards,
            parts=part_rows(evaluation),
            gathered=gathered,
            layer=evaluation.filters[0].layer,
            best_parts=sorted({card.part for card in cards if card.part}),
            categories=sorted({card.figures.category for card in cards}),
            classes=evaluation.classes,
            levels=[level for level in _LEVELS if any(card.level == level[0] for card in cards)],
            threshold=COVERAGE_R2,
            weight_digits=_weight_digits(evaluation),
            style=joined(_STYLES),
            script=script,
            script_hash=script_hash(script),
            data=as_json(pack(evaluation, gathered, cards)),
        )
    )


_LEVELS = (
    ("follows", "follows a part"),
    ("partly", "partly"),
    ("none", "follows none"),
    ("dead", "dead"),
    ("unknown", "not measured"),
)


def page_environment(package: str = "partcnn.reporting") -> Environment:
    """Jinja with autoescape on, and the filters that the pages use."""
    environment = Environment(
        loader=PackageLoader(package, "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(decimal=decimal, signed=signed, percent=percent, breakable=_breakable)
    return environment


def joined(names: tuple[str, ...], package: str = "partcnn.reporting") -> Markup:
    """The package's own styles or scripts, one after the other."""
    folder = resources.files(package).joinpath("page")
    return Markup("\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names))


def script_hash(script: str) -> str:
    """For the page's Content-Security-Policy: this script runs, and none that a name might smuggle in."""
    # The element holds a line break before and after the text.
    return base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode("ascii")


def as_json(data: Any) -> Markup:
    """JSON that can stand within a script element, whatever its texts hold."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _weight_digits(evaluation: Evaluation) -> int:
    """Decimals, the same on all cards, that leave the largest contribution two digits or more."""
    largest = max((abs(value) for one in evaluation.filters for value in one.class_weight.values()), default=1.0)
    return 2 if largest >= 0.1 else 3 if largest >= 0.01 else 4


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
        ("category", str(data.get("category") or "all, told apart")),
        ("pictures", pictures),
        ("classes", _some(evaluation.classes)),
        ("annotated parts", _some(evaluation.parts) or "none"),
        ("layer", f"{evaluation.filters[0].layer}, {len(evaluation.filters)} filters"),
        ("map", f"{rows} × {cols} cells, one every {down:g} × {across:g} px of an input of {height} × {width} px"),
        ("a cell sees", f"{field.size_px[0]:g} × {field.size_px[1]:g} px{_reach(field.size_px, field.input_size)}"),
    ]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _reach(size_px: tuple[float, float], input_size: tuple[int, int]) -> str:
    is_whole = size_px[0] >= input_size[0] and size_px[1] >= input_size[1]
    return " at most, more than the picture: a peak says where a filter fires, not all it looked at" if is_whole else ""


def _breakable(text: str) -> Markup:
    """Paths may break after a slash."""
    return Markup("/<wbr>").join(escape(piece) for piece in text.split("/"))
