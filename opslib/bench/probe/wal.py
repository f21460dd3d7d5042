"""Writes as etcd's write-ahead log does, and keeps how long each took.

From etcd's source (server/storage/wal, v3.6): a segment of 64,000,000 bytes is allocated ahead
under a temporary name (fallocate mode 0, or ftruncate where the file system has none); records
follow each other unaligned through the page cache; each is followed by one fdatasync(2); a full
segment is cut: truncate, sync, the next one's header, sync, rename, fsync of the folder.
https://github.com/etcd-io/etcd/tree/main/server/storage/wal

What is timed is the fdatasync, as etcd_disk_wal_fsync_duration_seconds does; the write before it is
kept beside. The loop allocates no list, prints nothing and runs without garbage collection.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import random
import time
from array import array
from dataclasses import dataclass
from typing import Iterator, List, Optional, Tuple

SEGMENT = 64 * 1000 * 1000
RECORD = 2300
"""Bytes of a record where nobody knows better: what the IBM article's etcd wrote (2019)."""

RECORD_SYNC, CUT_SYNC = 0, 1
COLUMNS = ("start_ns", "write_ns", "sync_ns", "block", "kind")
_VARIANTS = 64


@dataclass(frozen=True)
class Settings:
    """What one run of the probe does; times in seconds, sizes in bytes."""

    seconds: float = 60.0
    record: int = RECORD
    segment: int = SEGMENT
    block_seconds: float = 10.0
    pause_seconds: float = 0.0
    warmup_seconds: float = 5.0
    most_per_second: int = 40_000
    realtime: bool = False

    @property
    def room(self) -> int:
        """The space that is needed: the segment, the next one, the last one, and a reserve."""
        return 3 * self.segment + (32 << 20)


class Stop:
    """The end of a run: a moment that a signal brings forward."""

    def __init__(self) -> None:
        self.at = [2**63 - 1]
        self.signal = 0

    def now(self, signum: int) -> None:
        """End the loop after the running fdatasync: what it measured is kept."""
        self.signal = signum
        self.at[0] = 0


class Rows:
    """What was measured: one row a sync, arrays allocated before the loop."""

    def __init__(self, capacity: int) -> None:
        self.start = array("q", bytes(8 * capacity))
        self.write = array("q", bytes(8 * capacity))
        self.sync = array("q", bytes(8 * capacity))
        self.kind = array("b", bytes(capacity))
        self.capacity = capacity
        self.count = 0


class Log:
    """A log of segments in a folder of its own."""

    def __init__(self, folder: str, record: int, segment: int) -> None:
        self.folder = folder
        self.segment = segment
        self.record = record
        size = record + _VARIANTS
        # Contents that no disk can compress or has seen; not for secrecy, and the same each time.
        noise = random.Random(2300).getrandbits(8 * size).to_bytes(size, "little")  # noqa: S311
        self.records = [memoryview(noise)[at : at + record] for at in range(_VARIANTS)]
        self.preallocated = "fallocate"
        self.cuts = 0
        self._sequence = 0
        self._at = 0
        self._previous: Optional[str] = None
        self._folder_handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.handle, self.path = self._next()
        self._name_it()

    def _next(self) -> Tuple[int, str]:
        """Allocate a segment under its temporary name, as etcd's pipeline does ahead of time."""
        path = os.path.join(self.folder, f"{self._sequence % 2}.tmp")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        if not _fallocate(handle, self.segment):
            self.preallocated = "truncate"
            os.ftruncate(handle, self.segment)
        return handle, path

    def _name_it(self) -> None:
        name = os.path.join(self.folder, f"{self._sequence:016x}.wal")
        os.rename(self.path, name)
        self.path = name
        os.fsync(self._folder_handle)
        self._sequence += 1
        self._ahead = self._next()

    @property
    def left(self) -> int:
        """How many records the segment still takes; at least one, as etcd cuts after it is full."""
        return max(1, -(-(self.segment - self._at) // self.record))

    def wrote(self, records: int) -> None:
        self._at += records * self.record

    @property
    def full(self) -> bool:
        return self._at >= self.segment

    def cut(self, rows: Rows) -> None:
        """Close a full segment and go on in the next; its two syncs are samples too."""
        clock = time.perf_counter_ns
        started = clock()
        os.ftruncate(self.handle, self._at)
        middle = clock()
        os.fdatasync(self.handle)
        _keep(rows, started, middle, clock())
        handle, self.path = self._ahead
        started = clock()
        os.write(handle, self.records[0][:512])
        middle = clock()
        os.fdatasync(handle)
        old, self.handle, self._at = self.handle, handle, 512
        ended_path, self._previous = self._previous, self._renamed()
        _keep(rows, started, middle, clock())
        os.close(old)
        self._ahead = self._next()
        self.cuts += 1
        if ended_path:
            os.unlink(ended_path)

    def _renamed(self) -> str:
        """Give the new segment its name, durably; return the name of the one before."""
        before = os.path.join(self.folder, f"{self._sequence - 1:016x}.wal")
        name = os.path.join(self.folder, f"{self._sequence:016x}.wal")
        os.rename(self.path, name)
        os.fsync(self._folder_handle)
        self.path = name
        self._sequence += 1
        return before

    def close(self) -> None:
        for handle in (self.handle, self._ahead[0], self._folder_handle):
            os.close(handle)


def _keep(rows: Rows, started: int, middle: int, ended: int) -> None:
    if rows.count < rows.capacity:
        at = rows.count
        rows.start[at], rows.write[at], rows.sync[at] = started, middle - started, ended - middle
        rows.kind[at] = CUT_SYNC
        rows.count += 1


def _fallocate(handle: int, size: int) -> bool:
    """Allocate as etcd does: fallocate(2) itself, whose stand-in in glibc would write zeros."""
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate64
    except (OSError, AttributeError):
        return False
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if function(handle, 0, 0, size) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_ROOM:
        raise OSError(code, os.strerror(code))
    return False


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Every other refusal means that the file system has no such thing, as etcd takes it."""


def burst(log: Log, rows: Rows, until: int, stop: List[int]) -> None:
    """Append records until a moment (perf_counter_ns), a stop, or the rows are full."""
    clock, write, sync = time.perf_counter_ns, os.write, os.fdatasync
    starts, writes, syncs = rows.start, rows.write, rows.sync
    records, mask = log.records, _VARIANTS - 1
    while rows.count < rows.capacity - 2 and clock() < min(until, stop[0]):
        handle = log.handle
        first = at = rows.count
        last = at + min(log.left, rows.capacity - 2 - at)
        while at < last:
            before = clock()
            write(handle, records[at & mask])
            middle = clock()
            sync(handle)
            after = clock()
            starts[at] = before
            writes[at] = middle - before
            syncs[at] = after - middle
            at += 1
            if after >= until or after >= stop[0]:
                break
        rows.count = at
        rows.kind[first:at] = array("b", bytes(at - first))
        log.wrote(at - first)
        if log.full:
            log.cut(rows)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out of what is timed."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def capacity(settings: Settings) -> int:
    """Return how many rows one block may have: memory is bounded at 25 bytes a row."""
    return int(min(settings.block_seconds * settings.most_per_second, 2_000_000)) + 16
