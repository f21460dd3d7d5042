"""Files of a command: all of them are written, or none; the place is told, and what to do.

Every text is on the disk, beside its target, before the first target is replaced: a full disk
or a folder that may not be written shows while nothing has changed yet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from opslib.core.errors import InputError, OpslibError
from opslib.core.files import fsync_dir

_MODE = 0o644
_PRIVATE = 0o600
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def save(path: Path, data: bytes | str, *, private: bool = False) -> None:
    """Write one file whole; see ``save_all``."""
    save_all({path: data}, private=private)


def save_all(files: Mapping[Path, bytes | str], *, private: bool = False) -> None:
    """Replace all files, or none. A file keeps its mode, a link what it leads to.

    ``private``: only the owner may read them. What is no regular file (/dev/stdout) is written
    to as it is. Raises InputError for a place that cannot be written, OpslibError for a full
    disk; each names the place.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            payload = data.encode() if isinstance(data, str) else data
            with _told(path):
                _stage(path, payload, staged, private=private)
        _replace(staged)
    finally:
        for made in staged.values():
            with contextlib.suppress(OSError):
                made.unlink(missing_ok=True)


def _stage(path: Path, payload: bytes, staged: dict[Path, Path], *, private: bool) -> None:
    """Write a text beside its target, on the same disk."""
    target = path.resolve() if path.is_symlink() else path
    known = target.stat() if target.exists() else None
    if known and not stat.S_ISREG(known.st_mode):
        target.write_bytes(payload)  # a pipe or a device; for a folder an error
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    staged[target] = Path(name)
    with os.fdopen(handle, "wb") as stream:
        stream.write(payload)
        stream.flush()
        mode = stat.S_IMODE(known.st_mode) if known else _MODE
        os.fchmod(stream.fileno(), _PRIVATE if private else mode)
        os.fsync(stream.fileno())
    if known and not os.access(target, os.W_OK):  # a rename would not ask for this right
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _replace(staged: dict[Path, Path]) -> None:
    """Put the new files in place; those that were put there are taken back if one cannot be."""
    done: dict[Path, bytes | None] = {}
    try:
        for target, made in staged.items():
            with _told(target):
                before = target.read_bytes() if target.exists() else None
                os.replace(made, target)
                done[target] = before
    except BaseException:
        for target, before in done.items():
            if before is None:
                target.unlink()
            else:
                target.write_bytes(before)
        raise
    for folder in {target.parent for target in staged}:
        fsync_dir(folder)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say which file cannot be written, and that none was."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        kind = OpslibError if full else InputError
        what = f"it cannot be written: {error.strerror or error}"
        hint = "make room" if full else "name a place that can be written"
        raise kind(what, where=str(path), hint=f"nothing was written; {hint}") from None
