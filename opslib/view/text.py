"""Plain text for terminals: nothing from Git or the cluster can move the cursor."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, TextIO

_STYLES = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}


def clean(text: str) -> str:
    """Return text with control and direction-changing characters written out."""
    if text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf"} else f"\\u{ord(c):04x}"
        for c in text
    )


def value(item: Any, width: int = 60) -> str:
    """Show a JSON value on one line of at most ``width`` characters; None is absent."""
    if item is None:
        return "(none)"
    text = item if isinstance(item, str) and item and item.isprintable() else json.dumps(item)
    return text if len(text) <= width else text[: width - 1] + "…"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """Colour text when it goes to a terminal (and NO_COLOR is not set, https://no-color.org)."""
    import os  # noqa: PLC0415  # this module is imported by every verb

    out = stream or sys.stdout
    if os.environ.get("NO_COLOR") or not out.isatty():
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def columns(rows: Sequence[Sequence[str]], *, indent: str = "", gap: int = 2) -> list[str]:
    """Align rows into columns; the last column is not padded."""
    if not rows:
        return []
    count = max(len(row) for row in rows)
    widths = [
        max((len(row[i]) for row in rows if i < len(row) - 1), default=0) for i in range(count)
    ]
    return [
        indent
        + "".join(
            cell.ljust(widths[i] + gap) if i < len(row) - 1 else cell for i, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]
