"""Files to render: those of one commit, or those of a folder on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from opslib.core.errors import InputError
from opslib.source.mirror import Mirror


class Tree(Protocol):
    """Regular files by their path from a root, which nothing leads out of."""

    def files(self, path: str) -> list[str]:
        """Return all files below a folder ("" for the root); none where there is no folder."""

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents of files."""


@dataclass(frozen=True)
class Commit:
    """The files of one commit of a mirror."""

    mirror: Mirror
    commit: str
    all: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "all", tuple(self._names()))

    def _names(self) -> list[str]:
        """Return regular files and links; a link is followed, or refused, when it is read."""
        links = self.mirror.links(self.commit)
        return sorted([*self.mirror.files(self.commit), *links])

    def files(self, path: str) -> list[str]:
        """Return the files of the commit below a folder."""
        prefix = f"{path}/" if path else ""
        return [name for name in self.all if name.startswith(prefix)]

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Read files in one go."""
        return self.mirror.read_many(self.commit, list(paths))

    def aside(self, folder: str) -> Path:
        """Return the file for what was parsed of a folder, beside the mirror (see ``parsed``)."""
        return self.mirror.aside / f"{hashlib.sha256(folder.encode()).hexdigest()[:32]}.parsed"


@dataclass(frozen=True)
class Disk:
    """The files of a folder as they are on disk now."""

    root: Path

    def files(self, path: str) -> list[str]:
        """Return the files on disk below a folder, without hidden folders."""
        found = []
        for place, folders, names in os.walk(self.root / path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [os.path.relpath(os.path.join(place, name), self.root) for name in names]
        return sorted(found)

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Read files; a link that leads out of the root is refused."""
        return {path: self._read(path) for path in paths}

    def _read(self, path: str) -> bytes:
        place = (self.root / path).resolve()
        if not place.is_relative_to(self.root.resolve()):
            raise InputError(f"this link leads out of the folder, to {place}", where=path)
        try:
            return place.read_bytes()
        except OSError as error:
            raise InputError(f"the file cannot be read: {error.strerror}", where=path) from None


@dataclass(frozen=True)
class Overlay:
    """Another tree with some files changed, added, or (None) removed; nothing is written."""

    base: Tree
    changes: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)

    def files(self, path: str) -> list[str]:
        """Return the files below a folder as they would be."""
        prefix = f"{path}/" if path else ""
        there = {name for name in self.base.files(path) if name not in self.changes}
        new = {name for name, data in self.changes.items() if data is not None}
        return sorted(there | {name for name in new if name.startswith(prefix)})

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents of files as they would be."""
        rest = self.base.read([path for path in paths if path not in self.changes])
        new = {path: self.changes[path] for path in paths if path in self.changes}
        if gone := [path for path, data in new.items() if data is None]:
            raise InputError("this file would be removed", where=gone[0])
        return {**rest, **{path: data for path, data in new.items() if data is not None}}

    def text(self, path: str) -> str:
        """Return a file's text. Raises InputError where it is not UTF-8."""
        try:
            return self.read([path])[path].decode()
        except UnicodeDecodeError:
            raise InputError("this file is not UTF-8", where=path) from None

    def plus(self, more: Mapping[str, bytes | None]) -> Overlay:
        """Return the tree with more changes."""
        return Overlay(self.base, {**self.changes, **more})
