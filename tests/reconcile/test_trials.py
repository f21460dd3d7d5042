"""Verdicts on revisions, and what is kept of them in the cluster."""

from __future__ import annotations

from datetime import timedelta

import pytest

from opslib.core.clock import now, stamp
from opslib.core.errors import InputError, OpslibError
from opslib.core.model import ResourceKey
from opslib.reconcile.app import SYSTEM_NAMESPACE
from opslib.reconcile.apply import Applied
from opslib.reconcile.health import SHIPPED, Health
from opslib.reconcile.reporter import LINES, few
from opslib.reconcile.trials import (
    KEPT,
    Quarantine,
    Trial,
    Trials,
    change_trials,
    read_trials,
    release,
)
from opslib.reconcile.verdict import State, judge, put_on_trial, seconds_left
from opslib.reconcile.wait import HealthOf
from opslib.reconcile.writer import Failure

from .conftest import Workbench, config_map

ONE, TWO = (ResourceKey("", "ConfigMap", "n", name) for name in ("one", "two"))
NOBODY: frozenset[ResourceKey] = frozenset()


def seen(health: Health, key: ResourceKey = ONE) -> Applied:
    """Return what an apply says whose one object has this health."""
    return Applied(health=(HealthOf(key, health, "so it is"),))


def refused(kind: str) -> Applied:
    """Return what an apply says whose one object was not written."""
    return Applied(failures=(Failure(ONE, "no", kind),))


@pytest.mark.parametrize(
    ("applied", "late", "state"),
    [
        (seen(Health.CURRENT), None, State.GOOD),
        (seen(Health.CURRENT), 5.0, State.GOOD),
        (seen(Health.IN_PROGRESS), None, State.PROGRESSING),
        (seen(Health.IN_PROGRESS), 5.0, State.FAILED),
        (seen(Health.UNKNOWN), 5.0, State.FAILED),
        (seen(Health.FAILED), None, State.FAILED),
        (seen(Health.FAILED, TWO), None, State.PROGRESSING),
        (seen(Health.IN_PROGRESS, TWO), 5.0, State.PROGRESSING),
        (refused("api-error"), None, State.PROGRESSING),
        (refused("api-error"), 5.0, State.FAILED),
        (refused("conflict"), 5.0, State.FAILED),
        (refused("unreachable"), 5.0, State.PROGRESSING),
        (refused("fenced"), 5.0, State.PROGRESSING),
    ],
)
def test_verdicts(applied: Applied, late: float | None, state: State) -> None:
    """Failed fails at once, the rest by the deadline; never by others' faults."""
    verdict = judge(applied, frozenset({TWO}), late=late)
    assert verdict.state is state
    assert bool(verdict.reason) == (state is not State.GOOD)


@pytest.mark.parametrize(("hours", "left"), [(0, 300), (6, 0), (-6, 300)])
def test_a_deadline_after_a_restart_stays_within_its_bounds(hours: int, left: float) -> None:
    """Wherever the wall clock jumped meanwhile, there is neither more time nor less than none."""
    trial = Trial("a" * 40, stamp(now() - timedelta(hours=hours)))
    assert seconds_left(trial, 300) == pytest.approx(left, abs=5)


def test_what_is_new_with_a_revision_is_told_from_what_it_found(bench: Workbench) -> None:
    """Before the first write the plan says what will be made, and what was there of others."""
    assert bench.apply(config_map("one", k="v"), "a").ok
    path = f"/api/v1/namespaces/{bench.namespace}/configmaps"
    bench.server.request("POST", path, body={"metadata": {"name": "theirs"}})
    text = "---\n".join(config_map(name, k="w") for name in ("one", "theirs", "new"))
    trials = put_on_trial(Trials(), bench.plan(text, "b"), SHIPPED, "now")
    assert trials.trial
    assert {key.name for key in trials.created} == {"new"}
    assert {key.name for key in trials.adopted} == {"theirs"}
    assert trials.trial.excused == NOBODY
    again = put_on_trial(trials, bench.plan(text, "b"), SHIPPED, "later")
    assert again is trials
    more = put_on_trial(
        trials, bench.plan(text + "---\n" + config_map("c", k="x"), "c"), SHIPPED, "later"
    )
    assert {key.name for key in more.created} == {"new", "c"}
    assert {key.name for key in more.adopted} == {"theirs"}


def test_trials_are_kept_in_the_cluster(bench: Workbench) -> None:
    """What is written is read again, whole; nothing is written when nothing changes."""
    full = Trials(
        Trial("a" * 40, stamp(), frozenset({ONE})),
        (Quarantine("b" * 40, stamp(), "it failed", "c" * 40, stamp()),),
        frozenset({ONE}),
        frozenset({TWO}),
    )
    assert read_trials(bench.server, bench.app) == Trials()
    first = change_trials(bench.server, bench.app, lambda old: full if old == Trials() else old)
    assert read_trials(bench.server, bench.app) == full
    same = change_trials(bench.server, bench.app, lambda old: old)
    assert same.resource_version == first.resource_version
    with pytest.raises(InputError, match="no revision"):
        release(bench.server, bench.app, "bbb")  # too short to name one
    assert release(bench.server, bench.app, "B" * 7).commit == "b" * 40
    assert read_trials(bench.server, bench.app).quarantines == ()


def test_trials_that_somebody_edited_are_no_empty_ones(bench: Workbench) -> None:
    """What cannot be read is an error with a way out, not a clean slate."""
    change_trials(bench.server, bench.app, lambda old: old.tried(
        Trial("a" * 40, stamp()), created=NOBODY, adopted=NOBODY))  # fmt: skip
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{bench.app.trials}"
    merge = "application/merge-patch+json"
    bench.server.request("PATCH", path, body={"data": {"trials": "{"}}, content_type=merge)
    with pytest.raises(OpslibError, match="cannot be read"):
        read_trials(bench.server, bench.app)


def test_the_list_of_quarantines_is_bounded_and_ends_with_what_is_good() -> None:
    """The oldest is forgotten first; a good revision makes history of those before it."""
    trials = Trials(adopted=frozenset({ONE, TWO}))
    for number in range(KEPT + 3):
        trials = trials.failed(Quarantine(f"{number:040}", "", "", ""))
    assert len(trials.quarantines) == KEPT
    assert trials.quarantined(f"{0:040}") is None
    settled = trials.settled(lambda commit: int(commit) < 20, frozenset({ONE}))
    assert [int(one.commit) for one in settled.quarantines] == [20, 21, 22]
    assert settled.adopted == {TWO}


def test_a_status_stays_small() -> None:
    """Thousands of sick objects with long stories still fit into a ConfigMap."""
    lines = few(["x" * 10_000] * 5_000)
    assert sum(map(len, lines)) < 200_000
    assert lines[-1] == f"and {5_000 - LINES} more"
    assert few(["a", "b"]) == ("a", "b")
