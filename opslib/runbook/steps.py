"""What a cell says of itself as a step: whether it may be tried again, and for how long it may run.

In a code cell's metadata::

    {"opslib": {"step": {"idempotent": true, "retries": 2, "timeout": "30s", "wait": "1s"}}}

or by tags: ``idempotent``, ``retries-2``. A cell that does not say that it is idempotent is
run once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from opslib.core.clock import parse_duration
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.runbook.notebook import Notebook, runs_code, tags_of

RETRIES, MOST_RETRIES = 2, 10
WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second attempt; doubled for each one after it, up to the longest."""
_TAG = re.compile(r"retries-(.*)")
_KEYS = ("idempotent", "retries", "timeout", "wait")


@dataclass(frozen=True)
class Step:
    """``retries`` attempts may follow the first; ``timeout`` (one attempt) and ``wait`` in s."""

    idempotent: bool = False
    retries: int = 0
    timeout: float | None = None
    wait: float = WAIT

    def pause(self, attempt: int) -> float:
        """Return the seconds between a failed attempt (from 1 on) and the next."""
        return min(LONGEST_WAIT, self.wait * 2.0 ** (attempt - 1))


ONCE = Step()


def check(notebook: Notebook, name: str) -> None:
    """Read the marks of all cells. Raises Problems that name each cell with a wrong one."""
    problems: list[OpslibError] = []
    for number, cell in enumerate(notebook["cells"], start=1):
        try:
            step_of(cell, f"{name}, cell {number}")
        except InputError as error:
            problems.append(error)
    if problems:
        raise Problems(problems)


def step_of(cell: Any, where: str = "cell") -> Step:
    """Return what a cell says. Raises InputError that names ``where`` for a mark that is wrong."""
    marks = _marks(cell, where)
    if not marks or not runs_code(cell):
        return ONCE
    idempotent = marks.get("idempotent", False)
    if not isinstance(idempotent, bool):
        raise _wrong(where, "idempotent", idempotent, "true or false")
    retries = marks.get("retries", RETRIES if idempotent else 0)
    if (
        isinstance(retries, bool)
        or not isinstance(retries, int)
        or not 0 <= retries <= MOST_RETRIES
    ):
        raise _wrong(where, "retries", retries, f"a whole number from 0 to {MOST_RETRIES}")
    if retries and not idempotent:
        raise InputError(
            f"the step asks for {retries} retries and does not say that it is idempotent",
            where=where,
            expected="idempotent beside retries: running the cell twice must do no more than once",
            hint='add the tag "idempotent" if that is so, or take the retries away',
        )
    timeout = _seconds(marks, "timeout", where)
    return Step(idempotent, retries, timeout, _seconds(marks, "wait", where) or WAIT)


def _marks(cell: Any, where: str) -> dict[str, Any]:
    """Collect tags and metadata; the metadata counts where both say something."""
    marks: dict[str, Any] = {}
    for tag in tags_of(cell):
        if tag == "idempotent":
            marks["idempotent"] = True
        elif found := _TAG.fullmatch(str(tag)):
            marks["retries"] = int(found[1]) if re.fullmatch("[0-9]{1,3}", found[1]) else found[1]
    mine = cell.get("metadata", {}).get("opslib") or {}
    said = mine.get("step", {}) if isinstance(mine, dict) else {}
    if not isinstance(said, dict):
        raise _wrong(where, "step", said, f"an object with {', '.join(_KEYS)}")
    if unknown := sorted(set(said) - set(_KEYS)):
        raise InputError(
            f"a step has no {unknown[0]}", where=where, expected=f"one of {', '.join(_KEYS)}"
        )
    return {**marks, **said}


def _seconds(marks: dict[str, Any], name: str, where: str) -> float | None:
    if (value := marks.get(name)) is None:
        return None
    expected = "a time above 0, such as 30s or 5m"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(where, name, value, expected)
    try:
        seconds = parse_duration(str(value))
    except InputError:
        raise _wrong(where, name, value, expected) from None
    if not 0 < seconds < float("inf"):
        raise _wrong(where, name, value, expected)
    return seconds


def _wrong(where: str, name: str, value: Any, expected: str) -> InputError:
    return InputError(f"the step's {name} cannot be {value!r}", where=where, expected=expected)
