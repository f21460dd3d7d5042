"""A person's own work tree: who wrote a line, what a commit of theirs takes up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from opslib.core.errors import InputError, OpslibError
from opslib.core.proc import find_program, run
from opslib.source.address import Address
from opslib.source.history import is_id, plain
from opslib.source.transport import LOCAL_SECONDS, Git

_HEAD = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}) \d+ \d+(?: \d+)?")
_COMMIT_SECONDS = 300.0
MOST_VERSION = 16_000_000
_BATCH = 32_000_000


@dataclass(frozen=True)
class Blamed:
    """One line of a file as it is at HEAD, and the commit that wrote it."""

    text: str
    commit: str
    author: str


@dataclass(frozen=True)
class WorkTree:
    """A work tree: its top folder, and git on its repository."""

    top: Path
    git: Git

    def blame(self, path: Path) -> list[Blamed]:
        """Return the lines of a file at HEAD with who wrote each; nothing for a new file."""
        done = self.git.run("blame", "--line-porcelain", "-w", "HEAD", "--", self.name(path))
        return list(_lines(done.text)) if done.code == 0 else []

    def name(self, path: Path) -> str:
        """Return a path from the top, as git names it."""
        return path.resolve().relative_to(self.top.resolve()).as_posix()

    def versions(self, *endings: str) -> Iterator[tuple[str, bytes]]:
        """Yield every content that files had up to HEAD with its first commit, the oldest first.

        ``endings`` choose the files by their names. Contents of more than MOST_VERSION bytes
        are left out, and merges that change what they merge.
        """
        words = ("--reverse", "--topo-order", "--format=%H", "--raw", "--no-abbrev", "--no-renames")
        done = self.git.run("log", *words, "HEAD", "--")
        first = _blobs(done.text, endings) if done.code == 0 else {}
        for batch in _batched(self._sizes(list(first)), _BATCH):
            data = self.git.run("cat-file", "--batch", stdin=_rows(batch)).out
            at = 0
            for oid in batch:
                end = data.index(b"\n", at)
                size = int(data[at:end].split()[2])
                yield first[oid], data[end + 1 : end + 1 + size]
                at = end + size + 2

    def _sizes(self, ids: list[str]) -> list[tuple[str, int]]:
        """Return the sizes of blobs that are there and not too large."""
        done = self.git.run("cat-file", "--batch-check", stdin=_rows(ids))
        rows = [line.split() for line in done.text.splitlines()]
        found = [(row[0], int(row[2])) for row in rows if len(row) == 3 and row[1] == "blob"]
        return [(oid, size) for oid, size in found if size <= MOST_VERSION]

    def dirty(self, paths: Iterable[Path]) -> list[str]:
        """Return those of the files that differ from HEAD, or that git does not know."""
        names = [self.name(path) for path in paths]
        done = self._user("status", "--porcelain", "-z", "--no-renames", "--", *names)
        return [row[3:] for row in done.split("\0") if row]

    def commit(self, paths: Sequence[Path], message: str) -> str:
        """Commit these files and nothing else, as the user's git does it; return the commit.

        Hooks and signing are the user's own. Raises OpslibError where git refuses.
        """
        names = [self.name(path) for path in paths]
        self._user("commit", "--quiet", "--only", "-F", "-", "--", *names, stdin=message.encode())
        return self._user("rev-parse", "HEAD").strip()

    def _user(self, *args: str, stdin: bytes | None = None) -> str:
        """Run the user's git in their work tree, with their settings."""
        program = find_program("git", why="to commit", hint="install git 2.31 or later")
        env = {**os.environ, "GIT_LITERAL_PATHSPECS": "1", "GIT_TERMINAL_PROMPT": "0"}
        words = [program, "-C", str(self.top), *args]
        done = run(words, timeout=_COMMIT_SECONDS, env=env, stdin=stdin, check=False)
        if done.code:
            what = f"git {args[0]} failed: {done.last_error_line}"
            raise OpslibError(what, where=str(self.top))
        return done.text


def work_tree_of(path: Path) -> WorkTree | None:
    """Return the work tree that a file or folder is in; None where there is none, or no commit."""
    here = path.resolve()
    folder = here if here.is_dir() else here.parent
    program = find_program("git", why="to see who wrote what", hint="install git 2.31 or later")
    words = [program, "-C", str(folder), "rev-parse", "--show-toplevel", "--absolute-git-dir"]
    done = run([*words, "--verify", "HEAD"], timeout=LOCAL_SECONDS, check=False)
    rows = done.text.splitlines()
    if done.code or len(rows) < 2:
        return None
    return WorkTree(Path(rows[0]), Git(Path(rows[1]), Address(rows[0], "path")))


def need_work_tree(path: Path) -> WorkTree:
    """Return the work tree of a path. Raises InputError where there is none."""
    found = work_tree_of(path)
    if found is None:
        raise InputError(
            "this is in no Git work tree with a commit",
            where=str(path),
            expected="a clone of the repository",
        )
    return found


def _lines(text: str) -> Iterable[Blamed]:
    commit = author = ""
    for row in text.split("\n"):
        if match := _HEAD.fullmatch(row):
            commit = match[1]
        elif row.startswith("author "):
            author = plain(row.removeprefix("author "))
        elif row.startswith("\t"):
            yield Blamed(row[1:], commit, author)


def _rows(ids: Iterable[str]) -> bytes:
    return "".join(f"{oid}\n" for oid in ids).encode()


def _blobs(log: str, endings: tuple[str, ...]) -> dict[str, str]:
    """Return the first commit of each blob, of ``git log --raw`` from the oldest commit on."""
    found: dict[str, str] = {}
    commit = ""
    for line in log.splitlines():
        if line.startswith(":"):
            head, _, name = line.partition("\t")
            oid = head.split()[3]
            if name.strip('"').endswith(endings) and oid.strip("0"):
                found.setdefault(oid, commit)
        elif is_id(line):
            commit = line
    return found


def _batched(rows: Iterable[tuple[str, int]], most: int) -> Iterator[list[str]]:
    """Yield names in lists of at most so many bytes together, each of one at least."""
    batch: list[str] = []
    total = 0
    for name, size in rows:
        if batch and total + size > most:
            yield batch
            batch, total = [], 0
        batch.append(name)
        total += size
    if batch:
        yield batch
