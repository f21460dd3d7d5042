"""The log beside image pulls: layers written, synced and unpacked by N processes at once.

What a pull does to a disk, as containerd does it: the blob is written in pieces as the network
brings it and synced once when it is whole (content/local/writer.go, Commit), then it is unpacked
into many small files that nobody syncs, so the kernel writes them back behind.
https://github.com/containerd/containerd

Each pull is a process of its own: threads would take turns with the probe itself.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Tuple

from opslib.bench.probe import counters, facts, place, result, run, wal

# -I -S: nothing but the standard library, and no variable of the environment is heeded.
_PULL = """
import os, sys, time
folder, layer, rate, parent = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
piece = os.urandom(1 << 20)
os.makedirs(folder)
while os.getppid() == parent:
    blob = os.path.join(folder, "blob")
    handle = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    began, done = time.monotonic(), 0
    while done < layer and os.getppid() == parent:
        done += os.write(handle, piece[: layer - done])
        time.sleep(max(0.0, done / rate - (time.monotonic() - began)))
    os.fsync(handle)
    os.close(handle)
    size = 64 << 10
    for number in range(layer // size):
        with open(os.path.join(folder, "f%d" % (number % 512)), "wb") as file:
            file.write(piece[:size])
"""


@dataclass(frozen=True)
class Settings:
    """``pulls``: how many at once, phase by phase; bytes of a layer; bytes a second of one pull."""

    pulls: Tuple[int, ...] = (1, 5, 20, 50)
    phase_seconds: float = 20.0
    rounds: int = 2
    layer: int = 32 << 20
    rate: float = 25e6
    record: int = wal.RECORD
    segment: int = wal.SEGMENT

    @property
    def room(self) -> int:
        """The log's segments, and a blob and its files for each of the most pulls at once."""
        return 3 * self.segment + max(self.pulls) * 2 * self.layer + (64 << 20)


def storm(
    folder: str,
    settings: Settings = Settings(),  # frozen
    *,
    any_filesystem: bool = False,
    tell: run.Tell = run.silent,
    stop: Optional[wal.Stop] = None,
) -> result.Result:
    """Measure the log without pulls and beside 1, 5, 20, 50, in a new random order each round.

    Each block of the result says its ``pulls``. Refuses and stops as ``run.disk``.
    """
    where = place.look(folder)
    if not any_filesystem:
        place.refuse_what_is_no_disk(where)
    with place.alone(where):
        place.need_room(where, settings.room)
        made = result.Maker("storm", wal.COLUMNS)
        made.note(place=facts.of_place(where), facts=facts.read(where), started=run.stamp())
        made.note(settings={**settings.__dict__, "pulls": list(settings.pulls)})
        asked = stop or wal.Stop()
        with run.stoppable(asked), place.own_folder(where) as own:
            return _Storm(where, settings, made, tell, asked).measured(own)


@dataclass(frozen=True)
class _Storm:
    where: place.Place
    settings: Settings
    made: result.Maker
    tell: run.Tell
    stop: wal.Stop

    def measured(self, own: str) -> result.Result:
        log = wal.Log(own, self.settings.record, self.settings.segment)
        wanted = wal.Settings(block_seconds=self.settings.phase_seconds)
        rows = wal.Rows(wal.capacity(wanted))
        try:
            with wal.quiet():
                wal.burst(log, rows, _after(min(2.0, self.settings.phase_seconds)), self.stop.at)
                self._phases(own, log, rows)
        except OSError as error:
            self.made.failed(f"the disk refused a write: {error.strerror}")
        finally:
            log.close()
        return run.ended(self.made, log, self.stop)

    def _phases(self, own: str, log: wal.Log, rows: wal.Rows) -> None:
        order: List[int] = []
        for _ in range(self.settings.rounds):
            order += random.sample([0, *self.settings.pulls], len(self.settings.pulls) + 1)
        for number, pulls in enumerate(order):
            if self.stop.signal:
                return
            self.tell(f"log beside {pulls} pulls", number, len(order))
            with pulling(own, pulls, self.settings):
                self._phase(log, rows, pulls)

    def _phase(self, log: wal.Log, rows: wal.Rows, pulls: int) -> None:
        before, started = counters.snapshot(self.where.disks), run.stamp()
        rows.count = 0
        wal.burst(log, rows, _after(self.settings.phase_seconds), self.stop.at)
        told: Dict[str, Any] = counters.between(before, counters.snapshot(self.where.disks))
        self.made.block(rows.count, started, {**told, "pulls": pulls}, run.columns(rows))


def _after(seconds: float) -> int:
    return time.perf_counter_ns() + int(seconds * 1e9)


@contextlib.contextmanager
def pulling(own: str, count: int, settings: Settings) -> Iterator[None]:
    """Keep ``count`` pulls running in folders of their own; end them and remove what they wrote."""
    started: List["subprocess.Popen[bytes]"] = []
    folders = [os.path.join(own, f"pull-{number}") for number in range(count)]
    try:
        for folder in folders:
            words = [sys.executable, "-I", "-S", "-c", _PULL, folder, str(settings.layer)]
            words += [str(settings.rate), str(os.getpid())]
            started.append(subprocess.Popen(words, stderr=subprocess.DEVNULL))
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
        for folder in folders:
            place.remove(folder)
        # What was left to write back would be the next phase's burden.
        os.sync()
