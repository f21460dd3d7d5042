"""The records in a runbook: a table with links and outcome colours, and filters for a person.

A reader of the record, without widgets, has the same table: it is the static fallback.
"""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from opslib.core.clock import human_seconds
from opslib.core.errors import InputError
from opslib.runbook.folder import HTML
from opslib.runbook.index import Found, search
from opslib.runbook.query import Query
from opslib.runbook.records import RecordSummary
from opslib.view.show import say

_COLOURS = {"ok": "#1a7f45", "failed": "#c02b2b", "kernel-dead": "#c02b2b"}
_WARN, _IDLE = "#a05a00", "#5b6675"
_HEAD = ("started (UTC)", "runbook", "outcome", "took", "by", "what")


def records_html(found: Found, base: Path | None = None) -> str:
    """Return the records as an HTML table with links relative to ``base`` (here by default).

    Everything in it is escaped. JupyterLab opens a relative link to record.html in a tab.
    """
    here = (base or Path.cwd()).resolve()
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in _HEAD)
    rows = [_row(one, found.persons[number], here) for number, one in enumerate(found.records)]
    body = "".join(rows) or f'<tr><td colspan="{len(_HEAD)}">no record fits</td></tr>'
    return f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _row(one: RecordSummary, person: str, here: Path) -> str:
    page = one.folder / HTML
    name = html.escape(one.runbook)
    if page.is_file():
        link = "./" + quote(Path(os.path.relpath(page, here)).as_posix())
        name = f'<a href="{html.escape(link)}">{name}</a>'
    took = "" if one.seconds is None else human_seconds(one.seconds)
    texts = (one.started[:16].replace("T", " "), None, None, took, person, one.error[:200])
    cells = [html.escape(text or "") for text in texts]
    cells[1], cells[2] = name, _badge(one.outcome)
    style = "text-align:left;vertical-align:top"
    return "<tr>" + "".join(f'<td style="{style}">{cell}</td>' for cell in cells) + "</tr>"


def _badge(outcome: str) -> str:
    colour = _COLOURS.get(outcome, _IDLE if outcome in {"running", "unknown"} else _WARN)
    style = f"background:{colour};color:#fff;border-radius:99px;padding:.05em .7em;font-weight:600"
    return f'<span style="{style}">{html.escape(outcome)}</span>'


def records(out: Path | None, limit: int = 20, base: Path | None = None) -> None:
    """Show the newest records below ``out`` (outputs/ by default); with filters for a person."""
    from opslib.runbook.facts import context  # noqa: PLC0415  # only a kernel has it

    where = context()
    here = base or where.folder or Path.cwd()
    found = search(Query(limit=limit), out)
    for note in found.refreshed.notes:
        say(note)
    if not found.records:
        say("No record yet: `make demo` leaves the first ones.")
    elif where.interactive:
        _form(out, limit, here, found)
    else:
        _table(found, here)


def _table(found: Found, here: Path) -> None:
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    plain = "\n".join(
        f"{one.started[:16]} {one.runbook} {one.outcome} {one.run_id}" for one in found.records
    )
    display({"text/plain": plain, "text/html": records_html(found, here)}, raw=True)


def _form(out: Path | None, limit: int, here: Path, found: Found) -> None:
    """Show fields whose change searches again; saved without its widgets it is the table."""
    import ipywidgets as widgets  # noqa: PLC0415  # only for a person
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    names = ("runbook", "outcome", "person", "resource", "since", "text")
    fields = {
        name: widgets.Text(
            description=name, continuous_update=False, layout=widgets.Layout(width="300px")
        )
        for name in names
    }
    fields["runbook"].placeholder = "rollout, or r*"
    fields["outcome"].placeholder = "failed"
    fields["resource"].placeholder = "Deployment payments/api"
    fields["since"].placeholder = "7d, or 2026-11-01"
    fields["text"].placeholder = "words of an error or output"
    # An Output, not an HTML widget: only in an output does JupyterLab resolve relative links.
    table = widgets.Output(outputs=_as_output(records_html(found, here)))

    def again(_: Any) -> None:
        given = {name: field.value.strip() for name, field in fields.items()}
        try:
            answer = search(Query(**given, limit=limit), out)
            table.outputs = _as_output(records_html(answer, here))
        except InputError as error:
            table.outputs = _as_output(f"<pre>{html.escape(str(error))}</pre>")

    for field in fields.values():
        field.observe(again, names="value")
    box = widgets.VBox(
        [
            widgets.HBox(
                list(fields.values()), layout=widgets.Layout(flex_flow="row wrap", width="100%")
            ),
            table,
        ]
    )
    data, _ = _representations(box)
    display({**data, "text/html": records_html(found, here)}, raw=True)


def _as_output(page: str) -> tuple[dict[str, Any], ...]:
    return ({"output_type": "display_data", "data": {"text/html": page}, "metadata": {}},)


def _representations(widget: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the representations of a widget, so that a static one can stand beside them."""
    found = widget._repr_mimebundle_()  # IPython's protocol for rich output
    return found if isinstance(found, tuple) else (dict(found), {})
