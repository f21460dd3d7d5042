"""How busy the machine is: a thread that does a little now and then, as programs under test do."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

_SLEEP, _WORK = 0.1, 0.01
"""Seconds of rest and of processor time in a turn."""


class Witness:
    """Tells by how much its turns took longer than they would on a machine at rest.

    A bound in seconds that a program keeps is held against it times that: it cannot write in
    time what it was given no processor for.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        self._begun = time.monotonic()
        self._turns: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._work, name="witness", daemon=True)

    def _work(self) -> None:
        while not self._over.wait(_SLEEP):
            until = time.thread_time() + _WORK
            while time.thread_time() < until:
                pass
            now = time.monotonic()
            self._turns.append((now, now - self._begun))
            self._begun = now

    def slowness(self, seconds: float) -> float:
        """Return the factor by the longest turn of the last seconds, the present one included."""
        now = time.monotonic()
        took = [length for ended, length in self._turns if ended > now - seconds]
        return max(1.0, max([*took, now - self._begun]) / (_SLEEP + _WORK))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
