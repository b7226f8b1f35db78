"""YAML of strangers: values by name, without aliases, which make a small file endless."""

from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.events import AliasEvent
from yaml.nodes import Node


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ComposerError(None, None, "aliases (*name) are not read; write the value out", mark)
        return super().compose_node(parent, index)


def read_plain_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        ValueError: it is no YAML, or holds aliases or objects of Python; the message says where.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 (a SafeLoader)
    except Exception as error:  # PyYAML raises what its constructors happen to: of !!timestamp x an AttributeError
        raise ValueError(" ".join(str(error).split())) from error
