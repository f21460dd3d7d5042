"""Who may have set a field last: all writes that fit what is known, not the one that fits best.

Of each write it is known what it may have done to the question "does the field have its
present value?". All ways through these possibilities that end in yes are followed; each has
one write that turned no into yes last. An attribution is certain when all ways agree on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

from opslib.drift.moments import Moment
from opslib.drift.track import Write
from opslib.drift.wants import NO_NO, NO_YES, YES_NO, YES_YES

BEFORE = -1
"""The setter that wrote before the log begins."""
UNLOGGED = -2
"""A setter that the log lacks: it has gaps, ends too early, or contradicts what is live."""
MANY = -3
"""More writes than are followed one by one."""

MOST_STATES = 200
MOST_TOGETHER = 5


class Step(NamedTuple):
    """What may have happened between two moments: transitions, and the write (or its lack)."""

    start: Moment
    end: Moment
    mask: int
    setter: int


State = tuple[bool, int]
"""Whether the field has the value, and who set it."""


@dataclass(frozen=True)
class Setters:
    """The writes, by number, that may have set the value last; negative ones are not known."""

    possible: frozenset[int]

    @property
    def only(self) -> int | None:
        """The one that must have, where it is known."""
        found = next(iter(self.possible)) if len(self.possible) == 1 else UNLOGGED
        return found if found >= 0 else None


def follow(steps: Iterable[Step], starts: Iterable[State]) -> Setters:
    """Follow all ways; empty where none ends in yes."""
    states = set(starts)
    for cluster in _clusters(sorted(steps)):
        states = _through(states, cluster)
    return Setters(frozenset(setter for has, setter in states if has))


def _clusters(steps: Sequence[Step]) -> Iterable[list[Step]]:
    """Group what overlaps in time, as its order is not known."""
    group: list[Step] = []
    end: Moment = 0
    for step in steps:
        if group and step.start > end:
            yield group
            group, end = [], 0
        group.append(step)
        end = max(end, step.end)
    if group:
        yield group


def _through(states: set[State], cluster: list[Step]) -> set[State]:
    if len(cluster) == 1:
        return _apply(states, cluster[0])
    if len(cluster) <= MOST_TOGETHER:
        orders: Iterable[Sequence[Step]] = permutations(cluster)
        return {state for order in orders if _in_time(order) for state in _in_turn(states, order)}
    # Each may have come at any place among the others: none of them, or any of them last.
    loose = [step._replace(mask=step.mask | NO_NO | YES_YES) for step in cluster]
    found = _in_turn(states, loose)
    return found | _in_turn(found, loose)


def _in_time(order: Sequence[Step]) -> bool:
    """Tell whether an order is possible: none before one that had ended when it began."""
    return all(
        earlier.start <= later.end for i, earlier in enumerate(order) for later in order[i + 1 :]
    )


def _in_turn(states: set[State], steps: Iterable[Step]) -> set[State]:
    for step in steps:
        states = _apply(states, step)
    return states


def _apply(states: set[State], step: Step) -> set[State]:
    found: set[State] = set()
    for has, setter in states:
        if has:
            if step.mask & YES_YES:
                found.add((True, setter))
                if step.setter == UNLOGGED:
                    found.add((True, UNLOGGED))  # unset and set again, unseen
            if step.mask & YES_NO:
                found.add((False, BEFORE))
        else:
            if step.mask & NO_NO:
                found.add((False, BEFORE))
            if step.mask & NO_YES:
                found.add((True, step.setter))
    if len(found) > MOST_STATES:
        newest = sorted(found, key=lambda state: state[1])[-MOST_STATES:]
        return {*newest, (True, MANY)}
    return found


def by_time(writes: Iterable[Write]) -> list[Write]:
    """Return writes in the order in which they came in."""
    return sorted(writes, key=lambda one: (one.received, one.done, one.id))
