"""The pull loop: hold the lease, poll Git, and look at once at what moves in between."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import timedelta

from opslib.core.clock import now, stamp
from opslib.core.errors import OpslibError
from opslib.core.heap import few_arenas
from opslib.kube.errors import Unreachable
from opslib.kube.lease import identity
from opslib.reconcile.follow import Follower
from opslib.reconcile.inventory import make_namespace
from opslib.reconcile.keeper import Keeper
from opslib.reconcile.reconciler import GoOn, Mode, Reconciler
from opslib.reconcile.reporter import Reporter, Say
from opslib.reconcile.session import Session
from opslib.reconcile.status import LoopStatus

JITTER = 0.1
"""Each wait is up to a tenth longer or shorter, so that many loops do not poll at once."""

MAX_BACKOFF = 900.0
LEASE_POLL = 2.0
TICK = 1.0
"""Seconds between two questions to the watches: changes within one are looked at together."""

QUIET = 10.0
"""Seconds without a stir after which the next one is looked at as fast as the first."""

FIGHT = 3
"""Stirs in a row after which the loop says that it is not alone."""


@dataclass(frozen=True)
class LoopOptions:
    """How a loop behaves: ``interval`` seconds between polls, what to do about drift.

    ``health_timeout`` is how many seconds a revision may take from its first write until it is
    healthy. ``watches`` off: objects are read at each poll, and at no other time.
    """

    interval: float = 300.0
    mode: Mode = "correct"
    once: bool = False
    health_timeout: float = 300.0
    watches: bool = True


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
        self._errors = 0
        self._hurries = 0
        self._calm_until = 0.0
        self._holder = identity()
        source = session.mirror.source
        status = LoopStatus(
            session.app.name,
            session.mirror.url,
            source.ref,
            source.path,
            options.mode,
            options.interval,
            self._holder,
            health_timeout_seconds=options.health_timeout,
        )
        self._reporter = Reporter(session, status, say)

    def run(self) -> LoopStatus:
        """Run until stopped (or once); return the last status. Errors of a pass are reported.

        Holds the app's lease while it runs, and waits for it while another has it.
        """
        few_arenas()
        while not self._stop.is_set():
            keeper = self._acquire()
            if keeper is None:
                break
            with keeper, self._session.fenced(keeper.held):
                self._hold(keeper)
                if self._options.once or self._stop.is_set():
                    phase = self._reporter.status.phase if self._options.once else "stopped"
                    self._reporter.note(phase=phase, next_poll="")
                    self._reporter.write()
                    break
            self._reporter.tell("the lease was lost; waiting to take it again")
        return self._reporter.status

    def _acquire(self) -> Keeper | None:
        """Take the lease, waiting as long as it takes; None when told to stop."""
        lease = self._session.lease(self._holder)
        while not self._stop.is_set():
            try:
                if lease.try_acquire():
                    self._reporter.tell(f"holding the lease {lease.name}")
                    return Keeper(lease)
                self._reporter.tell(str(lease.busy().what) + "; waiting")
            except OpslibError as error:
                if getattr(error, "code", 0) == 404:
                    make_namespace(self._session.cluster)
                    continue
                self._reporter.tell(error.what)
                if not isinstance(error, Unreachable):
                    raise
            self._stop.wait(LEASE_POLL)
        return None

    def _hold(self, keeper: Keeper) -> None:
        """Poll, and wait for the next poll, as long as the lease is held."""

        def go_on() -> bool:
            return keeper.held() and not self._stop.is_set()

        options = self._options
        watching = options.watches and not options.once
        follower = Follower(self._session.cluster) if watching else None
        reconciler = Reconciler(
            self._session,
            self._reporter,
            follower,
            mode=options.mode,
            pass_seconds=options.interval,
            health_timeout=options.health_timeout,
        )
        try:
            while go_on():
                ok = reconciler.poll(go_on)
                until = self._next_poll(ok, reconciler)
                if options.once:
                    return
                self._wait(until, reconciler, go_on)
        finally:
            if follower:
                follower.close()

    def _next_poll(self, ok: bool, reconciler: Reconciler) -> float:
        """Report, and return the monotonic time of the next poll."""
        self._errors = 0 if ok else self._errors + 1
        seconds = self._wait_seconds()
        if patience := reconciler.patience:
            # A revision on trial is judged when its time is up, not at some poll after it.
            seconds = min(seconds, patience)
        moment = stamp(now() + timedelta(seconds=seconds))
        self._reporter.note(errors_in_a_row=self._errors, next_poll=moment)
        self._reporter.write()
        return time.monotonic() + seconds

    def _wait_seconds(self) -> float:
        base = self._options.interval
        if self._errors > 1:
            base = min(max(MAX_BACKOFF, base), base * 2.0 ** min(self._errors - 1, 20))
        return base * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # jitter, not a secret

    def _wait(self, until: float, reconciler: Reconciler, go_on: GoOn) -> None:
        """Wait for the time of the next poll; whatever moves before it is seen to at once."""
        while go_on() and (left := until - time.monotonic()) > 0:
            self._stop.wait(min(TICK, left))
            if time.monotonic() < self._calm_until or not go_on():
                continue
            if reconciler.stirred(go_on):
                self._calm_down()
                self._reporter.write()
                until = min(until, time.monotonic() + (reconciler.patience or self._wait_seconds()))

    def _calm_down(self) -> None:
        """Look less often when it is stirred again and again: somebody else writes, too."""
        moment = time.monotonic()
        self._hurries = 0 if moment - self._calm_until > QUIET else min(self._hurries + 1, 20)
        pause = min(self._options.interval, TICK * 2.0**self._hurries)
        if self._hurries == FIGHT:
            self._reporter.tell("it moves again and again: somebody else writes it, too")
        self._calm_until = moment + pause
