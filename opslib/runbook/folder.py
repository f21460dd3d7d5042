"""The folder of a record while it is written: every byte of a record passes through here."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.files import write_atomic
from opslib.core.hashes import file_digest
from opslib.runbook.chain import Chain, rows, sha256
from opslib.runbook.redact import REDACTOR
from opslib.runbook.verify import AFTERWARDS, digest_of, headed

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
        self._chain = Chain()
        self._lock = threading.Lock()
        self._redactor = REDACTOR
        self._events = os.open(
            path / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        fcntl.flock(self._events, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, name: str, text: str, *, sync: bool = True, public: Sequence[str] = ()) -> Path:
        """Write one file, whole or not at all; ``sync`` puts it on disk before returning.

        Secrets are masked, but not in what is ``public``, in the order of the text: a program
        that everybody has, and that no longer runs with a word masked. What is written is an
        event: of record.ipynb each ended cell, of another file its hash. Lone surrogates, which
        a cell may print and UTF-8 cannot hold, become the backslash escapes that JSON has for
        them. A name that ends in .gz is compressed. ``written`` counts the bytes of all files.
        Raises OpslibError.
        """
        name = self._redactor.file_name(name)
        data = self._masked(name, text, public)
        if name.endswith(".gz"):
            data = gzip.compress(data, compresslevel=1, mtime=0)
        if name == RECORD:
            for event, fields in self._chain.notebook(data, final=sync):
                self._append(event, fields)
        else:
            self._append("file", {"name": name, "sha256": sha256(data), "size": len(data)})
        return self._write(name, data, sync=sync)

    def event(self, name: str, /, *, sync: bool = False, **fields: Any) -> None:
        """Append one line to events.jsonl: number, time, what happened; from any thread.

        ``sync`` puts it on disk before returning. Raises OpslibError.
        """
        self._append(name, fields, clean=True)
        if sync:
            os.fsync(self._events)

    def drop(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it, that the record needs no more."""
        self._append("dropped", {"name": name})
        path = self.path / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)

    def finish(self, facts: dict[str, Any]) -> str:
        """Close the chain, write manifest.json from ``facts`` and the hashes; return its head.

        Nothing but ``append_afterwards`` may be called from here on. Raises OpslibError.
        """
        files = self.facts()
        record = self.path / RECORD
        cells = rows(record.read_bytes()) if record.is_file() else []
        facts = json.loads(self._clean(MANIFEST, to_json(facts).encode("utf-8", "replace")))
        self._append(
            "record-close",
            {
                "files": files,
                "cells": cells,
                "fields": {name: digest_of(value) for name, value in facts.items()},
            },
        )
        chain = {"first": self._chain.first, "head": self._chain.head, "count": self._chain.count}
        listed = {**files, EVENTS: _fact(self.path / EVENTS)}
        document = {**facts, "chain": chain, "files": listed, "cells": cells}
        text, head = headed(to_json(document))
        self._write(MANIFEST, text.encode("utf-8", "backslashreplace"), sync=True)
        return head

    def append_afterwards(self, name: str, data: bytes) -> None:
        """Write a file about the manifest: a signature, a time stamp, anchors.json."""
        if name not in AFTERWARDS:
            raise ValueError(f"{name} is not a file about the manifest")
        self._write(name, data, sync=True)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return SHA-256 and size of every file of the record but the chain and the manifest."""
        own = {EVENTS, MANIFEST, *AFTERWARDS}
        found = {one.relative_to(self.path).as_posix(): one for one in self.path.rglob("*")}
        return {
            name: _fact(one)
            for name, one in sorted(found.items())
            if one.is_file() and not one.is_symlink() and name not in own
        }

    def _append(self, name: str, fields: dict[str, Any], *, clean: bool = False) -> None:
        """Append an event; our own ones hold hashes of what is clean, which nothing may mask."""
        with self._lock:
            body = self._chain.numbered(name, fields)
            if clean:
                body = self._clean(EVENTS, body.encode("utf-8", "backslashreplace")).decode()
            data, head = self._chain.link(body)
            size = os.fstat(self._events).st_size
            try:
                written, why = os.write(self._events, data), OSError(28, "No space left on device")
            except OSError as error:
                written, why = 0, error
            if written != len(data):
                os.ftruncate(self._events, size)  # a torn line would break the chain
                raise unwritable(self.path / EVENTS, why)
            self._chain.said(name, head)

    def _write(self, name: str, data: bytes, *, sync: bool) -> Path:
        path = self.path / name
        try:
            write_atomic(path, data, sync=sync)
        except OSError as error:
            raise unwritable(path, error) from None
        self.written += len(data)
        return path

    def drop_payloads(self) -> None:
        """Remove the large outputs that were written apart: the record holds them now."""
        if (self.path / PAYLOADS).is_dir():
            self.drop(PAYLOADS)

    def _masked(self, name: str, text: str, public: Sequence[str]) -> bytes:
        parts = []
        for one in public:
            before, found, text = text.partition(one)
            parts += [self._clean(name, _bytes(before)), _bytes(found)]
        return b"".join([*parts, self._clean(name, _bytes(text))])

    def _clean(self, name: str, data: bytes) -> bytes:
        """Take the secrets out: what is written anywhere in a record went through here."""
        is_json = name.removesuffix(".gz").endswith((".json", ".jsonl", ".ipynb"))
        return self._redactor.json_data(data) if is_json else self._redactor.data(data)

    def close(self) -> None:
        """Release the lock; the record is finished."""
        if self._events >= 0:
            os.close(self._events)
            self._events = -1


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _fact(path: Path) -> dict[str, Any]:
    return {"sha256": file_digest(path), "size": path.stat().st_size}


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
