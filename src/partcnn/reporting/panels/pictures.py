"""The panel of the pictures: of each that is chosen, its logit as a sum of filters."""

from markupsafe import Markup

from partcnn.reporting.panels.panel import PageContent
from partcnn.reporting.templates import rendered


def pictures(content: PageContent) -> Markup:
    """The frame of the panel; the page's script fills it."""
    return rendered("pictures.html", gathered=content.gathered, classes=content.evaluation.classes)
