"""The API server's audit log, read once from beginning to end in bounded memory.

It comes from a file with its rotated siblings, a folder that a webhook sink writes into, or a
command that prints it. What cannot be read is never taken for "nothing happened": where lines
are cut, files are missing or the log ends too early, the coverage says so. One thing leaves no
trace: whole lines that somebody took out of the middle of a file.
https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
"""

from __future__ import annotations

import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from opslib.core.errors import OpslibError
from opslib.drift.auditfiles import LogFile, command_stream, log_files
from opslib.drift.moments import Moment, moment_of, shown, shown_exactly
from opslib.drift.request import WRITES, coherent

CHUNK = 1 << 20
MAX_LINE = 32 << 20
"""Bytes of one line, or of one document of several lines: an event holds up to two bodies of
3 MB, and a batch of a webhook 10 MB. What is longer is left out, as a gap."""

NEVER: Moment = 0
MOST_WRAPS = 5
_WRAPPERS = """items properties events message log line textPayload jsonPayload event _source"""
_WRAPPED = tuple(_WRAPPERS.split())


@dataclass(frozen=True)
class AuditSource:
    """Where the audit log is: ``path`` of a file or folder, or the ``command`` that prints it.

    ``timeout`` is in seconds, for the command.
    """

    path: Path | None = None
    command: tuple[str, ...] = ()
    timeout: float = 600.0

    @classmethod
    def of(cls, what: str | Path | Sequence[str] | AuditSource | None) -> AuditSource | None:
        """Read a setting: a path, the words of a command, or nothing ("" or None)."""
        if isinstance(what, AuditSource) or not what:
            return what if isinstance(what, AuditSource) else None
        if isinstance(what, str | Path):
            return cls(path=Path(what).expanduser())
        return cls(command=tuple(what))

    def __str__(self) -> str:
        return str(self.path) if self.path else shlex.join(self.command)


@dataclass
class Coverage:
    """What a log has of the past; ``gaps`` are times in which it may lack something."""

    start: Moment = NEVER
    end: Moment = NEVER
    gaps: list[tuple[Moment, Moment]] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    broken: int = 0
    files: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return self.end == NEVER

    def text(self) -> str:
        """Say in one line what the log covers."""
        if self.is_empty:
            return "; ".join(["the audit log has nothing that can be read", *self.problems])
        parts = [f"audit log from {shown(self.start)} to {shown(self.end)}"]
        if self.broken:
            parts.append(f"{self.broken} of {self.lines} lines cannot be read")
        if self.gaps:
            parts.append(f"{len(self.gaps)} gaps")
        return "; ".join([*parts, *self.problems])


class Scan:
    """One pass over a log: ``events`` yields them all, ``coverage`` is whole after it."""

    def __init__(self, source: AuditSource) -> None:
        self.source = source
        self.coverage = Coverage()
        self._before: LogFile | None = None  # the file before this one, until a time is seen
        self._current: LogFile | None = None
        self._ended: Moment = NEVER  # the newest time of the files before this one
        self._newest, self._oldest = "", "A"  # times as texts; every time is before "A"
        self._torn = False  # something is missing, and no time was seen after it yet

    def events(self) -> Iterator[Mapping[str, Any]]:
        """Yield all events in the log's order; batches are taken apart.

        Nothing is raised for a log that cannot be read: ``coverage.problems`` says it.
        """
        try:
            lines = self._command() if self.source.path is None else self._files(self.source.path)
            for line in lines:
                self.coverage.lines += 1
                # Every line is read, to know that it is whole.
                try:
                    node = orjson.loads(line)
                    events = [node] if "auditID" in node else list(_unwrapped(node, 0))
                except (orjson.JSONDecodeError, RecursionError, TypeError):
                    self.coverage.broken += 1
                    self._tear()
                    continue
                for event in events:
                    self._sees(event)
                    if event.get("verb") in WRITES and not coherent(event):
                        self.coverage.broken += 1
                        self._tear()
                    yield event
        except (OSError, EOFError, OpslibError) as error:
            what = getattr(error, "strerror", None) or getattr(error, "what", None) or error
            self._problem(f"the audit log cannot be read: {what}")
            self._tear()
        self.coverage.end = moment_of(self._newest)

    def _command(self) -> Iterator[bytes]:
        self.coverage.files = 1
        with command_stream(self.source.command, self.source.timeout) as (stream, ended):
            yield from self._lines(stream)
            if why := ended():
                self._problem(why)
                self._tear()

    def _files(self, path: Path) -> Iterator[bytes]:
        read: set[tuple[int, int]] = set()
        # A file that is rotated meanwhile has another name then: look again for what is new.
        for _ in range(3):
            fresh = [one for one in log_files(path) if one.identity not in read]
            for one in fresh:
                read.add(one.identity)
                yield from self._file(one)
            if not fresh:
                break
        if not read:
            self._problem(f"there is no audit log at {path}")

    def _file(self, one: LogFile) -> Iterator[bytes]:
        self.coverage.files += 1
        self._before, self._current = self._current, one
        self._ended = moment_of(self._newest)
        try:
            with one.open() as stream:
                yield from self._lines(stream)
        except (OSError, EOFError, zlib.error) as error:
            # A compressed file that ends too early, or one that was removed meanwhile.
            self._problem(f"{one.path.name}: {getattr(error, 'strerror', None) or error}")
            self._tear()

    def _lines(self, stream: IO[bytes]) -> Iterator[bytes]:
        """Yield the lines of a file that are not empty; a document over several lines as one."""
        carry = self._chunk(stream)
        if carry.lstrip()[:2] in {b"{\n", b"[\n", b"{\r", b"[\r"}:
            yield carry + stream.read(MAX_LINE)  # what is longer is cut, and so not read
            return
        skipping = False
        while True:
            *lines, carry = carry.split(b"\n")
            for line in lines:
                if skipping:
                    yield b""  # the end of a line that was too long
                elif line and not line.isspace():
                    yield line
                skipping = False
            if len(carry) > MAX_LINE:
                skipping, carry = True, b""
            chunk = self._chunk(stream)
            if not chunk:
                break
            carry += chunk
        if skipping or carry.strip():
            yield b"" if skipping else carry

    def _chunk(self, stream: IO[bytes]) -> bytes:
        chunk = stream.read(CHUNK)
        self.coverage.bytes += len(chunk)
        return chunk

    def _tear(self) -> None:
        """Note that something is missing here."""
        if not self._torn:
            self._torn = True
            self.coverage.gaps.append((moment_of(self._newest), NEVER))

    def _sees(self, event: Mapping[str, Any]) -> None:
        """Note the time of an event: when it was written, or else when the request came."""
        stamp = event.get("stageTimestamp") or event.get("requestReceivedTimestamp")
        if type(stamp) is not str or len(stamp) != 27 or stamp[-1] != "Z":
            at = moment_of(stamp)
            if not at:
                return
            stamp = shown_exactly(at)
        # As the API server writes them, times are in the order of their texts.
        self._newest = max(self._newest, stamp)
        if stamp < self._oldest:
            self._oldest = stamp
            self.coverage.start = moment_of(stamp)
        if self._torn or self._before:
            self._closes(moment_of(stamp))

    def _closes(self, at: Moment) -> None:
        """Note that the log goes on: after a gap, or in another file."""
        newest = moment_of(self._newest)
        if self._before and self._current:
            if self._before.lacks_next(self._current, at):
                self.coverage.gaps.append((min(self._ended, at), max(self._ended, at)))
                self._problem(f"what follows {self._before.path.name} is missing")
            self._before = None
        if self._torn:
            self._torn = False
            open_ended = (n for n, (_, end) in enumerate(self.coverage.gaps) if end == NEVER)
            gap = next(open_ended)
            self.coverage.gaps[gap] = (self.coverage.gaps[gap][0], max(at, newest))

    def _problem(self, text: str) -> None:
        if text not in self.coverage.problems:
            self.coverage.problems.append(text)


def _unwrapped(node: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """Find the events in what a log service puts around them."""
    if depth > MOST_WRAPS:
        return
    if isinstance(node, str) and node[:1] == "{":
        yield from _unwrapped(orjson.loads(node), depth + 1)
    elif isinstance(node, list):
        for one in node:
            yield from _unwrapped(one, depth + 1)
    elif isinstance(node, dict) and "auditID" in node:
        yield node
    elif isinstance(node, dict):
        for name in _WRAPPED:
            yield from _unwrapped(node.get(name), depth + 1)
