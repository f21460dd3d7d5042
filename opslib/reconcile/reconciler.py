"""One pass of the loop: what the source wants now, tried, kept, corrected or taken back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from opslib.core.clock import human_seconds, stamp
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.heap import give_back
from opslib.kube.errors import ApiError, Refused, Unreachable
from opslib.reconcile.apply import Applied
from opslib.reconcile.follow import Follower
from opslib.reconcile.glance import glance
from opslib.reconcile.planned import Planned
from opslib.reconcile.prune import BY_NAME_ONLY
from opslib.reconcile.reporter import Reporter
from opslib.reconcile.seen import Seen, look_back
from opslib.reconcile.session import Session
from opslib.reconcile.surroundings import fingerprint
from opslib.reconcile.target import Target, choose, one_line, without_head, without_source
from opslib.reconcile.trials import Quarantine, Trial, Trials, change_trials, read_trials
from opslib.reconcile.verdict import State, judge, seconds_left, told
from opslib.source.verify import Unverified

Mode = Literal["correct", "report"]
GoOn = Callable[[], bool]

FULL_EVERY = 12
"""Polls until the server is asked about every object again, also those proven unchanged."""

APPLY_SECONDS = 60.0
"""Longest wait for health in one pass: a revision that hangs must not keep its mending out."""


class Reconciler:
    """Does the passes of one loop while it holds the lease."""

    def __init__(
        self,
        session: Session,
        reporter: Reporter,
        follower: Follower | None,
        *,
        mode: Mode,
        pass_seconds: float,
        health_timeout: float,
    ) -> None:
        self._session = session
        self._reporter = reporter
        self._follower = follower
        self._mode = mode
        self._pass_seconds = min(APPLY_SECONDS, max(10.0, pass_seconds))
        self._health_timeout = health_timeout
        self._since_full = FULL_EVERY
        self._surroundings = ""
        self._seen: Seen | None = None
        self._deadline: tuple[str, float] = ("", 0.0)

    @property
    def patience(self) -> float | None:
        """Seconds until the revision on trial must be healthy; None when none is on trial."""
        commit, until = self._deadline
        return max(0.0, until - time.monotonic()) if commit else None

    def poll(self, go_on: GoOn) -> bool:
        """Poll the source, and reconcile; whether all went well. The rest is in the status."""
        try:
            target = self._target()
            self._session.discovery.refresh()
            full = self._full()
            if full or not self._at_rest(target):
                self._reconcile(target, go_on, full=full)
                give_back()  # a pass reads every object, and keeps none
            else:
                self.stirred(go_on)
        except (OpslibError, OSError) as error:  # OSError: a full disk ends a pass, not the loop
            self._failed(error)
            return False
        return self._reporter.status.phase not in {"failed", "error"}

    def stirred(self, go_on: GoOn) -> bool:
        """Look at what moved since the last pass, if anything; whether a pass was needed.

        Health that moved is reported. Drift, and the end of a trial, make a pass.
        """
        seen, follower = self._seen, self._follower
        if seen is None or follower is None or not follower.stirred:
            return False
        keys = follower.take()
        session = self._session
        try:
            found = glance(session.cluster, session.discovery, seen.wanted, keys)
            if seen.update(keys, found.health):
                self._reporter.health(seen.unhealthy)
                self._reporter.write()
            drift = (seen.drift - keys) | found.drift
            trial = seen.decided and self._reporter.status.phase != "failed"
            if drift == seen.drift and not trial:
                return False
            self._reconcile(seen.target, go_on, full=False)
        except (OpslibError, OSError) as error:
            follower.moved(keys)
            self._failed(error)
        return True

    # -- what a pass is for

    def _target(self) -> Target:
        try:
            head = self._session.fetch()
        except OpslibError as error:
            # Git is away, or its head is not to be trusted: what was good stays as it is.
            if isinstance(error, Unverified):
                self._reporter.note(tried_commit=error.commit, tried_at=stamp())
            return without_source(self._session, error)
        self._reporter.note(tried_commit=head.commit, tried_at=stamp())
        seen = self._seen
        if seen and seen.settled and seen.target == Target(head):
            return seen.target
        return choose(self._session, head)

    def _full(self) -> bool:
        """Whether this pass trusts no proof: the first one, every Nth, and after a change."""
        there = fingerprint(self._session.cluster, self._session.discovery)
        full = not there or there != self._surroundings or self._since_full >= FULL_EVERY
        self._surroundings = there
        self._since_full = 1 if full else self._since_full + 1
        return full

    def _at_rest(self, target: Target) -> bool:
        """Whether the cluster is as the last pass left it, but for what the watches told since.

        What is not healthy is looked at once more: some states fail by time alone.
        """
        seen, follower = self._seen, self._follower
        if seen is None or follower is None or not (seen.holds_for(target) and follower.sound):
            return False
        if any(t.sourced and t.sourced.floating for t in seen.wanted.prepared.desired.targets):
            return False  # what follows the newest version in Vault moves without a commit
        follower.moved(seen.unhealthy)
        return True

    def _failed(self, error: OpslibError | OSError) -> None:
        self._seen = None
        text = one_line(error)
        self._reporter.note(phase="error", message=text)
        self._reporter.tell(f"error: {text[:500]}")

    # -- the pass

    def _reconcile(self, target: Target, go_on: GoOn, *, full: bool) -> None:
        self._seen = None
        self._reporter.note(quarantined=target.quarantine, source_error=target.trouble)
        if self._follower:
            self._follower.take()
        planned = self._plan(target, full=full)
        if isinstance(planned, Target):
            target = planned
            planned = self._planned(target, full=full)
        self._deadline = self._deadline if self._deadline[0] == target.commit else ("", 0.0)
        fresh = planned.prepared.inventory.commit != target.commit
        if planned.waits:
            waits = "; ".join(planned.waits)
            self._reporter.tell(f"waiting: {waits}")
            self._end(target, planned, None, "waiting", waits)
        elif fresh:
            self._try(target, planned, go_on)
        else:
            self._keep(target, planned, go_on)

    def _plan(self, target: Target, *, full: bool) -> Planned | Target:
        """Return the plan, or what to reconcile instead of a head that cannot be applied."""
        try:
            return self._planned(target, full=full)
        except (ApiError, Refused, Unreachable):
            raise
        except OpslibError as error:
            if target.trouble or target.quarantine:
                raise
            instead = without_head(self._session, target.revision, error)
            self._reporter.tell(f"error: {instead.trouble[:500]}")
            return instead

    def _planned(self, target: Target, *, full: bool) -> Planned:
        """Plan; a return may delete by itself what the failed revision brought, but no data."""
        confirmed: frozenset[str] = frozenset()
        if target.quarantine:
            trials = read_trials(self._session.cluster, self._session.app)
            new = [k for k in trials.created if (k.group, k.kind) not in BY_NAME_ONLY]
            confirmed = frozenset(map(str, new))
        planned = self._session.plan(target.revision, full=full, confirmed=confirmed)
        if planned.blocking:
            raise Problems([InputError(line) for line in planned.blocking])
        if self._mode == "correct" or planned.prepared.inventory.commit != target.commit:
            self._session.obtain(planned)  # what cannot be had fails here, before a trial begins
        return planned

    def _try(self, target: Target, planned: Planned, go_on: GoOn) -> None:
        """Apply a revision that is not known to be good, and judge it."""
        trial = self._begin(planned)
        good = planned.prepared.inventory.commit
        applied = self._apply(planned, go_on, self.patience or (1.0 if good else APPLY_SECONDS))
        if not go_on():
            self._end(target, planned, applied, "progressing", "stopped before its end")
            return
        late = None if self.patience else self._health_timeout
        verdict = judge(applied, trial.excused, late=late)
        short = target.revision.short
        if verdict.state is State.FAILED:
            self._give_up(target, planned, verdict.reason, applied, go_on)
        elif verdict.state is State.PROGRESSING:
            self._reporter.tell(f"revision {short} is not healthy yet: {verdict.reason}")
            phase = "failed" if applied.failures else "progressing"
            self._end(target, planned, applied, phase, verdict.reason)
        else:
            took = human_seconds(applied.seconds)
            self._reporter.tell(f"revision {short} is live and healthy after {took}")
            self._deadline = ("", 0.0)
            self._end(target, planned, applied, "synced", "")

    def _begin(self, planned: Planned) -> Trial:
        """Put the plan's revision on trial before anything of it is written."""
        trial = self._session.begin(planned)
        assert trial is not None  # noqa: S101  # told to the type checker only
        if self._deadline[0] != trial.commit:
            left = seconds_left(trial, self._health_timeout)
            self._deadline = (trial.commit, time.monotonic() + left)
        revision = planned.prepared.plan.revision
        self._reporter.tell(f"revision {revision.short}: {_counts(planned)}")
        return trial

    def _apply(self, planned: Planned, go_on: GoOn, seconds: float) -> Applied:
        self._reporter.note(phase="progressing")
        self._reporter.write()
        timeout = max(1.0, min(self._pass_seconds, seconds))
        applied = self._session.apply(planned, timeout=timeout, go_on=go_on)
        for failure in applied.failures:
            self._reporter.tell(f"failed: {failure.key}: {failure.what}")
        return applied

    def _give_up(
        self, target: Target, planned: Planned, reason: str, applied: Applied, go_on: GoOn
    ) -> None:
        """Put a revision into quarantine and return to the last good one, if there is one."""
        short, good = target.revision.short, planned.prepared.inventory.commit
        self._reporter.tell(f"revision {short} failed: {reason}")
        try:
            if not good:
                raise InputError("there is no earlier good revision to return to")
            back = self._session.pinned(good)
        except OpslibError as error:
            text = f"{reason}; it stays, because {error.what}"
            self._reporter.tell(f"revision {short} stays: {error.what}")
            self._end(target, planned, applied, "failed", text)
            return
        quarantine = Quarantine(target.commit, stamp(), reason, good)
        change_trials(
            self._session.cluster, self._session.app, lambda known: known.failed(quarantine)
        )
        self._deadline = ("", 0.0)
        self._reporter.tell(f"revision {short} is quarantined; returning to {back.short}")
        self._reconcile(Target(back, quarantine=quarantine), go_on, full=False)

    def _keep(self, target: Target, planned: Planned, go_on: GoOn) -> None:
        """Hold the cluster to a revision that was good before: return to it, correct, report."""
        writes = planned.prepared.plan.writes
        drift = tuple(f"{c.action} {c.key}" for c in writes)
        returning = target.quarantine is not None and not target.quarantine.returned_at
        if returning or (writes and self._mode == "correct"):
            if drift and not returning:
                self._reporter.tell(f"drift: {', '.join(drift)}; correcting")
            applied = self._apply(planned, go_on, self._pass_seconds)
            if applied.ok and go_on() and target.quarantine and returning:
                target = self._returned(target, target.quarantine)
            phase = "synced" if applied.ok else "failed" if applied.failures else "progressing"
            if applied.ok and go_on():
                self._drop(planned)
            failures = "; ".join(f"{f.key}: {f.what}" for f in applied.failures[:3])
            self._end(target, planned, applied, phase, failures or told(applied.unhealthy))
        elif writes:
            self._reporter.tell(f"drift: {', '.join(drift)}; reported, not corrected")
            self._end(target, planned, None, "drifted", "")
        else:
            self._drop(planned)
            self._end(target, planned, None, "synced", "")

    def _drop(self, planned: Planned) -> None:
        """Forget a trial that somebody began by hand: what was good is whole again."""
        if planned.trials.trial:
            change_trials(self._session.cluster, self._session.app, Trials.dropped)

    def _returned(self, target: Target, quarantine: Quarantine) -> Target:
        """Note that a return is done; return the target as the next poll will name it."""
        commit, at = quarantine.commit, stamp()
        trials = change_trials(
            self._session.cluster, self._session.app, lambda known: known.returned(commit, at)
        )
        took_back = f"{quarantine.short} is taken back"
        self._reporter.tell(f"revision {target.revision.short} is live again; {took_back}")
        return Target(target.revision, target.trouble, trials.quarantined(commit))

    # -- what is left of it

    def _end(
        self, target: Target, planned: Planned, applied: Applied | None, phase: str, message: str
    ) -> None:
        """Note what a pass came to, follow the objects from now on, and put it into the status."""
        seen = look_back(target, planned.prepared, planned.health, applied, phase)
        self._seen = seen
        if self._follower:
            self._reporter.unwatched(self._follower.broken)
            self._follower.follow(seen.wanted.kinds)
        self._reporter.passed(seen, planned, phase, message)


def _counts(planned: Planned) -> str:
    counts = planned.prepared.plan.counts
    return ", ".join(f"{number} {action}" for action, number in counts.items() if number)
