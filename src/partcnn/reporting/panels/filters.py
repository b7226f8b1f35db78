"""The panel of the filters: a card for each, to be sorted and searched."""

from markupsafe import Markup

from partcnn.evaluation import Evaluation
from partcnn.foundation.number_text import is_number
from partcnn.reporting.cards import make_cards
from partcnn.reporting.panels.panel import PageContent
from partcnn.reporting.swatches import page_swatches
from partcnn.reporting.templates import rendered
from partcnn.reporting.unannotated import is_unannotated

_LEVELS = (
    ("follows", "follows a part"),
    ("partly", "partly"),
    ("none", "follows none"),
    ("steady", "steady"),
    ("alike", "steady, like others"),
    ("unsteady", "partly steady"),
    ("wanders", "wanders"),
    ("seldom", "seldom there"),
    ("dead", "dead"),
    ("unknown", "not measured"),
)


def filters(content: PageContent) -> Markup:
    """The cards, by falling R² or standing, and the controls above them."""
    cards = make_cards(content.evaluation)
    present = {card.level for card in cards}
    return rendered(
        "filters.html",
        cards=cards,
        best_parts=sorted({card.part for card in cards if card.part}),
        categories=sorted({card.figures.category for card in cards}),
        levels=[(level, text) for level, text in _LEVELS if level in present],
        is_unannotated=is_unannotated(content.evaluation),
        has_identity=any(is_number(card.figures.identity) for card in cards),
        has_weights=any(is_number(card.own_weight) for card in cards),
        weight_digits=_weight_digits(content.evaluation),
        gathered=content.gathered,
        swatches=page_swatches(content.evaluation, content.gathered),
    )


def filters_heading(content: PageContent) -> str:
    """Which layer's they are."""
    return f"Filters of {content.evaluation.filters[0].layer}"


def _weight_digits(evaluation: Evaluation) -> int:
    """Decimals, the same on all cards, that leave the largest contribution two digits or more."""
    weights = [abs(weight) for figures in evaluation.filters for weight in figures.class_weight.values()]
    largest = max(weights, default=1.0)
    return 2 if largest >= 0.1 else 3 if largest >= 0.01 else 4
