"""A commit on a branch of its own, made of objects alone: no work tree and no index is touched.

Of a repository in a folder the branch is made there; of one that is reached by an address, in its
mirror, with the commit as a patch file beside it and, if asked for, pushed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from opslib.core import scratch
from opslib.core.clock import now
from opslib.core.errors import ConflictError, InputError, OpslibError
from opslib.core.files import private_dir, write_atomic
from opslib.core.proc import Finished
from opslib.source.mirror import Mirror
from opslib.source.reasons import failure
from opslib.source.refs import check_ref
from opslib.source.transport import Git, repository

_AUTHOR = re.compile(r"\s*([^<>\x00-\x1f]+?)\s*<([^<>\s]+)>\s*")
_LINK, _MODULE = "120000", "160000"
_PRIVATE = "refs/opslib/branches"
"""Where a mirror keeps what is made in it: no fetch prunes that."""
_PUSH_SECONDS = 60.0


@dataclass(frozen=True)
class Author:
    """Who a commit is by."""

    name: str
    email: str

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"


@dataclass(frozen=True)
class Committed:
    """A commit on its branch. ``where`` is the repository; ``patch`` its file, None in a folder."""

    branch: str
    commit: str
    base: str
    where: str
    patch: Path | None = None
    pushed: bool = False

    @property
    def next(self) -> str:
        """Say what a person does with it."""
        if self.pushed:
            return f"open a merge request of {self.branch}; {self.where} has it"
        if self.patch:
            return f"git am {self.patch}"
        return f"git -C {self.where} merge {self.branch}"


def author_of(text: str, mirror: Mirror) -> Author:
    """Read "Name <mail>"; "" is whom the user's own settings of git name.

    Raises InputError where neither says who it is.
    """
    if found := _AUTHOR.fullmatch(text):
        return Author(found[1], found[2])
    expected = "Name <mail@example.com>"
    if text.strip():
        raise InputError(f"{text!r} names no author", where="--author", expected=expected)
    words = [mirror.git.run("config", "--get", f"user.{one}").text for one in ("name", "email")]
    found = _AUTHOR.fullmatch(f"{words[0].strip()} <{words[1].strip()}>")
    if not found:
        hint = "git config --global user.name and user.email"
        raise InputError("it is not known who decides", where="--author", expected=expected,
                         hint=hint)  # fmt: skip
    return Author(found[1], found[2])


def check_branch(name: str) -> None:
    """Raise InputError for what cannot be the name of a branch."""
    check_ref(name)
    if not name or name.startswith("refs/") or name == "HEAD":
        raise InputError(f"{name!r} cannot be a branch", where="--branch")


def free_branch(mirror: Mirror, name: str) -> str:
    """Return the name of a branch that there is not yet: the name itself, or with a number."""
    git, prefix = _place(mirror)
    for number in range(1, 100):
        one = name if number == 1 else f"{name}-{number}"
        if git.run("show-ref", "--verify", "--quiet", f"{prefix}/{one}").code:
            return one
    raise InputError("there are a hundred branches of this name", where=name)


def commit_files(
    mirror: Mirror,
    base: str,
    changes: Mapping[str, bytes | None],
    *,
    branch: str,
    message: str,
    author: Author,
    moment: datetime | None = None,
) -> Committed:
    """Commit new contents of files (None: removed) onto a commit, as a new branch.

    Raises InputError for a branch that is there, and for files that are links or submodules;
    OpslibError for what git says.
    """
    check_branch(branch)
    git, prefix = _place(mirror)
    if not changes:
        raise InputError("there is nothing to commit", where=branch)
    lines = [_line(git, base, path, data) for path, data in sorted(changes.items())]
    with scratch.folder("index-") as folder:
        index = {"GIT_INDEX_FILE": str(folder / "index")}
        _run(git, "read-tree", base, env=index)
        _run(git, "update-index", "-z", "--index-info", env=index, stdin=b"".join(lines))
        tree = _run(git, "write-tree", env=index).text.strip()
    if tree == _run(git, "rev-parse", f"{base}^{{tree}}").text.strip():
        raise InputError("there is nothing to commit: Git says so already", where=branch)
    env = _identity(author, moment or now())
    made = _run(git, "commit-tree", tree, "-p", base, "-F", "-", env=env, stdin=message.encode())
    commit = made.text.strip()
    done = git.run("update-ref", f"{prefix}/{branch}", commit, "0" * len(commit))
    if done.code:
        raise InputError(
            f"the branch {branch} cannot be made: {done.last_error_line}",
            where=git.address.url,
            hint="name another by --branch",
        )
    return Committed(branch, commit, base, git.address.url)


def hand_over(mirror: Mirror, made: Committed, folder: Path, *, pushing: bool = False) -> Committed:
    """Write the patch file of a source that is no folder, and push where that is asked for."""
    if mirror.git.address.kind != "path":
        made = replace(made, patch=write_patch(mirror, made, folder))
    if pushing:
        push(mirror, made)
    return replace(made, pushed=pushing)


def write_patch(mirror: Mirror, made: Committed, folder: Path) -> Path:
    """Write a commit as a file for ``git am``, and return it. Only its owner can read it."""
    git, _ = _place(mirror)
    options = ("--stdout", "--no-signature", "--binary", "--full-index", "--no-ext-diff",
               "--no-textconv")  # fmt: skip
    done = _run(git, "format-patch", "-1", *options, made.commit)
    path = private_dir(folder) / f"{made.branch.replace('/', '-')}.patch"
    write_atomic(path, done.out, mode=0o600)
    return path


def push(mirror: Mirror, made: Committed) -> None:
    """Push a branch to where the source was fetched from; never over one that is there.

    Raises InputError with what the other side says, and for a source that is a folder.
    """
    git = mirror.git
    if git.address.kind == "path":
        hint = f"git -C {git.address.url} push origin {made.branch}"
        raise InputError("the branch is in your own repository", where="--push", hint=hint)
    ref = f"refs/heads/{made.branch}"
    done = git.remote(
        "push", "--porcelain", "--no-verify", f"--force-with-lease={ref}:", git.address.url,
        f"{made.commit}:{ref}", timeout=_PUSH_SECONDS,
    )  # fmt: skip
    if done.code and b"[rejected]" in done.out + done.err:
        raise ConflictError(
            f"the branch {made.branch} is there already", where=git.address.url,
            hint="name another by --branch",
        )  # fmt: skip
    if done.code:
        raise failure(git.address.url, done)


def _place(mirror: Mirror) -> tuple[Git, str]:
    """Return the repository that gets the branch, and the folder of its refs."""
    if mirror.git.address.kind == "path":
        return repository(mirror.git.address), "refs/heads"
    return mirror.git, _PRIVATE


def _line(git: Git, base: str, path: str, data: bytes | None) -> bytes:
    """Return the line of the index for a file; its content is written."""
    if not path.isprintable() or path.startswith("/") or ".." in path.split("/"):
        raise InputError("a file of this name is not written", where=path)
    known = _run(git, "ls-tree", "-z", "--full-tree", base, "--", path).text.split()
    mode = known[0] if known else "100644"
    if mode in {_LINK, _MODULE}:
        raise InputError("this is a link or a submodule, which is not edited", where=path)
    if data is None:
        return f"0 {'0' * 40}\t{path}\0".encode()
    oid = _run(git, "hash-object", "-w", "--stdin", stdin=data).text.strip()
    return f"{mode} {oid}\t{path}\0".encode()


def _identity(author: Author, moment: datetime) -> dict[str, str]:
    env = {}
    for role in ("AUTHOR", "COMMITTER"):
        env[f"GIT_{role}_NAME"] = author.name
        env[f"GIT_{role}_EMAIL"] = author.email
        env[f"GIT_{role}_DATE"] = f"{int(moment.timestamp())} +0000"
    return env


def _run(
    git: Git, *args: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> Finished:
    done = git.alone(*args, settings=(), env=env or {}, stdin=stdin)
    if done.code:
        raise OpslibError(f"git {args[0]}: {done.last_error_line}", where=git.address.url)
    return done
