"""YAML of strangers: values by name; aliases, which can make a small file endless, are read where they are harmless."""

from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent
from yaml.nodes import Node

_MOST_ALIASES = 1000


class _PlainLoader(yaml.SafeLoader):
    """Refuses an alias to what holds an alias, or is not whole yet."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._plain: set[str] = set()  # anchors of values that are whole, and hold no alias
        self._num_aliases = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent):
            self._num_aliases += 1
            if event.anchor in self.anchors and (event.anchor not in self._plain or self._num_aliases > _MOST_ALIASES):
                told = f"the alias *{event.anchor} is of a value that holds others, or itself; write the value out"
                raise ComposerError(None, None, told, event.start_mark)  # type: ignore[arg-type]
            return super().compose_node(parent, index)
        before = self._num_aliases
        node = super().compose_node(parent, index)
        if event.anchor is not None and self._num_aliases == before:
            self._plain.add(event.anchor)
        return node


class _SingleLoader(_PlainLoader):
    """Refuses a key that stands twice in one mapping, of which YAML takes the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise ConstructorError(None, None, "a key stands there twice", node.start_mark)
        return found


def read_plain_yaml(text: str, *, has_doubles: bool = True) -> Any:
    """What a YAML text says.

    Args:
        text: of one document.
        has_doubles: whether a key may stand twice in a mapping; the last one counts.

    Raises:
        ValueError: it is no YAML, or holds values that hold themselves, or objects of Python; the message says where.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader if has_doubles else _SingleLoader)  # noqa: S506 (a SafeLoader)
    except Exception as error:  # PyYAML raises what its constructors happen to: of !!timestamp x an AttributeError
        raise ValueError(" ".join(str(error).split())) from error
