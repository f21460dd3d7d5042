"""How many requests at once: as many as the server works off without letting them wait.

The rule is that of TCP Vegas (Brakmo and Peterson, 1995, https://doi.org/10.1109/49.464716):
what an answer takes beyond the least that such an answer takes was spent waiting, so of the
requests under way that share is a queue, and a queue makes nothing faster. Few waiting: one
more at once. Many: one less. A refusal (429 of priority and fairness, 502 to 504, no answer in
time) halves the number, and nothing is sent for as long as Retry-After asks.
https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType

LEAST, START, MOST = 1, 4, 32
"""Requests at once. Two cores of an API server are saturated by four writers; the most is the
number of connections that are kept (see ``client.connect``)."""

FEW, MANY = 2.0, 4.0
"""Requests in the queue below which one more is tried, and above which there is one less.

Of two under way fewer than two wait: unless the server refuses, at least three are tried.
"""

_WINDOW = 8
"""Answers from which something is learned, at least; two rounds of the limit else."""

_REFUSALS = frozenset({429, 502, 503, 504})
_MAX_PAUSE = 30.0


@dataclass(frozen=True)
class Pace:
    """The number of requests at once, and whether it still rises fast: it never had to shrink."""

    limit: float = START
    rising: bool = True

    @property
    def width(self) -> int:
        """How many requests may be under way."""
        return int(self.limit)


def refused(pace: Pace) -> Pace:
    """Return the pace after the server refused a request or did not answer in time."""
    return Pace(max(float(LEAST), pace.limit / 2), rising=False)


def learned(pace: Pace, worked: float, took: float, *, used: bool) -> Pace:
    """Return the pace after some answers.

    ``took`` is how long they took together and ``worked`` how long they would have taken with
    nobody before them, in seconds; ``used`` whether as many were under way as may be.
    """
    if took <= 0:
        return pace
    queue = pace.width * (1 - min(1.0, worked / took))
    if queue > MANY:
        step = pace.limit / 4 if queue > 2 * MANY else 1
        return Pace(max(float(LEAST), pace.limit - step), rising=False)
    if queue < FEW and used:
        step = pace.limit / 2 if pace.rising else 1
        return replace(pace, limit=min(float(MOST), pace.limit + step))
    return replace(pace, rising=pace.rising and queue < FEW)


@dataclass
class _Least:
    """The least that an answer of one sort takes, in seconds: down fast, up slowly."""

    seconds: float

    def see(self, seconds: float) -> None:
        share = 0.5 if seconds < self.seconds else 0.01
        self.seconds += (seconds - self.seconds) * share


@dataclass
class Turn:
    """One request under way; ``status`` and ``retry_after`` (seconds) of its answer, if any.

    ``sent`` is False where it was given up when its turn came.
    """

    since: float
    generation: int
    status: int = 0
    retry_after: float = 0.0
    sent: bool = True


@dataclass
class Pacer:
    """Lets as many requests through at once as the pace says, and learns the pace from them.

    Safe to use from several threads. ``clock`` is in seconds.
    """

    pace: Pace = Pace()
    clock: Callable[[], float] = time.monotonic
    lowest: float = START
    highest: float = START
    _free: threading.Condition = field(default_factory=threading.Condition)
    _under_way: int = 0
    _quiet_until: float = 0.0
    _generation: int = 0
    _least: dict[str, _Least] = field(default_factory=dict)
    _seen: list[tuple[str, float]] = field(default_factory=list)
    _used: bool = False

    @contextlib.contextmanager
    def turn(self, sort: str) -> Iterator[Turn]:
        """Wait for a turn; the block sends one request of a sort and notes its answer.

        A block that ends with an error, or without a status, had no answer in time.
        """
        turn = self._begin()
        try:
            yield turn
        finally:
            self._end(turn, sort)

    def _begin(self) -> Turn:
        with self._free:
            while True:
                left = self._quiet_until - self.clock()
                if left <= 0 and self._under_way < self.pace.width:
                    break
                self._free.wait(left if left > 0 else None)
            self._under_way += 1
            self._used = self._used or self._under_way >= self.pace.width
            return Turn(self.clock(), self._generation)

    def _end(self, turn: Turn, sort: str) -> None:
        with self._free:
            took = self.clock() - turn.since
            self._under_way -= 1
            if turn.sent and (not turn.status or turn.status in _REFUSALS):
                self._refuse(turn)
            elif (
                turn.sent and turn.status < 300
            ):  # an error in the request is found sooner than work is done
                self._see(sort, took)
            self._free.notify_all()

    def _refuse(self, turn: Turn) -> None:
        """Slow down, once for all requests that were under way together."""
        pause = min(_MAX_PAUSE, turn.retry_after)
        self._quiet_until = max(self._quiet_until, self.clock() + pause)
        if turn.generation == self._generation:
            self._generation += 1
            self._turn_to(refused(self.pace))

    def _see(self, sort: str, took: float) -> None:
        if sort not in self._least:  # the first of its sort says what there is to compare with
            self._least[sort] = _Least(took)
            return
        self._least[sort].see(took)
        self._seen.append((sort, took))
        if len(self._seen) < max(_WINDOW, 2 * self.pace.width):
            return
        worked = sum(min(seconds, self._least[one].seconds) for one, seconds in self._seen)
        took = sum(seconds for _, seconds in self._seen)
        self._turn_to(learned(self.pace, worked, took, used=self._used))

    def _turn_to(self, pace: Pace) -> None:
        self.pace = pace
        self.lowest = min(self.lowest, pace.limit)
        self.highest = max(self.highest, pace.limit)
        self._seen.clear()
        self._used = False


class _Workers(ThreadPoolExecutor):
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown(wait=True, cancel_futures=kind is not None)


def workers() -> ThreadPoolExecutor:
    """Return threads for as many requests as there may ever be; a Pacer says how many go.

    Left by an error, such as an interruption, they end what is under way and begin nothing more.
    """
    return _Workers(MOST, thread_name_prefix="paced")
