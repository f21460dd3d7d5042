"""The portable file of one run: raw latencies as Parquet, and what was around in its footer.

The footer's key ``opslib.bench`` holds one JSON document (schema ``opslib.bench/1``):
probe, started, ended, complete, why, settings, place, facts, blocks, samples. Each block has what
the counters told. Any Parquet reader gets the columns; ``read`` also checks that all of it is one
run, whole and plausible.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from array import array
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

from opslib.bench.probe import parquet, wal
from opslib.bench.probe.thrift import Malformed
from opslib.core.errors import InputError

KEY = "opslib.bench"
SUM = "opslib.bench.sha256"
"""The sum of the document. Each column has one of its own in gzip: carried home is unharmed."""
SCHEMA = "opslib.bench/1"
PROBES = {
    "wal": wal.COLUMNS,
    "watch": wal.COLUMNS,
    "storm": wal.COLUMNS,
    "network": ("start_ns", "connect_ns", "kernel_us", "target", "lost"),
}
_NEEDED = ("schema", "probe", "started", "complete", "samples", "blocks", "place", "settings")


@dataclass(frozen=True)
class Result:
    """One run. ``columns`` are arrays of int64, in nanoseconds where the name ends in _ns."""

    document: Dict[str, Any]
    columns: Dict[str, array[int]] = field(repr=False)
    name: str = ""

    @property
    def probe(self) -> str:
        return str(self.document["probe"])

    @property
    def complete(self) -> bool:
        return bool(self.document["complete"])

    @property
    def samples(self) -> int:
        return int(self.document["samples"])


class Maker:
    """Collects a run block by block."""

    def __init__(self, probe: str, names: Sequence[str]) -> None:
        self.document: Dict[str, Any] = {"schema": SCHEMA, "probe": probe, "complete": True}
        self.document.update(why="", blocks=[])
        self.columns: Dict[str, array[int]] = {name: array("q") for name in names}

    def note(self, **facts: Any) -> None:
        self.document.update(facts)

    def failed(self, why: str, signum: int = 0) -> None:
        """Mark the run as partial; the first reason stays."""
        if self.document["complete"]:
            self.note(complete=False, why=why, signal=signum)

    def block(
        self, count: int, started: str, told: Dict[str, Any], parts: Sequence[array[int]]
    ) -> None:
        """Append a wal block: start, write, sync and kind of ``count`` samples."""
        number = len(self.document["blocks"])
        start, write, sync, kind = parts
        for name, values in (("start_ns", start), ("write_ns", write), ("sync_ns", sync)):
            self.columns[name] += values
        self.columns["kind"] += kind
        self.columns["block"] += array("q", [number]) * count
        self.document["blocks"].append({"started": started, "samples": count, **told})

    def done(self) -> Result:
        first = next(iter(self.columns.values()))
        self.note(samples=len(first))
        return Result(self.document, self.columns)


def write(path: str, run: Result) -> None:
    """Write a result file, whole or not at all. Raises InputError where that is refused."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".opslib-", suffix=".tmp")
    except OSError as error:
        raise InputError(f"cannot write there: {error.strerror}", where=path) from None
    try:
        with os.fdopen(handle, "wb") as stream:
            writer = parquet.Writer(stream, tuple(run.columns))
            writer.write(run.columns)
            text = json.dumps(run.document, sort_keys=True)
            writer.close({KEY: text, SUM: _sum(text)})
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):
            raise InputError(f"cannot write there: {error.strerror}", where=path) from None
        raise


def writable(path: str) -> None:
    """Raise InputError now, not after an hour, where a result cannot be written."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise InputError("the result is to be a file, and this is a folder", where=path)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError("the result cannot be written there", where=path)


def read(path: str) -> Result:
    """Read and check a result file.

    Raises InputError that says why for a file that is missing, foreign, cut off or altered.
    """
    try:
        with open(path, "rb") as stream:
            columns, notes = parquet.read(stream)
    except Malformed as error:
        raise _wrong(path, str(error)) from None
    except OSError as error:
        raise InputError(f"cannot read the result: {error.strerror}", where=path) from None
    document = _document(path, notes)
    _check(path, document, columns)
    return Result(document, columns, path)


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _wrong(path: str, why: str) -> InputError:
    return InputError(
        f"not a result of a probe: {why}",
        where=path,
        expected="a file that `opslib bench … --out` or the portable probe wrote",
    )


def _document(path: str, notes: Dict[str, str]) -> Dict[str, Any]:
    if KEY not in notes:
        raise _wrong(path, "a Parquet file of something else")
    if notes.get(SUM) != _sum(notes[KEY]):
        raise _wrong(path, "its description was altered or damaged")
    try:
        document = json.loads(notes[KEY])
    except ValueError:
        raise _wrong(path, "its description is not JSON") from None
    missing = [key for key in _NEEDED if not isinstance(document, dict) or key not in document]
    if missing:
        raise _wrong(path, f"its description lacks {', '.join(missing)}")
    if document["schema"] != SCHEMA:
        raise _wrong(path, f"its schema is {str(document['schema'])[:60]!r}, not {SCHEMA!r}")
    if document["probe"] not in PROBES:
        raise _wrong(path, f"its probe {str(document['probe'])[:60]!r} is not known here")
    return dict(document)


def _check(path: str, document: Dict[str, Any], columns: Dict[str, array[int]]) -> None:
    names = PROBES[document["probe"]]
    if set(columns) != set(names):
        raise _wrong(path, f"its columns are {', '.join(columns)[:200]}, not {', '.join(names)}")
    count = len(columns[names[0]])
    if document["samples"] != count:
        raise _wrong(path, f"{document['samples']} samples are said and {count} are there")
    blocks = document["blocks"]
    if not isinstance(blocks, list) or not all(isinstance(one, dict) for one in blocks):
        raise _wrong(path, "its blocks are not a list")
    for key in ("place", "settings"):
        if not isinstance(document[key], dict):
            raise _wrong(path, f"its {key} is not a mapping")
    problem = _impossible(columns, len(blocks))
    if problem:
        raise _wrong(path, problem)


def _impossible(columns: Dict[str, array[int]], blocks: int) -> Optional[str]:
    for name in ("write_ns", "sync_ns", "connect_ns"):
        values = columns.get(name)
        if values and min(values) < 0:
            return f"{name} has a time below zero: the clock went backwards, or it was altered"
    number = columns.get("block")
    if number and not (min(number) >= 0 and max(number) < max(blocks, 1)):
        return "a sample is of a block that is not described"
    return None


def syncs(run: Result) -> Tuple[List[int], List[int]]:
    """Return block number and fdatasync time (ns) of each sample, in order."""
    return list(run.columns["block"]), list(run.columns["sync_ns"])
