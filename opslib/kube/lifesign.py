"""A sign of life on this machine: it tells at once that the holder of a lease is dead.

A Lease alone says so only when its term has run out. A holder also locks a file of its own,
by an flock(2) that the system frees with the process (https://man7.org/linux/man-pages/man2/flock.2.html).
Whoever finds that file unlocked knows that the holder is gone; whoever finds no file, or one
of another boot or machine, knows nothing and waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path

from opslib.core.settings import state_dir

_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Differs by machine and boot: on a shared folder, locks of other machines may not be seen."""


class LifeSign:
    """A holder's file, locked from ``show`` on until ``take_back`` or the end of the process."""

    def __init__(self, holder: str) -> None:
        self._path = _path(holder)
        self._handle = -1

    def show(self) -> None:
        """Lock the file; without a place for it there is no sign, and others wait."""
        if self._handle >= 0 or not (boot := _boot()):
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.pwrite(handle, boot, 0)
            except OSError:
                os.close(handle)
                raise
            self._handle = handle

    def take_back(self) -> None:
        """Remove the file."""
        if self._handle < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = -1


def gone(holder: str) -> bool:
    """Whether a holder is proven to be dead. False where nothing is known of it."""
    try:
        handle = os.open(_path(holder), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        boot = _boot()
        if not boot or os.pread(handle, 100, 0) != boot:
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(handle)


def forget(holder: str) -> None:
    """Remove the file of a holder whose lease was taken over."""
    with contextlib.suppress(OSError):
        _path(holder).unlink(missing_ok=True)


def _path(holder: str) -> Path:
    return state_dir() / "leases" / hashlib.sha256(holder.encode()).hexdigest()[:32]


def _boot() -> bytes:
    try:
        return _BOOT.read_bytes()
    except OSError:
        return b""
