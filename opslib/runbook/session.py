"""One execution as the engine sees it: limits, wishes to stop, and who wants to know."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opslib.core.progress import SILENT, Progress
from opslib.runbook.outcome import Ending, Outcome, RunError, ending

GRACE = 10.0
"""Seconds that an interrupted cell has for its clean-up; Kubernetes gives a pod 30 in all."""


class Stopper:
    """Carries the wish to stop from a signal handler, or any thread, into the event loop."""

    def __init__(self) -> None:
        self.why: Ending | None = None
        self.hurry = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._hurry = asyncio.Event()
        self._lock = threading.RLock()

    def request(self, why: Ending) -> None:
        """Ask for a stop; the second time, without grace."""
        with self._lock:
            self.hurry = self.why is not None
            self.why = self.why or why
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._tell)

    def attach(self) -> None:
        """Bind to the running loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._tell()

    def _tell(self) -> None:
        if self.why is not None:
            self._event.set()
        if self.hurry:
            self._hurry.set()

    async def asked(self) -> None:
        """Return once a stop is asked for."""
        await self._event.wait()

    async def asked_twice(self) -> None:
        """Return once a stop is asked for again."""
        await self._hurry.wait()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Turn SIGINT, SIGTERM and SIGHUP into wishes, where this thread may handle signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _frame: object) -> None:
            self.request(stopped_by(signal.Signals(number)))

        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in wanted}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)


def stopped_by(number: signal.Signals) -> Ending:
    """Return the ending that a signal means: 130 for Ctrl-C, 143 for the others."""
    error = RunError("Interrupted", f"the run was stopped by {number.name}")
    return ending(Outcome.INTERRUPTED, error, 130 if number == signal.SIGINT else 143)


def _no_event(name: str, /, **fields: Any) -> None:
    del name, fields


@dataclass
class Session:
    """What one execution needs to know.

    ``save`` writes the notebook (second argument: put it on disk for good), ``apart`` one
    payload of a large output (None: they stay in the notebook). ``deadline``,
    ``cell_timeout`` and ``grace`` are seconds; ``expected`` is how long earlier runs took.
    ``fence`` tells whether the run's lock is still held. ``calls`` answers what the kernel
    asks of its runner (see ``channel``).
    ``env`` is the kernel's whole environment. ``started`` is when the run began, by the
    monotonic clock: its deadline counts from there. ``ending`` is set by the engine.
    """

    save: Callable[[Any, bool], None]
    apart: Callable[[str, str], object] | None = None
    event: Callable[..., None] = _no_event
    calls: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None
    progress: Progress = SILENT
    cwd: Path = field(default_factory=Path.cwd)
    env: Mapping[str, str] | None = None
    deadline: float | None = None
    cell_timeout: float | None = None
    grace: float = GRACE
    expected: float | None = None
    fence: Callable[[], bool] | None = None
    started: float = field(default_factory=time.monotonic)
    stopper: Stopper = field(default_factory=Stopper)
    ending: Ending | None = None

    def left(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without one."""
        if self.deadline is None:
            return None
        return max(0.0, self.started + self.deadline - time.monotonic())

    def limit(self, step: float | None = None) -> float | None:
        """Return the seconds that the next cell may take, and None for no limit.

        ``step`` is the cell's own time limit; it takes the place of that for all cells.
        """
        limits = [one for one in (self.left(), step or self.cell_timeout) if one is not None]
        return min(limits) if limits else None

    def too_late(self, step: float | None = None) -> Ending:
        """Return the ending for a time limit that has just passed."""
        if self.left() == 0.0:
            text = f"the run did not end within its deadline of {self.deadline:g} s"
            return ending(Outcome.TIMEOUT, RunError("DeadlineExceeded", text))
        text = f"the cell did not end within {step or self.cell_timeout:g} s"
        return ending(Outcome.TIMEOUT, RunError("CellTimeout", text))

    def cleaned_up(self, why: Ending) -> Ending:
        """Add to why a cell was interrupted that the deadline passed during its clean-up."""
        error = why.error
        if self.left() != 0.0 or error is None or error.name == "DeadlineExceeded":
            return why
        text = f"{error.message}; the run's deadline of {self.deadline:g} s passed in its clean-up"
        return replace(why, error=replace(error, message=text))
