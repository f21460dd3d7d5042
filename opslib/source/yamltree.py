"""One YAML document as a tree of nodes that know where in the text they stand.

Unlike ``yamlnodes`` an alias is a node of its own, at its own place, and a node ends with its
content: comments and blank lines behind it belong to nobody.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import events as ev

from opslib.core.errors import OpslibError
from opslib.source import scalars

Path = tuple[str | int, ...]
"""Keys of mappings and numbers of list items, from the root of a document."""

_MAX_DEPTH = 100


class CannotEdit(OpslibError):
    """An edit that cannot be made so that nothing else changes; ``line`` is 1-based, of the text.

    It is caught where another way can be tried.
    """

    kind = "cannot-edit"

    def __init__(self, what: str, *, line: int = 0) -> None:
        super().__init__(what)
        self.line = line


class MergedIn(CannotEdit):
    """What is to be edited is not written there: a merge key (<<) brings it in."""


@dataclass
class Node:
    """A value and where it stands: [start, end), from ``outer`` on with its anchor and tag.

    ``kind`` is map, seq, scalar or alias. ``column`` is that of a block collection's keys or
    dashes. ``value`` is a scalar's, as kubectl reads it.
    """

    kind: str
    outer: int
    start: int
    end: int
    column: int = 0
    flow: bool = False
    style: str = ""
    value: Any = None
    raw: str = ""
    anchor: str = ""
    tag: str = ""
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    @property
    def block(self) -> bool:
        """Whether this is a collection of lines."""
        return self.kind in {"map", "seq"} and not self.flow

    @property
    def text(self) -> bool:
        """Whether this is a scalar that is a text."""
        return self.kind == "scalar" and isinstance(self.value, str)


@dataclass(frozen=True)
class Chunk:
    """The text of one document in its file: [start, end), and its first line (1-based)."""

    start: int
    end: int
    line: int


def chunks(text: str) -> list[Chunk]:
    """Return where each document of a text stands, the ``---`` before it included.

    Raises yaml.YAMLError for what is none.
    """
    clean = _plain_json(text)
    events: Iterator[Any] = iter(yaml.CSafeLoader(clean.removeprefix("\ufeff")).get_event, None)
    starts = [_line_of(one) for one in events if isinstance(one, ev.DocumentStartEvent)]
    offsets = _line_starts(text)
    places = [offsets[line] for line in starts] + [len(text)]
    return [
        Chunk(places[number], places[number + 1], line + 1) for number, line in enumerate(starts)
    ]


def _line_of(event: Any) -> int:
    return int(event.start_mark.line)


def _line_starts(text: str) -> list[int]:
    # As YAML 1.1 breaks lines, which is how the parser counts them.
    return [0, *(found.end() for found in re.finditer("\r\n|[\n\r\x85\u2028\u2029]", text))]


_TABS = re.compile(r"(?<=[:-])[ \t]*\t[ \t]*|[ \t]*\t[ \t]*(?=#|\r?$)", re.MULTILINE)
"""Tabs between tokens, which libyaml takes and PyYAML's own scanner does not."""


def plain_tabs(text: str) -> str:
    """Return a text of the same length and structure that PyYAML's own scanner reads."""
    plain = _plain_json(text)
    if "\t" not in plain:
        return plain
    return _TABS.sub(lambda found: " " * len(found[0]), plain)


def _plain_json(text: str) -> str:
    """Return a text of the same length in which JSON's tabs are spaces: YAML forbids them."""
    if "\t" in text and text.lstrip("\ufeff \t\r\n").startswith("{"):
        return text.replace("\t", " ")
    return text


class Tree:
    """The nodes of the one document that a text holds."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.anchors: dict[str, Node] = {}
        self._events: Iterator[Any] = iter(())
        self.root = self._parse()
        self.json = self.root is not None and text[self.root.start : self.root.start + 1] == "{"
        self.json = self.json and self._keys_quoted()

    def find(self, path: Path) -> Node:
        """Return the node of a path that the document's value has. Raises CannotEdit."""
        node = self.root
        for step in path:
            node = self._step(node, step)
        if node is None:
            raise CannotEdit("there is nothing in this document")
        return node

    def _step(self, node: Node | None, step: str | int) -> Node:
        if node is not None and node.kind == "alias":
            what = f"*{node.anchor} stands for this: the text is that of its anchor"
            raise CannotEdit(what, line=self.line(node.start))
        found: Node | None = None
        if node is not None and isinstance(step, str):
            found = next((value for key, value in node.pairs if key_of(key) == step), None)
        elif node is not None and isinstance(step, int) and step < len(node.items):
            found = node.items[step]
        if found is None:
            where = self.line(node.start) if node else 0
            raise MergedIn(f"{step} is not written there: a merge key brings it in", line=where)
        return found

    def line(self, index: int) -> int:
        """Return the 1-based line of a position."""
        return self.text.count("\n", 0, index) + 1

    def dash(self, seq: Node, number: int) -> int:
        """Return where the dash of a block list's item stands."""
        if number == 0:
            return seq.start
        at = self.after(seq.items[number - 1].end)
        last = seq.items[number].outer
        while at <= last:
            if not self.text[at : at + seq.column].strip() and (
                self.text[at + seq.column : at + seq.column + 1] == "-"
            ):
                return at + seq.column
            at = self.after(at + 1)
        raise CannotEdit("its list is not written line by line", line=self.line(seq.start))

    def head(self, index: int) -> int:
        """Return the start of the line that a position is on."""
        return self.text.rfind("\n", 0, index) + 1

    def tail(self, index: int) -> int:
        """Return the end of the line that a position is on, before its line break."""
        end = self.text.find("\n", index)
        end = len(self.text) if end < 0 else end
        return end - 1 if end and self.text[end - 1 : end + 1] == "\r\n" else end

    def after(self, index: int) -> int:
        """Return the start of the line after a position; the position, if a line starts there."""
        if index and self.text[index - 1] == "\n":
            return index
        end = self.text.find("\n", index)
        return len(self.text) if end < 0 else end + 1

    def above(self, index: int) -> int:
        """Return the start of a line, or of the comments above it that are indented as it is."""
        place = self.head(index)
        column = index - place
        while place:
            start = self.text.rfind("\n", 0, place - 1) + 1
            line = self.text[start:place]
            if not line.strip().startswith("#") or line.index("#") < column:
                break
            place = start
        return place

    def first_on_line(self, index: int) -> bool:
        """Whether nothing but blanks stands before a position on its line."""
        return not self.text[self.head(index) : index].strip()

    # -- what the above is made of

    def _keys_quoted(self) -> bool:
        return all(key.style == '"' for key, _ in self.root.pairs) if self.root else False

    def _parse(self) -> Node | None:
        loader: Any = yaml.SafeLoader  # its marks count the characters of the text
        self._events = iter(yaml.parse(plain_tabs(self.text), Loader=loader))
        event: Any
        for event in self._events:
            if isinstance(event, ev.DocumentStartEvent):
                return self._node(next(self._events), 0)
        return None

    def _node(self, event: Any, depth: int) -> Node:
        outer, end = int(event.start_mark.index), int(event.end_mark.index)
        if depth > _MAX_DEPTH:
            raise CannotEdit("this document is nested too deeply", line=self.line(outer))
        if isinstance(event, ev.AliasEvent):
            return Node("alias", outer, outer, end, anchor=str(event.anchor))
        node = Node("scalar", outer, self._inner(event, outer), end)
        node.anchor, node.tag = event.anchor or "", event.tag or ""
        node.column = int(event.start_mark.column)
        if node.anchor:
            self.anchors[node.anchor] = node
        if isinstance(event, ev.ScalarEvent):
            self._scalar(node, event)
        elif isinstance(event, ev.SequenceStartEvent):
            self._sequence(node, event, depth)
        else:
            self._mapping(node, event, depth)
        return node

    def _inner(self, event: Any, outer: int) -> int:
        """Return where a value starts after its anchor and tag."""
        at = outer
        if not event.anchor and not event.tag:
            return at
        while self.text[at : at + 1] in ("&", "!"):
            while at < len(self.text) and not self.text[at].isspace():
                at += 1
            at = self._blanks(at, comments=not isinstance(event, ev.ScalarEvent))
        return min(at, _end_of(event)) if isinstance(event, ev.ScalarEvent) else at

    def _blanks(self, at: int, *, comments: bool) -> int:
        while at < len(self.text) and (self.text[at].isspace() or self.text[at] == "#"):
            if self.text[at] == "#":
                if not comments:
                    break
                at = self.tail(at)
            at += 1
        return at

    def _scalar(self, node: Node, event: Any) -> None:
        node.style = event.style or ""
        node.raw = node.value = event.value
        if event.tag is None and not event.style:
            with contextlib.suppress(scalars.NotJsonError):
                node.value = scalars.plain(event.value)
        if node.style in {"|", ">"}:
            header = self.text[node.start : self.tail(node.start)].partition("#")[0]
            if "+" not in header:
                kept = self.text[node.start : node.end].rstrip(" \t\r\n")
                node.end = node.start + len(kept)

    def _sequence(self, node: Node, event: Any, depth: int) -> None:
        node.kind, node.flow = "seq", bool(event.flow_style)
        found: Any
        while not isinstance(found := next(self._events), ev.SequenceEndEvent):
            node.items.append(self._node(found, depth + 1))
        self._close(node, found, node.items)

    def _mapping(self, node: Node, event: Any, depth: int) -> None:
        node.kind, node.flow = "map", bool(event.flow_style)
        found: Any
        while not isinstance(found := next(self._events), ev.MappingEndEvent):
            key = self._node(found, depth + 1)
            node.pairs.append((key, self._node(next(self._events), depth + 1)))
        if not node.flow and node.pairs:
            first = node.pairs[0][0]
            node.start = first.outer
            node.column = first.outer - self.head(first.outer)
        self._close(node, found, [part for pair in node.pairs for part in pair])

    def _close(self, node: Node, event: Any, parts: list[Node]) -> None:
        if node.flow or not parts:
            node.end = _end_of(event)
            return
        if node.kind == "seq":
            node.column = node.start - self.head(node.start)
        node.end = max(part.end for part in parts)


def _end_of(event: Any) -> int:
    return int(event.end_mark.index)


def key_of(key: Node) -> str | None:
    """Return a mapping's key as the document's value has it."""
    if key.kind != "scalar":
        return None
    if key.style or key.tag:
        return key.raw
    with contextlib.suppress(scalars.NotJsonError):
        return scalars.key_text(scalars.resolve(key.raw))
    return key.raw
