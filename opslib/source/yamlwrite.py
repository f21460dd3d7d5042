"""JSON values written as YAML: so that kubectl, kustomize and older readers all read them back.

Plain where every reader takes it for the same text, else in double quotes; texts of several
lines as literal blocks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml

from opslib.source import scalars
from opslib.source.yamltree import CannotEdit

WIDTH = 90
"""Columns that a flow collection may fill; a longer one is written in lines."""

_LEADS = frozenset("-?:,[]{}#&*!|>'\"%@`=<~")
_FLOW = frozenset(",[]{}")
_BREAKS = frozenset("\x85\u2028\u2029\ufeff")


@dataclass(frozen=True)
class Layout:
    """How a document is written: spaces per level of mappings, and of lists in mappings."""

    step: int = 2
    dash: int = 0
    json: bool = False


def filled(value: Any) -> bool:
    """Whether a value is a collection that has something in it."""
    return isinstance(value, dict | list) and bool(value)


def inline(value: Any, *, layout: Layout, quote: str = "", flow: bool = False) -> str:
    """Write a value on one line; ``quote`` is the quotation mark that a text should have."""
    if isinstance(value, dict):
        pairs = (
            f"{key_text(key, layout=layout, flow=True)}: "
            f"{inline(one, layout=layout, quote=quote, flow=True)}"
            for key, one in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        items = (inline(one, layout=layout, quote=quote, flow=True) for one in value)
        return "[" + ", ".join(items) + "]"
    if isinstance(value, str):
        return text(value, layout=layout, quote=quote, flow=flow)
    return _number(value)


def text(value: str, *, layout: Layout, quote: str = "", flow: bool = False) -> str:
    """Write a text on one line."""
    if layout.json or quote == '"':
        return _double(value)
    if quote == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return value if not quote and is_plain(value, flow=flow) else _double(value)


def key_text(key: str, *, layout: Layout, quote: str = "", flow: bool = False) -> str:
    """Write a key of a mapping."""
    if layout.json or quote == '"':
        return _double(key)
    return key if is_plain(key, flow=flow) else _double(key)


def is_plain(value: str, *, flow: bool) -> bool:
    """Tell whether every reader takes the bare word for this text, and for nothing else."""
    if not value.isprintable() or value != value.strip() or not value:
        return False
    option = value[0] == "-" and (value[1:2].isalnum() or value[1:2] == "-")
    if value[0] in _LEADS and not option:
        return False
    if ": " in value or " #" in value or value.endswith(":") or value.startswith(("---", "...")):
        return False
    if flow and (_FLOW & set(value) or ("://" not in value and ":" in value)):
        return False
    try:
        read = yaml.safe_load(value)
        return scalars.plain(value) == value and isinstance(read, str) and read == value
    except (yaml.YAMLError, ValueError):  # NotJsonError is a ValueError, and so is a bad date
        return False


def literal(value: str, indent: int, column: int) -> tuple[str, list[str]] | None:
    """Write a text of several lines as the header and the lines of a literal block.

    ``indent`` is the column of its lines, ``column`` that of the mapping or list it is in. None
    where a block cannot hold it.
    """
    lines = value.split("\n")
    clean = all((line.replace("\t", "").isprintable() and line == line.rstrip()) for line in lines)
    if len(lines) < 2 or not clean or not value.strip() or _BREAKS & set(value):
        return None
    chomp = "-"
    if value.endswith("\n"):
        chomp, lines = "", lines[:-1]
        if not lines[-1]:
            chomp = "+"
    first = next(line for line in lines if line)
    mark = str(indent - column) if first[0] in " \t" or not lines[0] else ""
    if mark and not 1 <= indent - column <= 9:
        return None
    return f"|{mark}{chomp}", [" " * indent + line if line else "" for line in lines]


def lines_of(value: Any, column: int, *, layout: Layout, quote: str = "") -> list[str]:
    """Write a collection that is not empty as lines from a column on."""
    if isinstance(value, dict):
        return [
            line
            for key, one in value.items()
            for line in pair_lines(key, one, column, layout=layout, quote=quote)
        ]
    return [line for one in value for line in item_lines(one, column, layout=layout, quote=quote)]


def pair_lines(
    key: str, value: Any, column: int, *, layout: Layout, quote: str = "", key_quote: str = ""
) -> list[str]:
    """Write a key and its value as lines."""
    head = " " * column + key_text(key, layout=layout, quote=key_quote) + ":"
    if filled(value):
        inner = column + (layout.step if isinstance(value, dict) else layout.dash)
        return [head, *lines_of(value, inner, layout=layout, quote=quote)]
    block = literal(value, column + layout.step, column) if isinstance(value, str) else None
    if block:
        return [f"{head} {block[0]}", *block[1]]
    return [f"{head} {inline(value, layout=layout, quote=quote)}"]


def item_lines(value: Any, column: int, *, layout: Layout, quote: str = "") -> list[str]:
    """Write an item of a list as lines."""
    head = " " * column + "- "
    if filled(value):
        lines = lines_of(value, column + 2, layout=layout, quote=quote)
        return [head + lines[0][column + 2 :], *lines[1:]]
    block = literal(value, column + 2, column) if isinstance(value, str) else None
    if block:
        return [head + block[0], *block[1]]
    return [head + inline(value, layout=layout, quote=quote)]


def _double(value: str) -> str:
    """Write a text in double quotes, as JSON does and YAML reads."""
    out = []
    for char in json.dumps(value, ensure_ascii=False):
        if char.isprintable() and char not in _BREAKS:
            out.append(char)
        elif "\ud800" <= char <= "\udfff":
            raise CannotEdit("this text has half a character in it, which no file can hold")
        else:
            # JSON knows \u with four digits only: what is beyond is written as it is.
            out.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else char)
    return "".join(out)


def _number(value: Any) -> str:
    written = json.dumps(value)
    read = scalars.plain(written)
    if read != value or isinstance(read, str):
        raise CannotEdit(f"{written} is read as another number")
    return written
