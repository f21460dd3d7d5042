"""Text of a notebook as HTML: Markdown, code, and what a terminal would show in colours.

The filters are nbconvert's own parts. Its exporter is not used: it parses every finished page
once more to give pictures without a text one, and builds a formatter for each cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import import_module
from typing import Any

from opslib.core.imports import absent

_SAMPLE = "# A\n\n- `b` *c* $d$ [e](f)\n\n|g|h|\n|-|-|\n|i|j|\n"


def filters() -> dict[str, Any]:
    """Return the filters of the page's template."""
    return {"markdown2html": markdown, "ansi2html": _nbconvert("ansi").ansi2html, "code": code}


def markdown(source: str, attachments: Mapping[str, Any] | None = None) -> str:
    """Return Markdown as HTML; pictures come from the cell's attachments, never from a file.

    What a cell puts out may hold what others wrote, and a name of a file in it would bring
    that file into the record.
    """
    mistune = _nbconvert("markdown_mistune")
    renderer = mistune.IPythonRenderer(
        escape=False, attachments=dict(attachments or {}), exclude_anchor_links=True
    )
    try:
        return str(mistune.MarkdownWithMath(renderer=renderer).render(source))
    except mistune.InvalidNotebook:  # it names an attachment that is not there
        return f"<pre>{escape(source)}</pre>"


def code(source: str) -> str:
    """Return the source of a cell as HTML, in the classes of ``css``."""
    return str(import_module("pygments").highlight(source or " ", _lexer(), _formatter("default")))


def css() -> str:
    """Return the rules for code on light and on dark screens."""
    dark = f"@media screen and (prefers-color-scheme: dark) {{\n{_rules('github-dark')}\n}}"
    return f"{_rules('default')}\n{dark}"


def warm() -> None:
    """Do what the first page pays for: imports, and the regular expressions of the lexers."""
    for one in (*filters().values(), _lexer().get_tokens):
        one(_SAMPLE)
    code("a = [b for b in 'c']  # d\n")
    css()


def _rules(style: str) -> str:
    lines = _formatter(style).get_style_defs(".highlight").splitlines()
    return "\n".join(line for line in lines if line.startswith(".highlight ."))


@cache
def _formatter(style: str) -> Any:
    formatters = import_module("pygments.formatters.html")  # late, and it ships no types
    return formatters.HtmlFormatter(style=style, nobackground=True)


@cache
def _lexer() -> Any:
    return import_module("IPython.lib.lexers").IPython3Lexer()


@cache
def _nbconvert(name: str) -> Any:
    with absent("rfc3987_syntax"):
        return import_module(f"nbconvert.filters.{name}")
