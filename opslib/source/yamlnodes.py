"""YAML as nodes with positions: careful steps through a text that is going to be edited."""

from __future__ import annotations

import json
from dataclasses import dataclass

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from opslib.source.yamltree import plain_tabs

MAX_DEPTH = 100
"""Mappings and lists inside each other, at most, where the parser in C is used."""


class Stuck(Exception):
    """An edit that cannot be made mechanically; it stays inside this room.

    ``why`` says what is in the way, ``fix`` what a person does ("": rewrite it by hand),
    ``line`` is 0-based.
    """

    def __init__(self, why: str, node: Node, fix: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix
        self.line = line_of(node)


@dataclass(frozen=True)
class Entry:
    """A key and its value in a mapping."""

    key: ScalarNode
    value: Node

    @property
    def aliased(self) -> bool:
        """Whether the value is an alias: its text stands elsewhere, at the anchor."""
        return bool(start_of(self.value) < end_of(self.key))


def parse(text: str) -> list[Node]:
    """Parse every document of a text into nodes with positions; raises yaml.YAMLError."""
    # The pure Python loader: its marks count the characters of the str that was given.
    try:
        return _composed(text.replace("\t", " ") if _tabbed_json(text) else text)
    except yaml.YAMLError:
        if "\t" not in text:
            raise
        return _composed(plain_tabs(text))


def _composed(text: str) -> list[Node]:
    return [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]


def well_formed(text: str) -> None:
    """Read a text as ``parse`` does, ten times faster and for its errors only."""
    source = text.replace("\t", " ") if _tabbed_json(text) else text
    try:
        composed(source)
    except yaml.YAMLError:  # its marks are coarser: let the other loader tell the line
        parse(text)


def composed(text: str) -> list[Node]:
    """Return the documents of a text as nodes; raises yaml.YAMLError, and RecursionError.

    The nesting is looked at first: the composer in C overflows its stack, which no exception
    tells.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in iter(loader(text).get_event, None):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise RecursionError
    return list(yaml.compose_all(text, Loader=loader))


def _tabbed_json(text: str) -> bool:
    """JSON may be indented by tabs, which YAML forbids; inside of JSON's strings none can be."""
    if "\t" not in text or not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return False
    try:
        json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return False
    return True


def start_of(node: Node) -> int:
    return int(node.start_mark.index)


def end_of(node: Node) -> int:
    return int(node.end_mark.index)


def line_of(node: Node) -> int:
    return int(node.start_mark.line)


def find(mapping: Node | None, key: str) -> Entry | None:
    """Find a key; raises Stuck where the answer is not plain (merge keys, duplicate keys)."""
    if not isinstance(mapping, MappingNode):
        return None
    found = [Entry(k, v) for k, v in mapping.value if isinstance(k, ScalarNode) and k.value == key]
    if len(found) > 1:
        raise Stuck(f"the key {key!r} is there twice", found[1].key)
    if not found:
        for name, _ in mapping.value:
            if isinstance(name, ScalarNode) and name.value == "<<":
                raise Stuck("a YAML merge key (<<) may bring fields in", name)
    return found[0] if found else None


def lacks(mapping: Node | None, key: str) -> bool:
    """Tell whether a key may be added; raises Stuck when it is there without a value."""
    entry = find(mapping, key)
    if entry is not None and is_null(entry.value):
        raise Stuck(f"the field {key!r} is there without a value", entry.key)
    return entry is None


def own(mapping: Node | None, key: str) -> Node | None:
    """Return a value that may be edited in place; raises Stuck for an alias and for no value."""
    if lacks(mapping, key):
        return None
    entry = find(mapping, key)
    if entry is not None and entry.aliased:
        raise Stuck(f"the field {key!r} is a YAML alias", entry.key)
    return entry.value if entry else None


def dig(mapping: Node | None, *keys: str) -> Node | None:
    """Walk down mappings; None when a step is missing or null."""
    for key in keys:
        entry = find(mapping, key)
        if entry is None or is_null(entry.value):
            return None
        mapping = entry.value
    return mapping


def peek(node: Node | None, *keys: str) -> Node | None:
    """Walk down mappings as ``dig`` does, but take merge and duplicate keys as they come."""
    for key in keys:
        pairs = node.value if isinstance(node, MappingNode) else []
        node = next((v for k, v in pairs if isinstance(k, ScalarNode) and k.value == key), None)
    return node


def is_null(node: Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def scalar(node: Node | None) -> str | None:
    """Return a scalar's text, None for anything else."""
    return str(node.value) if isinstance(node, ScalarNode) and not is_null(node) else None


def members(node: Node | None) -> list[Node]:
    """Return the items of a sequence, or nothing."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def meaning(node: Node, known: dict[int, int] | None = None) -> int:
    """Return a number that is equal for nodes of equal content; each node is visited once."""
    seen = known if known is not None else {}
    if id(node) not in seen:
        seen[id(node)] = 0  # an alias to what is being read; and a bomb of aliases stays small
        parts: list[object] = [node.tag]
        if isinstance(node, ScalarNode):
            parts.append(node.value)
        for child in node.value if not isinstance(node, ScalarNode) else ():
            inner = child if isinstance(child, tuple) else (child,)
            parts += [meaning(part, seen) for part in inner]
        seen[id(node)] = hash(tuple(parts))
    return seen[id(node)]
