"""What our docstrings leave to the code, told to the site's reference.

Shapes stand as comments in a function's head, `feature_maps: Tensor,  # [image, …]`, and what a field is often stands
behind it; arguments that share a sentence stand in one line of `Args:`, `tau, beta: of the templates.`
"""

import re
from html import escape
from typing import Any

import griffe

PARAMETER = re.compile(r"^\s+(\w+): [^#]*,\s+# (.+)$")
FIELD = re.compile(r"^    (\w+): [^#]*\S  # (.+)$")
SHARED_LINE = re.compile(
    r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+): (?P<text>.+(?:\n(?P=indent) +\S.*)*)$", re.MULTILINE
)
WHOLE_HEAD = re.compile(r"^\s*(?:def .*|\)).*:\s+# (.+)$")


class HouseDocstrings(griffe.Extension):
    """Shapes below the first paragraph of a function's docstring, fields into a class's, arguments into own lines."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        if cls.docstring is None:
            return
        text = with_own_lines(cls.docstring.value)
        fields = [found for line in cls.lines if (found := FIELD.match(line))]
        if fields and "Args:" not in text and "Attributes:" not in text:
            entries = "".join(f"\n    {field[1]}: {escaped(field[2])}" for field in fields)
            text += f"\n\nAttributes:{entries}"
        cls.docstring.value = text

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        if func.docstring is None:
            return
        func.docstring.value = with_own_lines(func.docstring.value)
        shapes = shapes_of(func.lines)
        if shapes:
            summary, blank, more = func.docstring.value.partition("\n\n")
            func.docstring.value = f"{summary}\n\nShapes: {'; '.join(shapes)}.{blank}{more}"


def with_own_lines(docstring: str) -> str:
    """`tau, beta: text` of the sections `Args:` and `Attributes:` as two lines; exceptions stay as they are."""
    pieces = re.split(r"^(\w+(?:, \w+)*:)\n", docstring, flags=re.MULTILINE)
    for place in range(1, len(pieces), 2):
        if pieces[place] in ("Args:", "Attributes:"):
            pieces[place + 1] = SHARED_LINE.sub(one_line_each, pieces[place + 1])
        pieces[place] += "\n"
    return "".join(pieces)


def one_line_each(shared: re.Match[str]) -> str:
    return "\n".join(f"{shared['indent']}{name}: {shared['text']}" for name in shared["names"].split(", "))


def shapes_of(lines: list[str]) -> list[str]:
    """What the comments of a function's head say, as Markdown."""
    shapes = []
    for line in lines:
        if '"""' in line:
            break
        if found := PARAMETER.match(line):
            shapes.append(f"`{found[1]}`: {escaped(found[2])}")
        elif found := WHOLE_HEAD.match(line):
            shapes.append(escaped(found[1]))
    return shapes


def escaped(text: str) -> str:
    """Nothing of it is Markdown, nor mathematics in brackets."""
    return re.sub(r"[\[\]*_]", lambda found: f"&#{ord(found[0])};", escape(text.rstrip(".")))
