"""Whether a record is as it was written. The standard library alone: a copy works anywhere.

``python -I verify.py FOLDER...`` prints what was changed, deleted, added or put in another
order, down to the file and the cell or line. Exit code 0: intact; 1: changed; 2: no record.

How a record holds together. Each line of events.jsonl ends with ``prev``, the hash of the
line before (of the run's id and runbook for the first), and ``hash``, the SHA-256 of the line's
bytes up to there. Each ended cell and each written file is an event with its SHA-256. The last
event, ``record-close``, lists all files, all cells and the fields of manifest.json. That file
names the chain's end, and ends itself with ``head``, the SHA-256 of its own bytes up to there:
the record's identity, which an anchor or a signature binds to a moment or a key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = "opslib-record-1"
RECORD, EVENTS, MANIFEST = "record.ipynb", "events.jsonl", "manifest.json"
ANCHORS = "anchors.json"
AFTERWARDS = (ANCHORS, f"{MANIFEST}.sig", f"{MANIFEST}.asc", f"{MANIFEST}.tsr")
"""Files about the manifest, which it cannot list: anchors.json does, with a head of its own."""
OPEN = ("never-run", "running")
"""Outcomes of cells that have not ended."""
MAX_DOCUMENT, MAX_LINE, MAX_FILES = 1 << 28, 1 << 26, 100_000
"""Bytes of a file and of an event that are read as a whole; entries of a folder."""
LOOKS = 5
"""How often a record that is being written is looked at until it stands still."""

_HASH = re.compile(rb', "hash": "([0-9a-f]{64})"\}\Z')
_HEAD = re.compile(rb',\n  "head": "([0-9a-f]{64})"\n\}\n\Z')
_DECODER = json.JSONDecoder()
_LEFT = re.compile(r"\.[\w.-]+\.\w{8}\.tmp")
_CELLS = re.compile(rb'^(?:\{\s*| {1,2})"cells"\s*:\s*\[', re.MULTILINE)
Data = dict[str, Any]

NOT_PROVEN = (
    "What this does not prove: whoever can write the folder can make all of it anew, with "
    "fitting hashes. Compare the head with one that was kept elsewhere (Git note, tag, commit, "
    "time stamp, a colleague's mail), or check a signature. A signature proves that somebody "
    "had the key, not who, and the holder of a key can sign another history; a time stamp "
    "proves the latest moment at which the record was made. That the run told the truth when "
    "it wrote is not proven by any of them."
)


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it was written; ``cell`` counts from 0, ``line`` from 1."""

    file: str
    what: str
    cell: int | None = None
    line: int | None = None
    name: str = ""

    def __str__(self) -> str:
        cell = "" if self.cell is None else f", cell {self.cell + 1}"
        line = "" if self.line is None else f", line {self.line}"
        field_ = f", {plain(self.name)}" if self.name else ""
        return f"{plain(self.file)}{cell}{line}{field_}: {plain(self.what)}"


@dataclass
class Verdict:
    """What was found. ``state``: intact, unfinished (as far as it goes, intact), changed."""

    folder: str
    state: str = "intact"
    run_id: str = ""
    head: str = ""
    events: int = 0
    cells: int = 0
    files: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    open: bool = False

    @property
    def ok(self) -> bool:
        return self.state != "changed"

    def as_dict(self) -> Data:
        """Return the verdict as one JSON object."""
        names = ("folder", "state", "run_id", "head", "events", "cells", "files", "notes")
        problems = [
            {"file": p.file, "cell": p.cell, "line": p.line, "field": p.name, "what": p.what}
            for p in self.problems
        ]
        return {**{name: getattr(self, name) for name in names}, "problems": problems}

    def __str__(self) -> str:
        first = f"{plain(self.folder)}: {self.state}"
        if self.state == "unfinished":
            first += f", intact up to event {self.events}"
        elif self.ok:
            first += f" ({self.files} files, {self.cells} cells, {self.events} events)"
        else:
            first += f", {len(self.problems)} found"
        head = [f"  head {self.head}"] if self.head else []
        notes = [f"  {plain(note)}" for note in self.notes]
        return "\n".join([first, *head, *(f"  {one}" for one in self.problems), *notes])


class NoRecord(Exception):  # names what was met, as the tree of errors does
    """The folder is not one of a record."""


# --- the forms that are hashed: the writer uses these very functions --------------------------


def genesis(run_id: str, runbook: str) -> str:
    """Return what the first event follows: the hash of the run's identity."""
    return hashlib.sha256(f"{FORMAT}\n{run_id}\n{runbook}".encode(errors="replace")).hexdigest()


def linked(body: str, prev: str) -> tuple[bytes, str]:
    """Return the line for an event (a JSON object as text) that follows ``prev``, and its hash."""
    text = body.rstrip()[:-1] + f', "prev": "{prev}"'
    data = text.encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(data).hexdigest()
    return data + f', "hash": "{digest}"}}\n'.encode(), digest


def headed(document: str) -> tuple[str, str]:
    """Return an indented JSON object with its ``head`` as the last field, and the head."""
    text = document.rstrip()[:-1].rstrip()
    head = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f'{text},\n  "head": "{head}"\n}}\n', head


def head_of(data: bytes) -> str:
    """Return the head at the end of a document of ``headed``; "" where it is of other bytes."""
    found = _HEAD.search(data)
    actual = hashlib.sha256(data[: found.start()]).hexdigest() if found else ""
    return actual if found and found[1].decode() == actual else ""


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON; a cell is hashed as a whole by this."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def outcome_of(cell: Any) -> str:
    """Return the outcome that a cell of record.ipynb says; "" for one that runs no code."""
    try:
        return str(cell["metadata"]["opslib"]["outcome"])
    except (KeyError, TypeError):
        return ""


def plain(text: str) -> str:
    """Return a text of a stranger so that a terminal shows it and does nothing else."""
    return "".join(
        one if unicodedata.category(one)[0] not in "CZ" or one == " " else ascii(one)[1:-1]
        for one in text
    )


# --- reading ----------------------------------------------------------------------------------


class Folder:
    """The files of a record: regular ones only, no link is followed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self.odd: list[Problem] = []
        for name, info in self._walk():
            if stat.S_ISREG(info.st_mode):
                self.sizes[name] = info.st_size
            else:
                kind = "a symbolic link" if stat.S_ISLNK(info.st_mode) else "not a file"
                self.odd.append(Problem(name, f"this is {kind}; it was not followed or read"))

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        todo, count = [""], 0
        while todo:
            below = todo.pop()
            try:
                entries = sorted(os.listdir(os.path.join(self.path, below)))
            except OSError as error:
                self.odd.append(Problem(below or ".", f"cannot be listed: {error.strerror}"))
                continue
            for entry in entries:
                name = f"{below}/{entry}" if below else entry
                count += 1
                if count > MAX_FILES:
                    self.odd.append(Problem(name, f"more than {MAX_FILES} entries; stopped"))
                    return
                try:
                    info = os.lstat(os.path.join(self.path, name))
                except FileNotFoundError:  # a run that goes on has put it in its place
                    continue
                if stat.S_ISDIR(info.st_mode):
                    todo.append(name)
                else:
                    yield name, info

    def open(self, name: str) -> Any:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.fdopen(os.open(os.path.join(self.path, name), flags), "rb")

    def digest(self, name: str) -> str:
        with self.open(name) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file; None when it is not there or too large to be one of ours."""
        if self.sizes.get(name, MAX_DOCUMENT + 1) > MAX_DOCUMENT:
            return None
        with self.open(name) as stream:
            return bytes(stream.read(MAX_DOCUMENT))


def _json(data: bytes) -> Any:
    """Parse JSON of a stranger. Raises ValueError alone."""
    try:
        return _DECODER.decode(data.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(data: bytes) -> Data:
    found = _json(data)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # about the file's content
    return found


# --- the chain of events ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Event:
    line: int
    seq: int
    prev: str
    hash: str
    data: Data


@dataclass
class _Chain:
    """events.jsonl as read: the lines that are whole, and what is wrong with the others."""

    events: list[_Event] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    torn: bool = False
    lines: int = 0

    @property
    def last(self) -> _Event | None:
        return self.events[-1] if self.events else None

    @property
    def closing(self) -> Data | None:
        """The closing event's data, from whichever line holds it whole."""
        found = (one for one in reversed(self.events) if one.data.get("event") == "record-close")
        return next((one.data for one in found), None)

    def bad(self, line: int, what: str) -> None:
        self.problems.append(Problem(EVENTS, what, line=line))


def _read_chain(folder: Folder) -> _Chain:
    chain = _Chain()
    if EVENTS not in folder.sizes:
        return chain
    if folder.sizes[EVENTS] > MAX_DOCUMENT:
        chain.bad(1, f"more than {MAX_DOCUMENT} bytes: these are no events")
        return chain
    with folder.open(EVENTS) as stream:
        while raw := stream.readline(MAX_LINE):
            chain.lines += 1
            if not raw.endswith(b"\n"):
                chain.torn = True
                chain.bad(chain.lines, "this line is not whole")
                break
            if (event := _event(raw[:-1], chain.lines)) is None:
                chain.bad(chain.lines, "this line was changed, or is none of the record's")
            else:
                chain.events.append(event)
    _check_order(chain)
    return chain


def _event(raw: bytes, line: int) -> _Event | None:
    """Return the event of a line whose own hash is right."""
    found = _HASH.search(raw)
    if found is None or hashlib.sha256(raw[: found.start()]).hexdigest() != found[1].decode():
        return None
    try:
        data = _object(raw)
        return _Event(line, int(data["seq"]), str(data["prev"]), str(data["hash"]), data)
    except (ValueError, KeyError, TypeError):
        return None


def _check_order(chain: _Chain) -> None:
    """Hold each line against the one before: missing, moved, repeated and foreign ones."""
    broken = {one.line for one in chain.problems}
    seen: dict[int, _Event] = {}
    highest = 0
    for event in chain.events:
        before = seen.get(event.seq - 1)
        if event.seq in seen:
            chain.bad(event.line, f"event {event.seq} is there twice: this line was added")
            continue
        if event.seq < highest:
            chain.bad(event.line, f"event {event.seq} was moved here: it belongs before")
        elif before is not None and before.hash != event.prev:
            chain.bad(event.line, f"this line does not follow line {before.line}: one was changed")
        elif event.seq == 1 and event.prev != _genesis_of(event.data):
            chain.bad(event.line, "the first event does not follow from the run's identity")
        seen[event.seq] = event
        highest = max(highest, event.seq)
    for first, last in _gaps(seen):
        count = last - first + 1
        lost = sum(first <= (line or 0) <= last for line in broken)
        if lost < count:
            after = seen.get(last + 1)
            names = f"event {first} is" if count == 1 else f"events {first} to {last} are"
            chain.bad(after.line if after else first, f"{names} missing before this line")


def _gaps(seen: Mapping[int, _Event]) -> Iterator[tuple[int, int]]:
    expected = 1
    for seq in sorted(seen):
        if seq > expected:
            yield expected, seq - 1
        expected = seq + 1


def _genesis_of(data: Data) -> str:
    return genesis(str(data.get("run_id", "")), str(data.get("runbook", "")))


# --- the cells of the notebook ----------------------------------------------------------------


@dataclass(frozen=True)
class _Cell:
    """One cell of record.ipynb: where its bytes are, its hash, "" when it cannot be read."""

    start: int
    end: int
    hash: str
    outcome: str = ""


def read_cells(data: bytes) -> list[_Cell]:
    """Read the cells one by one, up to the first that is no JSON any more."""
    found = _CELLS.search(data)
    if found is None:
        return []
    text = data.decode("utf-8", "surrogateescape")
    at, decoder = len(data[: found.end()].decode()), json.JSONDecoder()
    cells: list[_Cell] = []
    while True:
        at = _skip(text, at)
        if text[at : at + 1] in ("]", ""):
            return cells
        try:
            value, end = decoder.raw_decode(text, at)
            cells.append(_Cell(at, end, digest_of(value), outcome_of(value)))
        except (ValueError, RecursionError):
            return [*cells, _Cell(at, len(text), "")]
        at = _skip(text, end)
        if text[at : at + 1] not in (",", "]"):
            return [*cells[:-1], _Cell(cells[-1].start, len(text), "")]
        at += text[at : at + 1] == ","


def _skip(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


def _compare_cells(data: bytes, expected: Sequence[str]) -> Iterator[Problem]:
    """Name the cells of a changed notebook."""
    if _CELLS.search(data) is None:
        yield Problem(RECORD, "changed before its first cell")
        return
    found = read_cells(data)
    hashes = [cell.hash for cell in found]
    cut = bool(found) and not found[-1].hash
    if hashes == list(expected):
        yield _outside(data, found)
    elif sorted(hashes) == sorted(expected):
        first = next(n for n, (a, b) in enumerate(zip(hashes, expected, strict=True)) if a != b)
        for number in range(first, len(hashes)):
            if hashes[number] != expected[number]:
                was = expected.index(hashes[number])
                yield Problem(RECORD, f"this cell was cell {was + 1}: moved", cell=number)
    else:
        yield from _edits(hashes, expected, cut=cut)


def _edits(hashes: Sequence[str], expected: Sequence[str], *, cut: bool) -> Iterator[Problem]:
    head = _common(hashes, expected)
    tail = _common(hashes[::-1], expected[::-1])
    tail = max(0, min(tail, min(len(hashes), len(expected)) - head))
    ours, theirs = len(expected) - tail, len(hashes) - tail
    if cut:
        known = [n for n in range(head, len(hashes) - 1) if hashes[n] not in expected]
        for number in known or [len(hashes) - 1]:
            yield Problem(RECORD, "this cell was changed, and what follows cannot be read", number)
        return
    if ours - head == theirs - head:
        for number in range(head, ours):
            if hashes[number] != expected[number]:
                yield Problem(RECORD, "this cell was changed", cell=number)
        return
    kept, there = set(hashes), set(expected)
    for number in range(head, ours):
        if expected[number] not in kept or theirs - head == 0:
            yield Problem(RECORD, "this cell was deleted or changed", cell=number)
    for number in range(head, theirs):
        if hashes[number] not in there or ours - head == 0:
            yield Problem(RECORD, "this cell was added or changed", cell=number)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _outside(data: bytes, cells: Sequence[_Cell]) -> Problem:
    """Name where bytes differ although every cell says the same: spaces, or around the cells."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        again = json.dumps(_json(data), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        again = again.encode("utf-8", "backslashreplace").decode()
    except ValueError:
        return Problem(RECORD, "changed outside of the cells")
    at = next((n for n, (a, b) in enumerate(zip(text, again, strict=False)) if a != b), len(text))
    for number, cell in enumerate(cells):
        if at < cell.end:
            return Problem(RECORD, "the form of this cell was changed, not its content", number)
    return Problem(RECORD, "changed outside of the cells, which say what they said")


# --- the whole record -------------------------------------------------------------------------


def verify(path: str | os.PathLike[str]) -> Verdict:
    """Hold a record's folder against itself. Raises NoRecord for a folder that is none."""
    verdict = _look(path)
    for _ in range(LOOKS):
        if verdict.ok or not verdict.open:
            break
        # What a run writes between two reads of one look would be told as a change.
        before, verdict = verdict, _look(path)
        if verdict.events == before.events and not verdict.ok:
            break
    return verdict


def _look(path: str | os.PathLike[str]) -> Verdict:
    if not os.path.isdir(path):
        raise NoRecord(f"{plain(str(path))}: no such folder")
    folder = Folder(os.fspath(path))
    if not {MANIFEST, EVENTS, "result.json"} & set(folder.sizes):
        raise NoRecord(f"{plain(str(path))}: neither {MANIFEST} nor {EVENTS} is in it")
    verdict = Verdict(os.fspath(path), files=len(folder.sizes), problems=[*folder.odd])
    try:
        _judge(folder, verdict)
    except OSError as error:
        name = os.path.basename(str(error.filename or path))
        verdict.problems.append(Problem(name, f"cannot be read: {error.strerror}"))
    except RecursionError:
        verdict.problems.append(Problem(".", "a file is nested more deeply than a record's are"))
    if verdict.problems:
        verdict.state = "changed"
    return verdict


def _judge(folder: Folder, verdict: Verdict) -> None:
    # What a run that goes on writes is read before its events: those are written first.
    verdict.open = open_ = MANIFEST not in folder.sizes
    live = open_ and _is_live(folder)
    notebook = folder.read(RECORD) if open_ else None
    digests: dict[str, str] = {}
    for name in folder.sizes if open_ else ():
        with contextlib.suppress(FileNotFoundError):  # put in its place meanwhile
            digests[name] = folder.digest(name) if name != EVENTS else ""
    chain = _read_chain(folder)
    verdict.events = chain.last.seq if chain.last else 0
    first = chain.events[0].data if chain.events else {}
    verdict.run_id = plain(str(first.get("run_id", "")))
    if open_ and chain.closing is None:
        verdict.problems += _unfinished(folder, chain, notebook, _Files(digests, live), verdict)
    else:
        verdict.problems += chain.problems
        verdict.problems += _finished(folder, chain, verdict)


def _mapping(value: Any) -> Data:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _hashes(value: Any) -> list[str]:
    return [str(one) for one in _list(value)]


def _finished(folder: Folder, chain: _Chain, verdict: Verdict) -> Iterator[Problem]:
    closing = chain.closing or {}
    manifest, problems = _manifest(folder, closing, verdict)
    yield from problems
    if manifest and EVENTS in folder.sizes:
        yield from _end_of_chain(folder, chain, manifest, verdict)
    files = _mapping(closing.get("files")) or _mapping(manifest.get("files"))
    rows = _list(closing.get("cells")) or _list(manifest.get("cells"))
    cells = [str(_mapping(one).get("sha256")) for one in rows]
    verdict.cells = len(cells)
    for name, facts in files.items():
        if name != EVENTS:
            yield from _file(folder, name, _mapping(facts), cells)
    if EVENTS not in folder.sizes:
        yield Problem(EVENTS, "this file was deleted")
    yield from _afterwards(folder, manifest, verdict)
    known = {*files, EVENTS, MANIFEST, *AFTERWARDS}
    if files:  # else nothing is left that says which files there were
        yield from (Problem(one, "this file was added") for one in folder.sizes if one not in known)


def _manifest(folder: Folder, closing: Data, verdict: Verdict) -> tuple[Data, list[Problem]]:
    """Read manifest.json; return it and what is wrong with it, {} when it cannot be read."""
    raw = folder.read(MANIFEST)
    if raw is None:
        return {}, [Problem(MANIFEST, "this file was deleted, never written, or is too large")]
    head = head_of(raw)
    try:
        manifest = _object(raw)
    except json.JSONDecodeError as error:
        return {}, [Problem(MANIFEST, f"no JSON any more: {error.msg}", line=error.lineno)]
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return {}, [Problem(MANIFEST, "bytes here are no UTF-8", line=line)]
    except ValueError as error:
        return {}, [Problem(MANIFEST, f"no JSON any more: {error}")]
    problems = list(_fields(manifest, closing)) if closing else []
    if head:
        verdict.head = head
    elif not _HEAD.search(raw):
        problems.append(Problem(MANIFEST, "its end was changed", name="head"))
    elif not problems:
        problems.append(Problem(MANIFEST, *_where_not_as_written(raw, manifest)))
    return manifest, problems


def _where_not_as_written(raw: bytes, manifest: Data) -> tuple[str, None, int | None, str]:
    """Say where the bytes of a manifest differ that says what it said."""
    again = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    lines, ours = raw.split(b"\n"), again.encode("utf-8", "backslashreplace").split(b"\n")
    at = next((n for n, (a, b) in enumerate(zip(lines, ours, strict=False), 1) if a != b), None)
    if at is None and len(lines) == len(ours):
        return (
            "its head is not the one of its bytes: the head or a field was changed",
            None,
            None,
            "head",
        )
    return "the form of this line was changed, not what it says", None, at, ""


def _fields(manifest: Data, closing: Data) -> Iterator[Problem]:
    """Compare a manifest with what the closing event says of it, field by field."""
    wanted = _mapping(closing.get("fields"))
    own = {"files", "cells", "chain", "head"}
    for name, digest in wanted.items():
        if name not in manifest:
            yield Problem(MANIFEST, "this field was deleted", name=name)
        elif digest_of(manifest[name]) != digest:
            yield Problem(MANIFEST, "this field was changed", name=name)
    for name in manifest:
        if name not in wanted and name not in own:
            yield Problem(MANIFEST, "this field was added", name=name)
    files, listed = _mapping(closing.get("files")), _mapping(manifest.get("files"))
    for name in dict.fromkeys([*files, *listed]):
        if name != EVENTS and files.get(name) != listed.get(name):
            yield Problem(
                MANIFEST, "what is listed for this file was changed", name=f"files.{name}"
            )
    cells, rows = _list(closing.get("cells")), _list(manifest.get("cells"))
    for number in range(max(len(cells), len(rows))):
        if rows[number : number + 1] != cells[number : number + 1]:
            yield Problem(
                MANIFEST, "what is listed for this cell was changed", number, name="cells"
            )
            return


def _end_of_chain(
    folder: Folder, chain: _Chain, manifest: Data, verdict: Verdict
) -> Iterator[Problem]:
    """Hold the end of an unbroken chain against the manifest: one may have been made anew."""
    ends = _mapping(manifest.get("chain"))
    last, count = chain.last, ends.get("count")
    closed = last is not None and last.data.get("event") == "record-close"
    if chain.problems:
        return
    if last is not None and closed:
        actual = {"first": chain.events[0].prev, "head": last.hash, "count": last.seq}
        facts = {"sha256": folder.digest(EVENTS), "size": folder.sizes[EVENTS]}
        other_end = ends != actual
        other_file = _mapping(manifest.get("files")).get(EVENTS) != facts
        if other_end and other_file and verdict.head:
            yield Problem(
                EVENTS, "this line was made anew: the manifest has another", None, last.line
            )
        elif other_end:
            yield Problem(MANIFEST, "this field was changed", name="chain")
        elif other_file:
            text = "what is listed for this file was changed"
            yield Problem(MANIFEST, text, name=f"files.{EVENTS}")
    elif last is None:
        yield Problem(EVENTS, "all events are missing", line=1)
    elif isinstance(count, int) and last.seq < count:
        text = f"events {last.seq + 1} to {count} are missing at the end"
        yield Problem(EVENTS, text, line=last.line + 1)
    else:
        yield Problem(EVENTS, "the record was not closed with this event", line=last.line)


def _file(folder: Folder, name: str, facts: Data, cells: list[str]) -> Iterator[Problem]:
    if name not in folder.sizes:
        yield Problem(name, "this file was deleted")
        return
    size, now = facts.get("size"), folder.sizes[name]
    if now == size and folder.digest(name) == facts.get("sha256"):
        return
    data = folder.read(name) if name == RECORD else None
    if data is not None:
        yield from _compare_cells(data, cells)
    else:
        more = f": {now} bytes, was {size}" if now != size else ""
        yield Problem(name, f"this file was changed{more}")


def _afterwards(folder: Folder, manifest: Data, verdict: Verdict) -> Iterator[Problem]:
    """Check the files about the manifest by anchors.json, and that one by its own head."""
    there = [name for name in AFTERWARDS if name in folder.sizes]
    wanted = _hashes(manifest.get("anchors"))
    if ANCHORS not in there:
        if wanted:
            text = f"{', '.join(wanted)} was asked for: this was deleted, or never made"
            yield Problem(ANCHORS, text)
        yield from (Problem(name, "this file was added") for name in there)
        return
    raw = folder.read(ANCHORS) or b""
    if not head_of(raw):
        yield Problem(ANCHORS, "this file was changed")
        return
    try:
        anchors = _object(raw)
    except ValueError:
        yield Problem(ANCHORS, "this file is no JSON")
        return
    if verdict.head and anchors.get("record") != verdict.head:
        yield Problem(ANCHORS, "this file is about another record", name="record")
    yield from _about(folder, there, _mapping(anchors.get("files")))
    for one in _list(anchors.get("anchors")):
        row = _mapping(one)
        said = row.get("error") or f"{row.get('name', '')}, as it says itself"
        verdict.notes.append(f"{row.get('kind')}: {said}")


def _about(folder: Folder, there: list[str], files: Data) -> Iterator[Problem]:
    for name in dict.fromkeys([*files, *there]):
        if name not in there:
            yield Problem(name, "this file was deleted")
        elif name != ANCHORS and name not in files:
            yield Problem(name, "this file was added")
        elif name != ANCHORS and folder.digest(name) != files[name]:
            yield Problem(name, "this file was changed")


# --- a record whose run was killed, or goes on ------------------------------------------------


@dataclass(frozen=True)
class _Files:
    """The files by their hashes, as read before the events; ``live``: a process still writes."""

    digests: Mapping[str, str]
    live: bool


def _is_live(folder: Folder) -> bool:
    """Tell whether a process holds the lock on the events; not known where there is no flock."""
    if fcntl is None or EVENTS not in folder.sizes:
        return False
    with folder.open(EVENTS) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _unfinished(
    folder: Folder,
    chain: _Chain,
    notebook: bytes | None,
    files: _Files,
    verdict: Verdict,
) -> Iterator[Problem]:
    verdict.state = "unfinished"
    verdict.notes.append("the run goes on, or its process was killed: nothing says where it ended")
    if EVENTS not in folder.sizes:
        yield Problem(EVENTS, "this file was deleted")
        return
    for problem in chain.problems:
        if chain.torn and problem.line == chain.lines:
            verdict.notes.append(f"line {problem.line} of {EVENTS} was not written to its end")
        else:
            yield problem
    written = yield from _written(chain, files)
    for name in folder.sizes:
        if name in written or name in {RECORD, EVENTS}:
            continue
        if _LEFT.fullmatch(name):
            verdict.notes.append(f"{name}: a write that the kill cut off; not part of the record")
        else:
            yield Problem(name, "this file was added")
    yield from _open_notebook(chain, notebook, verdict)


def _written(chain: _Chain, files: _Files) -> Generator[Problem, None, dict[str, list[str]]]:
    """Hold each file against the events that said it before it was written."""
    written: dict[str, list[str]] = {}
    dropped: set[str] = set()
    for event in chain.events:
        kind, name = event.data.get("event"), str(event.data.get("name"))
        if kind == "file":
            written.setdefault(name, []).append(str(event.data.get("sha256")))
            dropped.discard(name)
        elif kind == "dropped":
            dropped |= {one for one in written if one == name or one.startswith(f"{name}/")}
    last = chain.last.data if chain.last else {}
    for name, history in written.items():
        # Between the last event and its write the kill may have come.
        pending = last.get("event") == "file" and last.get("name") == name
        fine = history if files.live else history[-2 if pending else -1 :]
        if name not in files.digests:
            if name not in dropped and (not pending or len(history) > 1):
                yield Problem(name, "this file was deleted")
        elif files.digests[name] not in fine:
            yield Problem(name, "this file was changed")
    return written


def _open_notebook(chain: _Chain, notebook: bytes | None, verdict: Verdict) -> Iterator[Problem]:
    """Hold the cells that have ended against their events, and every source against the plan."""
    sources: list[str] = []
    for event in chain.events:
        if event.data.get("event") == "notebook":
            sources = _hashes(event.data.get("sources"))
    if notebook is None:
        if any(event.data.get("event") == "cell-start" for event in chain.events):
            yield Problem(RECORD, "this file was deleted, or is too large")
        return
    try:
        cells = _list(_object(notebook).get("cells"))
    except ValueError:
        bad = len(read_cells(notebook)) - 1
        yield Problem(RECORD, "no notebook any more", cell=bad if bad >= 0 else None)
        return
    verdict.cells = len(cells)
    now = [source_digest(cell) for cell in cells]
    if now != sources:
        yield from _edits(now, sources, cut=False)
    else:
        yield from _ended(chain, cells, verdict)


def _ended(chain: _Chain, cells: list[Any], verdict: Verdict) -> Iterator[Problem]:
    ended: dict[int, set[str]] = {}
    for event in chain.events:
        index = event.data.get("cell")
        if event.data.get("event") == "cell" and isinstance(index, int):
            ended.setdefault(index, set()).add(str(event.data.get("sha256")))
    behind = 0
    for number, cell in enumerate(cells):
        done = outcome_of(cell) not in {"", *OPEN}
        if done and digest_of(cell) not in ended.get(number, ()):
            yield Problem(RECORD, "this cell was changed", cell=number)
        behind += not done and number in ended
    if behind:
        verdict.notes.append(f"{behind} cells ended after the notebook was last saved")


def source_digest(cell: Any) -> str:
    """Return the hash of what a cell is before it runs."""
    one = _mapping(cell)
    return digest_of([one.get("id"), one.get("cell_type"), one.get("source")])


# --- the program ------------------------------------------------------------------------------


def main(words: Sequence[str]) -> int:
    """Verify the folders that are named; print verdicts and what they do not prove."""
    folders = [word for word in words if word != "--json"]
    if not folders or any(word.startswith("-") for word in folders):
        sys.stderr.write("usage: python -I verify.py [--json] FOLDER...\n")
        return 2
    try:
        verdicts = [verify(one) for one in folders]
    except NoRecord as error:
        sys.stderr.write(f"verify: {error}\n")
        return 2
    if "--json" in words:
        sys.stdout.write(json.dumps([one.as_dict() for one in verdicts], indent=2) + "\n")
    else:
        sys.stdout.write("\n".join([*(str(one) for one in verdicts), "", NOT_PROVEN]) + "\n")
    return 0 if all(one.ok for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
