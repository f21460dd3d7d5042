"""Two writers that set one field in turn: both named, how often, since when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from opslib.drift.cases import Case
from opslib.drift.model import Drift, Fight
from opslib.drift.setters import by_time
from opslib.drift.track import Write
from opslib.drift.wants import NO_NO, NO_YES, YES_NO, YES_YES

LEAST = 3
"""Turns from which on it is a fight: one changed it, the other changed it back, and again."""


class Observation(NamedTuple):
    """Somebody gave a field a value: when (RFC 3339), who, and what stands for the value."""

    time: str
    writer: str
    value: str


def fight_of(observations: Iterable[Observation]) -> Fight | None:
    """Return the fight that the newest observations show; None where there is none.

    Writing the same value again is no turn, and neither is one's own second thought.
    """
    turns: list[Observation] = []
    for one in sorted(observations):
        if turns and one.value == turns[-1].value:
            continue
        if turns and one.writer == turns[-1].writer:
            turns[-1] = one
            continue
        turns.append(one)
    turns = _of_two(turns)
    if len(turns) < LEAST:
        return None
    writers = tuple(dict.fromkeys(one.writer for one in turns))
    return Fight(writers, len(turns), turns[0].time, turns[-1].time)


def _of_two(turns: Sequence[Observation]) -> list[Observation]:
    """Return the newest turns that are of two writers only."""
    writers = {one.writer for one in turns[-2:]}
    found: list[Observation] = []
    for one in reversed(turns):
        if one.writer not in writers:
            break
        found.insert(0, one)
    return found


def fights(drifts: Sequence[Drift], seen: Mapping[str, Iterable[Observation]]) -> tuple[Drift, ...]:
    """Fill in fights by what reviews have seen over time, by the drift's id.

    What the audit log shows is kept: it counts every write.
    """
    return tuple(
        one if one.fight else replace(one, fight=fight_of(seen.get(one.id, ()))) for one in drifts
    )


def fight_in(case: Case) -> Fight | None:
    """Return the fight over a field that the audit log shows."""
    number = case.wants[0]
    turns = []
    for write in by_time(case.track.writes.values()):
        value = _value(write, number)
        if value and write.sure:
            turns.append((write, value))
    names = _names([write for write, _ in turns])
    return fight_of(Observation(w.actor.time, names[w.id], value) for w, value in turns)


def _value(write: Write, number: int) -> str:
    """Return whether a write gave the field its present value or another; "" if unsure."""
    mask = write.effects[number].plain
    if mask == NO_YES | YES_YES:
        return "present"
    return "another" if mask == NO_NO | YES_NO else ""


def _names(writes: Sequence[Write]) -> dict[str, str]:
    """Name the writers: by user, and where one user has several managers by these, too."""
    managers: dict[str, set[str]] = {}
    for write in writes:
        managers.setdefault(write.actor.user, set()).add(write.manager)
    return {
        write.id: write.actor.user
        if len(managers[write.actor.user]) == 1
        else f"{write.actor.user} ({write.manager})"
        for write in writes
    }
