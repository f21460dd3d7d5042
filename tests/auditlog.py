"""The session's audit log, read whole: the API server may rotate it (at 50 MB) at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO


def lines(log: Path, since: float = 0.0) -> Iterator[bytes]:
    """Yield each line that was there at the call, the oldest first and none twice.

    ``since`` is a time: files that were written last before it are passed over.
    """
    with ExitStack() as stack:
        opened = [(os.fstat(one.fileno()), one) for one in _opened(log, stack)]
        for status, stream in sorted(opened, key=lambda one: one[0].st_mtime):
            if status.st_mtime < since:
                continue
            left = status.st_size
            while left > 0 and (line := stream.readline()):
                left -= len(line)
                yield line


def _opened(log: Path, stack: ExitStack) -> list[IO[bytes]]:
    """Open all files of a log; again where one was renamed between the list and the opening."""
    while True:
        with ExitStack() as trying:
            try:
                found: list[IO[bytes]] = [
                    trying.enter_context(path.open("rb")) for path in _files(log)
                ]
                there = {_identity(path.stat()) for path in _files(log)}
            except FileNotFoundError:
                continue
            opened = [_identity(os.fstat(one.fileno())) for one in found]
            if len(opened) == len(set(opened)) and set(opened) == there:
                stack.push(trying.pop_all())
                return found


def _files(log: Path) -> list[Path]:
    return sorted(log.parent.glob(f"{log.stem}*{log.suffix}"))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
