"""Is a revision on trial good, still progressing, or failed?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from opslib.core.clock import human_seconds, now, parse_stamp
from opslib.reconcile.apply import Applied
from opslib.reconcile.health import Health, HealthRules, assess
from opslib.reconcile.judge import Prepared
from opslib.reconcile.plan import Action
from opslib.reconcile.trials import Keys, Trial, Trials
from opslib.reconcile.wait import HealthOf
from opslib.reconcile.writer import Failure

_NOT_ITS_FAULT = frozenset({"fenced", "interrupted", "unreachable", "unauthorized"})
"""Kinds of failures that say nothing about a revision: the server was away, or we had to stop."""


MOST = 5_000
"""New objects of one revision that are remembered by name."""

NONE: Keys = frozenset()


class State(StrEnum):
    """Where a revision on trial stands."""

    GOOD = "good"
    PROGRESSING = "progressing"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """A state and the sentence that explains it; "" for a good one."""

    state: State
    reason: str = ""


def judge(applied: Applied, excused: Keys, *, late: float | None = None) -> Verdict:
    """Judge what an apply led to.

    An object that is Failed fails its revision at once; ``late`` is the health deadline in
    seconds once it has passed: then whatever is not written and healthy does. ``excused``
    objects are waited for, but no revision fails by them.
    """
    if applied.ok:
        return Verdict(State.GOOD)
    own = [one for one in applied.unhealthy if one.key not in excused]
    if failed := [one for one in own if one.health is Health.FAILED]:
        return Verdict(State.FAILED, told(failed))
    refused = [one for one in applied.failures if one.kind not in _NOT_ITS_FAULT]
    if late is not None and (refused or own):
        after = f"not healthy after {human_seconds(late)}"
        return Verdict(State.FAILED, f"{after}: {_unwritten(refused) or told(own)}")
    return Verdict(State.PROGRESSING, _unwritten(applied.failures) or told(applied.unhealthy))


def told(states: Iterable[HealthOf]) -> str:
    """Name the first three objects and what is wrong with each."""
    rows = [f"{one.key}: {one.health}: {one.message}" for one in states]
    return "; ".join(rows[:3]) + (f"; and {len(rows) - 3} more" if len(rows) > 3 else "")


def _unwritten(failures: Iterable[Failure]) -> str:
    every = list(failures)
    if not every:
        return ""
    first = every[0]
    return f"{len(every)} objects were not written; first: {first.key}: {first.what}"


def put_on_trial(trials: Trials, prepared: Prepared, rules: HealthRules, since: str) -> Trials:
    """Return the trials with the plan's revision on trial; the same where it is already.

    The plan says what is new with the revision, as long as the inventory was not written ahead.
    """
    plan, inventory = prepared.plan, prepared.inventory
    if trials.trial and trials.trial.commit == plan.revision.commit:
        return trials
    new = {target.key for target in prepared.desired.targets} - inventory.objects.keys()
    adopted = frozenset(key for key in new if key in prepared.live)
    trial = Trial(plan.revision.commit, since, _excused(trials, prepared, rules))
    if not inventory.commit:  # there is nothing to return to
        return trials.tried(trial, created=NONE, adopted=NONE)
    created = frozenset(new) - adopted
    # A list that no ConfigMap holds is left out: a return then keeps to the limits of any prune.
    return trials.tried(trial, created=created if len(created) <= MOST else NONE, adopted=adopted)


def _excused(trials: Trials, prepared: Prepared, rules: HealthRules) -> Keys:
    """Return what was not healthy before and is not changed now.

    What an earlier revision since the last good one broke is no excuse for its successor.
    """
    if any(not one.returned_at for one in trials.quarantines):
        return NONE
    same = {c.key for c in prepared.plan.changes if c.action is Action.UNCHANGED}
    if trials.trial:
        return trials.trial.excused & same
    looked = ((key, assess(prepared.live.get(key), rules=rules)) for key in same - prepared.ended)
    return frozenset(key for key, found in looked if found.health is not Health.CURRENT)


def seconds_left(trial: Trial, deadline: float) -> float:
    """Return how much of a health deadline is left, by the wall clock: for a loop that starts.

    Never more than the whole deadline and never less than nothing, wherever the clock jumped.
    """
    passed = (now() - parse_stamp(trial.since)).total_seconds()
    return min(deadline, max(0.0, deadline - passed))
