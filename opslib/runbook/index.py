"""The index of all records: a SQLite file beside them, made from the folders and never the truth.

It may be deleted at any time. Each search first compares the size, time and inode of every
record's files with what was indexed and reads again only those that changed. A file that is
broken, of another version or not ours is made anew. Where the folder cannot be written
(a copy on read-only media) the index lives in memory. https://www.sqlite.org/fts5.html
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from opslib.runbook.entry import PLAN, Entry, entry_of, plain
from opslib.runbook.folder import MANIFEST, RECORD, RESULT
from opslib.runbook.outcome import Outcome
from opslib.runbook.places import records_folder
from opslib.runbook.query import Query
from opslib.runbook.reading import record_places
from opslib.runbook.records import RecordSummary, summary_of

FILE = ".index.sqlite3"
VERSION = 1
_WAIT = 30.0
"""Seconds to wait for another process that brings the index up to date."""
_WATCHED = (RESULT, RECORD, MANIFEST, PLAN)
_TABLES = (
    """CREATE TABLE records (
        id INTEGER PRIMARY KEY, place TEXT UNIQUE NOT NULL, mark TEXT NOT NULL,
        run_id TEXT NOT NULL, runbook TEXT NOT NULL, outcome TEXT NOT NULL, exit_code INTEGER,
        started TEXT NOT NULL, seconds REAL, error TEXT NOT NULL, title TEXT NOT NULL,
        person TEXT NOT NULL, host TEXT NOT NULL)""",
    "CREATE TABLE parameters (record INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL)",
    """CREATE TABLE resources (
        record INTEGER NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL,
        name TEXT NOT NULL)""",
    "CREATE INDEX records_by_start ON records (started)",
    "CREATE INDEX parameters_by_name ON parameters (name, value)",
    "CREATE INDEX parameters_by_record ON parameters (record)",
    "CREATE INDEX resources_by_name ON resources (name)",
    "CREATE INDEX resources_by_record ON resources (record)",
)
_WORDS = "CREATE VIRTUAL TABLE words USING fts5(body, tokenize='unicode61 remove_diacritics 2')"
_PLAIN_WORDS = "CREATE TABLE words (body TEXT NOT NULL)"
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Refreshed:
    """What bringing the index up to date took: records read again, records gone, all of them.

    ``notes`` says in words what a person should know, such as that the index was broken.
    """

    read: int
    gone: int
    total: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """The records that a search found, newest first, and how the index was brought up to date."""

    records: tuple[RecordSummary, ...]
    refreshed: Refreshed
    persons: tuple[str, ...] = field(default=(), repr=False)
    titles: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class _Index:
    """An open index of the records below ``base``; ``notes`` as in Refreshed."""

    db: sqlite3.Connection
    base: Path
    notes: tuple[str, ...] = ()


def search(query: Query | None = None, out: Path | None = None) -> Found:
    """Return the records below ``out`` (outputs/ by default) that fit, newest first.

    The index is brought up to date first. Raises InputError for a query that has no meaning.
    """
    wanted = query or Query()
    return _with_index(out, lambda index: _search(index, wanted))


def refresh(out: Path | None = None) -> Refreshed:
    """Bring the index below ``out`` up to date and say what it took."""
    return _with_index(out, _refresh)


def _with_index(out: Path | None, work: Callable[[_Index], _Found]) -> _Found:
    base = (out or records_folder()).resolve()
    try:
        with _opened(base) as index:
            return work(index)
    except (sqlite3.DatabaseError, OSError) as error:
        # The folder is not there or cannot be written, or the file broke under us.
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            _create(db)
            reason = f"the index {base / FILE} cannot be used ({error}): this search made its own"
            return work(_Index(db, base, (reason,) if base.is_dir() else ()))


@contextlib.contextmanager
def _opened(base: Path) -> Iterator[_Index]:
    """Open the index, ours and of this version; anything else in its place is removed."""
    path = base / FILE
    reason = _unfit(path)
    if reason:
        _remove(path)
    notes = (f"the index was made anew: {reason}",) if reason else ()
    with contextlib.closing(_connect(path)) as db:
        yield _Index(db, base, notes)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
    try:
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA synchronous=NORMAL")  # lost with the power at worst, and made anew
        with _transaction(db):
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                _create(db)
    except BaseException:
        db.close()
        raise
    return db


def _create(db: sqlite3.Connection) -> None:
    for table in _TABLES:
        db.execute(table)
    try:
        db.execute(_WORDS)
    except sqlite3.OperationalError:  # this SQLite was built without FTS5: slower, the same
        db.execute(_PLAIN_WORDS)
    db.execute(f"PRAGMA user_version={VERSION}")


def _unfit(path: Path) -> str:
    """Say why the file in the index's place is not to be used; "" for a good one or none.

    A schema that differs from ours by a word is not ours: a file that came with a copied
    folder must not bring triggers or views along.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return ""
    if not stat.S_ISREG(found.st_mode):
        return "it was no plain file"
    try:
        return _strange(path) if found.st_size else ""
    except sqlite3.DatabaseError as error:
        return "" if "locked" in str(error) else f"it was damaged ({error})"


def _strange(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path, timeout=_WAIT)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        rows = db.execute("SELECT name, sql FROM sqlite_master").fetchall()
        if rows and version != VERSION:
            return f"it was of version {version}, this one is {VERSION}"
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            return "it was damaged"
    ours = {*_TABLES, _WORDS, _PLAIN_WORDS}
    strange = [name for name, sql in rows if sql and sql not in ours and not _shadow(name)]
    return f"it holds {strange[0]!r}, which is not ours" if strange else ""


def _shadow(name: str) -> bool:
    """Tell the tables in which FTS5 keeps its own data."""
    return name in {f"words_{part}" for part in ("data", "idx", "content", "docsize", "config")}


def _remove(path: Path) -> None:
    for name in (path, Path(f"{path}-journal"), Path(f"{path}-wal"), Path(f"{path}-shm")):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _refresh(index: _Index) -> Refreshed:
    db, base = index.db, index.base
    known = {place: (row, mark) for row, place, mark in db.execute(_KNOWN)}
    there = dict(_marks(base))
    stale = [place for place, mark in there.items() if known.get(place, (0, ""))[1] != mark]
    gone = [place for place in known if place not in there]
    if stale or gone:
        with _transaction(db):
            _forget(db, [*gone, *stale])
            for place in stale:
                _add(db, place, there[place], entry_of(base / place))
    return Refreshed(len(stale), len(gone), len(there), index.notes)


_KNOWN = "SELECT id, place, mark FROM records"


def _marks(base: Path) -> Iterator[tuple[str, str]]:
    """Yield each record's place below ``base`` with what tells that its files changed."""
    root = f"{base}/"
    for place in record_places(base):
        found = [_mark(f"{root}{place}/{name}") for name in _WATCHED]
        if found[0]:
            yield place, "|".join(found)


def _mark(path: str) -> str:
    try:
        found = os.lstat(path)
    except OSError:
        return ""
    return f"{found.st_ino}.{found.st_size}.{found.st_mtime_ns}"


def _forget(db: sqlite3.Connection, places: Sequence[str]) -> None:
    for place in places:
        # Asked anew: another process may have been here since the comparison.
        row = db.execute("SELECT id FROM records WHERE place = ?", (place,)).fetchone()
        if row:
            db.execute("DELETE FROM words WHERE rowid = ?", row)
            for table in ("parameters", "resources"):
                db.execute(f"DELETE FROM {table} WHERE record = ?", row)  # noqa: S608  # two literals
            db.execute("DELETE FROM records WHERE id = ?", row)


def _add(db: sqlite3.Connection, place: str, mark: str, entry: Entry) -> None:
    one = entry.summary
    row = (place, mark, plain(one.run_id), plain(one.runbook), plain(one.outcome), one.exit_code)
    more = (plain(one.started), one.seconds, plain(one.error))
    values = (*row, *more, entry.title, entry.person, entry.host)
    done = db.execute(f"INSERT INTO records VALUES (NULL{', ?' * len(values)})", values)  # noqa: S608  # question marks only
    number = done.lastrowid
    db.execute("INSERT INTO words (rowid, body) VALUES (?, ?)", (number, entry.text))
    db.executemany(
        "INSERT INTO parameters VALUES (?, ?, ?)", [(number, *pair) for pair in entry.parameters]
    )
    db.executemany(
        "INSERT INTO resources VALUES (?, ?, ?, ?)", [(number, *one) for one in entry.resources]
    )


_COLUMNS = "place, run_id, runbook, outcome, exit_code, started, seconds, error, person, title"


def _search(index: _Index, query: Query) -> Found:
    db, refreshed = index.db, _refresh(index)
    fulltext = not db.execute(
        "SELECT 1 FROM sqlite_master WHERE sql = ?", (_PLAIN_WORDS,)
    ).fetchone()
    where, values = query.sql(fulltext=fulltext)
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM records WHERE {where}"  # noqa: S608  # both are made of literals
        " ORDER BY started DESC, run_id DESC",
        values,
    )
    found: list[tuple[RecordSummary, str, str]] = []
    for row in rows:
        summary = _summary(index.base, row)
        if query.fits(summary):
            found.append((summary, row[8], row[9]))
        if query.limit is not None and len(found) >= query.limit:
            break
    one, two, three = zip(*found, strict=True) if found else ((), (), ())
    return Found(tuple(one), refreshed, tuple(two), tuple(three))


def _summary(base: Path, row: Any) -> RecordSummary:
    place, run_id, runbook, outcome, exit_code, started, seconds, error, *_ = row
    folder = base / place
    if outcome == Outcome.RUNNING.value:  # the one thing that changes without a write
        return summary_of(folder)
    return RecordSummary(run_id, runbook, outcome, exit_code, started, seconds, folder, error)
