"""Edits of a YAML text by position: what is not edited stays byte for byte as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from opslib.source.yamlnodes import Entry, Stuck, end_of, find, start_of

Tree = dict[str, "Tree | str"]
"""Keys to add: a nested mapping, or a scalar as it should be written."""


@dataclass(frozen=True)
class Edit:
    """Replace the characters [start, end) by ``text``.

    ``column`` is the indentation of lines that are inserted: of two insertions at one
    place the deeper one continues what stands above, and goes first.
    """

    start: int
    end: int
    text: str
    column: int = 0


class TextEditor:
    """Collects edits of one text. Positions are those of the text as it was given."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self._edits: list[Edit] = []

    def take(self, other: TextEditor) -> None:
        """Take over the edits that another editor of the same text collected."""
        self._edits += other._edits

    def put(self, start: int, end: int, text: str) -> None:
        """Replace the characters [start, end) by a text."""
        self._edits.append(Edit(start, end, text))

    def clash(self) -> bool:
        """Tell whether two edits are of one place, as happens where an alias repeats a node."""
        edits = self._ordered()
        twice = len({(edit.start, edit.end, edit.text) for edit in edits}) < len(edits)
        return twice or any(a.end > b.start for a, b in pairwise(edits))

    def result(self) -> str:
        """Return the edited text; edits at one place keep the order they were made in."""
        out, at = [], 0
        for edit in self._ordered():
            out += [self.text[at : edit.start], edit.text]
            at = edit.end
        return "".join([*out, self.text[at:]])

    def _ordered(self) -> list[Edit]:
        return sorted(self._edits, key=lambda edit: (edit.start, edit.end, -edit.column))

    def raw(self, node: Node) -> str:
        """Return a scalar as it is written; re-quoted where that cannot be copied."""
        text = self.text[start_of(node) : end_of(node)]
        if not isinstance(node, ScalarNode):
            raise Stuck("a plain value is expected here", node)
        if not text or text[0] in "&!*|>?" or "\n" in text:
            return json.dumps(str(node.value), ensure_ascii=False)
        return text

    def replace(self, node: Node, text: str) -> None:
        """Write another scalar in a scalar's place, in the quotes that it has."""
        old = self.text[start_of(node) : end_of(node)]
        if not isinstance(node, ScalarNode) or old[:1] in ("&", "!", "*", "|", ">", ""):
            raise Stuck("a plain value is expected here", node)
        quote = old[0] if old[0] in "\"'" else ""
        self._edits.append(Edit(start_of(node), end_of(node), f"{quote}{text}{quote}"))

    def retype(self, node: Node, text: str) -> None:
        """Write a scalar anew, without the quotes that it has."""
        self._edits.append(Edit(start_of(node), end_of(node), text))

    def rename(self, entry: Entry, name: str) -> None:
        """Rename a key in place."""
        self.replace(entry.key, name)

    def wrap(
        self, mapping: Node, entry: Entry, parent: str, tree: dict[str, str], name: str
    ) -> None:
        """Move a scalar field under a new parent, after the fields of ``tree``, as ``name``."""
        if entry.aliased or "\n" in self._source(entry.value):
            raise Stuck("a plain value on one line is expected here", entry.key)
        like = self._like
        if isinstance(mapping, MappingNode) and mapping.flow_style:
            fields = "".join(
                f"{like(entry.key, key)}: {like(entry.key, value)}, " for key, value in tree.items()
            )
            text = f"{like(entry.key, parent)}: {{{fields}{like(entry.key, name)}"
            self._edits.append(Edit(end_of(entry.value), end_of(entry.value), "}"))
        else:
            inner = self._line(int(entry.key.start_mark.column) + 2)
            fields = "".join(f"{inner}{key}: {value}" for key, value in tree.items())
            text = f"{parent}:{fields}{inner}{name}"
        self._edits.append(Edit(start_of(entry.key), end_of(entry.key), text))

    def add(self, mapping: Node, tree: Tree, *, before: str = "") -> None:
        """Add keys to a mapping, in its own style: before the key ``before``, or at its end."""
        if not isinstance(mapping, MappingNode) or not mapping.value:
            self._add_to_empty(mapping, tree)
        elif mapping.flow_style:
            self._add_flow(mapping, tree, before)
        else:
            self._add_block(mapping, tree, before)

    def remove(self, mapping: Node, entry: Entry) -> None:
        """Remove a key with its value and the comment on its line."""
        stuck = Stuck(f"the field {entry.key.value!r} is to be removed", entry.key)
        if not isinstance(mapping, MappingNode) or len(mapping.value) < 2 or entry.aliased:
            raise stuck
        if mapping.flow_style:
            at = next(n for n, (key, _) in enumerate(mapping.value) if key is entry.key)
            start, end = self._flow_span(mapping.value, at)
        else:
            start = start_of(entry.key) - int(entry.key.start_mark.column)
            end = self._after(entry)
            if self._lead(entry.key).strip():
                raise stuck
        self._edits.append(Edit(start, end, ""))

    def nest(self, mapping: Node, paths: dict[str, tuple[str, ...]]) -> None:
        """Move the scalar fields of a mapping down into one new parent, each line in its place.

        ``paths`` names the new place of every field, {"serviceName": ("service", "name")};
        all begin with the same parent. Raises Stuck when the mapping holds anything else.
        """
        if not isinstance(mapping, MappingNode) or {k.value for k, _ in mapping.value} != {*paths}:
            raise Stuck(f"exactly {' and '.join(paths)} are expected here", mapping)
        entries = [Entry(key, value) for key, value in mapping.value]
        if any(entry.aliased or "\n" in self._source(entry.value) for entry in entries):
            raise Stuck("plain values on one line are expected here", mapping)
        for number, entry in enumerate(entries):
            parent, *rest = (self._like(entry.key, name) for name in paths[entry.key.value])
            last = number == len(entries) - 1
            if mapping.flow_style:
                head = f"{parent}: {{" if number == 0 else ""
                text, tail = head + ": {".join(rest), "}" * (len(rest) - 1 + last)
                self._edits.append(Edit(end_of(entry.value), end_of(entry.value), tail))
            else:
                column = int(entry.key.start_mark.column)
                head = f"{parent}:{self._line(column + 2)}" if number == 0 else "  "
                text = head + rest[0]
                for depth, name in enumerate(rest[1:], start=2):
                    text += f":{self._line(column + 2 * depth)}{name}"
            self._edits.append(Edit(start_of(entry.key), end_of(entry.key), text))

    def _add_to_empty(self, mapping: Node, tree: Tree) -> None:
        if not isinstance(mapping, MappingNode) or self._source(mapping) != "{}":
            raise Stuck(f"{' and '.join(tree)} cannot be added here", mapping)
        text = ", ".join(_flow(tree, quoted=False))
        self._edits.append(Edit(start_of(mapping), end_of(mapping), f"{{{text}}}"))

    def _add_flow(self, mapping: MappingNode, tree: Tree, before: str) -> None:
        at = find(mapping, before) if before else None
        key = at.key if at else mapping.value[-1][0]
        quoted = self._source(key)[:1] == '"'
        lead = self._lead(key)
        apart = ", " if lead.strip() else f",{self.newline}{lead}"
        items = _flow(tree, quoted=quoted)
        if at:
            text = "".join(item + apart for item in items)
            self._edits.append(Edit(start_of(key), start_of(key), text))
        else:
            value = Entry(*mapping.value[-1])
            end = end_of(value.key if value.aliased else value.value)
            if value.aliased:
                raise Stuck("a YAML alias stands where a field is to be added", value.key)
            self._edits.append(Edit(end, end, "".join(apart + item for item in items)))

    def _add_block(self, mapping: MappingNode, tree: Tree, before: str) -> None:
        at = find(mapping, before) if before else None
        column = int(mapping.value[0][0].start_mark.column)
        lines = "".join(" " * column + line + self.newline for line in _block(tree))
        if at and not self._lead(at.key).strip():
            place = self._above(at.key)
        else:
            place = self._after(Entry(*mapping.value[-1]))
        if place and self.text[place - 1] != "\n":  # the last line of a file without a line end
            lines = self.newline + lines.rstrip("\r\n")
        self._edits.append(Edit(place, place, lines, column))

    def _above(self, key: Node) -> int:
        """Return the place above a key and above the comments that belong to it."""
        place = start_of(key) - int(key.start_mark.column)
        while place:
            start = self.text.rfind("\n", 0, place - 1) + 1
            line = self.text[start:place]
            if not line.strip().startswith("#") or line.index("#") < int(key.start_mark.column):
                break
            place = start
        return place

    def _after(self, entry: Entry) -> int:
        """Return the start of the line after an entry's last line of content."""
        node: Node = entry.key if entry.aliased else entry.value
        while isinstance(node, MappingNode | SequenceNode) and node.value and not node.flow_style:
            inner = node.value[-1]
            last = Entry(*inner) if isinstance(inner, tuple) else None
            if last is None and start_of(inner) < start_of(node):
                raise Stuck("a YAML alias stands at the end of a list", node)
            node = (last.key if last.aliased else last.value) if last else inner
        end = end_of(node)
        if isinstance(node, ScalarNode) and node.style in ("|", ">") and node.end_mark.column == 0:
            return end
        line_end = self.text.find("\n", end)
        return len(self.text) if line_end < 0 else line_end + 1

    def _flow_span(self, pairs: list[tuple[Node, Node]], at: int) -> tuple[int, int]:
        if at + 1 < len(pairs):
            return start_of(pairs[at][0]), start_of(pairs[at + 1][0])
        before = Entry(*pairs[at - 1])  # type: ignore[arg-type]  # keys were found as scalars
        if before.aliased:
            raise Stuck("a YAML alias stands where a field is to be removed", before.key)
        return end_of(before.value), end_of(pairs[at][1])

    def _lead(self, node: Node) -> str:
        """Return what stands on a node's line before it."""
        return self.text[start_of(node) - int(node.start_mark.column) : start_of(node)]

    def _source(self, node: Node) -> str:
        return self.text[start_of(node) : end_of(node)]

    def _like(self, key: Node, name: str) -> str:
        """Write a name in the quotes that another key has."""
        quote = self._source(key)[:1]
        return f"{quote}{name}{quote}" if quote in ("'", '"') else name

    def _line(self, column: int) -> str:
        return self.newline + " " * column


def _block(tree: Tree, depth: int = 0) -> list[str]:
    """Write a tree as the lines of block mappings, two spaces a level."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, str):
            lines.append(f"{'  ' * depth}{key}: {value}")
        else:
            lines += [f"{'  ' * depth}{key}:", *_block(value, depth + 1)]
    return lines


def _flow(tree: Tree, *, quoted: bool) -> list[str]:
    """Write each pair of a tree in flow style, as JSON when ``quoted``."""
    out = []
    for key, value in tree.items():
        name = key if key[:1] in "\"'" else f'"{key}"' if quoted else key
        if isinstance(value, dict):
            text = "{" + ", ".join(_flow(value, quoted=quoted)) + "}"
        else:
            text = json.dumps(yaml.safe_load(value)) if quoted else value
        out.append(f"{name}: {text}")
    return out
