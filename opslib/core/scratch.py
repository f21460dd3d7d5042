"""Private folders for a short while: gone with their block, and after kill -9 with the next one.

They lie together in one folder of this user's, so that a start looks at its own and not at all
that a machine has in its temporary folder. Each is locked as long as its process lives; what
nobody holds any more is removed by whoever makes the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NEW = ".new-"
"""How the name of a folder begins that is not locked yet; an old one never will be."""
_OLD = 3600.0


@dataclass
class Scratch:
    """A folder that only this user can enter, and the lock that keeps it."""

    path: Path
    _handle: int

    def remove(self) -> None:
        """Remove it with all that is in it; the second time does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


def make(prefix: str = "", *, base: str = "") -> Scratch:
    """Make a folder below ``base``, by default the temporary folder of the system.

    Its path is ``base`` and 28 bytes at most, and the prefix. Removes what dead processes left.
    Raises OSError.
    """
    base = base or tempfile.gettempdir()
    place = _own_place(base)
    if place is None:
        return Scratch(Path(tempfile.mkdtemp(prefix="opslib-", dir=base)), -1)
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=place))
    handle = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # without locks it is nobody's, and stays
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    path = new.rename(place / f"{prefix}{secrets.token_hex(4)}")
    _sweep(place)
    return Scratch(path, handle)


@contextlib.contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """Yield a folder that is removed when the block ends."""
    made = make(prefix)
    try:
        yield made.path
    finally:
        made.remove()


def _own_place(base: str) -> Path | None:
    """Return this user's folder; None where somebody else was first."""
    place = Path(base, f"opslib-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    return place if private and found.st_uid == os.geteuid() else None


def _sweep(place: Path) -> None:
    for one in list(os.scandir(place)):
        with contextlib.suppress(OSError):  # somebody else removes it, or still holds it
            if one.name.startswith(_NEW) and time.time() - one.stat().st_mtime < _OLD:
                continue
            handle = os.open(one.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(one.path, ignore_errors=True)
            finally:
                os.close(handle)
