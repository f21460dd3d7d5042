"""record.html: one file that opens anywhere, without a network, and shows results first.

Nothing in the page is loaded from elsewhere, and its Content-Security-Policy lets the
browser hold that: https://www.w3.org/TR/CSP3/. Only our own two scripts run, named by
their hashes; a script that a cell printed as HTML does not.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import re
import threading
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module, resources
from typing import Any

from opslib.core.imports import absent
from opslib.runbook import page

_TEMPLATE = "record.html.j2"


def to_html(
    nb: Any,
    result: Mapping[str, Any],
    around: Mapping[str, Any],
    html_assets: Callable[[], str] | None = None,
) -> str:
    """Return the page for an executed notebook.

    ``result`` is result.json, ``around`` what manifest.surroundings returned.
    ``html_assets`` gives the source of plotly.min.js and is asked for it only when the
    notebook holds a figure; without it a figure appears by its table or text.
    """
    content = page.build(nb, result, around, draw_figures=html_assets is not None)
    plotly = html_assets() if html_assets is not None and content["has_figures"] else ""
    scripts = [_closed(plotly), _read("draw.js")] if plotly else []
    content.update(css=_css(), scripts=scripts, policy=_policy(scripts))
    body, _ = _exporter().from_notebook_node(nb, resources={"page": content})
    return str(body)


def warm() -> None:
    """Import what the page is made with, in a thread: while the kernel starts nobody else works."""

    def work() -> None:
        with contextlib.suppress(Exception):  # whatever is wrong is told when the page is made
            _exporter()

    threading.Thread(target=work, name="opslib-page", daemon=True).start()


def _exporter() -> Any:
    with absent("rfc3987_syntax"):
        from jinja2 import DictLoader  # noqa: PLC0415  # weighs as nbconvert does
        from nbconvert.exporters import HTMLExporter  # noqa: PLC0415  # 0.5 s, after the run
    return HTMLExporter(
        extra_loaders=[
            DictLoader({_TEMPLATE: "{% set page = resources.page %}" + _read(_TEMPLATE)})
        ],
        template_file=_TEMPLATE,
        exclude_anchor_links=True,
        embed_images=True,
        preprocessors=[],
        default_preprocessors=[],
    )


def _policy(scripts: list[str]) -> str:
    """Return the page's policy; plotly compiles parts of its WebGL traces with Function()."""
    hashes = [f"'sha256-{_sha256(one)}'" for one in scripts]
    allowed = " ".join([*hashes, "'unsafe-eval'"]) if scripts else "'none'"
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _closed(script: str) -> str:
    """Return a script that cannot end its own element: "</script" only occurs within strings."""
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE)


def _css() -> str:
    formatters = import_module("pygments.formatters.html")  # late, and it ships no types

    def code(style: str) -> str:
        formatter = formatters.HtmlFormatter(style=style, nobackground=True)
        rules = formatter.get_style_defs(".highlight")
        return "\n".join(line for line in rules.splitlines() if line.startswith(".highlight ."))

    dark = f"@media screen and (prefers-color-scheme: dark) {{\n{code('github-dark')}\n}}"
    return "\n".join([_read("record.css"), code("default"), dark])


@cache
def _read(name: str) -> str:
    return (resources.files("opslib.runbook") / "templates" / name).read_text(encoding="utf-8")


def without_page(result: Mapping[str, Any], problem: Exception) -> str:
    """Return the page for a record whose real page could not be made: it says so."""
    return short_page(
        result,
        f"This page could not be made ({type(problem).__name__}: {problem}). "
        "The record is whole in record.ipynb and result.json.",
    )


def short_page(result: Mapping[str, Any], words: str) -> str:
    """Return a page of one sentence, made without a notebook library."""
    escape = html.escape
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>Record</title></head>"
        f"<body><h1>{escape(result['title'])}: {escape(result['outcome'])}</h1>"
        f"<p>{escape(words)}</p></body></html>\n"
    )
