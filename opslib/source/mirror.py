"""A Git repository as a source of desired state: fetched into a mirror, pinned to a commit.

The mirror is a bare repository in the cache folder, one for each address. It remembers the
head that each branch and tag had when it was last used, so that history which was rewritten
is seen and not followed. All reading is of commits, never of a work tree.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from opslib.core.errors import InputError, OpslibError
from opslib.core.files import exclusive, private_dir
from opslib.core.model import Revision
from opslib.core.progress import SILENT, Progress
from opslib.core.settings import cache_dir
from opslib.source import history
from opslib.source.address import Address, parse_address, without_credentials
from opslib.source.export import write_files
from opslib.source.fetching import BROKEN, fetch_into, is_bare
from opslib.source.memory import Memory
from opslib.source.refs import Found, branch_of_head, check_ref, find, vanished
from opslib.source.revert import Proposal, propose
from opslib.source.snapshot import Damaged, Snapshot, clean_path, printable
from opslib.source.transport import Git, uncommitted, work_tree
from opslib.source.verify import Verdict, Verifier

_T = TypeVar("_T")
_KEPT_TREES = 4
_MANIFESTS = (".yaml", ".yml", ".json")
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Source:
    """Where desired state is kept.

    ``url`` is a folder (also with ``~``), file://, https://, http://, ssh:// or
    user@host:path. ``ref`` is a branch, a tag or a whole commit id; empty: the remote's
    default branch. ``path`` is a folder in the repository; empty: its root.
    """

    url: str
    ref: str = ""
    path: str = ""

    def __repr__(self) -> str:
        return f"Source({without_credentials(self.url)!r}, {self.ref!r}, {self.path!r})"


class RewrittenHistory(OpslibError):
    """The new head does not descend from the one that was used last.

    ``old`` and ``new`` are whole commit ids; both can be read from the mirror.
    """

    exit_code = 2
    kind = "rewritten-history"

    def __init__(self, what: str, *, old: str, new: str, where: str) -> None:
        super().__init__(
            what,
            where=where,
            expected="a commit that has the last one in its history",
            hint="look at both, then accept with --accept-rewrite",
        )
        self.old = old
        self.new = new


class Mirror:
    """The mirror of one source. Made by ``open``; ``warnings`` are of the last fetch and since.

    ``url`` is the source's address without credentials; of a folder, the repository it is in.
    """

    def __init__(self, source: Source, address: Address, *, checkout: bool) -> None:
        self.source = source
        self.url = address.url
        self.warnings: tuple[str, ...] = ()
        name = hashlib.sha256(self.url.encode()).hexdigest()
        self._places = cache_dir() / "mirrors"
        self._git = Git(self._places / f"{name}.git", address)
        self._lock = self._places / f"{name}.lock"
        self._memory = Memory(self._places / f"{name}.json")
        self.aside = self._places / f"{name}.parsed"
        """The folder for what is derived from the mirror; it may be removed at any time."""
        self._checkout = checkout
        self._trees: dict[str, Snapshot] = {}
        self._told: dict[str, history.Told] = {}
        self._parents: dict[str, list[str]] = {}
        self._guard = threading.Lock()
        self._ref = "" if source.ref == "HEAD" else source.ref

    @property
    def git(self) -> Git:
        """Git on the mirror, for this room."""
        return self._git

    @classmethod
    def open(cls, source: Source, *, progress: Progress = SILENT) -> Mirror:
        """Check a source's address, ref and path, without network.

        Raises InputError for an address that is not allowed, a folder that is no
        repository, and a ref or path that cannot be one.
        """
        progress.update("opening the source")
        check_ref(source.ref)
        clean_path(source.path)
        address = parse_address(source.url)
        checkout = False
        if address.kind == "path":
            address, checkout = work_tree(address)
        return cls(source, address, checkout=checkout)

    def fetch(
        self,
        *,
        timeout: float = 60,
        progress: Progress = SILENT,
        accept_rewrite: bool = False,
        verifier: Verifier | None = None,
    ) -> Revision:
        """Fetch all branches and tags, and return the commit that ``source.ref`` is now.

        ``timeout`` is in seconds, for all of it but the ``verifier``, which may refuse the
        commit by an error: then it is not remembered as used. Raises InputError when the
        repository cannot be reached in that time, is empty, or no longer has the ref;
        RewrittenHistory, each time until it is called with ``accept_rewrite``, when a branch
        lost the commit that was used last or a tag was moved; OpslibError when there is no
        room for the mirror.
        """
        progress.update(f"fetching {self.url}")
        self.warnings = ()
        try:
            found, signed_by = self._fetched(timeout, verifier, accept=accept_rewrite)
        except OSError as error:
            raise OpslibError(
                f"the mirror cannot be written: {error.strerror}",
                where=str(self._places),
                hint="make room there, or name another folder by OPSLIB_CACHE",
            ) from error
        self._warn_of_the_source(found)
        revision = self._revision(found.commit, self._ref or found.short)
        return replace(revision, signed_by=signed_by)

    def _fetched(
        self, timeout: float, verifier: Verifier | None, *, accept: bool
    ) -> tuple[Found, str]:
        verdict = Verdict("")
        private_dir(self._places).chmod(0o700)
        with exclusive(self._lock, f"the mirror of {self.url}", wait=True):
            deadline = time.monotonic() + timeout
            fetch_into(self._git, deadline, timeout, head=not self._ref)
            self._trees.clear()
            self._told.clear()
            self._parents.clear()
            found = self._newest(self._ref, deadline)
            if not accept:
                self._check_history(found)
            if verifier:
                verdict = verifier(self._git, found)
            if found.name:
                self._memory.remember(found.name, found.commit)
        if verdict.warning:
            self._warn(verdict.warning)
        return found, verdict.signed_by

    def resolve(self, ref: str) -> Revision:
        """Return the commit of a branch, a tag or a commit id, as last fetched; no network.

        "" is the source's own ref, or the remote's default branch. Raises InputError for
        an unknown ref and RewrittenHistory like ``fetch``.
        """
        check_ref(ref)
        self._require()
        name = ref or self._ref or self._memory.default or "HEAD"
        found = find(self._git, name, short_ids=True)
        if found is None:
            raise vanished(self._git, name, known_as=self._memory.head_of(name))
        self._check_history(found)
        return self._revision(found.commit, ref or found.short)

    def verify(self, commit: str, verifier: Verifier) -> str:
        """Return who signed a commit that was fetched before; raises what the verifier does."""
        return verifier(self._git, Found("", self._commit(commit))).signed_by

    def files(self, commit: str, path: str = "") -> list[str]:
        """Return the regular files below a folder, as sorted paths from the repository's root.

        ``path`` may be a file, or lead through links of the repository. Links and
        submodules are left out, which ``warnings`` says. Raises InputError, with near
        names, when the path does not exist at this commit.
        """
        tree = self._tree(commit)
        names = tree.under(path)
        self._warn_of_left_out(tree, tree.resolve(path))
        return names

    def links(self, commit: str, path: str = "") -> list[str]:
        """Return the symbolic links below a folder, sorted; ``read`` follows those to files."""
        tree = self._tree(commit)
        return sorted(tree.links_below(tree.resolve(path)))

    def read(self, commit: str, path: str) -> bytes:
        """Return a file's content; a link is followed inside the commit.

        Raises InputError when it does not exist, is larger than snapshot.MAX_FILE, or is
        a link that leaves the repository.
        """
        return self.read_many(commit, [path])[path]

    def read_many(self, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of several files, by path, with one git process."""
        tree = self._tree(commit)
        places = {path: tree.resolve(path) for path in paths}
        contents = self._sound(lambda: tree.contents(set(places.values())))
        for path, place in places.items():
            if contents[place].startswith(_LFS):
                self._warn(f"{path} is a pointer of Git LFS, not the file itself")
        return {path: contents[place] for path, place in places.items()}

    def export(self, commit: str, path: str, target: Path) -> None:
        """Write the files below ``path`` into ``target``, by their paths from ``path``.

        See export.write_files for what is refused.
        """
        tree = self._tree(commit)
        self._sound(lambda: write_files(tree, path, target))
        self._warn_of_modules(tree, tree.resolve(path))

    def log(self, commit: str, path: str = "", limit: int = 20) -> list[Revision]:
        """Return the commits that changed ``path``, newest first, from ``commit`` on."""
        whole, place = self._commit(commit), clean_path(path)
        told = self._sound(lambda: history.log(self._git, whole, place, limit))
        return [self._pinned(one, self._ref) for one in told]

    def blame(self, commit: str, path: str, line: int) -> Revision | None:
        """Return the commit that last changed a 1-based line; None when there is no such line."""
        if line < 1:
            return None
        place = self._tree(commit).resolve(path)
        author = history.blame(self._git, self._commit(commit), place, line)
        return self._revision(author, self._ref) if author else None

    def blamed(
        self, commit: str, path: str, line: int
    ) -> tuple[Revision, tuple[str, str] | None] | None:
        """Return the commit that brought a line, and the commit and path before it.

        Spaces and moves within the file do not count. None when there is no such line.
        """
        place = self._tree(commit).resolve(path)
        found = history.blamed(self._git, self._commit(commit), place, line) if line > 0 else None
        return (self._revision(found.commit, self._ref), found.before) if found else None

    def parents(self, commit: str) -> list[str]:
        """Return the parents of a commit that the mirror has."""
        if commit not in self._parents:
            self._parents[commit] = history.parents(self._git, self._commit(commit))
        return self._parents[commit]

    def changed(self, older: str, newer: str) -> list[str]:
        """Return the files that differ between two commits, in any folder."""
        return history.changed(self._git, self._commit(older), self._commit(newer))

    def mentions(self, commit: str, text: str) -> list[str]:
        """Return the files of a commit, in any folder, that hold a text."""
        return history.mentions(self._git, self._commit(commit), text)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``older`` is in the history of ``newer``; False when either is unknown."""
        return is_bare(self._git.folder) and history.is_ancestor(self._git, older, newer)

    def revert(self, good: str, bad: str, reason: str) -> Proposal:
        """Propose the commit that brings the source's folder back from ``bad`` to ``good``."""
        folder, good, bad = clean_path(self.source.path), self._commit(good), self._commit(bad)
        return self._sound(lambda: propose(self._git, good, bad, folder, reason))

    # -- what the above is made of

    def _newest(self, ref: str, deadline: float) -> Found:
        if not ref:
            before = self._memory.default
            ref = branch_of_head(self._git, before, deadline)
            if before and ref != before:
                self._warn(f"the default branch was {before}, it is {ref} now")
            self._memory.remember_default(ref)
        found = find(self._git, ref)
        if found is None:
            raise vanished(self._git, ref, known_as=self._memory.head_of(ref))
        return found

    def _check_history(self, found: Found) -> None:
        old = self._memory.head_of(found.name)
        new = found.commit
        if not old or old == new:
            return
        if found.is_tag:
            what = f"the tag {found.short} was moved from {old[:12]} to {new[:12]}"
        elif history.is_ancestor(self._git, old, new):
            return
        else:
            what = (
                f"the history of {found.short} was rewritten: "
                f"its head is {new[:12]}, which does not have {old[:12]} in its history"
            )
        raise RewrittenHistory(what, old=old, new=new, where=self.url)

    def _warn_of_the_source(self, found: Found) -> None:
        if found.warning:
            self._warn(found.warning)
        if (self._git.folder / "shallow").exists():
            self._warn(f"{self.url} is a shallow clone: its history is cut off")
        if not self._checkout:
            return
        names = uncommitted(self.url)
        if names is None:
            self._warn(f"it was not looked for uncommitted changes in {self.url}: git is too slow")
        elif names:
            self._warn(f"uncommitted changes in {self.url} are not part of this ({_few(names)})")

    def _warn_of_left_out(self, tree: Snapshot, folder: str) -> None:
        self._warn_of_modules(tree, folder)
        links = [n for n in tree.links_below(folder) if n.endswith(_MANIFESTS)]
        if links:
            self._warn(f"symbolic links are not listed as files: {_few(links)}")

    def _warn_of_modules(self, tree: Snapshot, folder: str) -> None:
        for name in tree.modules_below(folder):
            self._warn(f"{name} is a submodule: its files are not part of this")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings = (*self.warnings, text)

    def _require(self) -> None:
        if not is_bare(self._git.folder):
            raise InputError("this source was not fetched yet", where=self.url)

    def _commit(self, commit: str) -> str:
        self._require()
        if commit not in self._told and not history.known(self._git, commit):
            raise InputError(
                f"the commit {commit[:64]!r} is not known", where=self.url, hint="fetch first"
            )
        return commit

    def _tree(self, commit: str) -> Snapshot:
        with self._guard:  # who looks for the origin of many lines asks from several threads
            if commit not in self._trees:
                whole = self._commit(commit)
                while len(self._trees) >= _KEPT_TREES:
                    del self._trees[next(iter(self._trees))]
                self._trees[commit] = self._sound(lambda: Snapshot.load(self._git, whole))
            return self._trees[commit]

    def _revision(self, commit: str, ref: str) -> Revision:
        if commit not in self._told:
            # A commit says the same for ever; a review asks for one of them a hundred times.
            self._told[commit] = self._sound(lambda: history.log(self._git, commit, "", 1))[0]
        return self._pinned(self._told[commit], ref)

    def _pinned(self, told: history.Told, ref: str) -> Revision:
        return Revision(self.url, ref, *told, path=self.source.path)

    def _sound(self, work: Callable[[], _T]) -> _T:
        """Do what reads objects; a mirror in which one is broken is made anew by the next fetch."""
        try:
            return work()
        except Damaged as error:
            (self._git.folder / BROKEN).touch()
            raise OpslibError(
                f"the mirror is damaged: {error.what}",
                where=f"{self.url} in {self._git.folder}",
                hint="do it again: the next fetch makes the mirror anew",
            ) from None


def _few(names: Sequence[str]) -> str:
    """Name the first three of several files."""
    shown = [printable(name.encode(errors="surrogateescape")) for name in names[:3]]
    return ", ".join(shown) + (", …" if len(names) > 3 else "")
