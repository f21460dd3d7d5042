"""The tables in an output's HTML, as rows of text: what a person reads, without its mark-up."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

LIMIT = 2 * 1024 * 1024
"""Characters of one output that are read: a table of more is nothing that a person reads."""


@dataclass(frozen=True)
class Table:
    """Column names and rows, all of the width of the widest; ``text`` is what stands around."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[tuple[bool, list[str]]]] = []
        self.text: list[str] = []
        self._open: list[list[tuple[bool, list[str]]]] = []
        self._cell: list[str] | None = None
        self._muted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in {"script", "style"}:
            self._muted += 1
        elif tag == "table":
            self._open.append([])
            self.tables.append(self._open[-1])
        elif tag == "tr" and self._open:
            self._open[-1].append((True, []))
        elif tag in {"td", "th"} and self._open and self._open[-1]:
            heads, cells = self._open[-1][-1]
            self._open[-1][-1] = (heads and tag == "th", cells)
            cells.append("")
            self._cell = cells

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style"}:
            self._muted = max(0, self._muted - 1)
        elif tag == "table" and self._open:
            self._open.pop()
            self._cell = None
        elif tag in {"td", "th", "tr"}:
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._muted:
            return
        if self._cell is not None:
            self._cell[-1] += data
        elif data.strip():
            self.text.append(data)


def read(source: str) -> tuple[list[Table], str]:
    """Return the tables of a piece of HTML and the text outside of them."""
    reader = _Reader()
    reader.feed(source[:LIMIT])
    reader.close()
    tables = [_table(rows) for rows in reader.tables if rows]
    return tables, " ".join(" ".join(reader.text).split())


def _table(rows: list[tuple[bool, list[str]]]) -> Table:
    width = max(len(cells) for _, cells in rows)
    clean = [
        (head, tuple(" ".join(cell.split()) for cell in [*cells, *[""] * (width - len(cells))]))
        for head, cells in rows
    ]
    first = clean[0]
    named = first[0] and len(clean) > 1 and not all(head for head, _ in clean)
    columns = first[1] if named else tuple(str(n + 1) for n in range(width))
    return Table(columns, tuple(cells for _, cells in (clean[1:] if named else clean)))
