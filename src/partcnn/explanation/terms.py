"""The lines of an explanation: filters that share a name are one, and each of the others is one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partcnn.explanation.contribution import Contribution


@dataclass(frozen=True)
class Term:
    """What filters of one name add together, or one that has no name.

    Args:
        name: that they share.
        contributions: of these filters, the largest magnitude first.
    """

    name: str | None
    contributions: tuple[Contribution, ...]

    @property
    def filters(self) -> tuple[int, ...]:
        """Their numbers, ascending."""
        return tuple(sorted(one.filter for one in self.contributions))

    @property
    def value(self) -> float:
        """The sum of what they add, in units of the logit."""
        return math.fsum(one.value for one in self.contributions)

    @property
    def strongest(self) -> Contribution:
        """Of those that found something, else of all, the one that adds most in magnitude."""
        return next((one for one in self.contributions if one.score > 0), self.contributions[0])

    @property
    def score(self) -> float:
        """The largest activation of them; 0: none is seen."""
        return max(one.score for one in self.contributions)

    @property
    def hidden_change(self) -> float | None:
        """Of the logit when its place is covered; None where it was not asked, or for several filters: each was
        covered alone."""
        return self.contributions[0].hidden_change if len(self.contributions) == 1 else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "filters": list(self.filters), "value": self.value}


def terms_of(contributions: Sequence[Contribution], names: Mapping[int, str]) -> list[Term]:
    """The largest magnitude first; their values have the same sum as the contributions.

    Args:
        contributions: one per filter, the largest magnitude first.
        names: filter → name, of those that have one.
    """
    shared: dict[str | int, list[Contribution]] = {}
    for one in contributions:
        shared.setdefault(names.get(one.filter, one.filter), []).append(one)
    found = [Term(name if isinstance(name, str) else None, tuple(of_it)) for name, of_it in shared.items()]
    return sorted(found, key=lambda term: -abs(term.value)) if names else found
