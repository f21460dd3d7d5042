"""Reads the contents of a long history in several processes, in order and within bounds."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from opslib.seal.scan.files import Scanned, scan_bytes
from opslib.source.blobs import Version

LONG = 3000
"""Commits from which more than one process is worth its start."""
MOST = 4
_BATCH = 100
_AHEAD = 3
_BYTES = 8 * 1024 * 1024
"""Bytes of one batch, about: a few large files are a batch of their own."""
_Work = list[tuple[bytes, str]]


def scanned(versions: Iterable[Version], commits: int) -> Iterator[tuple[Version, Scanned | None]]:
    """Yield each content with what it holds; None for one that was not handed out."""
    count = min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    if commits < LONG or count < 2:
        for one in versions:
            yield one, None if one.data is None else scan_bytes(one.data, one.path)
        return
    # Not forked: a process with threads must not be.
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        waiting: deque[tuple[list[Version], object]] = deque()
        for batch in _batches(versions):
            work = [(one.data or b"", one.path) for one in batch]
            waiting.append((_without(batch), pool.apply_async(_scan, (work,))))
            if len(waiting) > count * _AHEAD:
                yield from _answers(*waiting.popleft())
        while waiting:
            yield from _answers(*waiting.popleft())


def _scan(work: _Work) -> list[Scanned]:
    return [scan_bytes(data, path) for data, path in work]


def _answers(batch: list[Version], answer: object) -> Iterator[tuple[Version, Scanned | None]]:
    found: list[Scanned] = answer.get()  # type: ignore[attr-defined]  # its class has no public name
    for one, scan in zip(batch, found, strict=True):
        yield one, None if one.data is None else scan


def _without(batch: list[Version]) -> list[Version]:
    """Drop the contents, which the other process has now."""
    return [
        Version(one.id, one.path, one.commit, None if one.data is None else b"", one.missing)
        for one in batch
    ]


def _batches(versions: Iterable[Version]) -> Iterator[list[Version]]:
    source = iter(versions)
    while first := list(islice(source, 1)):
        batch, size = first, len(first[0].data or b"")
        while len(batch) < _BATCH and size < _BYTES:
            more = list(islice(source, 1))
            if not more:
                break
            batch += more
            size += len(more[0].data or b"")
        yield batch
