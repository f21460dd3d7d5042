"""Progress on a terminal: a bar for whatever takes longer than two seconds."""

from __future__ import annotations

import re
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

SHOW_AFTER = 1.0
"""Seconds before anything is shown: what is quick needs no bar."""

LINE_EVERY = 5.0
"""Seconds between two lines where standard error is not a terminal."""

_NUMBER = re.compile(r"[0-9]+")
"""A label that only counts on is the same label: no line of its own."""


class Bar:
    """Progress on standard error: a live bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._told = 0.0
        self._label = ""
        self._live: Any = None
        self._task: Any = None
        self._lock = threading.Lock()
        self._terminal = sys.stderr.isatty()

    def update(self, label: str, done: float = 0, total: float | None = None) -> None:
        """Show what is being done; safe to call from any thread."""
        with self._lock:
            if time.monotonic() - self._started < SHOW_AFTER:
                return
            if self._terminal:
                self._draw(label, done, total)
            else:
                self._line(label, done, total)

    def _line(self, label: str, done: float, total: float | None) -> None:
        what = _NUMBER.sub("", label)
        if what == self._label and time.monotonic() - self._told < LINE_EVERY:
            return
        self._label, self._told = what, time.monotonic()
        # A run's steps are counted in its label already.
        count = f" {done:.0f} of {total:.0f}" if total and not label.startswith("step ") else ""
        print(f"… {label}{count}", file=sys.stderr, flush=True)  # noqa: T201  # this is its job

    def _draw(self, label: str, done: float, total: float | None) -> None:
        if self._live is None:
            from rich import progress as bars  # noqa: PLC0415  # only where a bar is shown
            from rich.console import Console  # noqa: PLC0415  # only where a bar is shown

            self._live = bars.Progress(
                bars.SpinnerColumn(),
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                bars.TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._live.start()
            self._task = self._live.add_task(label, total=total)
        self._live.update(self._task, description=label, completed=done, total=total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None
            self._started = float("inf")
