"""The panel of the audit: what tells each class from the others, and where the scene or one part decides."""

import math
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from partcnn.evaluation.audit_result import SURROUNDINGS, Audit, ClassEvidence
from partcnn.foundation.number_text import percent
from partcnn.plot.tiling import filter_name
from partcnn.reporting.panels.panel import PageContent
from partcnn.reporting.swatches import Swatch, page_swatches
from partcnn.reporting.templates import rendered

_MOST_CLASSES, _MOST_ROWS, _MOST_NAMED = 30, 12, 3
_LEAST_PCT = 1.0  # of a bar: what is narrower is not drawn


@dataclass(frozen=True)
class Segment:
    """Of a bar: what speaks for the class, from the left."""

    name: str
    percent: str
    colour: str
    width_pct: float


@dataclass(frozen=True)
class EvidenceRow:
    """Of one class."""

    name: str
    num_images: int
    surroundings: str
    interval: str
    segments: list[Segment]
    strongest: str  # filters, by name
    is_told: bool
    around_pct: float


def audit(content: PageContent) -> Markup:
    """A bar of evidence for each class, and lists of what to look at; nothing where no audit was made."""
    found = content.audit
    if found is None:
        return Markup()
    swatches = page_swatches(content.evaluation, content.gathered)
    parts = {one.filter: one.part_name for one in content.evaluation.filters if one.part_name}
    names = {
        number: filter_name(number, parts.get(number), content.names.get(number)) for number in range(found.num_filters)
    }
    rows = [_row(name, one, found, swatches, names) for name, one in found.evidence.items()]
    rows.sort(key=lambda row: -row.around_pct)

    def term(number: int) -> str:
        return "surroundings" if number == SURROUNDINGS else names[number]

    return rendered(
        "audit.html",
        found=found,
        rows=rows[:_MOST_CLASSES],
        num_more=max(len(rows) - _MOST_CLASSES, 0),
        has_background=content.evaluation.data.get("category") is not None,
        most=_MOST_ROWS,
        term=term,
        short=lambda path: "/".join(Path(path).parts[-2:]),
    )


def _row(
    name: str, one: ClassEvidence, found: Audit, swatches: dict[int, Swatch], names: dict[int, str]
) -> EvidenceRow:
    shares = {names[number]: share for number, share in enumerate(one.parts)}
    colours = [swatches[number].colour if number in swatches else "var(--bar)" for number in range(len(one.parts))]
    if found.has_surroundings:
        shares["surroundings"] = one.surroundings
        colours.append("var(--surroundings)")
    is_told = not any(math.isnan(share) for share in shares.values())
    speaking = sum(max(share, 0) for share in shares.values())
    segments = [
        Segment(label, percent(share), colour, 100 * share / speaking)
        for (label, share), colour in zip(shares.items(), colours, strict=True)
        if is_told and 100 * share / speaking >= _LEAST_PCT
    ]
    last = [segment for segment in segments if segment.name == "surroundings"]
    segments = [segment for segment in segments if segment.name != "surroundings"]
    segments.sort(key=lambda segment: -segment.width_pct)
    low, high = one.interval
    return EvidenceRow(
        name,
        one.num_images,
        percent(one.surroundings),
        "" if math.isnan(low) else f"{percent(low)} to {percent(high)}",
        segments + last,
        ", ".join(f"{segment.name} {segment.percent}" for segment in segments[:_MOST_NAMED]),
        is_told,
        -1.0 if math.isnan(one.surroundings) else 100 * one.surroundings,
    )
