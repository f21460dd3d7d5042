"""A few records a second for hours, with what the machine does in each window beside them.

The rate is low enough that the probe costs under 1 % of one CPU and is no load of its own; the
moments are random, so that no clock of anybody else is hit or missed each time.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from typing import Optional

from opslib.bench.probe import counters, facts, place, result, run, wal


@dataclass(frozen=True)
class Settings:
    """``seconds`` in all, records a second, seconds of a window, bytes of a record."""

    seconds: float = 3600.0
    rate: float = 10.0
    window: float = 10.0
    record: int = wal.RECORD
    segment: int = wal.SEGMENT

    @property
    def room(self) -> int:
        return 3 * self.segment + (32 << 20)


def watch(
    folder: str,
    settings: Settings = Settings(),  # frozen
    *,
    any_filesystem: bool = False,
    tell: run.Tell = run.silent,
    stop: Optional[wal.Stop] = None,
) -> result.Result:
    """Watch a folder's disk and return a result of windows; refuses and stops as ``run.disk``."""
    where = place.look(folder)
    if not any_filesystem:
        place.refuse_what_is_no_disk(where)
    with place.alone(where):
        place.need_room(where, settings.room)
        made = result.Maker("watch", wal.COLUMNS)
        made.note(place=facts.of_place(where), facts=facts.read(where), started=run.stamp())
        made.note(settings=settings.__dict__.copy())
        asked = stop or wal.Stop()
        with run.stoppable(asked), place.own_folder(where) as own:
            return _Watch(where, settings, made, tell, asked).measured(own)


@dataclass(frozen=True)
class _Watch:
    """One watch: where, how, and who is told."""

    where: place.Place
    settings: Settings
    made: result.Maker
    tell: run.Tell
    stop: wal.Stop

    def measured(self, own: str) -> result.Result:
        log = wal.Log(own, self.settings.record, self.settings.segment)
        try:
            self._windows(log)
        except OSError as error:
            self.made.failed(f"the disk refused a write: {error.strerror}")
        finally:
            log.close()
        return run.ended(self.made, log, self.stop)

    def _windows(self, log: wal.Log) -> None:
        settings, disks = self.settings, self.where.disks
        rows = wal.Rows(int(settings.rate * settings.window * 2) + 16)
        began = time.perf_counter()
        before = counters.snapshot(disks)
        number, done = 1, 0.0
        while done < settings.seconds - 1e-3 and not self.stop.signal:
            started = run.stamp()
            self._window(log, rows, began + min(number * settings.window, settings.seconds))
            after = counters.snapshot(disks)
            told = counters.between(before, after)
            self.made.block(rows.count, started, told, run.columns(rows))
            before, number = after, number + 1
            done = time.perf_counter() - began
            self.tell("watching", done, settings.seconds)

    def _window(self, log: wal.Log, rows: wal.Rows, until: float) -> None:
        rows.count = 0
        while not self.stop.signal:
            pause = random.uniform(0.5, 1.5) / self.settings.rate  # noqa: S311  # not for secrecy
            left = until - time.perf_counter()
            time.sleep(max(0.0, min(pause, left)))
            if left <= pause or rows.count >= rows.capacity - 2:
                return
            one(log, rows)


def one(log: wal.Log, rows: wal.Rows) -> None:
    """Append one record and keep how long its fdatasync took."""
    clock = time.perf_counter_ns
    at = rows.count
    before = clock()
    os.write(log.handle, log.records[at % len(log.records)])
    middle = clock()
    os.fdatasync(log.handle)
    after = clock()
    rows.start[at], rows.write[at], rows.sync[at] = before, middle - before, after - middle
    rows.kind[at] = wal.RECORD_SYNC
    rows.count = at + 1
    log.wrote(1)
    if log.full:
        log.cut(rows)
