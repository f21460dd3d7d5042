"""What one may ask of the index of records, and how it reads as SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from opslib.core.clock import now, parse_duration, stamp
from opslib.core.errors import InputError
from opslib.runbook.outcome import Outcome
from opslib.runbook.records import RecordSummary

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LIVE = {Outcome.RUNNING.value, Outcome.INTERRUPTED.value}


@dataclass(frozen=True)
class Query:
    """A search; empty fields do not count, and every given one has to fit.

    ``runbook``, ``outcome``, ``person``, values of ``parameters`` and the parts of
    ``resource`` may hold ``*``. ``since`` and ``until`` are a date, an RFC 3339 time (UTC
    where it has no zone) or a time before now such as 7d. ``resource`` is NAME, KIND NAME,
    NAMESPACE/NAME or KIND NAMESPACE/NAME. ``text`` is words that all have to be there, each
    as the beginning of a word.
    """

    runbook: str = ""
    outcome: str = ""
    since: str = ""
    until: str = ""
    resource: str = ""
    parameters: tuple[tuple[str, str], ...] = field(default=())
    person: str = ""
    text: str = ""
    limit: int | None = None

    def sql(self, *, fulltext: bool) -> tuple[str, list[str]]:
        """Return a condition over the table records and its values. Raises InputError."""
        parts: list[str] = ["1"]
        values: list[str] = []

        def add(condition: str, *given: str) -> None:
            parts.append(condition)
            values.extend(given)

        for column in ("runbook", "person"):
            if wanted := getattr(self, column):
                add(f"{column} GLOB ?", _glob(wanted))
        if self.outcome and self.outcome not in _LIVE:
            add("outcome GLOB ?", _glob(self.outcome))
        if self.since:
            add("started >= ?", moment(self.since, "since"))
        if self.until:
            add("started < ?", moment(self.until, "until", end=True))
        for name, value in self.parameters:
            add(_INSIDE.format("parameters", "name = ? AND value GLOB ?"), name, _glob(value))
        if self.resource.strip():
            add(*_resource(self.resource))
        for word in self.text.split():
            add(*_word(word, fulltext=fulltext))
        return " AND ".join(parts), values

    def fits(self, summary: RecordSummary) -> bool:
        """Tell whether a record whose state may have changed since fits by its outcome."""
        return self.outcome not in _LIVE or summary.outcome == self.outcome


_INSIDE = "id IN (SELECT record FROM {} WHERE {})"


def _glob(text: str) -> str:
    """Return a pattern in which only ``*`` is special."""
    return re.sub(r"[?\[]", lambda found: f"[{found[0]}]", text)


def _resource(text: str) -> tuple[str, ...]:
    words = [_glob(one) for one in re.split(r"[\s/]+", text.strip()) if one]
    if not 1 <= len(words) <= 3:
        raise InputError(
            f"--resource {text} is no name of an object",
            where="--resource",
            expected="NAME, KIND NAME, NAMESPACE/NAME or KIND NAMESPACE/NAME",
        )
    if len(words) == 1:
        return _INSIDE.format("resources", "name GLOB ?"), *words
    if len(words) == 2:
        either = "name GLOB ? AND (lower(kind) GLOB lower(?) OR namespace GLOB ?)"
        return _INSIDE.format("resources", either), words[1], words[0], words[0]
    every = "lower(kind) GLOB lower(?) AND namespace GLOB ? AND name GLOB ?"
    return _INSIDE.format("resources", every), *words


def _word(word: str, *, fulltext: bool) -> tuple[str, str]:
    if fulltext and any(one.isalnum() for one in word):
        quoted = word.replace('"', '""')
        return "id IN (SELECT rowid FROM words WHERE words MATCH ?)", f'"{quoted}"*'
    return "id IN (SELECT rowid FROM words WHERE instr(lower(body), lower(?)))", word


def moment(text: str, name: str, *, end: bool = False) -> str:
    """Return a point in time as records write it; with ``end`` a date means its last moment."""
    try:
        if _DATE.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return stamp(day + timedelta(days=1) if end else day)
        if re.match(r"\d{4}-", text):
            found = datetime.fromisoformat(text)
            return stamp(found if found.tzinfo else found.replace(tzinfo=UTC))
        return stamp(now() - timedelta(seconds=parse_duration(text, name=f"--{name}")))
    except (ValueError, OverflowError, InputError):
        raise InputError(
            f"--{name} {text} is not a time",
            where=f"--{name}",
            expected="a date (2026-11-25), a time (2026-11-25T02:00:00Z) or how long ago (7d)",
        ) from None
