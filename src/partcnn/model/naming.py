"""What people call the filters of the top part layer. A name goes with its filter where others are cut out."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from partcnn.foundation.errors import ConfigError
from partcnn.model.mask import top_mask
from partcnn.model.network import conversion_of, unwrapped

MOST_LETTERS = 40


def filter_names(model: nn.Module) -> dict[int, str]:
    """Filter → name, of the filters of the top part layer that have one; filters may share a name.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
    """
    return dict(conversion_of(model).filter_names)


def name_filters(model: nn.Module, names: Mapping[int, str]) -> None:
    """Give the filters of the top part layer their names, in place of all that they had.

    `save`, `explain`, `report`, `export` and `prune` take them from the network.

    Args:
        model: made by `partcnn.convert`.
        names: filter → 1 to 40 letters that can be seen, spaces among them. Filters that share a name are one line in
            an explanation.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        ConfigError: there is no such filter, or a name is none.
    """
    record = conversion_of(model)
    record.filter_names = checked_names(names, num_filters(model), "names")


def num_filters(model: nn.Module) -> int:
    """Of the top part layer."""
    return top_mask(unwrapped(model))[1].num_filters


def checked_names(names: Mapping[Any, Any], number: int | None, argument: str) -> dict[int, str]:
    """The names as they are kept, by number of the filter: composed letters, single spaces.

    Args:
        names: as others gave them.
        number: of filters; None: it is not known.
        argument: by whose name an error speaks of them.

    Raises:
        ConfigError: as of `name_filters`.
    """
    for index in names:
        is_whole = isinstance(index, int) and not isinstance(index, bool)
        if not is_whole or index < 0 or (number is not None and index >= number):
            known = "a filter's number" if number is None else f"a filter from 0 to {number - 1}"
            raise ConfigError(f"{argument}: expected {known}, got {_shown(index)}")
    return {index: checked_name(names[index], f"{argument}: filter {index}") for index in sorted(names)}


def checked_name(name: Any, argument: str) -> str:
    """A name as it is kept.

    Raises:
        ConfigError: it is no text of 1 to 40 letters that can be seen.
    """
    if not isinstance(name, str):
        raise ConfigError(f"{argument}: expected a name, got {_shown(name)}; put it in quotes")
    if len(name) > 4 * MOST_LETTERS:  # before anything is done to it
        raise ConfigError(f"{argument}: expected a name of 1 to {MOST_LETTERS} letters, got {len(name)}")
    if not name.isprintable():
        raise ConfigError(f"{argument}: expected a name of letters that can be seen, got {name!r:.50}")
    kept = " ".join(unicodedata.normalize("NFC", name).split())
    if not 1 <= len(kept) <= MOST_LETTERS:
        raise ConfigError(f"{argument}: expected a name of 1 to {MOST_LETTERS} letters, got {len(kept)}")
    return kept


def names_of_kept(names: Mapping[int, str], kept: Sequence[int]) -> dict[int, str]:
    """The names after all filters but those were cut out.

    Args:
        names: filter → name, before.
        kept: old numbers of the filters that stay, in their new order.
    """
    return {place: names[index] for place, index in enumerate(kept) if index in names}


def _shown(value: Any) -> str:
    """Whatever a file held, which may be long or deep."""
    is_plain = isinstance(value, (str, int, float, type(None))) and not (isinstance(value, int) and abs(value) > 10**20)
    return f"{value!r:.50}" if is_plain else f"a {type(value).__name__}"
