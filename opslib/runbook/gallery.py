"""A folder to share: one page that lists records and finds them by typing, and the records.

The page asks for nothing from anywhere, and its Content-Security-Policy lets the browser
hold that; all links are relative. https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from opslib.core.clock import human_seconds, now
from opslib.core.errors import InputError
from opslib.core.files import write_atomic
from opslib.runbook.entry import value_text
from opslib.runbook.folder import EVENTS, HTML, MANIFEST, RECORD, RESULT
from opslib.runbook.index import Found, search
from opslib.runbook.query import Query
from opslib.runbook.reading import NOTEBOOK_LIMIT, read_object, read_plain
from opslib.runbook.records import RecordSummary

PAGE = "index.html"
_WIDTH = 300


@dataclass(frozen=True)
class Gallery:
    """What was written: the page, how many records it lists, and those that came without a page."""

    page: Path
    records: int
    without_page: tuple[str, ...] = ()


def gallery(to: Path, query: Query | None = None, out: Path | None = None) -> Gallery:
    """Write a gallery of the records that fit into a folder, with a copy of each record.

    Records that lie below the folder already are linked where they are. Raises InputError
    when the folder cannot be written, and for a query that has no meaning.
    """
    found = search(query, out)
    to = to.resolve()
    try:
        places = [_place(one.folder, to) for one in found.records]
        rows = [_row(found, number, place, to) for number, place in enumerate(places)]
        write_atomic(to / PAGE, _page(rows))
    except OSError as error:
        raise InputError(
            f"the gallery cannot be written: {error.strerror}",
            where=str(error.filename or to),
            expected="a folder that can be written, with space left",
        ) from None
    lost = [row["run_id"] for row in rows if not row["link"]]
    return Gallery(to / PAGE, len(rows), tuple(lost))


def _place(folder: Path, to: Path) -> Path:
    """Return where the record is for the gallery: where it lies, or its copy."""
    if folder.is_relative_to(to):
        return folder
    copy = to / "records" / folder.parent.name / folder.name
    for name in _names(folder):
        try:
            content = read_plain(folder / name, NOTEBOOK_LIMIT)
        except (FileNotFoundError, InputError):
            continue  # a link, a pipe, a giant: nothing that a run leaves
        write_atomic(copy / name, content, sync=False)
    return copy


def _names(folder: Path) -> list[str]:
    """Return the files of a record; temporary and hidden ones stay behind."""
    known = {RECORD, HTML, RESULT, MANIFEST, EVENTS}
    there = {entry.name for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)}
    return sorted(known & there | {n for n in there if not n.startswith(".") and n[-4:] != ".tmp"})


def _row(found: Found, number: int, place: Path, to: Path) -> dict[str, Any]:
    one: RecordSummary = found.records[number]
    try:
        given = read_object(one.folder / RESULT).get("parameters")
    except (OSError, InputError):
        given = None
    parameters = [
        f"{name}={value_text(value)}"[:_WIDTH]
        for name, value in (given.items() if isinstance(given, dict) else ())
    ]
    files = {name: _link(place / name, to) for name in (RECORD, RESULT) if (place / name).is_file()}
    row = {
        "started": one.started[:16].replace("T", " "),
        "runbook": one.runbook,
        "title": found.titles[number],
        "outcome": one.outcome,
        "time": "" if one.seconds is None else human_seconds(one.seconds),
        "person": found.persons[number],
        "error": one.error[:_WIDTH],
        "run_id": one.run_id,
        "parameters": parameters,
        "files": files,
        "link": _link(place / HTML, to) if (place / HTML).is_file() else "",
    }
    words = [*(str(v) for k, v in row.items() if k not in {"files", "link", "parameters"})]
    return {**row, "search": " ".join([*words, *parameters]).lower()}


def _link(path: Path, to: Path) -> str:
    """Return a relative link; ./ keeps a name with a colon from being read as a scheme."""
    return "./" + quote(path.relative_to(to).as_posix())


def _page(rows: list[dict[str, Any]]) -> str:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # only for the page

    script = _read("gallery.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        _read("gallery.html.j2")
    )
    page: str = template.render(
        rows=rows,
        outcomes=sorted({row["outcome"] for row in rows}),
        css=_read("record.css") + _read("gallery.css"),
        script=script,
        policy=(
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
            f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        ),
        made=f"{now():%Y-%m-%d %H:%M} UTC",
    )
    return page


def _read(name: str) -> str:
    return (resources.files("opslib.runbook") / "templates" / name).read_text(encoding="utf-8")
