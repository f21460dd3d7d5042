"""Files that are whole or absent: atomic writes, private folders, locks that die with a process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from opslib.core.errors import LockBusy


def fsync_dir(folder: Path) -> None:
    """Make a rename in ``folder`` survive a crash."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o644, sync: bool = True) -> None:
    """Replace ``path`` by ``data`` so that a reader sees the old file or the new one, whole.

    ``mode`` is the mode of the new file. ``sync`` puts it on disk before returning,
    as evidence must be. Raises OSError as the system gives it, with the file's name; no
    partial file stays.
    """
    payload = data.encode() if isinstance(data, str) else data
    with _named(path):
        _replace(path, payload, mode, sync=sync)


def _replace(path: Path, payload: bytes, mode: int, *, sync: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if sync:
                os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    if sync:
        fsync_dir(path.parent)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error of the system name the file; a full disk is told without one."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def private_dir(path: Path) -> Path:
    """Create a folder that only its owner can enter, and return it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


@contextlib.contextmanager
def exclusive(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold an flock(2) on ``path``; the kernel frees it when the process dies.

    ``what`` names the thing that is locked, for the message. With ``wait`` the call
    blocks; otherwise LockBusy is raised at once, with the holder's process id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _named(path):
            stack.enter_context(_locked(path, what, wait=wait))
        yield


@contextlib.contextmanager
def _locked(path: Path, what: str, *, wait: bool) -> Iterator[None]:
    with open(path, "a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise LockBusy(
                f"{what} is in use by process {holder}",
                where=str(path),
                hint="wait for it to end, or stop that process",
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
