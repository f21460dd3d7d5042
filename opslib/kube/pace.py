"""How many requests at once: as many as get more work done, and no more.

What a server can do at once is found by trying, as a climber finds the top: more at once while
more is answered in a second, back where it is not. Latency alone would mislead: an answer that
takes longer may have waited in a queue, which gains nothing, or for one fsync of etcd that serves
many writes together, which gains much
(https://etcd.io/docs/v3.5/op-guide/performance/). Once at the top it looks around now and then,
up and down in turn. More at once has its price: twice as many have to bring a tenth more, and
where fewer get about as much done, fewer it is.

A rate is a rough measure: other objects cost the server more, and others work there too. So a
look around is held against the windows before and after it, and fewer at once has to be better
than both, more only than the worse one: too few cost the server more for each write (1,000
creations took 12 s of its processors eight at once, 10 with 16, 7 with 32 and 6 with 64), too
many cost it nothing, as it says itself when it has enough. A refusal (429 of priority
and fairness, 502 to 504, no answer in time) halves the number, and nothing is sent for as long
as Retry-After asks. https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import TracebackType

LEAST, START, MOST = 1, 16, 64
"""Requests at once. Below sixteen nothing is learned that the first refusal would not teach; the
most is the number of connections that are kept (see ``client.connect``), and a third of the 200
writes that an API server takes at once from everybody (--max-mutating-requests-inflight)."""

PRICE = 0.15
"""What is climbed is rate / limit ** PRICE: twice as many at once have to bring 11 % more."""

LOOK_EVERY = 4
"""Windows between two looks around from the top."""

_STEP = 1.5
_FALL = 0.75
"""On the way up a rate is only much worse below this share of the one before."""
_WINDOW = 16
"""Answers from which something is learned, at least; two rounds of the limit else."""

_REFUSALS = frozenset({429, 502, 503, 504})
_MAX_PAUSE = 30.0


class Climb(StrEnum):
    """What the present limit is: on the way up, the top so far, or a trial beside the top."""

    RISING = "rising"
    TOP = "top"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Pace:
    """The number of requests at once, and where the search for the best one is.

    ``rate`` is in answers a second, at ``held``, the best limit so far; 0 before there was a
    window. ``tried`` and ``trial`` are the limit and the rate of a look around that is over, until
    the top was measured once more (0: none). ``looked`` is the last side that was tried from the
    top, ``windows`` counts since then.
    """

    limit: float = START
    climb: Climb = Climb.RISING
    rate: float = 0.0
    held: float = START
    tried: float = 0.0
    trial: float = 0.0
    windows: int = 0
    looked: Climb = Climb.UP

    @property
    def width(self) -> int:
        """How many requests may be under way."""
        return int(self.limit)


def refused(pace: Pace) -> Pace:
    """Return the pace after the server refused a request or did not answer in time."""
    half = max(float(LEAST), pace.limit / 2)
    return Pace(half, Climb.TOP, held=half, looked=Climb.DOWN)


def worth(rate: float, limit: float) -> float:
    """Return what a rate is worth that so many requests at once brought."""
    return float(rate / limit**PRICE)


def learned(pace: Pace, rate: float) -> Pace:
    """Return the pace after a window in which as many were under way as may be.

    ``rate`` is in answers a second.
    """
    if pace.climb is Climb.RISING:
        if rate < _FALL * pace.rate:
            return replace(pace, limit=pace.held, climb=Climb.TOP, windows=0)
        return _tried(replace(pace, rate=rate, held=pace.limit), Climb.RISING)
    if pace.climb is not Climb.TOP:  # a look around is over: back, and measure the top again
        return replace(pace, limit=pace.held, climb=Climb.TOP, tried=pace.limit, trial=rate)
    if pace.tried:
        return _compared(pace, rate)
    here = replace(pace, rate=rate, windows=pace.windows + 1)
    if here.windows < LOOK_EVERY:
        return here
    return _tried(here, Climb.DOWN if pace.looked is Climb.UP else Climb.UP)


def _compared(pace: Pace, rate: float) -> Pace:
    """Move to where a look around was, and on from there, or stay and forget it."""
    side = max if pace.looked is Climb.DOWN else min
    beside = side(pace.rate or rate, rate)
    if worth(pace.trial, pace.tried) < worth(beside, pace.held):
        return replace(pace, rate=rate, tried=0.0, trial=0.0, windows=1)
    moved = replace(pace, limit=pace.tried, held=pace.tried, rate=pace.trial, tried=0.0, trial=0.0)
    return _tried(moved, pace.looked)


def _tried(pace: Pace, way: Climb) -> Pace:
    """Return the pace with the next limit on the way, or at the top where there is none."""
    steps = {Climb.RISING: pace.limit * 2, Climb.DOWN: min(pace.limit / _STEP, pace.width - 1)}
    limit = steps.get(way, max(pace.limit * _STEP, pace.width + 1))
    limit = max(float(LEAST), min(float(MOST), limit))
    looked = pace.looked if way is Climb.RISING else way
    if int(limit) == pace.width:
        return replace(pace, climb=Climb.TOP, windows=0, looked=looked)
    return replace(pace, limit=float(limit), climb=way, windows=0, looked=looked)


@dataclass
class Turn:
    """One request under way; ``status`` and ``retry_after`` (seconds) of its answer, if any.

    ``sent`` is False where it was given up when its turn came.
    """

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
    _since: float = 0.0
    _answers: int = 0
    _full: bool = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait for a turn; the block sends one request and notes its answer.

        A block that ends with an error, or without a status, had no answer in time.
        """
        turn = self._begin()
        try:
            yield turn
        finally:
            self._end(turn)

    def _begin(self) -> Turn:
        with self._free:
            while True:
                left = self._quiet_until - self.clock()
                if left <= 0 and self._under_way < self.pace.width:
                    break
                self._free.wait(left if left > 0 else None)
            if not self._under_way:  # what was before has nothing to do with what comes
                self._new_window()
            self._under_way += 1
            self._full = self._full or self._under_way >= self.pace.width
            return Turn(self._generation)

    def _end(self, turn: Turn) -> None:
        with self._free:
            self._under_way -= 1
            if turn.sent and (not turn.status or turn.status in _REFUSALS):
                self._refuse(turn)
            elif turn.sent and turn.status < 300:
                self._see()  # an error in the request is found sooner than work is done
            self._free.notify()

    def _refuse(self, turn: Turn) -> None:
        """Slow down, once for all requests that were under way together."""
        pause = min(_MAX_PAUSE, turn.retry_after)
        self._quiet_until = max(self._quiet_until, self.clock() + pause)
        if turn.generation == self._generation:
            self._generation += 1
            self._turn_to(refused(self.pace))

    def _see(self) -> None:
        self._answers += 1
        if self._answers < max(_WINDOW, 2 * self.pace.width):
            return
        took = self.clock() - self._since
        if self._full and took > 0:
            self._turn_to(learned(self.pace, self._answers / took))
        else:
            self._new_window()

    def _turn_to(self, pace: Pace) -> None:
        self.pace = pace
        self.lowest = min(self.lowest, pace.limit)
        self.highest = max(self.highest, pace.limit)
        self._new_window()
        self._free.notify_all()  # there may be room for more, and a pause to wait for

    def _new_window(self) -> None:
        self._since, self._answers, self._full = self.clock(), 0, False


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
