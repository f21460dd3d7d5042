"""Tables whose headings say that a column or row is secret: CSV, Markdown, HTML, aligned text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opslib.seal.scan import blanks, judge, looks
from opslib.seal.scan.lines import Hit
from opslib.seal.scan.names import Telling, telling

_MOST_ROWS = 5000
_CELL = re.compile(r"<t[dh][^<>]{0,200}>(.*?)</t[dh]>", re.DOTALL | re.IGNORECASE)
_TR = re.compile(r"<tr[^<>]{0,200}>(.*?)</tr>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,200}>")
_Cells = list[tuple[int, str]]


def delimited(text: str, mark: str, *, strict: bool) -> Iterator[Hit]:
    """Find secret columns of a table whose cells are parted by ``mark``; the first row is its head.

    ``strict``: values must look like secrets themselves, as beside prose.
    """
    rows = list(_split(text, mark))
    yield from _columns(rows, strict=strict)
    if mark == "|":
        yield from _named(rows, strict=strict)


def aligned(text: str) -> Iterator[Hit]:
    """Find secret columns of a table that is aligned by spaces, as pandas and kubectl print it.

    Also rows of a name and its value with a gap between them, as a series prints.
    """
    rows = [(at, list(re.finditer(r"\S+", line))) for at, line in _lines(text)][:_MOST_ROWS]
    for number, (_, head) in enumerate(rows):
        if 1 < len(head) < 30 and any(telling(cell[0]) for cell in head):
            yield from _aligned_rows(head, rows[number + 1 : number + 500])
    for at, row in rows:
        if len(row) == 2 and row[1].start() - row[0].end() > 1:
            tell = telling(row[0][0].strip(":"))
            if _strict(tell, row[1][0]):
                yield Hit(at + row[1].start(), "table-value", row[0][0], row[1][0])


def _aligned_rows(
    head: list[re.Match[str]], rows: list[tuple[int, list[re.Match[str]]]]
) -> Iterator[Hit]:
    for at, row in rows:
        shift = len(row) - len(head)
        if shift not in {0, 1}:
            return
        for name, value in zip(head, row[shift:], strict=True):
            same = name.start() == value.start() or name.end() == value.end()
            if same and _strict(telling(name[0]), value[0]):
                yield Hit(at + value.start(), "table-value", name[0], value[0])


def html(text: str) -> Iterator[Hit]:
    """Find secret columns, and rows of a name and its value, of HTML tables."""
    rows: list[_Cells] = []
    for found in _TR.finditer(text):
        cells = [
            (found.start(1) + cell.start(1), _TAG.sub("", cell[1]).strip())
            for cell in _CELL.finditer(found[1])
        ]
        if cells:
            rows.append(cells)
    yield from _columns(rows, strict=True)
    yield from _named(rows, strict=True)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for line in text.split("\n"):
        yield at, line
        at += len(line) + 1


def _split(text: str, mark: str) -> Iterator[_Cells]:
    for at, line in _lines(text):
        if mark not in line:
            continue
        cells, start = [], at
        for cell in line.rstrip("\r").split(mark):
            cells.append((start, cell.strip().strip("\"'`").strip()))
            start += len(cell) + len(mark)
        if mark == "|":
            cells = [one for one in cells if one[1]]
        yield cells


def _columns(rows: list[_Cells], *, strict: bool) -> Iterator[Hit]:
    if not rows or not any(telling(cell) for _, cell in rows[0]) or len(rows[0]) < 2:
        return
    head = rows[0]
    for row in rows[1:_MOST_ROWS]:
        if len(row) != len(head) and len(row) != len(head) + 1:
            continue
        for (_, name), (start, value) in zip(head, row[len(row) - len(head) :], strict=True):
            tell = telling(name)
            if (_strict if strict else judge.serious)(tell, value):
                yield Hit(start, "table-value", name, value)


def _named(rows: list[_Cells], *, strict: bool) -> Iterator[Hit]:
    for row in rows[:_MOST_ROWS]:
        if 2 <= len(row) <= 3:
            (_, name), (start, value) = row[-2:]
            tell = telling(name.strip("*_` "))
            if (_strict if strict else judge.serious)(tell, value.strip("*_` ")):
                yield Hit(start, "table-value", name, value)


def _strict(tell: Telling, value: str) -> bool:
    if " " in value or blanks.blank(value) or not (looks.drawn(value) or looks.mixed(value)):
        return False
    return judge.serious(tell, value)
