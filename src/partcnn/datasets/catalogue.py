"""What a reader returns, and how a category is found among those of a data set."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from partcnn.datasets.annotations import Skips
from partcnn.datasets.samples import Sample
from partcnn.foundation.errors import DataError

BACKGROUND = "background"


@dataclass(frozen=True)
class Catalogue:
    """Everything a data set holds for one task, before the split and before the pictures are checked.

    Args:
        samples: all pictures, in an order that does not depend on the machine.
        classes: the names that labels index.
        parts: names of all annotated parts, sorted.
        background: index of the background class; None in the multi-category task.
        category: the full name of the category; None in the multi-category task.
        is_multilabel: whether labels are sets of classes.
        skips: annotations that were left out.
    """

    samples: list[Sample]
    classes: list[str]
    parts: list[str]
    background: int | None = None
    category: str | None = None
    is_multilabel: bool = False
    skips: Skips = field(default_factory=Skips)


def part_names(samples: Iterable[Sample]) -> list[str]:
    """The names of all annotated parts, sorted."""
    return sorted({part for sample in samples for part in sample.parts})


def spelling_key(name: str) -> str:
    """The same for names that differ in capitals, blanks, "_", "-", how letters are written, or what nobody sees."""
    seen = "".join(letter for letter in unicodedata.normalize("NFKC", name) if unicodedata.category(letter) != "Cf")
    return re.sub(r"[\s_-]+", " ", seen.casefold()).strip()


def alike(names: Iterable[str]) -> list[str]:
    """The first names that differ in spelling only; none where all are apart."""
    groups = defaultdict[str, list[str]](list)
    for name in names:
        groups[spelling_key(name)].append(name)
    return next((group for group in groups.values() if len(group) > 1), [])


def find_category(wanted: str, names: Mapping[str, str], *, is_word_enough: bool = False) -> str:
    """The identifier of the category that the user means.

    Args:
        wanted: a name, an identifier or, where `is_word_enough`, one whole word of a name.
        names: identifier → name of every category.
        is_word_enough: "cat" finds "domestic cat" if no other name has that word.

    Raises:
        DataError: no category is meant, or more than one; the message lists them.
    """
    if wanted in names:
        return wanted
    matches = [identifier for identifier, name in names.items() if name == wanted]
    if not matches and is_word_enough:
        matches = [identifier for identifier, name in names.items() if wanted in name.split()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise DataError(f"category: {wanted!r} could be {_listed(matches, names)}; give one of these")
    raise DataError(f"category: expected one of {_listed(list(names), names)}; got {wanted!r}")


def _listed(identifiers: list[str], names: Mapping[str, str]) -> str:
    ordered = sorted(identifiers, key=lambda identifier: names[identifier])
    return ", ".join(
        names[identifier] if names[identifier] == identifier else f"{names[identifier]} ({identifier})"
        for identifier in ordered
    )
