"""YAML that no parser takes: charts, conflicts, tabs; read by what is left of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from opslib.seal.scan import tree
from opslib.seal.scan.tree import Node

_CONTROL = re.compile(
    r"^[ \t]*(?:\{\{-?[^{}]*-?\}\}[ \t]*)+$|^[ \t]*\{%[^{}]*%\}[ \t]*$", re.MULTILINE
)
_REMARK = re.compile(r"\{\{-?\s{0,9}/\*.{0,4000}?\*/\s{0,9}-?\}\}|\{#.{0,4000}?#\}", re.DOTALL)
_EXPRESSION = re.compile(r"\$?\{\{.{0,2000}?\}\}|<%.{0,2000}?%>|\{%.{0,2000}?%\}", re.DOTALL)
_MARK = re.compile(r"__TPL_(\d+)__")
_KEY = re.compile(
    r"^(?P<indent>[ \t]*)(?P<dash>(?:-[ \t]+)*)(?P<key>\"(?:\\.|[^\"\\])*\"|'[^']*'|[\w.$/@(){}<>-][^\s:#\"']*)[ \t]*:(?:[ \t]+(?P<value>.*))?$"
)
_ITEM = re.compile(r"^(?P<indent>[ \t]*)-[ \t]+(?P<value>\S.*)$")


def read_template(text: str) -> list[Node]:
    """Read YAML with the expressions of a template in it. Raises Unparsed."""
    if not re.search(r"\{\{|\{%|<%", text):
        raise tree.Unparsed("no template")
    kept: list[str] = []

    def mark(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"__TPL_{len(kept) - 1}__" + "\n" * found[0].count("\n")

    clean = _REMARK.sub(lambda found: "\n" * found[0].count("\n"), text)
    clean = _CONTROL.sub(lambda found: "\n" * found[0].count("\n"), clean)
    roots = tree.read_yaml(_EXPRESSION.sub(mark, clean))
    for root in roots:
        _restore(root, kept)
    return roots


def _restore(root: Node, kept: list[str]) -> None:
    todo, seen = [root], set[int]()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if "__TPL_" in node.text:
            node.text = _MARK.sub(lambda found: _kept(found, kept), node.text)
        todo += node.items
        for key, value in node.pairs:
            todo += [key, value]


def _kept(found: re.Match[str], kept: list[str]) -> str:
    number = int(found[1])
    return kept[number] if number < len(kept) else found[0]


def read(text: str) -> list[Node]:
    """Read whatever looks like keys and values by the indentation of its lines; never fails."""
    rows = text.replace("\t", "    ").split("\n")
    starts = [0, *(n + 1 for n, row in enumerate(rows) if re.match(r"---(?:\s|$)", row)), len(rows)]
    return [_document(rows, start, end) for start, end in pairwise(starts)]


def _document(rows: list[str], start: int, end: int) -> Node:
    root = Node("map", start)
    stack: list[tuple[int, Node]] = [(-1, root)]
    number = start
    while number < end:
        row = rows[number].rstrip("\r")
        found = _KEY.match(row)
        if found is None:
            _item(row, number, stack)
            number += 1
            continue
        dashes = len(found["dash"])
        indent = len(found["indent"]) + dashes
        if dashes:
            holder = _parent(stack, len(found["indent"]) + 1)
            fresh = Node("map", number)
            holder.pairs.append((Node("text", number, "-", plain=True), fresh))
            stack.append((indent - 1, fresh))
        holder = _parent(stack, indent)
        value, number = _value(rows, number, end, indent, (found["value"] or "").strip())
        holder.pairs.append((Node("text", number, found["key"].strip("\"'")), value))
        if value.form == "map":
            stack.append((indent, value))
        number += 1
    return root


def _parent(stack: list[tuple[int, Node]], indent: int) -> Node:
    while len(stack) > 1 and stack[-1][0] >= indent:
        stack.pop()
    return stack[-1][1]


def _item(row: str, number: int, stack: list[tuple[int, Node]]) -> None:
    found = _ITEM.match(row)
    if found is None:
        return
    holder = _parent(stack, len(found["indent"]) + 1)
    text = Node("text", number, _bare(found["value"]), plain=True)
    last = next((value for key, value in reversed(holder.pairs) if key.text == "-"), None)
    if last is None or last.form != "list":
        last = Node("list", number)
        holder.pairs.append((Node("text", number, "-", plain=True), last))
    last.items.append(text)


def _value(rows: list[str], number: int, end: int, indent: int, text: str) -> tuple[Node, int]:
    """Return the value of a key, and the number of its last line."""
    if re.fullmatch(r"[|>][-+\d]*", text):
        block = list(_block(rows, number + 1, end, indent))
        return Node("text", number, "\n".join(block), block=True), number + len(block)
    if not text or (
        text.startswith(("#", "&", "{{- ", "{{-")) and text.endswith("}}") and not text
    ):
        return Node("map", number), number
    return Node("text", number, _bare(text), plain=text[:1] not in "\"'"), number


def _block(rows: list[str], start: int, end: int, indent: int) -> Iterator[str]:
    for row in rows[start:end]:
        if row.strip() and len(row) - len(row.lstrip(" ")) <= indent:
            return
        yield row.strip() if not row.strip() else row[indent + 2 :]


def _bare(text: str) -> str:
    if text[:1] in "\"'" and (end := text.find(text[0], 1)) > 0:
        return text[1:end]
    return re.sub(r"\s+#.*$", "", text).strip()
