"""Tables of a node check as HTML: names break at their dots, sources are links, all is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

_SEPARATOR = re.compile(r"(?<=[./_:,-])(?=\w)")
_CELL = "text-align:left;vertical-align:top;overflow-wrap:anywhere;white-space:normal"
_STUCK = "text-align:left;vertical-align:top;white-space:nowrap"
_NARROW = 14


def name(text: str) -> str:
    """Return a key or path that may break after its dots, slashes and dashes only."""
    parts = _SEPARATOR.split(text)
    broken = "<wbr>".join(html.escape(part) for part in parts)
    return f'<span style="overflow-wrap:normal;word-break:keep-all">{broken}</span>'


def marked(text: str) -> str:
    """Return a value that disagrees: by a sign and bold, not by colour."""
    return f"<b>≠ {html.escape(text)}</b>"


def link(source: str) -> str:
    """Return a source as a link where it is an address: its host and its last part."""
    try:
        parts = urlsplit(source)
    except ValueError:
        return html.escape(source)
    if parts.scheme != "https" or not parts.hostname:
        return html.escape(source)
    last = parts.path.rstrip("/").rpartition("/")[2]
    shown = f"{parts.hostname}{'/…/' + last if last else ''}"
    return f'<a href="{html.escape(source)}" rel="noreferrer">{html.escape(shown)}</a>'


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already; short columns stay on one line."""
    lengths = [
        max((len(re.sub(r"<[^>]*>", "", row[i])) for row in rows), default=0)
        for i in range(len(names))
    ]
    styles = [_STUCK if length <= _NARROW else _CELL for length in lengths]
    head = "".join(f'<th style="{_STUCK}">{html.escape(one)}</th>' for one in names)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{s}">{c}</td>' for s, c in zip(styles, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
