"""The API server's audit log, read once from beginning to end in bounded memory.

It comes from a file with its rotated siblings, a folder that a webhook sink writes into, or a
command that prints it. What cannot be read is never taken for "nothing happened": where lines
are cut, files are missing or the log ends too early, the coverage says so.
https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from opslib.core.errors import OpslibError
from opslib.drift.auditfiles import LogFile, command_stream, log_files
from opslib.drift.moments import Moment, moment_of, shown

CHUNK = 1 << 20
MAX_LINE = 32 << 20
"""Bytes of one line, or of one document of several lines: an event holds up to two bodies of
3 MB, and a batch of a webhook 10 MB. What is longer is left out, as a gap."""

SAMPLE = 32
"""Lines at each end of a file whose times tell from when to when it is."""

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

    def sees(self, at: Moment) -> None:
        """Note the time of one event."""
        self.start = min(self.start or at, at)
        self.end = max(self.end, at)

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
    """One pass over a log: ``events`` yields what is wanted, ``coverage`` is whole after it."""

    def __init__(self, source: AuditSource) -> None:
        self.source = source
        self.coverage = Coverage()
        self._before: LogFile | None = None  # the file before this one, until a time is seen
        self._current: LogFile | None = None
        self._last: Moment = NEVER  # the newest time seen before a line that cannot be read
        self._open = False  # such a line, and no time seen after it yet

    def events(self, wanted: Callable[[bytes], bool]) -> Iterator[Mapping[str, Any]]:
        """Yield the events of the lines for which ``wanted`` says so, in the log's order.

        Batches are taken apart, and all their events are yielded. Nothing is raised for a log
        that cannot be read: ``coverage.problems`` says it.
        """
        try:
            if self.source.path is None:
                yield from self._command(wanted)
            else:
                yield from self._files(self.source.path, wanted)
        except (OSError, EOFError, OpslibError) as error:
            what = getattr(error, "strerror", None) or getattr(error, "what", None) or error
            self._problem(f"the audit log cannot be read: {what}")

    def _command(self, wanted: Callable[[bytes], bool]) -> Iterator[Mapping[str, Any]]:
        self.coverage.files = 1
        with command_stream(self.source.command, self.source.timeout) as (stream, ended):
            yield from self._lines(stream, wanted)
            if why := ended():
                self._problem(why)

    def _files(self, path: Path, wanted: Callable[[bytes], bool]) -> Iterator[Mapping[str, Any]]:
        read: set[tuple[int, int]] = set()
        before: LogFile | None = None
        # A file that is rotated meanwhile has another name then: look again for what is new.
        for _ in range(3):
            fresh = [one for one in log_files(path) if one.identity not in read]
            if not fresh:
                break
            for one in fresh:
                read.add(one.identity)
                yield from self._file(one, before, wanted)
                before = one
        if not read:
            self._problem(f"there is no audit log at {path}")

    def _file(
        self, one: LogFile, before: LogFile | None, wanted: Callable[[bytes], bool]
    ) -> Iterator[Mapping[str, Any]]:
        self.coverage.files += 1
        self._before, self._current = before, one
        try:
            with one.open() as stream:
                yield from self._lines(stream, wanted)
        except (OSError, EOFError) as error:
            # A compressed file that ends too early, or one that was removed meanwhile.
            self._problem(f"{one.path.name}: {getattr(error, 'strerror', None) or error}")
            self._tear()

    def _lines(
        self, stream: IO[bytes], wanted: Callable[[bytes], bool]
    ) -> Iterator[Mapping[str, Any]]:
        tail: deque[bytes] = deque(maxlen=SAMPLE)
        head = SAMPLE
        for line in self._whole_lines(stream):
            self.coverage.lines += 1
            if not _sound(line):
                self._tear()
                head = max(head, 1)
                continue
            if b'"EventList"' in line[:200] or line[:1] == b"[":
                yield from self._batch(line)
                continue
            tail.append(line)
            if head > 0 or self._open:
                head -= 1
                self._time(line)
            if wanted(line):
                event = _event(line)
                if event is None:
                    self._tear()
                else:
                    yield event
        for line in tail:
            self._time(line)

    def _batch(self, line: bytes) -> Iterator[Mapping[str, Any]]:
        for event in _events(line) or ():
            self._sees(_when(event))
            yield event

    def _whole_lines(self, stream: IO[bytes]) -> Iterator[bytes]:
        """Yield the lines of a file; a document over several lines as one."""
        carry = stream.read(CHUNK)
        self.coverage.bytes += len(carry)
        if carry.lstrip()[:2] in {b"{\n", b"[\n", b"{\r", b"[\r"}:
            yield from self._document(carry, stream)
            return
        skipping = False
        while True:
            *lines, carry = carry.split(b"\n")
            for line in lines:
                if skipping:
                    skipping = False
                    self._tear()
                elif line:
                    yield line
            if len(carry) > MAX_LINE:
                skipping, carry = True, b""
            chunk = stream.read(CHUNK)
            if not chunk:
                break
            self.coverage.bytes += len(chunk)
            carry += chunk
        if carry or skipping:
            yield b"" if skipping else carry

    def _document(self, start: bytes, stream: IO[bytes]) -> Iterator[bytes]:
        data = start + stream.read(MAX_LINE)
        self.coverage.bytes += len(data) - len(start)
        try:
            yield orjson.dumps(orjson.loads(data))
        except orjson.JSONDecodeError:
            yield b""  # not whole, or longer than what is read of one

    def _tear(self) -> None:
        """Note that something is missing here."""
        self.coverage.broken += 1
        if not self._open:
            self._open = True
            self.coverage.gaps.append((self._last, NEVER))

    def _time(self, line: bytes) -> None:
        event = _event(line)
        self._sees(_when(event) if event else NEVER)

    def _sees(self, at: Moment) -> None:
        if not at:
            return
        self.coverage.sees(at)
        if self._before and self._current:
            if self._before.lacks_next(self._current, at):
                self.coverage.gaps.append((self._last, at))
                self._problem(f"what follows {self._before.path.name} is missing")
            self._before = None
        if self._open:
            self._open = False
            self.coverage.gaps[-1] = (self.coverage.gaps[-1][0], at)
        self._last = max(self._last, at)

    def _problem(self, text: str) -> None:
        if text not in self.coverage.problems:
            self.coverage.problems.append(text)


def _sound(line: bytes) -> bool:
    """Tell whether a line looks whole: it is one object or list, and its brackets match."""
    if line[:1] not in b"{[" or line.rstrip()[-1:] not in b"}]" or not line:
        return False
    if line.count(b"{") == line.count(b"}"):
        return True
    # A text inside may hold brackets of its own.
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _event(line: bytes) -> Mapping[str, Any] | None:
    found = _events(line)
    return found[0] if found else None


def _events(line: bytes) -> list[Mapping[str, Any]] | None:
    """Read the events of a line; None where it is not JSON."""
    try:
        return list(_unwrapped(orjson.loads(line), 0))
    except (orjson.JSONDecodeError, RecursionError):
        return None


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


def _when(event: Mapping[str, Any]) -> Moment:
    """Return when an event was written, or else when the request came."""
    stamp = event.get("stageTimestamp") or event.get("requestReceivedTimestamp")
    return moment_of(stamp)
