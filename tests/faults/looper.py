"""A loop in a process of its own, which a test freezes, kills, stops or gives a wrong clock."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import FrameType
from typing import Any, Self

from opslib.core import clock
from opslib.kube.client import Cluster, connect
from opslib.reconcile import session as sessions
from opslib.reconcile.loop import Loop, LoopOptions
from opslib.source.mirror import Source

LEASE_SECONDS = 6.0
"""Shorter than in life, so that a test sees it end; long enough for a holder on a busy machine."""


@dataclass(frozen=True)
class Job:
    """Whose loop it is, over what. ``said`` is the file for its lines.

    ``signal`` is sent to the loop by itself just before it sends its write of this ``number``
    to an object of the app (0: never): after everything that it asks itself before a write. A
    write waits for the end of one that is to stop it, so that those under way are the last.
    ``clock`` is a file with seconds by which the wall clock is wrong; "" for a right one.
    """

    kubeconfig: str
    repo: str
    app: str
    namespace: str
    said: str
    number: int = 0
    signal: int = 0
    clock: str = ""
    health_timeout: float = 60.0


def loops(job: Job) -> None:
    """Run the loop until SIGTERM; exits by itself with the loop's own end."""
    sessions.LEASE_SECONDS = LEASE_SECONDS
    if job.clock:
        _wrong_clock(Path(job.clock))
    stop = threading.Event()
    _strike(job, stop)

    def end(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one = sessions.open_session(
        connect(job.kubeconfig),
        Source(job.repo, "", "app"),
        app=job.app,
        namespace=job.namespace,
    )
    with open(job.said, "a", encoding="utf-8", buffering=1) as said:

        def say(line: str) -> None:
            said.write(f"{line}\n")

        options = LoopOptions(interval=1.0, health_timeout=job.health_timeout)
        Loop(one, options, stop, say).run()


def _strike(job: Job, stop: threading.Event) -> None:
    """Send the signal at the write of the test's choice."""
    count = itertools.count(1)
    lock = threading.Lock()
    real = Cluster._send  # the one place that every request goes through
    place = f"/namespaces/{job.namespace}/"

    def send(self: Cluster, method: str, path: str, **options: Any) -> Any:
        dry = "dryRun" in (options.get("query") or {})
        if job.signal and method != "GET" and not dry and place in path:
            with lock:
                if next(count) == job.number:
                    os.kill(os.getpid(), job.signal)
                    if job.signal == signal.SIGTERM:
                        stop.wait(60)  # the main thread may have to wait for a processor
        return real(self, method, path, **options)

    Cluster._send = send  # type: ignore[method-assign]  # in this process only


def _wrong_clock(offset: Path) -> None:
    """Let the wall clock be wrong by what the file says.

    This is the one seam: all of the kit asks ``opslib.core.clock`` for the time of day. The
    monotonic clock is the kernel's own, which nobody can set.
    """

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            right = datetime.now(UTC) + timedelta(seconds=float(offset.read_text() or 0))
            return cls.fromtimestamp(right.timestamp(), tz)

    setattr(clock, "datetime", Wrong)  # noqa: B010  # in this process only; no name of the module's own
