"""Documents as trees of nodes with their lines: YAML by its events, JSON by its words.

Both readers are for hostile and broken input: no recursion, bounded depth and number of nodes,
keys that stand twice are both kept. What cannot be read raises Unparsed, and is read by lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml import events as ev

MOST_NODES = 2_000_000
MOST_DEPTH = 100


_NO_PAIRS: list[tuple[Node, Node]] = []
_NO_ITEMS: list[Node] = []
"""Shared by all texts, and never added to."""


class Unparsed(Exception):
    """A text is no document of this form; it stays inside this package."""


class Node:
    """One value: ``form`` is "map", "list" or "text"; ``line`` is 0-based.

    ``plain``: a text without quotes. ``block``: a text whose lines follow its own line.
    ``tag``: a tag of the file's own (!secret, !Ref), "" without.
    """

    __slots__ = ("block", "form", "items", "line", "pairs", "plain", "tag", "text")

    def __init__(
        self,
        form: str,
        line: int,
        text: str = "",
        *,
        plain: bool = False,
        block: bool = False,
        tag: str = "",
    ) -> None:
        self.form = form
        self.line = line
        self.text = text
        self.plain = plain
        self.block = block
        self.tag = tag
        if form == "text":
            self.pairs, self.items = _NO_PAIRS, _NO_ITEMS
        else:
            self.pairs, self.items = [], []

    @property
    def held(self) -> dict[str, Node]:
        """The values of a mapping by their keys; of a key that stands twice, the first."""
        return {key.text: value for key, value in reversed(self.pairs)}

    def get(self, name: str) -> Node | None:
        """Return the value of a key of a mapping; None where it has none."""
        for key, value in self.pairs:
            if key.text == name:
                return value
        return None

    def word(self, name: str) -> str:
        """Return the text of a key of a mapping; "" where it has none, or no text."""
        found = self.get(name)
        return found.text if found is not None and found.form == "text" else ""


def read_yaml(text: str) -> list[Node]:
    """Read the documents of a YAML text. Raises Unparsed."""
    try:
        return list(_Builder(text).documents())
    except (yaml.YAMLError, ValueError, StopIteration) as error:
        raise Unparsed(type(error).__name__) from None


class _Builder:
    def __init__(self, text: str) -> None:
        self.events: Iterator[Any] = iter(yaml.CSafeLoader(text).get_event, None)
        self.count = 0

    def documents(self) -> Iterator[Node]:
        for event in self.events:
            if isinstance(event, ev.DocumentStartEvent):
                yield self._document()

    def _document(self) -> Node:
        """Build one document; open collections are kept on a list and not on the stack."""
        anchors: dict[str, Node] = {}
        root: Node | None = None
        stack: list[Node] = []
        for event in self.events:
            what = type(event)
            if what is ev.DocumentEndEvent:
                break
            if what is ev.MappingEndEvent:
                _even(stack.pop())
                continue
            if what is ev.SequenceEndEvent:
                stack.pop()
                continue
            self.count += 1
            if what is ev.AliasEvent:
                node = anchors.get(event.anchor) or Node("text", event.start_mark.line)
            else:
                node = _node(what, event)
                if event.anchor:
                    anchors[event.anchor] = node
            if stack:
                stack[-1].items.append(node)
            else:
                root = node
            if what is ev.MappingStartEvent or what is ev.SequenceStartEvent:
                stack.append(node)
                if len(stack) > MOST_DEPTH or self.count > MOST_NODES:
                    raise Unparsed("size")
        return root or Node("text", 0)


def _node(what: type, event: Any) -> Node:
    tag = event.tag
    own = tag if tag and tag[0] == "!" and len(tag) > 1 else ""
    line = event.start_mark.line
    if what is ev.ScalarEvent:
        style = event.style
        return Node("text", line, event.value, plain=not style, block=style in _BLOCK, tag=own)
    return Node("list" if what is ev.SequenceStartEvent else "map", line, tag=own)


_BLOCK = frozenset({"|", ">"})


def _even(node: Node) -> None:
    """Make the pairs of a mapping of the nodes that were collected for it."""
    if node.form == "map":
        node.pairs = list(zip(node.items[::2], node.items[1::2], strict=False))
        node.items = []


_JSON = re.compile(
    r'[\s,:]*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<open>[{\[])|(?P<close>[}\]])|(?P<note>//[^\n]*|#[^\n]*)|(?P<remark>/\*)'
    r'|(?P<word>[^\s,:{}\[\]"]+))',
    re.DOTALL,
)


_LITERAL = re.compile(r"true|false|null|NaN|-?Infinity|-?\d[\d.eE+-]*")
_DECODER = json.JSONDecoder(strict=False)


def read_json(text: str) -> list[Node]:
    """Read JSON: one document, many that follow each other, with comments or trailing commas.

    Raises Unparsed where it is none.
    """
    roots: list[Node] = []
    stack: list[Node] = []
    line, counted, count = 0, 0, 0
    at, end = 0, len(text.rstrip(" \t\r\n,"))
    while at < end:
        found = _JSON.match(text, at)
        if found is None:
            raise Unparsed("json")
        at = found.end()
        group = found.lastgroup or ""
        if group == "note":
            continue
        if group == "remark":
            at = text.find("*/", at) + 2
            if at < 2:
                raise Unparsed("json")
            continue
        start = found.start(group)
        line += text.count("\n", counted, start)
        counted = start
        count += 1
        if count > MOST_NODES or len(stack) > MOST_DEPTH:
            raise Unparsed("size")
        if group == "close":
            _closed(stack, found["close"])
            continue
        node = _json_node(group, found[group], line)
        (stack[-1].items if stack else roots).append(node)
        if group == "open":
            stack.append(node)
    if stack or not roots or any(root.form == "text" for root in roots):
        raise Unparsed("json")
    return roots


def _closed(stack: list[Node], mark: str) -> None:
    if not stack or (stack[-1].form == "map") != (mark == "}"):
        raise Unparsed("json")
    _even(stack.pop())


def _json_node(group: str, text: str, line: int) -> Node:
    if group == "open":
        return Node("map" if text == "{" else "list", line)
    if group == "word":
        if not _LITERAL.fullmatch(text):
            raise Unparsed("json")
        return Node("text", line, text, plain=True)
    if "\\" not in text:
        return Node("text", line, text[1:-1])
    try:
        return Node("text", line, str(_DECODER.decode(text)))
    except ValueError:
        raise Unparsed("json") from None
