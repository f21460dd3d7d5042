"""A commit's files on disk, for tools that read folders: plain files, and nothing but them."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from pathlib import Path

from opslib.core.errors import InputError
from opslib.source.snapshot import Entry, Snapshot, check_sizes

MAX_FILES = 20_000
"""Files that one export writes; links to folders can multiply few into many."""
MAX_CHAIN = 80
"""Links and folders on the way to one file; more is taken for a circle."""

# Code points that HFS+ ignores in names, so that ".g\u200cit" is ".git" there:
# https://github.com/git/git/blob/master/utf8.c (is_hfs_dot_generic)
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


def write_files(tree: Snapshot, path: str, target: Path) -> None:
    """Write the files below ``path`` into ``target``, by their paths from there.

    ``target`` must be absent or an empty folder. Symbolic links become copies of what
    they point to. Everything is checked before the first file is written. Raises
    InputError for names that another file system reads as ``.git``, control characters
    and backslashes, for links that leave the repository, and above the limits.
    """
    place = tree.resolve(path)
    if place in tree.files:
        raise InputError("this is a file, not a folder", where=place)
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise InputError("the target is not an empty folder", where=str(target))
    planned = _Plan(tree).of(place)
    _check_names(planned)
    check_sizes(tree.sizes(source for _, source in planned))
    contents = tree.contents({source for _, source in planned})
    target.mkdir(parents=True, exist_ok=True)
    for name, source in planned:
        _write(target / name, contents[source], tree.files[source])


class _Plan:
    """What an export writes: (name below the target, file of the commit), links followed."""

    def __init__(self, tree: Snapshot) -> None:
        self._tree = tree
        self._files = sorted(tree.files)
        self._links = sorted(tree.links)
        self._planned: list[tuple[str, str]] = []

    def of(self, folder: str) -> list[tuple[str, str]]:
        self._add(folder, "", (folder,))
        return self._planned

    def _add(self, folder: str, prefix: str, chain: tuple[str, ...]) -> None:
        cut = len(folder) + 1 if folder else 0
        self._planned += [(prefix + name[cut:], name) for name in _below(self._files, folder)]
        for link in _below(self._links, folder):
            if len(self._planned) > MAX_FILES:
                break
            self._follow(link, prefix + link[cut:], chain)
        if len(self._planned) > MAX_FILES:
            raise InputError(
                "there are too many files to export",
                where=folder or "/",
                expected=f"at most {MAX_FILES} files, links followed",
            )

    def _follow(self, link: str, name: str, chain: tuple[str, ...]) -> None:
        real = self._tree.resolve(link)
        if real in self._tree.files:
            self._planned.append((name, real))
            return
        if len(chain) > MAX_CHAIN or any(_within(one, real) for one in (*chain, link)):
            raise InputError(
                f"the link leads in a circle: {link} -> {self._tree.target(link)}", where=link
            )
        self._add(real, f"{name}/", (*chain, link, real))


def _below(names: list[str], folder: str) -> list[str]:
    """Return the part of a sorted list that is below a folder."""
    if not folder:
        return names
    # "0" is the character after "/": the first name that is no longer below the folder.
    return names[bisect_left(names, f"{folder}/") : bisect_left(names, f"{folder}0")]


def _within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _check_names(planned: list[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for name, _ in planned:
        if "\\" in name or not name.isprintable():
            raise InputError(
                "a name with backslashes or control characters cannot be exported", where=name
            )
        if any(_is_git(part) for part in name.split("/")):
            raise InputError("a file below .git cannot be exported", where=name)
        if seen.setdefault(name, name) != name:
            raise InputError("two files have the same name", where=name)


def _is_git(part: str) -> bool:
    """Whether a file system somewhere reads this name as .git (NTFS: short names, streams)."""
    plain = _IGNORED.sub("", part).casefold().partition(":")[0].rstrip(" .")
    return plain == ".git" or re.fullmatch(r"git~\d+", plain) is not None


def _write(place: Path, data: bytes, entry: Entry) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o755 if entry.mode == "100755" else 0o644
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except FileExistsError:
        # Where a file system takes two names for one, neither is to win.
        raise InputError("two files have the same name on this disk", where=str(place)) from None
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
