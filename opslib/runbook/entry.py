"""One record as the index keeps it: what a person may search for, read from its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.runbook.folder import MANIFEST, RECORD, RESULT
from opslib.runbook.reading import (
    MEBIBYTE,
    NOTEBOOK_LIMIT,
    data_of,
    joined,
    objects_of,
    outputs_of,
    read_object,
    texts_of,
)
from opslib.runbook.records import RecordSummary, summary_of

PLAN = "plan.json"
TEXT_LIMIT = 256 * 1024
"""Characters of text that are searched, per record: a log of megabytes is cut."""
_OBJECTS = 5000
_NAMED = re.compile(
    r"([A-Z][A-Za-z0-9]*(?:\.[a-z0-9.-]+)?) (?:([a-z0-9][a-z0-9.-]*)/)?([a-z0-9][a-z0-9.:-]*)"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TAG = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<[^>]*>", re.DOTALL | re.IGNORECASE)

Object = tuple[str, str, str]
"""Kind, namespace ("" for none), name."""


@dataclass(frozen=True)
class Entry:
    """What is known of one record; ``parameters`` by name as text, ``resources`` sorted."""

    summary: RecordSummary
    title: str
    person: str
    host: str
    parameters: tuple[tuple[str, str], ...]
    resources: tuple[Object, ...]
    text: str


def entry_of(folder: Path) -> Entry:
    """Read one record's folder; what cannot be read is empty, never an error."""
    result, manifest = _read(folder / RESULT), _read(folder / MANIFEST)
    notebook = _read(folder / RECORD, NOTEBOOK_LIMIT)
    summary = summary_of(folder)
    report, parameters = result.get("report"), result.get("parameters")
    named = parameters if isinstance(parameters, dict) else {}
    return Entry(
        summary=summary,
        title=_word(result.get("title")),
        person=_word(manifest.get("user")),
        host=_word(manifest.get("host")),
        parameters=tuple((plain(k), value_text(v)) for k, v in named.items()),
        resources=tuple(sorted(set(_resources(report, result.get("plan"), _read(folder / PLAN))))),
        text=_text(summary, result, notebook),
    )


def _read(path: Path, limit: int = 16 * MEBIBYTE) -> dict[str, Any]:
    try:
        return read_object(path, limit)
    except (OSError, InputError):
        return {}


def plain(text: str) -> str:
    """Return text that UTF-8 and SQLite can hold: lone surrogates and NUL written out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _word(value: Any) -> str:
    return plain(value) if isinstance(value, str) else ""


def value_text(value: Any) -> str:
    """Return a parameter's value as a person types it: text as it is, the rest as JSON."""
    if isinstance(value, str):
        return plain(value)
    return plain(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _resources(*documents: Any) -> Iterator[Object]:
    count = 0
    for one in objects_of(*documents):
        kind, name = one.get("kind"), one.get("name")
        if isinstance(kind, str) and isinstance(name, str) and kind[:1].isupper():
            namespace = one.get("namespace")
            yield plain(kind), _word(namespace), plain(name)
            count += 1
    for text in texts_of(*documents):
        # "Deployment.apps payments/api: it is …": an object, and what is said of it.
        if (found := _NAMED.match(text)) and text[found.end() : found.end() + 1] in {"", ":"}:
            kind, namespace, name = found.groups()
            yield kind.partition(".")[0], namespace or "", name.rstrip(":.")
            count += 1
        if count > _OBJECTS:
            return


def _text(summary: RecordSummary, result: dict[str, Any], notebook: dict[str, Any]) -> str:
    parts: list[str] = []
    size = 0
    for part in _parts(summary, result, notebook):
        parts.append(part[: TEXT_LIMIT - size])
        size += len(part) + 1
        if size >= TEXT_LIMIT:
            break
    return plain(_ANSI.sub("", "\n".join(parts)))


def _parts(
    summary: RecordSummary, result: dict[str, Any], notebook: dict[str, Any]
) -> Iterator[str]:
    yield summary.error
    yield from texts_of(result.get("title"), result.get("error"), result.get("report"))
    for _, output in outputs_of(notebook):
        yield from _shown(output)


def _shown(output: dict[str, Any]) -> Iterator[str]:
    """Yield what a reader of the output saw as text; errors with their stack."""
    yield joined(output.get("text"))
    for key in ("ename", "evalue"):
        yield joined(output.get(key))
    trace = output.get("traceback")
    yield from (one for one in (trace if isinstance(trace, list) else []) if isinstance(one, str))
    data = data_of(output)
    if text := joined(data.get("text/plain")) or joined(data.get("text/markdown")):
        yield text
    elif page := joined(data.get("text/html")):
        yield unescape(_TAG.sub(" ", page[:TEXT_LIMIT]))
