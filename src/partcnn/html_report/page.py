"""The page as text: figures, words and pictures put into the template."""

from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from partcnn.evaluation import COVERAGE_R2, Evaluation
from partcnn.html_report.cards import describe, make_cards
from partcnn.html_report.figures import FILTERS, summary_rows
from partcnn.html_report.pictures import TopPictures
from partcnn.html_report.remarks import lead_sentence, write_remarks
from partcnn.html_report.strip import make_strip

THIS = "this network"


def render_page(
    evaluation: Evaluation, pictures: TopPictures, compare: dict[str, Evaluation], title: str | None
) -> str:
    """One HTML document without an address outside itself. All text from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("partcnn.html_report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS | {"breakable": _breakable})
    cards = make_cards(evaluation, pictures)
    return environment.get_template("page.html").render(
        title=title or _title(evaluation),
        lead=lead_sentence(evaluation),
        facts=_facts(evaluation, pictures),
        remarks=write_remarks(evaluation, compare),
        rows=summary_rows(evaluation, compare),
        this=THIS,
        others=list(compare),
        strip=make_strip({THIS: evaluation} | compare),
        cards=cards,
        layer=evaluation.filters[0].layer,
        is_masked=pictures.is_masked,
        field=pictures.field,
        best_parts=sorted({card.part for card in cards if card.part}),
        categories=sorted({card.figures.category for card in cards}),
        threshold=COVERAGE_R2,
        weight_digits=_weight_digits(evaluation),
        describe=describe,
        style=_own_text("page.css"),
        script=_own_text("page.js"),
    )


def _weight_digits(evaluation: Evaluation) -> int:
    """Decimals, the same on all cards, that leave the largest contribution two digits or more."""
    largest = max((abs(value) for one in evaluation.filters for value in one.class_weight.values()), default=1.0)
    return 2 if largest >= 0.1 else 3 if largest >= 0.01 else 4


def _title(evaluation: Evaluation) -> str:
    category = evaluation.data.get("category")
    task = category or f"{len(evaluation.classes)} categories"
    return f"What {len(evaluation.filters)} filters see: {task}"


def _facts(evaluation: Evaluation, pictures: TopPictures) -> list[tuple[str, str]]:
    """What was measured on what."""
    data, field = evaluation.data, pictures.field
    split = {"test": "test split, not trained on", "train": "training split", "all": "both splits"}
    rows, cols = field.map_size
    height, width = field.input_size
    down, across = field.stride_px
    facts = [
        ("data", str(data.get("spec") or "a data set of your own")),
        ("category", str(data.get("category") or "all, told apart")),
        ("pictures", f"{data.get('num_images')} ({split.get(str(data.get('split')), data.get('split'))})"),
        ("classes", ", ".join(evaluation.classes)),
        ("annotated parts", ", ".join(evaluation.parts) or "none"),
        ("layer", f"{evaluation.filters[0].layer}, {len(evaluation.filters)} filters"),
        ("map", f"{rows} × {cols} cells, one every {down:g} × {across:g} px of an input of {height} × {width} px"),
        ("a cell sees", f"{field.size_px[0]:g} × {field.size_px[1]:g} px{_reach(field.size_px, field.input_size)}"),
    ]
    return facts


def _reach(size_px: tuple[float, float], input_size: tuple[int, int]) -> str:
    is_whole = size_px[0] >= input_size[0] and size_px[1] >= input_size[1]
    return " at most, more than the picture: a peak says where a filter fires, not all it looked at" if is_whole else ""


def _breakable(text: str) -> Markup:
    """Paths may break after a slash."""
    return Markup("/<wbr>").join(escape(piece) for piece in text.split("/"))


def _own_text(name: str) -> Markup:
    return Markup(resources.files("partcnn.html_report").joinpath("page", name).read_text(encoding="utf-8"))
