"""The commit that takes a bad revision back, as a proposal: a person makes and pushes it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from opslib.source.history import Told, is_ancestor, log
from opslib.source.transport import Git

MOST = 20
"""Commits that are reverted by name; beyond them the folder is restored as a whole."""


@dataclass(frozen=True)
class Proposal:
    """Commands for a checkout of the branch, and the message of the commit that they make.

    ``commits`` are what is taken back, newest first, one line each. After the commands the
    source's folder is what it was at the good commit, file by file; nothing is pushed.
    """

    commits: tuple[str, ...]
    message: str
    commands: tuple[str, ...]


def propose(git: Git, good: str, bad: str, path: str, reason: str) -> Proposal:
    """Say how ``path`` ("" for all) at ``bad`` becomes what it was at ``good``, both whole ids.

    Raises Damaged when the history cannot be read.
    """
    between = log(git, f"{good}..{bad}", path, MOST + 1)
    rows = tuple(f"{one.commit[:12]} {one.subject} ({one.author})" for one in between)
    subject = f"Return {path or 'everything'} to {good[:12]}"
    if len(between) == 1:
        subject = f'Revert "{between[0].subject}"'
    body = "\n".join([f"{bad[:12]} failed: {reason}", "", "This takes back:", *rows[:MOST]])
    if _plain(git, good, bad, path, between):
        first = f"git revert --no-commit {' '.join(one.commit for one in between)}"
    else:
        place = shlex.quote(path) if path else ":/"
        first = f"git restore --source={good} --staged --worktree -- {place}"
    second = f"git commit -m {shlex.quote(subject)} -m {shlex.quote(body)}"
    return Proposal(rows, f"{subject}\n\n{body}\n", (first, second))


def _plain(git: Git, good: str, bad: str, path: str, between: list[Told]) -> bool:
    """Whether reverting these commits one by one leads back, and touches nothing else.

    Merges do not revert without a choice, and commits that reach beyond the folder would take
    other apps back, too.
    """
    if not 0 < len(between) <= MOST or not is_ancestor(git, good, bad):
        return False
    if git.run("rev-list", "--merges", "--max-count=1", f"{good}..{bad}", "--").text.strip():
        return False
    return all(_stays_below(git, one.commit, path) for one in between)


def _stays_below(git: Git, commit: str, path: str) -> bool:
    if not path:
        return True
    args = ("-r", "-z", "--no-renames", "--no-commit-id", "--name-only", commit, "--")
    done = git.run("diff-tree", *args)
    names = [name for name in done.text.split("\0") if name]
    return done.code == 0 and all(f"{name}/".startswith(f"{path}/") for name in names)
