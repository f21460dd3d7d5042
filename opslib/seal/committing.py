"""The commit of a sealed value: on a branch of its own, for somebody to review and merge."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.core.settings import state_dir
from opslib.seal.proposal import Change
from opslib.source.branch import Author, Committed, commit_files, free_branch, hand_over

if TYPE_CHECKING:
    from opslib.source.mirror import Mirror

PLAN = "Opslib-Plan"


def commit(
    mirror: Mirror,
    change: Change,
    author: Author,
    *,
    branch: str = "",
    push: bool = False,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Commit a change onto the commit that it is of; return the commit for the record.

    ``branch`` "": named after the Secret. ``folder`` is for the patch file of a source that is
    no folder. Raises InputError for a branch that is there, OpslibError for what git says.
    """
    made = commit_files(
        mirror,
        change.base,
        change.files,
        branch=branch or free_branch(mirror, branch_of(change)),
        message=message_of(change, author),
        author=author,
    )
    place = folder or state_dir() / "patches" / "seal"
    return told(change, hand_over(mirror, made, place, pushing=push))


def find(mirror: Mirror, change: Change, branch: str = "") -> dict[str, Any] | None:
    """Look for the commit of a change that a run before may have made; None where there is none.

    For a source that is a folder: its branch has to name this very plan, on the same commit.
    """
    if mirror.git.address.kind != "path":
        return None
    from opslib.source.transport import repository  # noqa: PLC0415  # with the rest of Git

    git, name = repository(mirror.git.address), branch or branch_of(change)
    done = git.run("log", "-1", "--format=%H%n%P%n%B", f"refs/heads/{name}")
    lines = done.text.splitlines() if not done.code else []
    if lines[1:2] != [change.base] or f"{PLAN}: {change.hash}" not in lines:
        return None
    return told(change, Committed(name, lines[0], change.base, git.address.url))


def told(change: Change, made: Committed) -> dict[str, Any]:
    """Return a commit as the record has it."""
    return {
        "branch": made.branch,
        "commit": made.commit,
        "base": made.base,
        "where": made.where,
        "patch": str(made.patch) if made.patch else None,
        "pushed": made.pushed,
        "files": sorted(change.files),
        "next": made.next,
    }


def branch_of(change: Change) -> str:
    """Return the name of the branch of a change."""
    return f"opslib/seal-{change.wish.name}-{change.hash[:8]}"


def message_of(change: Change, author: Author) -> str:
    """Return a commit's message: what was sealed for whom, by whom, until when."""
    wish = change.wish
    subject = f"Seal {', '.join(change.sealed)} of Secret {wish}"
    subject = subject if len(subject) <= 100 else f"{subject[:99]}…"
    lines = [subject, ""]
    for one in change.placed:
        lines += textwrap.wrap(one.sentence, 96, subsequent_indent="  ")
    lines += [f"Restarts {one}" for one in change.restarts]
    lines.append(f"Sealed on {wish.noting.today} by {author}")
    lines += [f"Rotate by {wish.noting.rotate}"] if wish.noting.rotate else []
    return "\n".join([*lines, "", f"{PLAN}: {change.hash}", f"Opslib-Base: {change.base}"]) + "\n"
