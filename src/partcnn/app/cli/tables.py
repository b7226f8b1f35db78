"""Tables of commands, and where they are printed."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from partcnn.evaluation.audit_result import SURROUNDINGS
from partcnn.foundation.number_text import NONE, NOT_SEEN, decimal, percent
from partcnn.foundation.terminal import PlainConsole

_MOST_PARTS, _MOST_ROWS = 4, 10  # of an audit
_MOST_COLUMNS = 6  # parts beside each other in a table


def console() -> PlainConsole:
    """Names of files, classes and parts are printed as they are: brackets in them are no markup."""
    return PlainConsole()


def contribution_table(image: str, explanation: Any, parts: Mapping[int, str], most: int = 10) -> Table:
    """Of an `Explanation`.

    Args:
        image: the file's name.
        explanation: of that picture.
        parts: filter → the part it follows, told apart where several follow one.
        most: filters, or names that several share, with a row of their own; the rest are added up. A name's place is
            that of its filter that adds most.
    """
    around = "" if explanation.surroundings is None else f"surroundings {explanation.surroundings:+.3f} + "
    rest_name = f"bias {explanation.bias:+.3f} + {around}all filters"
    if not explanation.is_exact:
        rest_name = f"all filters (gradient × activation) + unexplained {explanation.completeness_error:+.3f}"
    title = f"{Path(image).name}: {explanation.question} {explanation.probability:.1%}"
    what = "logit" if explanation.against is None else "difference of logits"
    caption = f"{what} {explanation.logit:+.3f} = {rest_name}"
    if explanation.shown is not None:
        caption += f"\nthe picture shows, says the network: {', '.join(explanation.shown) or 'no class'}"
    table = Table(title=title, caption=caption)
    called = "name or part" if explanation.names else "follows"
    for name in ("filter", called, f"adds to the {what}", "change when hidden", "at x", "y (px)"):
        table.add_column(name, justify="left" if name == called else "right")
    for term in explanation.terms[:most]:
        x, y = (f"{pixels:.0f}" for pixels in term.strongest.position_px) if term.score > 0 else (NOT_SEEN, "")
        hidden = "" if term.hidden_change is None else f"{term.hidden_change:+.3f}"
        name = parts.get(term.filters[0], "") if term.name is None else term.name
        table.add_row(", ".join(map(str, term.filters)), name, f"{term.value:+.3f}", hidden, x, y)
    others = explanation.terms[most:]
    rest = sum(term.value for term in others)
    if others:
        table.add_row(f"{sum(len(term.filters) for term in others)} others", "", f"{rest:+.3f}", "", "", "")
    return table


def audit_tables(found: Any, parts: Mapping[int, str], names: Mapping[int, str]) -> list[Table]:
    """Of an `Audit`; `parts`: filter → the part it follows, `names`: filter → what it is called."""

    def term(number: int) -> str:
        return (
            "surroundings" if number == SURROUNDINGS else f"{number} {names.get(number, parts.get(number, ''))}".strip()
        )

    return [
        _evidence_table(found, term),
        *_listed("pictures that the surroundings decide", found.decided, _decided_row, _DECIDED),
        *_listed(
            "parts that speak for a class on other objects",
            found.misleading,
            lambda one: (
                one.class_name,
                term(one.filter),
                percent(one.share),
                percent(one.on_own),
                percent(one.on_others),
            ),
            ("class", "filter", "of its evidence", "speaks on its own pictures", "on others'"),
        ),
        *_listed(
            "mistakes, and what speaks loudest for them",
            found.mistakes,
            lambda one: (
                one.true,
                one.predicted,
                str(one.num_images),
                term(one.filter),
                percent(one.share),
            ),
            ("true", "taken for", "pictures", "filter", "of what speaks for it"),
        ),
        *_listed(
            "classes that one part all but alone tells apart",
            found.pairs,
            lambda one: (one.first, one.second, term(one.filter), percent(one.share)),
            ("class", "class", "filter", "of what tells them apart"),
        ),
        *_listed("the same picture twice", found.doubles, lambda one: (one,), ("",)),
    ]


_DECIDED = ("picture", "true", "predicted", "with usual surroundings")


def _decided_row(one: Any) -> tuple[str, ...]:
    return Path(one.image_path).name, one.true, one.predicted, one.without_surroundings


def _evidence_table(found: Any, term: Callable[[int], str]) -> Table:
    caption = f"accuracy {percent(found.accuracy)}"
    if found.has_surroundings:
        caption += f"; with each picture's surroundings put to the mean {percent(found.accuracy_without_surroundings)}"
        caption += f", and {len(found.decided)} of {found.data['num_images']} pictures change"
    table = Table(title="what tells each class from the others", caption=caption)
    for name in ("class", "pictures", "surroundings", "95 % interval", "filters, most first"):
        table.add_column(name, justify="left" if name in ("class", "filters, most first") else "right")
    for name, one in found.evidence.items():
        low, high = one.interval
        strongest = sorted(range(len(one.parts)), key=lambda number: -one.parts[number])[:_MOST_PARTS]
        is_told = not math.isnan(one.parts[0])
        table.add_row(
            name,
            str(one.num_images),
            percent(one.surroundings),
            NONE if math.isnan(low) else f"{percent(low)} … {percent(high)}",
            ", ".join(f"{term(number)} {percent(one.parts[number])}" for number in strongest) if is_told else NONE,
        )
    return table


def _listed(
    title: str, things: Sequence[Any], row: Callable[[Any], tuple[str, ...]], columns: tuple[str, ...]
) -> list[Table]:
    """A row for each, the first few; no table where there are none."""
    if not things:
        return []
    more = len(things) - _MOST_ROWS
    table = Table(title=title, caption=f"and {more} more, with --json" if more > 0 else None)
    for name in columns:
        table.add_column(name)
    for one in things[:_MOST_ROWS]:
        table.add_row(*row(one))
    return [table]


def name_table(run: str, rows: Sequence[Mapping[str, Any]], *, is_measured: bool) -> Table:
    """What the filters of a run are called.

    Args:
        run: its directory.
        rows: {"filter", "name", "proposed", "r2"} of each; None: nothing.
        is_measured: whether there are figures, which proposals are made from.
    """
    is_open = any(row["proposed"] and not row["name"] for row in rows)
    how = "--propose takes the proposals where there is no name" if is_open else None
    if not is_measured:
        how = f"proposals are made from figures: partcnn evaluate {run}"
    table = Table(title=f"{run}: names of filters", caption=how)
    for name in ("filter", "name", "proposed", "R²"):
        table.add_column(name, justify="right" if name in ("filter", "R²") else "left")
    for row in rows:
        table.add_row(str(row["filter"]), row["name"] or "", row["proposed"] or "", _r2(row["r2"]))
    return table


def _r2(value: float | None) -> str:
    return "" if value is None else decimal(value)


def data_table(dataset: Any) -> Table:
    """Pictures per class and part of a `PartDataset`, both splits; parts below each other where there are many."""
    parts = dataset.parts
    left_out = [f"{count} {reason}" for reason, count in dataset.skipped.items()]
    left_out += [f"{dataset.num_bad} unreadable pictures"] if dataset.num_bad else []
    table = Table(
        title=f"{dataset.spec}: pictures, and those that show a part (training / kept out)",
        caption=f"left out: {', '.join(left_out)}" if left_out else None,
    )
    both = [dataset.counts(split) for split in ("train", "test")]
    rows = {
        name: [" / ".join(str(count[name].num_images) for count in both)]
        + [" / ".join(str(count[name].num_part_images[part]) for count in both) for part in parts]
        for name in dataset.classes
    }
    is_wide = len(parts) <= _MOST_COLUMNS
    for name in ("class", "pictures", *parts) if is_wide else ("class", "part", "pictures"):
        table.add_column(name, justify="left" if name in ("class", "part") else "right")
    for name, shown in rows.items():
        if is_wide:
            table.add_row(name, *shown)
            continue
        for part, count in zip(("all", *parts), shown, strict=True):
            table.add_row(name if part == "all" else "", part, count, end_section=part == parts[-1])
    return table


def layer_entry(shape: Any, field: Any, *, is_auto: bool) -> dict[str, Any]:
    return {
        "layer": shape.name,
        "num_channels": shape.num_channels,
        "map_size": shape.map_size,
        "stride_px": field.stride_px if field else shape.stride_px,
        "receptive_field_px": field.size_px if field else None,
        "is_nonnegative": shape.is_nonnegative,
        "is_channels_last": shape.is_channels_last,
        "is_auto": is_auto,
    }


def layer_table(title: str, shown: list[Any], fields: dict[str, Any], auto: list[str]) -> Table:
    table = Table(
        title=f"{title}: layers to put part filters on, first to last",
        caption=f"--layers auto takes {','.join(auto)} with head=additive, which takes any of them; "
        "≥ 0: head=original can mask it",
    )
    for column in ("layer", "channels", "map", "stride px", "receptive field px", "≥ 0"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for shape in shown:
        field = fields.get(shape.name)
        stride = field.stride_px if field else shape.stride_px
        table.add_row(
            f"{shape.name} (auto)" if shape.name in auto else shape.name,
            str(shape.num_channels),
            f"{shape.map_size[0]}×{shape.map_size[1]}",
            f"{stride[0]:g}×{stride[1]:g}",
            f"{field.size_px[0]:g}×{field.size_px[1]:g}" if field else "not traced",
            "yes" if shape.is_nonnegative else "no",
        )
    return table


def machine_table(found: Any) -> Table:
    """Of an `Installation`: where partcnn runs."""
    cache = found.cache
    place = "none: this user has no home; PARTCNN_CACHE names a folder" if cache.directory is None else cache.directory
    held = f"{cache.num_bytes / 2**30:.2f} of {cache.max_bytes / 2**30:g} GiB" if cache.directory else NONE
    table = Table(title=f"partcnn {found.partcnn}", show_header=False)
    for name, told in (
        ("Python", found.python),
        ("machine", f"{found.machine}, {found.num_processors} processors"),
        ("GPU", found.gpu),
        ("cache", place),
        ("", held if cache.is_writable or cache.directory is None else f"{held}, cannot be written to"),
    ):
        table.add_row(name, told)
    return table


def library_table(libraries: Sequence[Any]) -> Table:
    """Each `Library` with the versions that are needed and the one that is there."""
    table = Table(title="what every command may need")
    for name in ("library", "needed", "installed"):
        table.add_column(name)
    for one in libraries:
        table.add_row(one.name, one.needed, _installed(one))
    return table


def extra_table(extras: Sequence[Any]) -> Table:
    """Each `Extra`, and what to do where something of it is missing."""
    table = Table(title="extras, each for one purpose")
    for name in ("extra", "for", "state"):
        table.add_column(name)
    for one in extras:
        told = ", ".join(f"{library.name} {_installed(library)}" for library in one.libraries) or "unknown"
        table.add_row(one.name, one.purpose, told if one.is_installed else f"{told}; pip install 'partcnn[{one.name}]'")
    return table


def _installed(library: Any) -> str:
    if library.installed is None:
        return "missing"
    return str(library.installed) if library.is_fitting else f"{library.installed} does not fit"
