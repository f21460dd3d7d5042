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
from importlib import resources
from typing import Any, NamedTuple

from opslib.runbook import markup, page


class Page(NamedTuple):
    """A page, and the scripts in it that are the kit's own and plotly's: public, and hashed."""

    text: str
    scripts: tuple[str, ...] = ()


def to_html(
    nb: Any,
    result: Mapping[str, Any],
    around: Mapping[str, Any],
    html_assets: Callable[[], str] | None = None,
) -> Page:
    """Return the page for an executed notebook.

    ``result`` is result.json, ``around`` what manifest.surroundings returned.
    ``html_assets`` gives the source of plotly.min.js and is asked for it only when the
    notebook holds a figure; without it a figure appears by its table or text.
    """
    content = page.build(nb, result, around, draw_figures=html_assets is not None)
    plotly = html_assets() if html_assets is not None and content["has_figures"] else ""
    scripts = [_closed(plotly), _read("draw.js")] if plotly else []
    content.update(css=f"{_read('record.css')}\n{markup.css()}", scripts=scripts)
    text = str(_template().render(page={**content, "policy": _policy(scripts)}))
    return Page(text, tuple(scripts))


def warm() -> None:
    """Import what the page is made with, in a thread: while the kernel starts nobody else works."""

    def work() -> None:
        with contextlib.suppress(Exception):  # whatever is wrong is told when the page is made
            _template()
            markup.warm()

    threading.Thread(target=work, name="opslib-page", daemon=True).start()


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # not before the run

    # The template escapes each text itself: much of what it prints is HTML already.
    environment = Environment(undefined=StrictUndefined)  # noqa: S701  # see above
    environment.filters.update(markup.filters())
    return environment.from_string(_read("record.html.j2"))


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
