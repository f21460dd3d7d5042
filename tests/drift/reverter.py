"""A process that reverts, and dies by SIGKILL at a step of the test's choice."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.drift.revert import Revert
from opslib.drift.reverting import apply_revert
from opslib.kube.client import Cluster, connect
from opslib.kube.discovery import Discovery
from opslib.reconcile.session import Session

WRITTEN, NOT_OK = 0, 3
_FILES = ("fsync", "replace", "fdopen", "fchmod")
"""The calls of the system by which a file comes to be: opened, of its mode, on disk, in place."""


@dataclass(frozen=True)
class Job:
    """What is reverted, and where its evidence goes."""

    kubeconfig: str
    session: Session
    plan: Revert
    evidence: Path


class Counter:
    """Counts the steps of the revert itself, and kills the process at one of them.

    A step is the moment before and the one after each request that goes out, and each call of
    the system that writes a file.
    """

    def __init__(self, number: int) -> None:
        self._steps = itertools.count(1)
        self._number = number
        self._lock = threading.Lock()
        self.seen = 0
        self.on = False

    def step(self) -> None:
        """Count one step, and die at it if it is the one."""
        if not self.on:
            return
        with self._lock:
            self.seen = next(self._steps)
            if self.seen == self._number:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call with a step before and after it."""

        def counted(*words: Any, **options: Any) -> Any:
            self.step()
            answer = call(*words, **options)
            self.step()
            return answer

        return counted


def revert(job: Job, number: int, told: Path) -> None:
    """Revert as a process of its own would; die at the step of this number; exits by itself."""
    counter = Counter(number)
    job.session.cluster = connect(job.kubeconfig)  # sockets are not shared with the parent
    job.session.discovery = Discovery(job.session.cluster)
    Cluster._send = counter.around(Cluster._send)  # type: ignore[method-assign]  # here only
    for name in _FILES:
        setattr(os, name, counter.around(getattr(os, name)))
    counter.on = True
    applied = apply_revert(job.session, job.plan, evidence=job.evidence)
    counter.on = False
    told.write_text(str(counter.seen))
    os._exit(WRITTEN if applied.ok else NOT_OK)
