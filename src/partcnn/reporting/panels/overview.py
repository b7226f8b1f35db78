"""The panel of the whole network: in words, in figures beside other networks, and over the training."""

from markupsafe import Markup

from partcnn.evaluation import COVERAGE_R2
from partcnn.plot import LOSS_TERMS
from partcnn.reporting.charts import HEIGHT, WIDTH, make_charts
from partcnn.reporting.panels.panel import PageContent
from partcnn.reporting.remarks import write_remarks
from partcnn.reporting.strip import make_instability_strip, make_steadiness_strip, make_strip
from partcnn.reporting.summary import count, summary_rows
from partcnn.reporting.swatches import page_swatches
from partcnn.reporting.templates import rendered
from partcnn.reporting.unannotated import STEADY, is_unannotated

_THIS = "this network"


def overview(content: PageContent) -> Markup:
    """Remarks, the table of measures, a dot per filter, training curves, and how to read the page."""
    evaluation, gathered, compare = content.evaluation, content.gathered, dict(content.compare)
    named = {_THIS: evaluation} | compare
    return rendered(
        "overview.html",
        remarks=write_remarks(evaluation, compare, gathered.groups, holders=gathered.holders, names=content.names),
        rows=summary_rows(evaluation, compare),
        this=_THIS,
        others=list(compare),
        strip=make_strip(named),
        instability=make_instability_strip(named),
        steadiness=make_steadiness_strip(named),
        steady=STEADY,
        is_unannotated=is_unannotated(evaluation),
        charts=make_charts(content.curves),
        has_loss_terms={curve.name for curve in content.curves}.issuperset(LOSS_TERMS),
        chart_size=(WIDTH, HEIGHT),
        threshold=COVERAGE_R2,
        gathered=gathered,
        swatches=list(page_swatches(evaluation, gathered).values()),
        tiled=_tiled_words(content),
    )


def _tiled_words(content: PageContent) -> str:
    """Which pictures stand at the head of the page."""
    evaluation, gathered = content.evaluation, content.gathered
    pictures = [gathered.pictures[place] for place in gathered.first]
    is_right = all(one.is_right for one in pictures)
    kept_out = "kept out of training" if evaluation.data.get("split") == "test" else "of this page"
    among = "those that are classified right" if is_right else "all, since none is classified right"
    number = count(len(pictures), "picture")
    return f"{number} {kept_out}, taken at even distances among {among}; nobody chose them."
