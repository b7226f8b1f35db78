"""What a panel of the page is, and what it may show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from partcnn.evaluation import Evaluation
from partcnn.evaluation.audit_result import Audit
from partcnn.plot import Curve
from partcnn.reporting.gathering import Gathered


@dataclass(frozen=True)
class PageContent:
    """All that a page is made of.

    Args:
        evaluation: of the network, its filters by number.
        gathered: the page's pictures and what the filters did on them.
        compare: evaluations of other networks, by the name to show.
        curves: of the training; may be empty.
        audit: of the network; None: none was made.
        names: filter → what it is called, of those that have a name.
    """

    evaluation: Evaluation
    gathered: Gathered
    compare: Mapping[str, Evaluation]
    curves: list[Curve]
    audit: Audit | None = None
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """A section of the page, with a link to it at the top.

    The page's policy lets no script, frame or address from outside into it: a panel may hold elements, styles, SVG and
    pictures as data URIs.

    Args:
        title: of the link, and its heading.
        html: what stands below the heading. A `str` is text and is escaped; a `markupsafe.Markup` is HTML, and
            `Markup("<b>{}</b>").format(name)` escapes what it puts in. Empty: the panel is left out.
        amount: a number beside the link, such as how many things the panel lists.
        heading: where it is not the title.
    """

    title: str
    html: Callable[[PageContent], str]
    amount: Callable[[PageContent], int] | None = None
    heading: Callable[[PageContent], str] | None = None
