"""The processes of one sandbox, found by the program that they run and not by a remembered id.

A process belongs to a sandbox when the path that it was started as lies in the sandbox's own
folder. So an id that was given to another process since, a lost pid file, or a start that was
killed half way cannot mislead: nothing else is ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_KILL_SECONDS = 10.0
"""How long the system may take to end a process that got SIGKILL."""


def owned(folder: Path) -> dict[str, list[int]]:
    """Return the ids of the running processes started from ``folder``, by program name."""
    prefix = f"{folder}{os.sep}"
    found: dict[str, list[int]] = {}
    for pid, command in _table():
        if command.startswith(prefix):
            name = command[len(prefix) :].split(" ", 1)[0].rpartition(os.sep)[2]
            found.setdefault(name, []).append(pid)
    return found


def end(folder: Path, *, names: Iterable[str] | None = None, grace: float = 0.0) -> list[str]:
    """End the processes of ``folder`` (or those of them that are named); return what was ended.

    They get SIGTERM and ``grace`` seconds to follow it, then SIGKILL. Returns once they are gone.
    """
    wanted = None if names is None else set(names)

    def left() -> dict[str, list[int]]:
        return {n: pids for n, pids in owned(folder).items() if wanted is None or n in wanted}

    targets = [pid for pids in left().values() for pid in pids]
    ended = sorted(left())
    if grace > 0:
        _signal_all(folder, left(), signal.SIGTERM)
        _wait_until_gone(targets, grace)
    deadline = time.monotonic() + _KILL_SECONDS
    while (now := left()) and time.monotonic() < deadline:
        targets += [pid for pids in now.values() for pid in pids]
        _signal_all(folder, now, signal.SIGKILL)
        time.sleep(0.02)
    _wait_until_gone(targets, _KILL_SECONDS)
    return ended


def gone(pid: int) -> bool:
    """Tell whether a process has ended, its sockets and files being closed.

    A process that is ending loses its command line first and its sockets some milliseconds
    later, with its last thread; only as a zombie without other threads does it hold no port.
    """
    if not sys.platform.startswith("linux"):
        return _program(pid) is None
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            ended = stream.read().rpartition(b")")[2].split()[0] in {b"Z", b"X"}
        return ended and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True


def _wait_until_gone(pids: Iterable[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not all(map(gone, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _signal_all(folder: Path, processes: dict[str, list[int]], signum: signal.Signals) -> None:
    for pids in processes.values():
        for pid in pids:
            _signal(folder, pid, signum)


def _signal(folder: Path, pid: int, signum: signal.Signals) -> None:
    """Signal a process after making sure, while holding on to it, that it is still ours."""
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            os.kill(pid, signum)
            return
        handle = os.pidfd_open(pid)
        try:
            if (_program(pid) or "").startswith(f"{folder}{os.sep}"):
                signal.pidfd_send_signal(handle, signum)
        finally:
            os.close(handle)


def _table() -> Iterator[tuple[int, str]]:
    if not sys.platform.startswith("linux"):
        yield from _table_of_ps()
        return
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (program := _program(int(entry))):
            yield int(entry), program


def _program(pid: int) -> str | None:
    """Return the path that a process was started as; None for one that is gone or a zombie."""
    if not sys.platform.startswith("linux"):
        return dict(_table_of_ps()).get(pid)
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            first = stream.read(4096).split(b"\0", 1)[0]
    except OSError:
        return None
    return os.fsdecode(first) or None


def _table_of_ps() -> Iterator[tuple[int, str]]:
    args = ["/bin/ps", "-axwwo", "pid=,command="]
    listing = subprocess.run(args, capture_output=True, check=False, timeout=10).stdout
    yield from parse_ps(os.fsdecode(listing))


def parse_ps(listing: str) -> Iterator[tuple[int, str]]:
    """Read lines of a process id and a command; the command's path may hold spaces."""
    for line in listing.splitlines():
        pid, _, command = line.strip().partition(" ")
        if pid.isdigit():
            yield int(pid), command.lstrip()
