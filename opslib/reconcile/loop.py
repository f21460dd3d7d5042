"""The pull loop: poll Git, apply what is new, correct or report what drifted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from opslib.core.clock import human_seconds, now, stamp
from opslib.core.errors import OpslibError
from opslib.core.model import Revision
from opslib.kube.errors import Unreachable
from opslib.kube.lease import identity
from opslib.reconcile.apply import Applied
from opslib.reconcile.health import Health
from opslib.reconcile.inventory import make_namespace
from opslib.reconcile.keeper import Keeper
from opslib.reconcile.session import Planned, Session
from opslib.reconcile.status import LoopStatus, write_status
from opslib.reconcile.surroundings import fingerprint
from opslib.reconcile.wait import HealthOf, health_of

Mode = Literal["correct", "report"]
JITTER = 0.1
"""Each wait is up to a tenth longer or shorter, so that many loops do not poll at once."""

MAX_BACKOFF = 900.0
LEASE_POLL = 2.0
FULL_EVERY = 12
"""Passes until the server is asked about every object again, also those proven unchanged."""

APPLY_SECONDS = 60.0
"""Longest wait for health in one pass: a revision that hangs must not keep its mending out."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class LoopOptions:
    """How a loop behaves: ``interval`` seconds between polls, what to do about drift."""

    interval: float = 300.0
    mode: Mode = "correct"
    once: bool = False


class Loop:
    """One loop over one app.

    ``stop`` ends it between two writes; ``say`` gets one line per event.
    """

    def __init__(
        self, session: Session, options: LoopOptions, stop: threading.Event, say: Say
    ) -> None:
        self._session = session
        self._options = options
        self._stop = stop
        self._say = say
        self._errors = 0
        self._since_full = FULL_EVERY
        self._surroundings = ""
        source = session.mirror.source
        self._holder = identity()
        self._status = LoopStatus(
            session.app.name,
            session.mirror.url,
            source.ref,
            source.path,
            options.mode,
            options.interval,
            self._holder,
        )
        self._told = ""

    def run(self) -> LoopStatus:
        """Run until stopped (or once); return the last status. Errors of a pass are reported.

        Holds the app's lease while it runs, and waits for it while another has it.
        """
        while not self._stop.is_set():
            keeper = self._acquire()
            if keeper is None:
                break
            with keeper:
                self._hold(keeper)
                if self._options.once or self._stop.is_set():
                    self._report(replace(self._status, phase=self._last_phase(), next_poll=""))
                    break
            self._tell("the lease was lost; waiting to take it again")
        return self._status

    def _last_phase(self) -> str:
        return self._status.phase if self._options.once else "stopped"

    def _acquire(self) -> Keeper | None:
        """Take the lease, waiting as long as it takes; None when told to stop."""
        lease = self._session.lease(self._holder)
        while not self._stop.is_set():
            try:
                if lease.try_acquire():
                    self._tell(f"holding the lease {lease.name}")
                    return Keeper(lease)
                self._tell(str(lease.busy().what) + "; waiting")
            except OpslibError as error:
                if getattr(error, "code", 0) == 404:
                    make_namespace(self._session.cluster)
                    continue
                self._tell(error.what)
                if not isinstance(error, Unreachable):
                    raise
            self._stop.wait(LEASE_POLL)
        return None

    def _hold(self, keeper: Keeper) -> None:
        while keeper.held() and not self._stop.is_set():
            wait = self._wait_seconds(self._pass(keeper))
            moment = now() + timedelta(seconds=wait)
            self._report(replace(self._status, next_poll=stamp(moment)))
            if self._options.once:
                return
            until = time.monotonic() + wait
            while keeper.held() and (left := until - time.monotonic()) > 0:
                if self._stop.wait(min(1.0, left)):
                    return

    def _wait_seconds(self, ok: bool) -> float:
        self._errors = 0 if ok else self._errors + 1
        base = self._options.interval
        if self._errors > 1:
            base = min(max(MAX_BACKOFF, base), base * 2.0 ** (self._errors - 1))
        return base * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # jitter, not a secret

    def _pass(self, keeper: Keeper) -> bool:
        """Poll once; return whether it went well. What went wrong is in the status."""
        try:
            revision = self._session.fetch()
            self._status = replace(
                self._status, tried_commit=revision.commit, tried_at=stamp(), message=""
            )
            self._session.discovery.refresh()
            self._reconcile(revision, keeper)
        except (OpslibError, OSError) as error:  # OSError: a full disk ends a pass, not the loop
            text = " ".join(str(error).split())
            self._status = replace(
                self._status,
                phase="error",
                message=text[:2000],
                errors_in_a_row=self._errors + 1,
            )
            self._tell(f"error: {text[:500]}")
            return False
        self._status = replace(self._status, errors_in_a_row=0)
        return self._status.phase != "failed"

    def _reconcile(self, revision: Revision, keeper: Keeper) -> None:
        planned = self._session.plan(revision, full=self._full())
        plan, inventory = planned.prepared.plan, planned.prepared.inventory
        fresh = inventory.commit != revision.commit
        drift = () if fresh else tuple(f"{c.action} {c.key}" for c in plan.writes)
        if planned.blocking or fresh or (drift and self._options.mode == "correct"):
            if fresh:
                self._tell(f"revision {revision.short}: {_counts(planned)}")
            else:
                self._tell(f"drift: {', '.join(drift)}; correcting")
            applied = self._apply(planned, keeper)
            self._after(applied, revision)
        elif drift:
            self._tell(f"drift: {', '.join(drift)}; reported, not corrected")
            self._status = replace(self._status, phase="drifted", drift=drift)
        else:
            kinds = {t.key: t.kind for t in planned.prepared.desired.targets}
            self._status = _with_health(
                replace(self._status, phase="synced", drift=()),
                health_of(self._session.cluster, kinds),
            )
            self._synced(revision)

    def _full(self) -> bool:
        """Whether this pass trusts no proof: the first one, every Nth, and after a change."""
        seen = fingerprint(self._session.cluster, self._session.discovery)
        full = not seen or seen != self._surroundings or self._since_full >= FULL_EVERY
        self._surroundings = seen
        self._since_full = 1 if full else self._since_full + 1
        return full

    def _apply(self, planned: Planned, keeper: Keeper) -> Applied:
        def go_on() -> bool:
            return keeper.held() and not self._stop.is_set()

        self._report(replace(self._status, phase="progressing"))
        seconds = min(APPLY_SECONDS, max(10.0, self._options.interval))
        return self._session.apply(planned, timeout=seconds, go_on=go_on)

    def _after(self, applied: Applied, revision: Revision) -> None:
        self._status = _with_health(replace(self._status, drift=()), applied.health)
        for failure in applied.failures:
            self._tell(f"failed: {failure.key}: {failure.what}")
        if applied.failures:
            first = applied.failures[0]
            text = f"{len(applied.failures)} objects failed; first: {first.key}: {first.what}"
            self._status = replace(self._status, phase="failed", message=text)
        elif not applied.ok:
            text = "; ".join(self._status.unhealthy[:3])
            self._tell(f"revision {revision.short} is not healthy yet: {text}")
            self._status = replace(self._status, phase="progressing", message=text)
        else:
            took = human_seconds(applied.seconds)
            self._tell(f"revision {revision.short} is live and healthy after {took}")
            self._synced(revision)

    def _synced(self, revision: Revision) -> None:
        self._status = replace(
            self._status,
            phase="synced",
            applied_commit=revision.commit,
            applied_at=self._status.applied_at
            if self._status.applied_commit == revision.commit
            else stamp(),
        )

    def _report(self, status: LoopStatus) -> None:
        """Write the status where it can be read; a server that is away does not end the loop."""
        self._status = status
        try:
            write_status(self._session.cluster, self._session.app, status)
        except OpslibError as error:
            self._tell(f"the status could not be written: {error.what}")

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._say(line)
        self._told = line


def _with_health(status: LoopStatus, states: tuple[HealthOf, ...]) -> LoopStatus:
    bad = [state for state in states if state.health is not Health.CURRENT]
    worst = "Current"
    if bad:
        failed = any(state.health is Health.FAILED for state in bad)
        worst = str(Health.FAILED if failed else bad[0].health)
    lines = tuple(f"{state.key}: {state.health}: {state.message}" for state in bad)
    return replace(status, health=worst, unhealthy=lines)


def _counts(planned: Planned) -> str:
    counts = planned.prepared.plan.counts
    return ", ".join(f"{number} {action}" for action, number in counts.items() if number)
