"""The files of one commit: names, sizes, symbolic links followed inside the commit only."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from opslib.core.errors import InputError, OpslibError
from opslib.source.transport import Git

MAX_FILE = 10 * 1000 * 1000
"""Bytes of one file; an object of Kubernetes is far below (etcd's limit is 1.5 MB)."""
MAX_TOTAL = 100 * 1000 * 1000
"""Bytes that are read or exported at once."""
_MAX_LINK = 4096
_MAX_HOPS = 40
"""As Linux has it: https://man7.org/linux/man-pages/man7/path_resolution.7.html"""


class Damaged(OpslibError):
    """An object that must be there cannot be read: the mirror is broken."""

    kind = "damaged-mirror"


class Entry(NamedTuple):
    """A file or link of a commit: git's mode and the id of its content."""

    mode: str
    oid: str


@dataclass
class Snapshot:
    """The tree of one commit, read once."""

    git: Git
    commit: str
    files: dict[str, Entry] = field(default_factory=dict)
    links: dict[str, Entry] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=lambda: {""})
    _targets: dict[str, str] | None = None

    @classmethod
    def load(cls, git: Git, commit: str) -> Snapshot:
        """List a commit's tree. Raises Damaged when it cannot be read."""
        out = git.listing("ls-tree", "-r", "-z", "--full-tree", commit)
        if out is None:
            raise Damaged("the commit's files cannot be listed", where=commit)
        tree = cls(git, commit)
        for line in out.split(b"\0")[:-1]:
            head, _, raw = line.partition(b"\t")
            tree._add(head.decode().split(), printable(raw))
        return tree

    def _add(self, head: Sequence[str], name: str) -> None:
        mode, kind, oid = head
        if name in self.files or name in self.links:
            raise InputError("two files have names that cannot be told apart", where=name)
        if kind == "commit":
            self.modules.append(name)
            return
        entry = Entry(mode, oid)
        (self.links if mode == "120000" else self.files)[name] = entry
        folder = posixpath.dirname(name)
        while folder not in self.folders:
            self.folders.add(folder)
            folder = posixpath.dirname(folder)

    def under(self, path: str) -> list[str]:
        """Return the regular files of a folder, sorted, or the one file that ``path`` is.

        Raises InputError, with near names, when there is neither.
        """
        place = self.resolve(path)
        return [place] if place in self.files else sorted(inside(self.files, place))

    def links_below(self, folder: str) -> list[str]:
        """Return the symbolic links below a folder."""
        return inside(self.links, folder)

    def modules_below(self, folder: str) -> list[str]:
        """Return the submodules below a folder."""
        return inside(self.modules, folder)

    def resolve(self, path: str) -> str:
        """Follow the links in a path, and return the file or folder that it is.

        Raises InputError when there is none, and when a link is absolute, leads out of
        the repository or in a circle.
        """
        todo = [part for part in reversed(clean_path(path).split("/")) if part]
        done: list[str] = []
        hops = 0
        link = ""
        while todo:
            part = todo.pop()
            if part == "..":
                if not done:
                    raise self._escapes(link, "leads out of the repository")
                done.pop()
                continue
            here = "/".join([*done, part])
            if here not in self.links:
                done.append(part)
                continue
            link, hops = here, hops + 1
            target = self.target(link)
            if hops > _MAX_HOPS:
                raise self._escapes(link, "leads in a circle")
            if target.startswith("/"):
                raise self._escapes(link, "leads out of the repository")
            todo += [step for step in reversed(target.split("/")) if step not in {"", "."}]
        place = "/".join(done)
        if place not in self.files and place not in self.folders:
            raise self._missing(path, link)
        return place

    def target(self, link: str) -> str:
        """Return where a symbolic link points, as it is written."""
        if self._targets is None:
            sizes = self._sizes({entry.oid for entry in self.links.values()})
            texts = self._batch([oid for oid, size in sizes.items() if size <= _MAX_LINK])
            self._targets = {
                name: printable(texts[entry.oid])
                for name, entry in self.links.items()
                if entry.oid in texts
            }
        if link not in self._targets:
            raise InputError("the target of this link is too long", where=link)
        return self._targets[link]

    def contents(self, places: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of files, by names that ``resolve`` gave; in one go.

        Raises InputError for more than MAX_FILE bytes in one, or MAX_TOTAL in all.
        """
        names = list(places)
        check_sizes(self.sizes(names))
        entries = {place: self._file(place) for place in names}
        found = self._batch(list({entry.oid for entry in entries.values()}))
        return {place: found[entry.oid] for place, entry in entries.items()}

    def sizes(self, places: Iterable[str]) -> list[tuple[str, int]]:
        """Return files with their sizes in bytes, in their order."""
        entries = [(place, self._file(place)) for place in places]
        sizes = self._sizes({entry.oid for _, entry in entries})
        return [(place, sizes[entry.oid]) for place, entry in entries]

    def _file(self, place: str) -> Entry:
        if place not in self.files:
            raise InputError("this is a folder, not a file", where=place or "/")
        return self.files[place]

    def _sizes(self, ids: Iterable[str]) -> dict[str, int]:
        wanted = sorted(ids)
        if not wanted:
            return {}
        done = self.git.run("cat-file", "--batch-check", stdin=_lines(wanted))
        heads = [line.split() for line in done.text.splitlines()]
        known = {head[0]: int(head[2]) for head in heads if len(head) == 3}
        if missing := [oid for oid in wanted if oid not in known]:
            raise Damaged("a file's content is not in the mirror", where=missing[0])
        return known

    def _batch(self, ids: Sequence[str]) -> dict[str, bytes]:
        if not ids:
            return {}
        done = self.git.run("cat-file", "--batch", stdin=_lines(ids))
        out: dict[str, bytes] = {}
        at = 0
        for oid in ids:
            end = done.out.find(b"\n", at)
            head = done.out[at:end].split()
            if end < 0 or len(head) != 3 or head[0].decode() != oid:
                raise Damaged("a file's content is not in the mirror", where=oid)
            size = int(head[2])
            out[oid] = done.out[end + 1 : end + 1 + size]
            if len(out[oid]) != size:
                raise Damaged("a file's content in the mirror is cut off", where=oid)
            at = end + size + 2
        return out

    def _escapes(self, link: str, how: str) -> InputError:
        return InputError(
            f"the link {how}: {link} -> {self.target(link)}" if link else f"the path {how}",
            where=link or None,
            expected="a link to a file of the same repository",
        )

    def _missing(self, path: str, link: str) -> InputError:
        if link:
            return self._escapes(link, "points to nothing in this commit")
        close = near(clean_path(path), [*self.folders - {""}, *self.files])
        return InputError(
            f"there is no {path} in commit {self.commit[:12]}",
            where=self.git.address.url,
            hint=f"did you mean {' or '.join(close)}?" if close else None,
        )


def inside(names: Iterable[str], folder: str) -> list[str]:
    """Return the names below a folder ("" for all), in their order."""
    prefix = f"{folder}/" if folder else ""
    return [name for name in names if name.startswith(prefix)]


def _lines(ids: Iterable[str]) -> bytes:
    return "".join(f"{oid}\n" for oid in ids).encode()


def check_sizes(sizes: Iterable[tuple[str, int]]) -> None:
    """Raise InputError for a file above MAX_FILE bytes, or MAX_TOTAL in all."""
    total = 0
    for name, size in sizes:
        total += size
        if size > MAX_FILE:
            raise InputError(
                f"the file is too large: {size} bytes",
                where=name,
                expected=f"at most {MAX_FILE // 1_000_000} MB",
            )
        if total > MAX_TOTAL:
            raise InputError(
                "the files are too large together",
                where=name,
                expected=f"at most {MAX_TOTAL // 1_000_000} MB",
            )


def clean_path(path: str) -> str:
    """Normalize a path inside a repository ("" for its root). Raises InputError outside it."""
    clean = posixpath.normpath(path or ".")
    if clean.startswith(("/", "../")) or clean == "..":
        raise InputError(
            f"{path} is not inside the repository",
            where="--path",
            expected="a path from the repository's root, such as apps/production",
        )
    return "" if clean == "." else clean


def printable(raw: bytes) -> str:
    """Return a name as it may be shown: odd bytes and control characters as escapes."""
    text = raw.decode("utf-8", errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def near(word: str, words: Iterable[str]) -> list[str]:
    """Return up to three known words that ``word`` may have been meant to be, best first."""
    known = sorted(words)[:5000]
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    same_end = [one for one in known if posixpath.basename(one) == posixpath.basename(word)]
    return list(dict.fromkeys([*close, *same_end]))[:3]
