"""Commits of a mirror: who, when, what, and which came before which."""

from __future__ import annotations

import re
from typing import NamedTuple

from opslib.source.snapshot import Damaged
from opslib.source.transport import Git

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FORMAT = "%H%x00%an%x00%cI%x00%s"


class Told(NamedTuple):
    """What a commit says of itself; the time is its committer's, in ISO 8601."""

    commit: str
    author: str
    committed_at: str
    subject: str


def is_id(text: str) -> bool:
    """Whether a text has the form of a whole commit id (SHA-1 or SHA-256)."""
    return _ID.fullmatch(text) is not None


def known(git: Git, commit: str) -> bool:
    """Whether the mirror has this commit."""
    return is_id(commit) and git.run("cat-file", "-e", f"{commit}^{{commit}}").code == 0


def log(git: Git, commit: str, path: str, limit: int) -> list[Told]:
    """Return the newest commits that changed ``path`` ("" for any), from ``commit`` on.

    Raises Damaged when the history cannot be read.
    """
    # rev-list and not log: the user's settings for log (signatures, colours) do not reach it.
    args = [f"--max-count={max(limit, 0)}", f"--format={_FORMAT}", commit, "--"]
    done = git.run("rev-list", *args, *([path] if path else []))
    if done.code:
        raise Damaged("the history cannot be read", where=commit)
    lines = [line for line in done.text.split("\n") if "\0" in line]
    return [Told(*(plain(word) for word in line.split("\0", 3))) for line in lines]


def blame(git: Git, commit: str, path: str, line: int) -> str | None:
    """Return the id of the commit that last changed a line; None when there is no such line."""
    done = git.run("blame", "--porcelain", f"-L{line},{line}", commit, "--", path)
    found = done.text.partition(" ")[0].lstrip("^")
    return found if done.code == 0 and is_id(found) else None


class Blamed(NamedTuple):
    """Where a line comes from; ``before`` is the commit and path that it was not yet in."""

    commit: str
    before: tuple[str, str] | None


def blamed(git: Git, commit: str, path: str, line: int) -> Blamed | None:
    """Return which commit brought a line, spaces and moves within the file aside.

    None when there is no such line.
    """
    words = ("-w", "-M", "--porcelain", f"-L{line},{line}", commit, "--", path)
    done = git.run("blame", *words)
    found = done.text.partition(" ")[0].lstrip("^")
    if done.code or not is_id(found):
        return None
    before = None
    for row in done.text.split("\n"):
        if row.startswith("\t"):
            break
        if row.startswith("previous "):
            _, parent, place = row.split(" ", 2)
            before = (parent, place)
    return Blamed(found, before)


def parents(git: Git, commit: str) -> list[str]:
    """Return the parents of a commit; none of the first one, or where the history is cut off."""
    done = git.run("rev-list", "--parents", "--max-count=1", commit, "--")
    return done.text.split()[1:] if done.code == 0 else []


def changed(git: Git, older: str, newer: str) -> list[str]:
    """Return the files that differ between two commits, as sorted paths; renames are two."""
    words = ("-r", "-z", "--no-renames", "--name-only", older, newer, "--")
    done = git.run("diff-tree", *words)
    return sorted(filter(None, done.text.split("\0"))) if done.code == 0 else []


def mentions(git: Git, commit: str, text: str) -> list[str]:
    """Return the files of a commit that hold a text, as sorted paths."""
    done = git.run("grep", "--name-only", "-z", "-I", "--fixed-strings", "-e", text, commit, "--")
    return sorted(name.partition(":")[2] for name in done.text.split("\0") if name)


def is_ancestor(git: Git, older: str, newer: str) -> bool:
    """Whether ``older`` is in the history of ``newer``; False when either is unknown."""
    if not (is_id(older) and is_id(newer)):
        return False
    return git.run("merge-base", "--is-ancestor", older, newer).code == 0


def plain(text: str) -> str:
    """Take out what would steer a terminal or reorder text: authors write these freely."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
