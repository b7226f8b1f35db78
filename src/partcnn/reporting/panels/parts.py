"""The panel of the parts: for each annotated part the filters that follow it."""

from markupsafe import Markup

from partcnn.evaluation import COVERAGE_R2
from partcnn.reporting.panels.panel import PageContent
from partcnn.reporting.parts_table import part_rows
from partcnn.reporting.swatches import page_swatches
from partcnn.reporting.templates import rendered


def parts(content: PageContent) -> Markup:
    """A row for each part; nothing where no part is annotated."""
    rows = part_rows(content.evaluation)
    if not rows:
        return Markup()
    swatches = page_swatches(content.evaluation, content.gathered)
    return rendered("parts.html", rows=rows, threshold=COVERAGE_R2, swatches=swatches)
