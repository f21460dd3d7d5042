"""Branches, tags and commit ids: which commit a name means, and what to say when it means none."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from opslib.core.errors import InputError
from opslib.source.history import is_id, known
from opslib.source.snapshot import near
from opslib.source.transport import Git, is_ref_name

HEAD = "refs/opslib/HEAD"
"""Where the mirror keeps the remote's HEAD."""
_SHORT_ID = re.compile(r"[0-9a-f]{7,39}")


@dataclass(frozen=True)
class Found:
    """A ref's whole name ("" for a commit id) and the commit it is now."""

    name: str
    commit: str
    warning: str = ""

    @property
    def short(self) -> str:
        """The name as people write it."""
        plain = re.sub(r"^refs/(heads|tags|opslib)/", "", self.name)
        return plain or self.commit

    @property
    def is_tag(self) -> bool:
        return self.name.startswith("refs/tags/")


def check_ref(ref: str) -> None:
    """Raise InputError unless ``ref`` is "" or may be a branch, a tag or a commit id.

    The rules are git's: https://git-scm.com/docs/git-check-ref-format
    """
    if not ref or is_id(ref):
        return
    if not ref.isprintable() or ref.startswith("-") or len(ref) > 250 or not is_ref_name(ref):
        shown = ref if len(ref) <= 80 else f"{ref[:80]}…"
        raise InputError(
            f"{shown!r} cannot be a branch, a tag or a commit",
            where="--revision",
            expected="a name such as main, release/1.4 or v1.4.2, or a whole commit id",
        )


def find(git: Git, ref: str, *, short_ids: bool = False) -> Found | None:
    """Return the commit of a branch, a tag or a whole commit id; None when there is none.

    A branch goes before a tag of the same name, with a warning.
    """
    if is_id(ref):
        return _pinned(git, ref)
    if ref == "HEAD":
        names = [HEAD]
    elif ref.startswith("refs/"):
        names = [ref]
    else:
        names = [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    there = [name for name in names if name in _names(git, *names)]
    if not there and short_ids and _SHORT_ID.fullmatch(ref):
        whole = _commit_of(git, ref)
        return _pinned(git, whole) if whole else None
    if not there:
        return None
    commit = _commit_of(git, there[0])
    if not commit:
        raise InputError(f"{ref} is not a commit", where=git.address.url)
    both = f"{ref} is a branch and a tag; the branch is used (refs/tags/{ref} is the tag)"
    return Found(there[0], commit, both if len(there) > 1 else "")


def branch_of_head(git: Git, before: str, deadline: float) -> str:
    """Return the name of the remote's default branch, "HEAD" when it is on none.

    ``before`` is what it was. A fetch tells the commit of the remote's HEAD and not its
    name; the remote is asked only when several branches are at this commit. Raises
    InputError when the repository is empty, or its default branch does not exist.
    """
    if not _names(git, HEAD):
        if not (branches := _names(git, "refs/heads/")):
            raise _empty(git, before)
        names = [one.removeprefix("refs/heads/") for one in branches]
        raise InputError(
            "the default branch of this repository does not exist",
            where=git.address.url,
            hint=f"name one by --revision: {', '.join(names[:5])}",
        )
    here = _names(git, f"--points-at={HEAD}", "refs/heads/")
    names = [one.removeprefix("refs/heads/") for one in here]
    if len(names) == 1 or before in names:
        return before if before in names else names[0]
    if not names:
        return "HEAD"
    left = max(1.0, deadline - time.monotonic())
    asked = git.remote("ls-remote", "--symref", git.address.url, "HEAD", timeout=left)
    told = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", asked.text, re.MULTILINE)
    if told and told[1] in names:
        return told[1]
    usual = [one for one in ("main", "master") if one in names]
    return (usual or names)[0]


def vanished(git: Git, ref: str, *, known_as: str) -> InputError:
    """Say that a ref is not there (any more), with names that are near.

    ``known_as`` is the commit it had before, "" when it was never there.
    """
    all_names = [re.sub(r"^refs/(heads|tags)/", "", one) for one in _all(git)]
    if not all_names:
        return _empty(git, known_as)
    if is_id(ref):
        what, hint = f"no branch or tag has the commit {ref}", None
    elif _SHORT_ID.fullmatch(ref) and (whole := _commit_of(git, ref)):
        what, hint = f"{ref} is not a whole commit id", f"write {whole}"
    else:
        since = f" any more; it was at {known_as[:12]}" if known_as else ""
        what = f"there is no branch or tag {ref or 'HEAD'}{since}"
        close = near(ref, all_names)
        hint = f"did you mean {' or '.join(close)}?" if close else None
        hint = hint or f"there are: {', '.join(all_names[:5])}"
    return InputError(what, where=git.address.url, hint=hint)


def _pinned(git: Git, commit: str) -> Found | None:
    if not known(git, commit):
        return None
    if _names(git, "--count=1", f"--contains={commit}", "refs/heads/", "refs/tags/"):
        return Found("", commit)
    return Found("", commit, f"no branch or tag has the commit {commit[:12]} any more")


def _commit_of(git: Git, name: str) -> str:
    return git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").text.strip()


def _all(git: Git) -> list[str]:
    return _names(git, "refs/heads/", "refs/tags/")


def _names(git: Git, *args: str) -> list[str]:
    return git.run("for-each-ref", "--format=%(refname)", *args).text.splitlines()


def _empty(git: Git, before: str) -> InputError:
    """Say that there is nothing; ``before`` is what there was, "" for nothing ever."""
    if before:
        return InputError(
            f"this repository has no branches any more; it had {before[:12]}",
            where=git.address.url,
            hint="look at what answers there: a new repository, or a page that asks for a login?",
        )
    return InputError(
        "this repository is empty: it has no commits",
        where=git.address.url,
        hint="commit the manifests (git add, git commit), and push them",
    )
