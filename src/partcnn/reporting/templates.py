"""The templates, styles and scripts that pages are put together from, and what makes text safe within them."""

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from partcnn.foundation.number_text import decimal, percent, signed


@cache
def page_environment(package: str = "partcnn.reporting") -> Environment:
    """Jinja with autoescape on, and the filters that the pages use."""
    environment = Environment(
        loader=PackageLoader(package, "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(decimal=decimal, signed=signed, percent=percent, breakable=_breakable)
    return environment


def rendered(template: str, **values: Any) -> Markup:
    """A template of this package's folder `page` with values; their text is escaped."""
    return Markup(page_environment().get_template(template).render(**values))


def joined(names: tuple[str, ...], package: str = "partcnn.reporting") -> Markup:
    """The package's own styles or scripts, one after the other."""
    folder = resources.files(package).joinpath("page")
    return Markup("\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names))


def script_hash(script: str) -> str:
    """For the page's Content-Security-Policy: this script runs, and none that a name might smuggle in."""
    # The element holds a line break before and after the text.
    return base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode("ascii")


def as_json(data: Any) -> Markup:
    """JSON that can stand within a script element, whatever its texts hold."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _breakable(text: str) -> Markup:
    """Paths may break after a slash."""
    return Markup("/<wbr>").join(escape(piece) for piece in text.split("/"))
