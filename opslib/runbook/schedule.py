"""When a runbook runs by itself, said once: ``metadata.opslib.schedule`` of its notebook.

::

    "opslib": {"schedule": {
        "when": "0 6 * * 1-5",            # five fields of cron; or  "every": "15m"
        "timezone": "Europe/Berlin",      # IANA; UTC by default
        "deadline": "30m",                # longest run
        "missed": "run-once",             # or "skip", the default
        "parameters": {"mode": "plan"},
        "notify": {"to": ["ops"], "on": ["failed", "timeout"]}}}

``notify.to`` names settings, never addresses: an address holds a secret (see notify.py).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from opslib.core.clock import now, parse_duration
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.runbook.notebook import Notebook, read_notebook, title_of
from opslib.runbook.notify import NAME, OUTCOMES
from opslib.runbook.parameters import Schema, schema_of
from opslib.runbook.places import notebook_folders, project_root

FIELD = "metadata.opslib.schedule"
_FIELDS = ("when", "every", "timezone", "deadline", "missed", "parameters", "notify")
_CRON = re.compile(r"[0-9A-Za-z*,/-]+")
_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
Missed = Literal["skip", "run-once"]


@dataclass(frozen=True)
class Schedule:
    """One runbook's schedule, checked. ``deadline`` is in seconds, ``cron`` has five fields.

    ``parameters`` are the given ones as the command line takes them; ``notify`` are names of
    settings, ``notify_on`` outcomes.
    """

    notebook: Path
    title: str
    cron: str
    timezone: str = "UTC"
    deadline: float | None = None
    missed: Missed = "skip"
    parameters: tuple[tuple[str, str], ...] = ()
    notify: tuple[str, ...] = ()
    notify_on: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the runbook's name."""
        return self.notebook.stem

    @property
    def project(self) -> Path:
        """Return the folder that the runbook works in."""
        return project_root(self.notebook)

    def next_runs(self, count: int = 3, after: datetime | None = None) -> list[datetime]:
        """Return the next times it runs, in its own zone, as Debian's cron treats DST.

        A time of day that a clock change leaves out comes at the change, one that comes
        twice is taken once. https://manpages.debian.org/cron.8 ("DAYLIGHT SAVING TIME")
        """
        from cronsim import CronSim  # noqa: PLC0415  # only schedules need it

        start = (after or now()).astimezone(ZoneInfo(self.timezone))
        simulation = CronSim(self.cron, start)
        return [found for found, _ in zip(simulation, range(count), strict=False)]

    def as_dict(self) -> dict[str, Any]:
        """Return the schedule as JSON data, with its next three runs."""
        return {
            "runbook": self.name,
            "notebook": str(self.notebook),
            "cron": self.cron,
            "timezone": self.timezone,
            "deadline": self.deadline,
            "missed": self.missed,
            "parameters": dict(self.parameters),
            "notify": {"to": list(self.notify), "on": list(self.notify_on)},
            "next": [one.isoformat() for one in self.next_runs()],
        }


def read_schedule(notebook: Path) -> Schedule | None:
    """Return the schedule of a runbook; None when it has none.

    Raises Problems with everything that is wrong, each with the notebook and the field.
    """
    content = read_notebook(notebook)
    own = (content.get("metadata") or {}).get("opslib")
    if not isinstance(own, dict) or "schedule" not in own:
        return None
    return _checked(notebook.resolve(), content, own["schedule"])


def schedules(folder: Path | None = None) -> tuple[list[Schedule], list[OpslibError]]:
    """Return the schedules of a folder's runbooks (the nearest notebooks/), and what is wrong."""
    place = folder or next(notebook_folders(), None)
    found: list[Schedule] = []
    problems: list[OpslibError] = []
    for path in sorted(place.glob("*.ipynb")) if place else []:
        try:
            one = read_schedule(path)
        except OpslibError as error:
            problems.append(error)
        else:
            found += [one] if one else []
    return found, problems


def _checked(notebook: Path, content: Notebook, given: Any) -> Schedule:
    where = f"{notebook}, {FIELD}"
    if not isinstance(given, dict):
        raise InputError("the schedule is no JSON object", where=where, expected='{"when": …}')
    problems: list[OpslibError] = list(_unknown(given, _FIELDS, where))
    values: dict[str, Any] = {}
    for name, read in _READERS.items():
        try:
            values |= read(given)
        except InputError as error:
            problems.append(_placed(error, f"{where}.{name}"))
    try:
        schema = schema_of(content, notebook.name)
        values["parameters"] = _parameters(schema, given.get("parameters", {}), where)
    except Problems as error:
        problems += [_placed(one, f"{where}.parameters") for one in error.problems]
    except OpslibError as error:
        problems.append(_placed(error, f"{where}.parameters"))
    if problems:
        raise Problems(problems)
    return Schedule(notebook, title_of(content, notebook.stem), **values)


def _placed(error: OpslibError, where: str) -> OpslibError:
    return InputError(error.what, where=where, expected=error.expected, hint=error.hint)


def _unknown(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> Iterator[InputError]:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield InputError(
                f"a schedule has no field {name}",
                where=f"{where}.{name}",
                expected=f"one of {', '.join(known)}",
                hint=f"did you mean {close[0]}?" if close else None,
            )


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise InputError(f"{name} is {json.dumps(value)}", expected="text")
    return value.strip()


def _when(given: Mapping[str, Any]) -> dict[str, Any]:
    when, every = _text(given, "when"), _text(given, "every")
    if bool(when) == bool(every):
        raise InputError(
            "a schedule has both when and every" if when else "a schedule has no time",
            expected='"when" (five fields of cron: "0 6 * * 1-5") or "every" ("15m")',
        )
    return {"cron": cron_of(when) if when else cron_every(every)}


def cron_of(text: str) -> str:
    """Check a cron expression of five fields, of the form that all schedulers share.

    Raises InputError; also for a day of month together with a day of the week of which one
    begins with a star: cron takes both, Kubernetes either.
    """
    expression = " ".join(_ALIASES.get(text.lower(), text).split())
    fields = expression.split(" ")
    expected = "five fields of cron: minute, hour, day, month, weekday, such as 0 6 * * 1-5"
    plain = all(_CRON.fullmatch(one) for one in fields)
    if len(fields) != 5 or not plain or re.search(r"(?i)\bL|\dL", expression):
        raise InputError(f"{text!r} is not a cron expression", expected=expected)
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  # only schedules need it

    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except StopIteration:
        raise InputError(f"{text!r} never comes", expected=expected) from None
    except CronSimError as error:
        reason = str(error).lower()
        raise InputError(
            f"{text!r} is not a cron expression: {reason}", expected=expected
        ) from None
    days = (fields[2], fields[4])
    if "*" not in days and any(one.startswith("*") for one in days):
        raise InputError(
            f"{text!r} means different days to cron and to Kubernetes",
            expected="* in the day or in the weekday, or a list of numbers in both",
        )
    return expression


def cron_every(text: str) -> str:
    """Return the cron expression of an interval that divides an hour or a day.

    Only such an interval means the same in every scheduler. Raises InputError.
    """
    seconds = parse_duration(text, name="every")
    minutes, rest = divmod(seconds, 60)
    whole = int(minutes)
    if not rest and whole and whole < 60 and 60 % whole == 0:
        return f"*/{whole} * * * *" if whole > 1 else "* * * * *"
    if not rest and whole and whole % 60 == 0 and 1440 % whole == 0:
        hours = whole // 60
        return "0 0 * * *" if hours == 24 else f"0 {'*' if hours == 1 else f'*/{hours}'} * * *"
    raise InputError(
        f"every {text} does not divide an hour or a day",
        expected="1m, 2m, 3m, 4m, 5m, 6m, 10m, 12m, 15m, 20m, 30m, 1h, 2h, 3h, 4h, 6h, 8h, 12h, 1d",
        hint="for other times use when",
    )


def _timezone(given: Mapping[str, Any]) -> dict[str, Any]:
    from zoneinfo import available_timezones  # noqa: PLC0415  # reads a folder of 600 files

    name = _text(given, "timezone") or "UTC"
    known = available_timezones()
    if name not in known:
        close = difflib.get_close_matches(name, sorted(known), n=1)
        raise InputError(
            f"there is no time zone {name}",
            expected="a name of the IANA list, such as Europe/Berlin or UTC",
            hint=f"did you mean {close[0]}?" if close else None,
        )
    return {"timezone": name}


def _deadline(given: Mapping[str, Any]) -> dict[str, Any]:
    text = _text(given, "deadline")
    seconds = parse_duration(text, name="deadline") if text else None
    if seconds is not None and not 1 <= seconds <= 7 * 86400:
        raise InputError(f"the deadline is {text}", expected="from 1s to 7d")
    return {"deadline": seconds}


def _missed(given: Mapping[str, Any]) -> dict[str, Any]:
    value = _text(given, "missed") or "skip"
    if value not in {"skip", "run-once"}:
        raise InputError(
            f"missed is {value!r}",
            expected="skip, or run-once: one run for all that were missed",
            hint="no scheduler makes up for every missed run" if value == "all" else None,
        )
    return {"missed": value}


def _notify(given: Mapping[str, Any]) -> dict[str, Any]:
    value = given.get("notify", {})
    if not isinstance(value, dict) or set(value) - {"to", "on"}:
        raise InputError("notify is of another form", expected='{"to": ["ops"], "on": ["failed"]}')
    to, on = (value.get(key, []) for key in ("to", "on"))
    if not all(isinstance(one, list) for one in (to, on)):
        raise InputError("notify.to and notify.on are lists", expected='{"to": ["ops"]}')
    if not all(isinstance(one, str) and NAME.fullmatch(one) for one in to):
        raise InputError(
            "notify.to holds something else than names of settings",
            expected="names of letters, digits and -",
            hint="the address itself belongs into the setting: it holds a secret",
        )
    for one in on:
        if one not in OUTCOMES:
            raise InputError(f"{one} is no outcome", expected=f"some of {', '.join(OUTCOMES)}")
    return {"notify": tuple(to), "notify_on": tuple(on)}


_READERS = {
    "when": _when,
    "timezone": _timezone,
    "deadline": _deadline,
    "missed": _missed,
    "notify": _notify,
}


def _parameters(schema: Schema, given: Any, where: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters as text; what text cannot say without loss is refused."""
    if not isinstance(given, dict):
        raise InputError("the parameters are no JSON object", where=where)
    typed = schema.check(given)
    texts = {name: v if isinstance(v, str) else json.dumps(v) for name, v in given.items()}
    read = schema.check(texts)
    for name, value in typed.items():
        if read[name] != value or type(read[name]) is not type(value):
            raise InputError(f"parameter {name} cannot be {texts[name]} on a command line")
    return tuple(texts.items())
