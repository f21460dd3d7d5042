"""Decisions as a person types them or a file holds them, and what each answer would do.

::

    3f2a=revert, 90ab12=adopt because the new limit is right
    Deployment production/api=ignore until 2027-01-31 because the vendor scales it
    all=escalate

An entry names what it is about: the id of a difference or its first four digits or more, an
object as reviews write it (``*`` stands for anything), ``people``, ``new`` or ``all``. Later
entries count before earlier ones. A file has one entry a line, or is JSON:
``{"3f2a": {"disposition": "ignore", "until": "2027-01-31", "reason": "…"}}``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from opslib.core.clock import now, stamp
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.drift.model import Decision, Disposition, Drift
from opslib.drift.order import is_decided, named

ANSWERS = (Disposition.REVERT, Disposition.ADOPT, Disposition.IGNORE, Disposition.ESCALATE)
WORDS = "|".join((*ANSWERS, Disposition.OPEN))
LONGEST = 500
"""Characters of a reason: it goes into commits and pages."""

_MOST_BYTES = 4 * 1024 * 1024
_START = re.compile(
    rf"(?:^|[,;\n])\s*(?P<what>[^,;\n=]+?)\s*=\s*(?P<word>{WORDS})\b", re.IGNORECASE
)
_REST = re.compile(
    r"(?:\s*until\s+(?P<until>\S+?))?(?:\s*(?:because|:)\s*(?P<reason>.*))?", re.DOTALL
)
_ID = re.compile(r"[0-9a-f]{4,12}")
_FORM = "ID=revert, ID=adopt because …, ID=ignore until 2027-01-31 because …"


@dataclass(frozen=True)
class Entry:
    """One entry as it was written: what it is about, and the answer."""

    what: str
    answer: Disposition
    until: str = ""
    reason: str = ""


def decide(
    text: str, drifts: Sequence[Drift], *, by: str, where: str = "decide"
) -> dict[str, Decision]:
    """Return a decision for each difference that ``text``, or the file that it names, answers.

    Raises Problems with everything that is wrong: an entry that cannot be read or is about
    nothing here, an ignore without a reason or a last day to come.
    """
    problems: list[OpslibError] = []
    entries = list(read_entries(text, where))
    found: dict[str, Decision] = {}
    at = stamp()
    for one in entries:
        try:
            decision = decided(one.answer, by=by, at=at, reason=one.reason, until=one.until)
            for drift in about(one.what, drifts):
                found[drift.id] = decision
        except InputError as error:
            place = f"{where}, {one.what}"
            problems.append(InputError(error.what, where=place, expected=error.expected))
    if problems:
        raise Problems(problems)
    return {name: one for name, one in found.items() if one.disposition is not Disposition.OPEN}


def decided(
    answer: Disposition, *, by: str, at: str = "", reason: str = "", until: str = ""
) -> Decision:
    """Return a checked decision. Raises InputError for an ignore without reason or end."""
    reason = " ".join(reason.split())
    if len(reason) > LONGEST:
        raise InputError(f"the reason has {len(reason)} characters", expected=f"at most {LONGEST}")
    if answer is Disposition.IGNORE:
        if not reason:
            raise InputError("an ignore needs a reason", expected="ignore until DATE because …")
        _check_day(until)
    elif until:
        raise InputError(f"{answer} has no last day", expected="until only with ignore")
    return Decision(answer, by, at or stamp(), reason, until)


def _check_day(until: str) -> None:
    try:
        day = date.fromisoformat(until)
    except ValueError:
        what = f"{until!r} is no day" if until else "an ignore needs a last day"
        raise InputError(what, expected="until and a day such as 2027-01-31") from None
    if day < now().date():
        raise InputError(f"{until} is over", expected="a day to come")


def about(what: str, drifts: Sequence[Drift]) -> list[Drift]:
    """Return the differences that a name is about. Raises InputError where there are none."""
    words = {"all": lambda _: True, "people": _by_people, "new": _is_new}
    if test := words.get(what.lower()):
        return [one for one in drifts if test(one)]
    if _ID.fullmatch(what):
        found = [one for one in drifts if one.id.startswith(what)]
        if len(found) > 1:
            names = ", ".join(one.id for one in found[:5])
            raise InputError(f"{what} begins {len(found)} ids: {names}", expected="more digits")
    else:
        found = [one for one in drifts if any(fnmatchcase(n, what) for n in _names(one))]
    if found:
        return found
    known = [one.id for one in drifts] + sorted({str(one.key) for one in drifts})
    near = difflib.get_close_matches(what, known[:2000], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(
        f"no difference here is {what!r}{hint}", expected="an id, an object, people, new or all"
    )


def _names(one: Drift) -> tuple[str, str]:
    """Return the names of an object, with its API group and without."""
    return str(one.key), named(one.key)


def _by_people(one: Drift) -> bool:
    return one.attribution.person is True


def _is_new(one: Drift) -> bool:
    return not is_decided(one)


def read_entries(text: str, where: str) -> Iterator[Entry]:
    """Read entries from a text, or from the file of that name. Raises InputError."""
    if not text.strip():
        return
    source = _file(text)
    body = text if source is None else source
    if body.lstrip().startswith("{"):
        yield from _json(body, where)
        return
    if source is not None:
        body = "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("#"))
    yield from _text(body, where)


def _file(text: str) -> str | None:
    """Return the content of the file that a text names; None where it names none."""
    if "=" in text or "\n" in text or text.lstrip().startswith("{"):
        return None
    path = Path(text.strip()).expanduser()
    try:
        with open(path, encoding="utf-8") as stream:
            body = stream.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8"
        raise InputError(
            f"this is neither a decision nor a file: {why}", where=text.strip(), expected=_FORM
        ) from None
    if len(body) > _MOST_BYTES:
        raise InputError("the file is too large", where=str(path), expected="at most 4 MB")
    return body


def _text(body: str, where: str) -> Iterator[Entry]:
    starts = list(_START.finditer(body))
    before = body[: starts[0].start()] if starts else body
    if before.strip():
        raise InputError(f"{before.strip()[:80]!r} is no decision", where=where, expected=_FORM)
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(body)
        rest = body[start.end() : end].strip().rstrip(",;")
        found = _REST.fullmatch(rest)
        if found is None:
            raise InputError(
                f"{rest[:80]!r} is not understood",
                where=f"{where}, {start['what']}",
                expected=_FORM,
            )
        answer = Disposition(start["word"].lower())
        yield Entry(start["what"], answer, found["until"] or "", found["reason"] or "")


def _json(body: str, where: str) -> Iterator[Entry]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise InputError(f"this is no JSON: {error}", where=where) from None
    for name, row in document.items():
        given = {"disposition": row} if isinstance(row, str) else row
        if not isinstance(given, Mapping) or given.get("disposition") not in WORDS.split("|"):
            raise InputError(
                f"the decision about {name} cannot be {row!r:.80}",
                where=where,
                expected='{"disposition": "revert"}, with "reason" and "until" where needed',
            )
        until, reason = (str(given.get(key) or "") for key in ("until", "reason"))
        yield Entry(str(name), Disposition(given["disposition"]), until, reason)


def would(drift: Drift, answer: Disposition) -> str:
    """Say in one sentence what an answer does; long values are left out."""
    match answer:
        case Disposition.REVERT:
            return _revert(drift)
        case Disposition.ADOPT:
            return _adopt(drift)
        case Disposition.IGNORE:
            return "opslib.yaml gets a rule with your reason and last day, on a new branch"
        case Disposition.ESCALATE:
            return "one file with all the evidence, for somebody else; nothing is changed"
    return "nothing: it stays open"


def _revert(drift: Drift) -> str:
    if drift.plane != "objects":
        return f"nothing is written from here: it is of {drift.plane}"
    return {
        "changed": f"the field goes back to {_brief(drift.declared)}",
        "added": "the field is removed",
        "removed": f"the field is written again: {_brief(drift.declared)}",
        "missing": f"{named(drift.key)} is created again",
        "extra": f"{named(drift.key)} is deleted",
    }[str(drift.difference)]


def _adopt(drift: Drift) -> str:
    if drift.plane != "objects":
        return f"nothing is committed from here: it is of {drift.plane}"
    file = str(drift.git.origin if drift.git else drift.origin or "the app's folder")
    return {
        "changed": f"a commit on a new branch puts {_brief(drift.live)} into {file}",
        "added": f"a commit on a new branch adds it to {file}",
        "removed": f"a commit on a new branch takes it out of {file}",
        "missing": f"a commit on a new branch takes the object out of {file}",
        "extra": "a commit on a new branch adds the object as a file",
    }[str(drift.difference)]


def _brief(value: object) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, default=str)
    return text if len(text) <= 60 and text.isprintable() else "the value that is shown above"
