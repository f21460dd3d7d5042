"""One run of the wal probe: lock, room, warm-up, blocks with counters between them, result."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from array import array
from dataclasses import dataclass
from datetime import datetime, timezone
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Optional

from opslib.bench.probe import counters, facts, place, result, wal
from opslib.core.errors import InputError

Tell = Callable[[str, float, float], None]
"""Told between blocks: what is done, seconds done, seconds in all."""


def stamp() -> str:
    """Return now, RFC 3339 in UTC with microseconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextlib.contextmanager
def scheduled(*, realtime: bool) -> Iterator[None]:
    """Run before all ordinary processes (SCHED_RR), so that waiting for a CPU is not measured.

    Raises InputError where that is not permitted; see sched(7).
    """
    if not realtime:
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        raise InputError(
            "real-time scheduling is not permitted",
            where="--realtime",
            hint="as root or with CAP_SYS_NICE; without it the wait for CPUs is measured too",
        ) from None
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def silent(what: str, done: float, total: float) -> None:
    """Tell nobody."""
    del what, done, total


@contextlib.contextmanager
def stoppable(stop: wal.Stop) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the loop in order; a second one ends the process as usual."""

    def ask(number: int, frame: Optional[FrameType]) -> None:
        del frame
        stop.now(number)
        for one, before in old.items():
            signal.signal(one, before)

    old: Dict[int, Any] = {}
    try:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            old[int(one)] = signal.signal(one, ask)
    except ValueError:
        old.clear()  # not in the main thread, as in a notebook's widget: nothing to catch
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


def disk(
    folder: str,
    settings: wal.Settings = wal.Settings(),  # noqa: B008  # frozen
    *,
    any_filesystem: bool = False,
    tell: Tell = silent,
    stop: Optional[wal.Stop] = None,
) -> result.Result:
    """Measure a folder as etcd would use it, and return the raw latencies with what was around.

    Raises InputError for a folder that is none, is full, read-only or in memory; LockBusy where
    the disk is being measured. Ctrl-C leaves a result that says it is partial. All files of the
    probe are removed however it ends.
    """
    where = place.look(folder)
    if not any_filesystem:
        place.refuse_what_is_no_disk(where)
    with place.alone(where):
        place.need_room(where, settings.room)
        machine = facts.read(where)
        asked = stop or wal.Stop()
        with stoppable(asked), place.own_folder(where) as own:
            made = result.Maker("wal", wal.COLUMNS)
            made.note(place=facts.of_place(where), facts=machine)
            return _Run(where, own, settings, made, tell, asked).measured()


@dataclass(frozen=True)
class _Run:
    """One run: where, its own folder, and who is told."""

    where: place.Place
    own: str
    settings: wal.Settings
    made: result.Maker
    tell: Tell
    stop: wal.Stop

    def measured(self) -> result.Result:
        made, settings = self.made, self.settings
        made.note(started=stamp(), settings=settings.__dict__.copy())
        log = wal.Log(self.own, settings.record, settings.segment)
        rows = wal.Rows(wal.capacity(settings))
        try:
            with wal.quiet(), scheduled(realtime=settings.realtime):
                self.tell("warm-up", 0, settings.seconds)
                self._block(log, rows, settings.warmup_seconds)
                made.note(warmup={"seconds": settings.warmup_seconds, "samples": rows.count})
                self._blocks(log, rows)
        except OSError as error:
            made.failed(f"the disk refused a write: {error.strerror}")
        finally:
            log.close()
        return ended(made, log, self.stop)

    def _blocks(self, log: wal.Log, rows: wal.Rows) -> None:
        left = self.settings.seconds
        while left > 0 and not self.stop.signal:
            before = counters.snapshot(self.where.disks)
            started = stamp()
            self._block(log, rows, min(left, self.settings.block_seconds))
            told = counters.between(before, counters.snapshot(self.where.disks))
            left -= max(told["seconds"], 1e-3)
            self.made.block(rows.count, started, told, columns(rows))
            self.tell("measuring", self.settings.seconds - left, self.settings.seconds)
            _pause(min(self.settings.pause_seconds, left), self.stop)

    def _block(self, log: wal.Log, rows: wal.Rows, seconds: float) -> None:
        rows.count = 0
        wal.burst(log, rows, time.perf_counter_ns() + int(seconds * 1e9), self.stop.at)


def ended(made: result.Maker, log: wal.Log, stop: wal.Stop) -> result.Result:
    """Return the result, marked as partial where a signal ended the run."""
    made.note(ended=stamp(), preallocated=log.preallocated, cuts=log.cuts)
    if stop.signal:
        made.failed(f"stopped by {signal.Signals(stop.signal).name}", signum=stop.signal)
    return made.done()


def columns(rows: wal.Rows) -> List[array[int]]:
    """Return copies of what was measured: start, write, sync and kind."""
    count = rows.count
    return [
        rows.start[:count],
        rows.write[:count],
        rows.sync[:count],
        array("q", rows.kind[:count]),
    ]


def _pause(seconds: float, stop: wal.Stop) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stop.signal:
        time.sleep(min(0.2, max(0.0, until - time.monotonic())))
