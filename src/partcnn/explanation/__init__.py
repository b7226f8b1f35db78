"""One prediction as a sum of parts, and what hiding them changes."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.explanation.attribution import Attribution, attribute
    from partcnn.explanation.contribution import Contribution
    from partcnn.explanation.explanation import Explanation, explain
    from partcnn.explanation.occlusion import hiding_boxes, logits_when_hidden
    from partcnn.explanation.terms import Term

_HOMES = {
    "Attribution": "attribution",
    "attribute": "attribution",
    "Contribution": "contribution",
    "Explanation": "explanation",
    "explain": "explanation",
    "hiding_boxes": "occlusion",
    "logits_when_hidden": "occlusion",
    "Term": "terms",
}

__all__ = [
    "Attribution",
    "Contribution",
    "Explanation",
    "Term",
    "attribute",
    "explain",
    "hiding_boxes",
    "logits_when_hidden",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
