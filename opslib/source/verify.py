"""Whether a commit may be used: who signed it, and whether it goes on from the last one.

``head``: the commit that the ref is now must carry a good signature by a trusted key. Where
the ref is an annotated tag, the tag's own signature counts for the commit that it leads to.

``every``: so must each commit that the new one has in its history and the last applied one
has not, those on merged branches included. A tag's signature counts for its commit only.
Before the first apply there is no such range: the head alone is verified, with a warning.

In both, the commit must be the last applied one or have it in its history. An older commit,
though it was signed once, and another history are refused (a replay), unless the operator
accepts this one: then ``every`` means all that the last applied one has not in its history,
or the whole history where the mirror does not know that one. Whatever is refused raises
Unverified, and nothing of it is used.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_args

from opslib.core.errors import InputError, OpslibError
from opslib.source.history import is_ancestor, known
from opslib.source.keyring import Ring, ring
from opslib.source.refs import Found
from opslib.source.signatures import BATCH, Signature, of_commits, of_tag
from opslib.source.transport import Git
from opslib.source.trust import FORMS, Depth, Verification

_SHOWN = 3


def verification(depth: str = "", files: Sequence[Path] = ()) -> Verification:
    """Return what is to be verified; "" and () mean what the environment says.

    OPSLIB_VERIFY is a depth, OPSLIB_TRUST a list of files separated as in PATH. Where keys
    are named and no depth is, it is ``head``. Raises InputError for an unknown depth, for
    one without keys, for a file that holds none, and where the program that they are for is
    missing: before anything else is done.
    """
    depth = depth or os.environ.get("OPSLIB_VERIFY", "")
    names = os.environ.get("OPSLIB_TRUST", "").split(os.pathsep)
    files = files or [Path(name) for name in names if name]
    depth = depth or ("head" if files else "none")
    known = get_args(Depth)
    if depth not in known:
        raise InputError(
            f"{depth!r} is nothing that can be verified",
            where="--verify (or OPSLIB_VERIFY)",
            expected=f"one of: {', '.join(known)}",
        )
    if depth != "none" and not files:
        raise InputError(
            f"nothing says whose signatures count for --verify {depth}",
            where="--trust (or OPSLIB_TRUST)",
            expected=f"a file with {FORMS}",
            hint="name one by --trust FILE, or verify nothing by --verify none",
        )
    # A depth that passed is one of its type's words.
    made = Verification(depth, tuple(file.expanduser() for file in files))  # type: ignore[arg-type]
    if made.on:
        with ring(made.load()):
            return made
    return made


class Unverified(OpslibError):
    """A commit that must not be used: unsigned, signed by somebody else, or a replay.

    ``commit`` is the refused one (a whole id). ``problems`` are (commit, why), those found
    before it was given up; empty for a replay.
    """

    exit_code: ClassVar[int] = 2
    kind: ClassVar[str] = "unverified"

    def __init__(
        self,
        what: str,
        *,
        commit: str,
        where: str,
        expected: str,
        hint: str,
        problems: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(what, where=where, expected=expected, hint=hint)
        self.commit = commit
        self.problems = problems

    def as_dict(self) -> dict[str, Any]:
        rows = [{"commit": commit, "why": why} for commit, why in self.problems]
        return {**super().as_dict(), "commit": self.commit, "problems": rows}


class Verdict(NamedTuple):
    """Who signed the commit, and what a person should know of how far it was verified."""

    signed_by: str
    warning: str = ""


@dataclass(frozen=True)
class Verifier:
    """Decides about what a ref is now.

    ``last`` is the last applied commit ("" before the first). ``accept`` lets a commit go
    on that does not follow it; ``accepted`` is one for which that was said before ("" for
    none): what follows that is no replay.
    """

    verification: Verification
    last: str = ""
    accept: bool = False
    accepted: str = ""

    def __call__(self, git: Git, found: Found) -> Verdict:
        """Return who signed; raises Unverified, InputError for a bad trust file."""
        trust = self.verification.load()
        self._follows(git, found)
        with ring(trust) as keys:
            return self._verdict(git, keys, found)

    def _follows(self, git: Git, found: Found) -> None:
        """Refuse a commit that does not go on from the last applied one."""
        new = found.commit
        if self.accept or any(_within(git, old, new) for old in (self.last, self.accepted)):
            return
        if not self.last:
            return
        if is_ancestor(git, new, self.last):
            why = "is older than the last applied one"
        elif known(git, self.last):
            why = "does not have the last applied one in its history:"
        else:
            why = "is of a history that does not know the last applied one"
        raise Unverified(
            f"commit {new[:12]} {why} {self.last[:12]}",
            commit=new,
            where=_place(git, found),
            expected="the last applied commit, or one that follows it",
            hint="if you mean to go back, accept this one with --accept-rewrite",
        )

    def _verdict(self, git: Git, keys: Ring, found: Found) -> Verdict:
        by_tag = of_tag(git, keys, found.name, found.commit) if found.is_tag else ""
        seen: list[Signature] = []
        for batch in _batches([found.commit, *self._others(git, found)]):
            seen += of_commits(git, keys, batch)
            bad = [one for one in seen if not one.good and not (by_tag and one is seen[0])]
            if bad:  # whoever cannot sign cannot make this take long either
                raise _refused(git, found, bad)
        warning = ""
        if self.verification.depth == "every" and not self.last:
            warning = (
                f"nothing was applied before: of the history only the head {found.commit[:12]}"
                " was verified"
            )
        return Verdict(by_tag or seen[0].by, warning)

    def _others(self, git: Git, found: Found) -> list[str]:
        """Return the commits besides the head that must be signed, newest first."""
        if self.verification.depth != "every" or not self.last:
            return []
        args = [f"^{self.last}"] if known(git, self.last) else []
        done = git.run("rev-list", "--topo-order", found.commit, *args, "--")
        commits = done.text.split()
        if done.code:
            raise OpslibError(
                f"the history cannot be listed: {done.last_error_line}", where=git.address.url
            )
        _refuse_cut(git, found, commits)
        return [commit for commit in commits if commit != found.commit]


def _within(git: Git, old: str, new: str) -> bool:
    return bool(old) and (old == new or is_ancestor(git, old, new))


def _batches(commits: list[str]) -> Iterator[list[str]]:
    yield commits[:1]
    for start in range(1, len(commits), BATCH):
        yield commits[start : start + BATCH]


def _refuse_cut(git: Git, found: Found, commits: list[str]) -> None:
    """Refuse commits whose parents a source that calls itself shallow keeps to itself."""
    try:
        cut = set((git.folder / "shallow").read_text(encoding="ascii").split())
    except FileNotFoundError:
        return
    if hidden := [commit for commit in commits if commit in cut]:
        raise Unverified(
            f"what came before commit {hidden[0][:12]} cannot be verified: the source is a"
            " shallow clone",
            commit=found.commit,
            where=_place(git, found),
            expected="a source with its whole history, to verify every commit",
            hint="in the source: git fetch --unshallow",
            problems=((hidden[0], "its parents are missing"),),
        )


def _refused(git: Git, found: Found, bad: list[Signature]) -> Unverified:
    lines = [f"{one.commit[:12]} by {one.author or '(nobody)'}: {one.problem}" for one in bad]
    what = f"commit {lines[0]}"
    if len(bad) > 1 or bad[0].commit != found.commit:
        more = f" (and {len(bad) - _SHOWN} more)" if len(bad) > _SHOWN else ""
        what = f"the history of commit {found.commit[:12]} is not verified: "
        what += "; ".join(lines[:_SHOWN]) + more
    elif found.is_tag:
        what += "; nor is its tag signed by a trusted key under this name"
    blind = "" if shutil.which("gpg") else " (gpg is not installed: OpenPGP ones are not seen)"
    return Unverified(
        what,
        commit=found.commit,
        where=_place(git, found),
        expected=f"good signatures by keys of --trust{blind}",
        hint="let somebody whose key is trusted look at it and sign; see git log --show-signature",
        problems=tuple((one.commit, one.problem) for one in bad),
    )


def _place(git: Git, found: Found) -> str:
    return git.address.url if found.short == found.commit else f"{git.address.url} {found.short}"
