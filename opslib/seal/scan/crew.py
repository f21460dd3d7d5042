"""Reads the contents of a long history in several processes, in order and within bounds."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import IO, Any, Self

from opslib.core.errors import OpslibError
from opslib.core.proc import end_group
from opslib.seal.scan.files import Scanned, scan_bytes
from opslib.source.blobs import Version

LONG = 3000
"""Commits from which more than one process is worth its start."""
MOST = 4
_BATCH = 100
_BYTES = 4 * 1024 * 1024
"""Bytes of one batch, about: a few large files are a batch of their own."""
_SIZE = struct.Struct(">Q")


def scanned(versions: Iterable[Version], commits: int) -> Iterator[tuple[Version, Scanned | None]]:
    """Yield each content with what it holds; None for one that was not handed out."""
    count = min(MOST, _cores())
    if commits < LONG or count < 2:
        for one in versions:
            yield one, None if one.data is None else scan_bytes(one.data, one.path)
        return
    with ExitStack() as stack:
        hands = [stack.enter_context(_Hand()) for _ in range(count)]
        waiting: deque[tuple[_Hand, list[Version]]] = deque()
        for number, batch in enumerate(_batches(versions)):
            hand = hands[number % count]
            if len(waiting) == count:  # each has one batch at a time: no pipe is ever full
                yield from _answers(*waiting.popleft())
            hand.give([(one.data or b"", one.path) for one in batch])
            waiting.append((hand, _without(batch)))
        while waiting:
            yield from _answers(*waiting.popleft())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


class _Hand:
    """One process that reads batches: not forked, for this one may have threads."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "opslib.seal.scan.crew"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        end_group(self._process.pid)
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def give(self, work: list[tuple[bytes, str]]) -> None:
        if self._process.stdin:
            _send(self._process.stdin, work)

    def answer(self) -> list[Scanned]:
        found = _receive(self._process.stdout) if self._process.stdout else None
        if found is None:
            raise OpslibError("a process that reads the history ended", where="opslib scan")
        return list(found)


def _answers(hand: _Hand, batch: list[Version]) -> Iterator[tuple[Version, Scanned | None]]:
    for one, scan in zip(batch, hand.answer(), strict=True):
        yield one, None if one.data is None else scan


def _without(batch: list[Version]) -> list[Version]:
    """Drop the contents, which the other process has now."""
    return [
        Version(one.id, one.path, one.commit, None if one.data is None else b"", one.missing)
        for one in batch
    ]


def _batches(versions: Iterable[Version]) -> Iterator[list[Version]]:
    batch: list[Version] = []
    size = 0
    for one in versions:
        batch.append(one)
        size += len(one.data or b"")
        if len(batch) >= _BATCH or size >= _BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _send(stream: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value)
    stream.write(_SIZE.pack(len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    """Read what the other end of our own pipe sent; None at its end."""
    head = stream.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    return pickle.loads(stream.read(_SIZE.unpack(head)[0]))  # noqa: S301  # our own process


def _work() -> None:
    while (work := _receive(sys.stdin.buffer)) is not None:
        _send(sys.stdout.buffer, [scan_bytes(data, path) for data, path in work])


if __name__ == "__main__":
    _work()
