"""The folder of a record while it is written: every byte of a record passes through here."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

from opslib.core.clock import stamp
from opslib.core.errors import OpslibError
from opslib.core.files import write_atomic
from opslib.core.hashes import file_digest

RECORD, HTML = "record.ipynb", "record.html"
RESULT, MANIFEST, EVENTS = "result.json", "manifest.json", "events.jsonl"
PAYLOADS = "payloads"
"""Folder of large outputs while the run goes on, see payloads.py."""


def to_json(value: Any) -> str:
    """Serialize for a file that people read too: indented, in the order given."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


class RecordFolder:
    """Writes the files of one record.

    The events file stays open and locked (flock) until ``close``: the lock dies with the
    process, so a reader can tell a run that goes on from one that was killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self._count = 0
        self._events = os.open(
            path / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        fcntl.flock(self._events, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, name: str, text: str, *, sync: bool = True) -> Path:
        """Write one file, whole or not at all; ``sync`` puts it on disk before returning.

        Lone surrogates, which a cell may print and UTF-8 cannot hold, become the
        backslash escapes that JSON has for them. A name that ends in .gz is compressed.
        ``written`` counts the bytes of all files. Raises OpslibError.
        """
        path = self.path / name
        data = text.encode("utf-8", "backslashreplace")
        if name.endswith(".gz"):
            data = gzip.compress(data, compresslevel=1, mtime=0)
        try:
            write_atomic(path, data, sync=sync)
        except OSError as error:
            raise unwritable(path, error) from None
        self.written += len(data)
        return path

    def drop_payloads(self) -> None:
        """Remove the large outputs that were written apart: the record holds them now."""
        shutil.rmtree(self.path / PAYLOADS, ignore_errors=True)

    def event(self, name: str, **fields: Any) -> None:
        """Append one line to events.jsonl: number, time, what happened. Raises OpslibError."""
        self._count += 1
        line = {"seq": self._count, "time": stamp(), "event": name, **fields}
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        try:
            written = os.write(self._events, data)
        except OSError as error:
            raise unwritable(self.path / EVENTS, error) from None
        if written != len(data):
            raise unwritable(self.path / EVENTS, OSError(28, "No space left on device"))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every file of the record but the manifest, by name."""
        files = sorted(self.path.iterdir())
        wanted = (one for one in files if one.name != MANIFEST and not one.name.endswith(".tmp"))
        return {one.name: file_digest(one) for one in wanted if one.is_file()}

    def close(self) -> None:
        """Release the lock; the record is finished."""
        if self._events >= 0:
            os.close(self._events)
            self._events = -1


def unwritable(path: Path, error: OSError) -> OpslibError:
    """Return the error for a record that cannot be written."""
    return OpslibError(
        f"the record cannot be written: {error.strerror}",
        where=str(path),
        expected="a folder that can be written, with space left",
        hint="make room or choose another place with --out; what was written so far is kept",
    )


def is_live(folder: Path) -> bool:
    """Tell whether a process still writes the record."""
    try:
        handle = os.open(folder / EVENTS, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
