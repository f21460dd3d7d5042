"""Signatures of commits and tags, as git itself judges them with a keyring of our own.

Of git's grades only G counts: a good signature by a key of the ring. A key that has expired
(Y) or was revoked (R) is refused whenever the signature was made: whoever has a stolen key
chooses its date. For ssh, ssh-keygen holds the lines' namespaces, valid-after, valid-before
and cert-authority against the commit; its time is the committer's own word.
https://git-scm.com/docs/git-log#Documentation/git-log.txt-G
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from opslib.core.errors import OpslibError
from opslib.source.history import plain
from opslib.source.keyring import Ring
from opslib.source.transport import Git

BATCH = 50
"""Commits that one git process verifies: each costs a gpg or three ssh-keygen processes."""

_FORMAT = "%H%x00%G?%x00%GK%x00%GS%x00%an"
_GRADES = {
    "N": "it is not signed",
    "B": "its signature is bad: it is not over this content, or the key may not sign it"
    " (namespaces, valid-after and valid-before of allowed_signers)",
    "U": "the key {key} that signed it is not among the trusted ones",
    "E": "the key {key} that signed it is not among the trusted ones",
    "X": "its signature by {signer} has expired",
    "Y": "the key {key} of {signer} has expired",
    "R": "the key {key} of {signer} was revoked",
}
_GPG = re.compile(r"^\[GNUPG:\] GOODSIG (\S+) (.*)$", re.MULTILINE)
_SSH = re.compile(r'^Good "git" signature for (.*) with \S+ key (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Signature:
    """What git says of one commit's signature; ``grade`` is git's letter."""

    commit: str
    grade: str
    key: str = ""
    signer: str = ""
    author: str = ""

    @property
    def good(self) -> bool:
        return self.grade == "G"

    @property
    def by(self) -> str:
        return f"{self.signer} (key {self.key})"

    @property
    def problem(self) -> str:
        """Return why the signature does not count; "" for one that does."""
        if self.good:
            return ""
        text = _GRADES.get(self.grade, "git cannot judge its signature")
        return text.format(key=self.key or "(unknown)", signer=self.signer or "(unknown)")


def of_commits(git: Git, ring: Ring, commits: Sequence[str]) -> list[Signature]:
    """Judge commits by whole ids, in their order, by one git process.

    Raises OpslibError when git does not answer for each of them.
    """
    # log and not rev-list, which does not read the gpg settings and finds nothing signed.
    args = ["log", "--no-walk=unsorted", "--no-patch", "--no-show-signature", "--no-mailmap"]
    args += ["--no-color", "--no-notes", f"--format={_FORMAT}", "--stdin"]
    stdin = "".join(f"{commit}\n" for commit in commits).encode()
    done = git.alone(*args, settings=ring.settings, env=ring.env, stdin=stdin)
    rows = [line.split("\0", 4) for line in done.text.split("\n") if "\0" in line]
    found = {row[0]: Signature(row[0], row[1], *(plain(word) for word in row[2:])) for row in rows}
    if done.code or set(found) != set(commits) or len(rows) != len(commits):
        raise OpslibError(
            f"git cannot judge the signatures: {done.last_error_line}", where=git.address.url
        )
    return [found[commit] for commit in commits]


def of_tag(git: Git, ring: Ring, name: str, commit: str) -> str:
    """Return who signed the tag that ``name`` (refs/tags/…) is; "" where that does not count.

    The tag's object must bear the name that it is served under, else a signed tag could be
    served as another one, and lead to ``commit``.
    """
    tag = git.run("rev-parse", "--verify", "--quiet", name).text.strip()
    if not tag or git.run("cat-file", "-t", tag).text.strip() != "tag":
        return ""
    head = git.run("cat-file", "tag", tag).text.partition("\n\n")[0].splitlines()
    target = git.run("rev-parse", "--verify", "--quiet", f"{tag}^{{commit}}").text.strip()
    if f"tag {name.removeprefix('refs/tags/')}" not in head or target != commit:
        return ""
    done = git.alone("verify-tag", "--raw", tag, settings=ring.settings, env=ring.env)
    text = done.err.decode(errors="replace")
    if done.code:
        return ""
    if good := _GPG.search(text):
        return plain(f"{good[2]} (key {good[1]}), by the tag")
    good = _SSH.search(text)
    return plain(f"{good[1]} (key {good[2]}), by the tag") if good else ""
