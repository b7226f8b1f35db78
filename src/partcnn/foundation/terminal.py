"""What is printed with rich: names that others wrote are shown, and steer nothing."""

import copy
import logging
from typing import Any

from rich.console import Console
from rich.text import Text

from partcnn.foundation.streams import printable


class PlainConsole(Console):
    """Texts of tables, captions and sentences are no markup, and what would steer a terminal is shown as its escape."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Every text passes here on its way into a table, a caption or a line."""
        return super().render_str(_lines(text), **settings)

    def on_broken_pipe(self) -> None:
        """For `main`; rich would end the process."""
        raise BrokenPipeError


class PlainFormatter(logging.Formatter):
    """A record's message in one line of letters that can be seen, if it is ours; of others line by line."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.startswith("partcnn"):
            record = copy.copy(record)
            record.msg, record.args = " ".join(record.getMessage().split()), None
        return _lines(super().format(record))


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))
