"""Jupyter notebooks: sources as programs, outputs as what they show, metadata as a document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from opslib.seal.scan import blanks, looks
from opslib.seal.scan.names import Telling, telling
from opslib.seal.scan.sink import Place, Sink, joined
from opslib.seal.scan.tree import Node
from opslib.seal.scan.walk import Walk

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
_ONE = re.compile(r"^[bBuU]?(?P<quote>[\"'])?(?P<value>[^\s\"']{4,500})(?(quote)(?P=quote))$")
_PURE = re.compile(
    r"\b(?:len|type|bool|isinstance|hash|id|dir|help|sorted|keys|sum|any|all)\(|==|!=|\bin\b|\bis\b"
)
_PICTURES = ("image/", "application/pdf", "application/vnd.plotly", "video/", "audio/")
_Embed = Callable[[str, Place], None]


def is_one(root: Node) -> bool:
    """Tell a notebook by its fields."""
    cells = root.get("cells") if root.form == "map" else None
    return cells is not None and cells.form == "list" and root.get("nbformat") is not None


def read(root: Node, place: Place, sink: Sink, embed: _Embed) -> None:
    """Read a notebook and note what stands in the open."""
    _Notebook(place, sink, embed).run(root)


class _Notebook:
    def __init__(self, place: Place, sink: Sink, embed: _Embed) -> None:
        self.place = place
        self.sink = sink
        self.embed = embed
        self.language = "py"

    def run(self, root: Node) -> None:
        for key, value in root.pairs:
            if key.text == "cells":
                for number, cell in enumerate(value.items):
                    self._cell(cell, f"{self.place.pointer}/cells/{number}")
            else:
                self._walk(value, joined(self.place.pointer, key.text))

    def _walk(self, node: Node, pointer: str) -> None:
        outer = self.place
        inner = Place("", pointer, outer.line, outer.flat, outer.rows, outer.depth, outer.coded)
        Walk(self.sink, inner, self.embed).document(node)

    def _cell(self, cell: Node, pointer: str) -> None:
        code = cell.word("cell_type") == "code"
        source = cell.get("source") or cell.get("input")
        text, rows = _joined(source)
        name = f"source.{self.language}" if code else "source.md"
        if code and text.lstrip().startswith("%%"):
            name = _magic(text)
        self._embed(text, name, rows, f"{pointer}/source")
        if code:
            self._commands(text, rows, f"{pointer}/source")
        for number, output in enumerate(_items(cell.get("outputs"))):
            self._output(output, f"{pointer}/outputs/{number}", text)
        for part in ("metadata", "attachments"):
            found = cell.get(part)
            if found is not None and part == "metadata":
                self._walk(found, f"{pointer}/{part}")

    def _commands(self, text: str, rows: list[int], pointer: str) -> None:
        """Read what goes to a shell or into the environment as such."""
        for number, row in enumerate(text.split("\n")):
            if row.lstrip()[:1] in {"!", "%"} and not row.lstrip().startswith("%%"):
                command = row.lstrip().lstrip("!%")
                command = re.sub(r"^(?:set_)?env\s+", "export ", command)
                self._embed(command, "source.sh", rows[number : number + 1], pointer)

    def _output(self, output: Node, pointer: str, source: str) -> None:
        if output.get("text") is not None:
            text, rows = _joined(output.get("text"))
            self._shown(text, rows, f"{pointer}/text", "output.out")
            self._printed(text, rows, f"{pointer}/text", _last(source, printed=True))
        for name in ("traceback", "evalue"):
            text, rows = _joined(output.get(name), "\n")
            if text:
                self._shown(_ANSI.sub("", text), rows, f"{pointer}/{name}", "output.out")
        for key, value in _pairs(output.get("data")):
            here = joined(f"{pointer}/data", key)
            if key.startswith(_PICTURES) and key != "image/svg+xml":
                continue
            if value.form == "map" or key.endswith("json"):
                self._walk(value, here)
                continue
            text, rows = _joined(value)
            self._shown(text, rows, here, "output.html" if "html" in key else "output.out")
            if key == "text/plain":
                self._printed(text, rows, here, _last(source, printed=False))
        if (found := output.get("metadata")) is not None:
            self._walk(found, f"{pointer}/metadata")

    def _shown(self, text: str, rows: list[int], pointer: str, name: str) -> None:
        self._embed(_ANSI.sub("", text), name, rows, pointer)

    def _printed(self, text: str, rows: list[int], pointer: str, asked: Telling) -> None:
        """Judge an output that is one word, by what the cell asked for."""
        found = _ONE.match(text.strip())
        if not asked or found is None or blanks.blank(found["value"]):
            return
        value = found["value"]
        if (
            looks.drawn(value)
            or looks.mixed(value)
            or (asked is Telling.PASSWORD and found["quote"])
        ):
            self.sink.add("printed-value", rows[0] if rows else self.place.line, pointer, value)

    def _embed(self, text: str, name: str, rows: list[int], pointer: str) -> None:
        outer = self.place
        lines = tuple(outer.at(row) for row in rows)
        self.embed(
            text,
            Place(
                name,
                pointer,
                outer.line,
                flat=True,
                rows=lines,
                depth=outer.depth + 1,
                coded=outer.coded,
            ),
        )


def _last(source: str, *, printed: bool) -> Telling:
    """Return how much the expression that a cell shows says of its value."""
    rows = [row for row in source.split("\n") if row.strip() and not row.lstrip().startswith("#")]
    rows = (
        [
            row
            for row in rows
            if re.search(r"\b(?:print|echo|display|pprint|cat|kubectl|vault|base64)\b", row)
        ]
        if printed
        else rows[-1:]
    )
    said = [telling(word) for row in rows if not _PURE.search(row) for word in _WORDS.findall(row)]
    return max(said, default=Telling.NOTHING)


def _magic(text: str) -> str:
    word = text.lstrip()[2:].split("\n", 1)[0].strip().split(" ")[0]
    if word in {"bash", "sh", "script", "cmd"}:
        return "source.sh"
    if word in {"html", "markdown", "sql"}:
        return f"source.{word}"
    if word == "writefile":
        return text.split("\n", 1)[0].rsplit(maxsplit=1)[-1]
    return "source.py"


def _joined(node: Node | None, mark: str = "") -> tuple[str, list[int]]:
    """Return a text that stands as one or as a list of lines, and the line of each of its lines."""
    if node is None:
        return "", []
    if node.form == "text":
        return node.text, [node.line] * (node.text.count("\n") + 1)
    parts: list[str] = []
    rows: list[int] = []
    fresh = True
    for item in node.items:
        count = item.text.count("\n")
        ends = item.text.endswith("\n") or mark == "\n"
        inner = item.text if not mark else item.text.rstrip("\n")
        parts.append(inner)
        more = count + (0 if item.text.endswith("\n") else 1)
        rows += [item.line] * (more if fresh else max(more - 1, 0))
        fresh = ends
    return mark.join(parts), rows or [node.line]


def _items(node: Node | None) -> list[Node]:
    return node.items if node is not None and node.form == "list" else []


def _pairs(node: Node | None) -> Iterator[tuple[str, Node]]:
    for key, value in node.pairs if node is not None else []:
        yield key.text, value
