"""Names in figures in any script: a font that has the letters, or a plain substitute where none is installed.

matplotlib's own font has Latin, Greek, Cyrillic, Arabic and Hebrew letters, but no Chinese, Japanese or Korean ones; it
draws a box and warns. `$` in a name is no mathematics.
"""

import textwrap
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

from matplotlib import rcParams
from matplotlib.font_manager import FontEntry, FontProperties, findfont, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.legend import Legend

_NO_LETTERS = ("last resort", "emoji", "noncode", "nonunicode")  # boxes, colour bitmaps, fonts of mathematics
_REGULAR = (400, "normal", "regular", "book")


def lettering(texts: Iterable[str]) -> dict[str, Any]:
    """The settings of matplotlib's texts for these names."""
    added = {_family_of(letter) for text in texts for letter in text} - {None}
    return {"fontfamily": [*rcParams["font.family"], *sorted(map(str, added))], "parse_math": False}


def drawable(text: str, *, line_letters: int | None = None) -> str:
    """The text, each letter that no installed font has as its escape, as in "\\\\u732b"; so names stay apart.

    Args:
        text: what others wrote.
        line_letters: after about so many a new line begins; None: it stays one line.
    """
    if line_letters is not None:
        return "\n".join(textwrap.wrap(drawable(text), line_letters, break_on_hyphens=False))
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_own(letter) or _family_of(letter) else _escape(letter) for letter in text)


def points(share: float) -> float:
    """The size of letters, as a share of the usual one: 10 points, unless a figure is made for paper."""
    return share * float(rcParams["font.size"])


def letter_legend(legend: Legend) -> None:
    """Set the names of a legend that were passed through `drawable`."""
    for text in legend.get_texts():
        for setting, value in lettering([text.get_text()]).items():
            text.set(**{setting: value})


def _is_own(letter: str) -> bool:
    """Whether the font that texts have anyway has the letter."""
    return ord(letter) in _letters(findfont(FontProperties(family=rcParams["font.family"])))


def _family_of(letter: str) -> str | None:
    """A family that has a letter which the usual one lacks; None where the usual one has it, or none has."""
    if letter.isascii() or _is_own(letter):
        return None
    found = _found(letter, len(fontManager.ttflist))
    if found is None:
        _add_new_fonts()
        found = _found(letter, len(fontManager.ttflist))
    return found


@cache
def _add_new_fonts() -> None:
    """matplotlib's list of fonts is of the day when it first ran; those that were installed since are added."""
    known = {one.fname for one in fontManager.ttflist}
    for file in sorted({*findSystemFonts()} - known):
        with suppress(OSError, RuntimeError):  # a file that is no font
            fontManager.addfont(file)


@cache
def _found(letter: str, num_fonts: int) -> str | None:
    return next((one.name for one in _candidates(num_fonts) if ord(letter) in _letters(one.fname)), None)


@cache
def _candidates(num_fonts: int) -> list[FontEntry]:
    """Upright regular fonts first, in an order that does not depend on the machine's list; another one once more are
    known to matplotlib."""
    with_letters = [one for one in fontManager.ttflist if not any(word in one.name.lower() for word in _NO_LETTERS)]
    return sorted(with_letters, key=lambda one: (one.style != "normal", one.weight not in _REGULAR, one.name))


@cache
def _letters(file: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # a font that is gone or damaged
        return frozenset()


def _escape(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode() if letter.isprintable() else repr(letter)[1:-1]
